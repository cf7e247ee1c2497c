#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the Python client; tests/clients runs it against a couponsd.
#
#   smoke.sh build            makes a virtual environment and the stubs in $CLIENT_BUILD_DIR
#   smoke.sh run HOST:PORT    runs smoke.py, which explains itself
#   smoke.sh probe ARGUMENT…  runs probe.py, which explains itself
#   smoke.sh package          builds wheel and source distribution for PyPI in $CLIENT_BUILD_DIR/dist
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/python}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/python/smoke.sh: %s\n' "$*" >&2; exit 1; }

build() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  # A python3 that is not Debian's has its own venv module.
  python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
  mkdir -p "$build"
  if ! cmp -s "$here/requirements.txt" "$build/requirements.txt"; then
    rm -rf "$build/venv"
    python3 -m venv "$build/venv"
    "$build/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$build/requirements.txt"
  fi
  # google.rpc comes with googleapis-common-protos. Generating it here as well would register its messages twice.
  rm -rf "$build/stubs"
  mkdir "$build/stubs"
  (cd "$root/proto" && "$build/venv/bin/python" -m grpc_tools.protoc -I. --python_out="$build/stubs" \
    --pyi_out="$build/stubs" --grpc_python_out="$build/stubs" coupon/v1/*.proto)
  PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here:$build/stubs "$build/venv/bin/python" -c 'import couponsd'
}

# Everything that belongs into the package, in one folder, since the stubs are not among the sources.
package() {
  build
  local staging=$build/package
  "$build/venv/bin/pip" install --quiet --disable-pip-version-check build==1.2.2.post1 twine==6.1.0
  rm -rf "$staging" "$build/dist"
  mkdir "$staging"
  cp -R "$here/couponsd" "$here/pyproject.toml" "$here/README.md" "$root/LICENSE" "$build/stubs/coupon" "$staging/"
  find "$staging" -name __pycache__ -prune -exec rm -rf {} +
  touch "$staging/couponsd/py.typed" "$staging/coupon/__init__.py" "$staging/coupon/v1/__init__.py"
  "$build/venv/bin/python" -m build --outdir "$build/dist" "$staging" >"$build/package.log" 2>&1 ||
    { cat "$build/package.log" >&2; die "the package cannot be built"; }
  "$build/venv/bin/python" -m twine check --strict "$build"/dist/*
}

case ${1-} in
build) build ;;
package) package ;;
run | probe)
  [[ -d $build/stubs ]] || die "$build has no stubs; generate them with: clients/python/smoke.sh build"
  export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here:$build/stubs
  program=$here/smoke.py
  [[ $1 == run ]] || program=$here/probe.py
  exec "$build/venv/bin/python" "$program" "${@:2}"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT | probe ARGUMENT…" ;;
esac

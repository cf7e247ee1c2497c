#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The C client as it is installed, tried on a couponsd that is started meanwhile (tests/clients).
#
#   smoke.sh build            the library, installed below $CLIENT_BUILD_DIR, and programs built against that by pkg-config
#   smoke.sh run HOST:PORT    smoke.c says what it does
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/c}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/c/smoke.sh: %s\n' "$*" >&2; exit 1; }

build() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  need "${build_packages[@]}"
  cmake -S "$root" -B "$build/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr >/dev/null
  cmake --build "$build/build" --target couponsd-client
  rm -rf "$build/prefix"
  cmake --install "$build/build" --component client --prefix "$build/prefix" >/dev/null

  # Whatever is built here finds the library where it is now, by what pkg-config says about where it was put.
  local pc pkg_config flags libdir program
  pc=$(find "$build/prefix" -name couponsd-client.pc)
  export PKG_CONFIG_PATH=${pc%/*}
  pkg_config=(pkg-config "--define-variable=prefix=$build/prefix" couponsd-client)
  read -ra flags < <("${pkg_config[@]}" --cflags --libs)
  libdir=$("${pkg_config[@]}" --variable=libdir)
  for program in example smoke; do
    cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror "$here/$program.c" "${flags[@]}" -pthread \
      "-Wl,-rpath,$libdir" -o "$build/$program"
  done
}

case ${1-} in
build) build ;;
run)
  [[ -x $build/smoke ]] || die "there is no $build/smoke; make it with: clients/c/smoke.sh build"
  exec "$build/smoke" "${2:?usage: smoke.sh run HOST:PORT}"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT" ;;
esac

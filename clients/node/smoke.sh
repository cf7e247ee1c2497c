#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The Node.js client, tried on a couponsd that is started meanwhile (tests/clients).
#
#   smoke.sh build            the package couponsd, with its stubs and what it depends on, in $CLIENT_BUILD_DIR
#   smoke.sh run HOST:PORT    smoke.mjs says what it does
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/node}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/node/smoke.sh: %s\n' "$*" >&2; exit 1; }

build() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  # A Node.js from elsewhere brings its own npm, which Debian's does not go with.
  type node npm >/dev/null 2>&1 || need nodejs npm
  node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' ||
    die "Node.js 18 or later is needed, and $(command -v node) is $(node --version)"
  need protobuf-compiler libprotobuf-dev
  mkdir -p "$build"
  build=$(cd "$build" && pwd)

  # Node.js looks for packages beside the program and above it, so that the sources go where node_modules is.
  if ! cmp -s "$here/package-lock.json" "$build/installed.json"; then
    rm -f "$build/installed.json"
    cp "$here/package.json" "$here/package-lock.json" "$build/"
    # Nothing that is needed is made by a package's own script.
    (cd "$build" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    cp "$here/package-lock.json" "$build/installed.json"
  fi
  rm -rf "$build/couponsd" "$build/stubs" "$build/dist"
  mkdir "$build/stubs"
  cp -R "$here/package.json" "$here/tsconfig.json" "$here/couponsd" "$here"/*.mjs "$build/"
  # What they import is made too. importSuffix: Node.js wants an ES module's whole name.
  (cd "$root/proto" && protoc -I. --plugin="$build/node_modules/.bin/protoc-gen-ts_proto" \
    --ts_proto_out="$build/stubs" \
    --ts_proto_opt=outputServices=grpc-js,forceLong=bigint,env=node,importSuffix=.js,esModuleInterop=true \
    --ts_proto_opt=outputTypeAnnotations=static-only \
    coupon/v1/*.proto google/rpc/status.proto google/rpc/error_details.proto)
  (cd "$build" && npm run --silent build)
}

case ${1-} in
build) build ;;
run)
  [[ -d $build/dist ]] || die "nothing is built in $build; build it with: clients/node/smoke.sh build"
  exec node "$build/smoke.mjs" "${2:?usage: smoke.sh run HOST:PORT}"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT" ;;
esac

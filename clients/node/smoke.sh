#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the Node.js client; tests/clients runs it against a couponsd.
#
#   smoke.sh build            builds the package couponsd with its stubs and dependencies in $CLIENT_BUILD_DIR
#   smoke.sh run HOST:PORT    runs smoke.mjs, which explains itself
#   smoke.sh probe ARGUMENT…  runs probe.mjs, which explains itself
#   smoke.sh package          packs the package for npm into $CLIENT_BUILD_DIR/pack
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/node}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/node/smoke.sh: %s\n' "$*" >&2; exit 1; }

build() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  # A Node.js that is not Debian's has its own npm; Debian's npm does not work with it.
  type node npm >/dev/null 2>&1 || need nodejs npm
  node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' ||
    die "Node.js 18 or later is needed, and $(command -v node) is $(node --version)"
  need protobuf-compiler libprotobuf-dev
  mkdir -p "$build"
  build=$(cd "$build" && pwd)

  # The sources go to the folder of node_modules, since Node.js looks for packages in the program's folder and above.
  if ! cmp -s "$here/package-lock.json" "$build/installed.json"; then
    rm -f "$build/installed.json"
    cp "$here/package.json" "$here/package-lock.json" "$build/"
    # --ignore-scripts: no package here needs its install script.
    (cd "$build" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    cp "$here/package-lock.json" "$build/installed.json"
  fi
  rm -rf "$build/couponsd" "$build/stubs" "$build/dist"
  mkdir "$build/stubs"
  cp -R "$here/package.json" "$here/tsconfig.json" "$here/couponsd" "$here"/*.mjs "$build/"
  # ts-proto also generates imported files. importSuffix: Node.js needs the whole file name of an ES module.
  (cd "$root/proto" && protoc -I. --plugin="$build/node_modules/.bin/protoc-gen-ts_proto" \
    --ts_proto_out="$build/stubs" \
    --ts_proto_opt=outputServices=grpc-js,forceLong=bigint,env=node,importSuffix=.js,esModuleInterop=true \
    --ts_proto_opt=outputTypeAnnotations=static-only \
    coupon/v1/*.proto google/rpc/status.proto google/rpc/error_details.proto)
  (cd "$build" && npm run --silent build)
}

package() {
  build
  cp "$here/README.md" "$root/LICENSE" "$build/"
  rm -rf "$build/pack"
  mkdir "$build/pack"
  (cd "$build" && npm pack --silent --ignore-scripts --pack-destination pack >/dev/null)
}

case ${1-} in
build) build ;;
package) package ;;
run | probe)
  [[ -d $build/dist ]] || die "nothing is built in $build; build it with: clients/node/smoke.sh build"
  program=smoke
  [[ $1 == run ]] || program=probe
  exec node "$build/$program.mjs" "${@:2}"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT | probe ARGUMENT…" ;;
esac

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds and tests the Go client; tests/clients runs it against a couponsd.
#
#   smoke.sh generate         generates the stubs in gen/, which are checked in: a module cannot generate them
#   smoke.sh build            checks that gen/ is current, tests the package, builds into $CLIENT_BUILD_DIR
#   smoke.sh run HOST:PORT    runs smoke/main.go, which explains itself
#   smoke.sh probe ARGUMENT…  runs probe/main.go, which explains itself
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/go}
module=github.com/couponsd/couponsd/clients/go

note() { printf '%s\n' "$*"; }
die() { printf 'clients/go/smoke.sh: %s\n' "$*" >&2; exit 1; }

prepare() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  # shellcheck source=tools/go.sh
  source "$root/tools/go.sh"
  need protobuf-compiler libprotobuf-dev
  use_go
  mkdir -p "$build"
  build=$(cd "$build" && pwd)
  cd "$here"
  # readonly: the build does not change go.mod and go.sum. buildvcs: it also works in a tree without git.
  export GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0
  go build -o "$build/" tool # protoc's plugins, at the versions in go.mod
}

generate_into() { # args: folder
  rm -rf "$1"
  mkdir "$1"
  PATH=$build:$PATH protoc -I "$root/proto" --go_out="$1" --go_opt="module=$module/gen" \
    --go-grpc_out="$1" --go-grpc_opt="module=$module/gen" "$root"/proto/coupon/v1/*.proto
  # Versions of protoc differ in nothing else.
  sed -i -E '/^\/\/ (- |\t)protoc +(v[0-9.]+|\(unknown\))$/d' "$1"/coupon/v1/*.go
}

generate() {
  prepare
  generate_into "$here/gen"
}

build() {
  prepare
  generate_into "$build/gen"
  diff -r "$build/gen" gen || die "gen/ is not current; run clients/go/smoke.sh generate and commit the result"
  go vet ./...
  go test ./...
  go build -o "$build/example" .
  go build -o "$build/smoke" ./smoke
  go build -o "$build/probe" ./probe
}

case ${1-} in
build) build ;;
generate) generate ;;
run)
  [[ -x $build/smoke ]] || die "$build/smoke does not exist; build it with: clients/go/smoke.sh build"
  exec "$build/smoke" "${2:?usage: smoke.sh run HOST:PORT}"
  ;;
probe)
  shift
  exec "$build/probe" "$@"
  ;;
*) die "usage: smoke.sh generate | build | run HOST:PORT | probe ARGUMENT…" ;;
esac

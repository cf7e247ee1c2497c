#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes the peers of the interop tests in build/interop: programs of grpc-go in go/, jars of grpc-java in java/.
#
#   peers.sh    makes the peers that are missing or older than their description
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
peers=$root/build/interop

note() { printf '%s\n' "$*"; }
die() { printf 'tests/interop/peers.sh: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/servers/packages.sh
source "$root/tools/servers/packages.sh"
# shellcheck source=tools/go.sh
source "$root/tools/go.sh"

mkdir -p "$peers"
exec 9>"$peers/lock"
flock 9

use_go
note "building grpc-go's interop client and server"
# -mod=readonly keeps go.mod and go.sum as they are; -buildvcs=false allows a tree without git.
(cd "$here/go" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go build -o "$peers/go/" ./compressing \
  google.golang.org/grpc/interop/client google.golang.org/grpc/interop/server)

if ! cmp -s "$here/java/pom.xml" "$peers/java/pom.xml"; then
  command -v java >/dev/null || need default-jre-headless
  command -v mvn >/dev/null || need maven
  note "fetching grpc-java's interop client and server"
  rm -rf "$peers/java"
  mvn -q -B -Dstyle.color=never -f "$here/java/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$peers/java"
  cp "$here/java/pom.xml" "$peers/java/pom.xml"
fi

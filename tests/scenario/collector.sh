#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the OpenTelemetry Collector of collector/ as build/tests/collector, unless it is there and current.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

note() { printf '%s\n' "$*"; }
die() { printf 'tests/scenario/collector.sh: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/servers/packages.sh
source "$root/tools/servers/packages.sh"
# shellcheck source=tools/go.sh
source "$root/tools/go.sh"

mkdir -p "$root/build/tests"
exec 9>"$root/build/tests/collector.lock"
flock 9

use_go
# -mod=readonly keeps go.mod and go.sum as they are; -buildvcs=false allows a tree without git.
(cd "$here/collector" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
  go build -o "$root/build/tests/collector" .)

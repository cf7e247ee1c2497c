#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the peer of ./dev bench --peer, and prints its path.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

note() { printf '%s\n' "$*" >&2; }
die() { printf 'bench/peer/build.sh: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/servers/packages.sh
source "$root/tools/servers/packages.sh"
# shellcheck source=tools/go.sh
source "$root/tools/go.sh"

use_go
# -mod=readonly keeps go.mod and go.sum as they are; -buildvcs=false allows a tree without git.
cd "$here"
GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 go build -o "$root/build/peer/" . >&2
printf '%s\n' "$root/build/peer/peer"

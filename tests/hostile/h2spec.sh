#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the version of h2spec that h2spec/go.mod names, as build/h2spec.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

note() { printf '%s\n' "$*"; }
die() { printf 'tests/hostile/h2spec.sh: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/servers/packages.sh
source "$root/tools/servers/packages.sh"
# shellcheck source=tools/go.sh
source "$root/tools/go.sh"

use_go
mkdir -p "$root/build"
# -mod=readonly keeps go.mod and go.sum as they are; -buildvcs=false allows a tree without git.
(cd "$here/h2spec" && GOFLAGS='-mod=readonly -buildvcs=false' CGO_ENABLED=0 \
  go build -o "$root/build/h2spec" github.com/summerwind/h2spec/cmd/h2spec)

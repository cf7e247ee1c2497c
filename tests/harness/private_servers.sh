#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# private_servers.sh FUNCTION DIR [MORE]: one function of tools/servers/servers.sh, for tests that kill what it starts.
set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
note() { :; }
die() { printf 'servers: %s\n' "$*" >&2; exit 1; }

# shellcheck source=tools/servers/servers.sh
source "$root/tools/servers/servers.sh"
# The broker does not live long enough for the second compiler to pay off.
# shellcheck disable=SC2034
kafka_java_options=(-XX:TieredStopAtLevel=1 "-Xmx${KAFKA_HEAP-512m}")
# shellcheck disable=SC2034
kafka_settings=${KAFKA_SETTINGS-}
# shellcheck disable=SC2034
kafka_cluster_id=${KAFKA_CLUSTER_ID-}
"$@"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# servers.sh up|down DIR, servers.sh start DIR NAME: the run's own Postgres, Redis and Kafka, in folders of DIR.
#
# Redis writes an append-only file, so that it can restart with its data. Kafka tells its clients to connect through the
# proxy on DIR/kafka_proxy.port, and allows consumer sessions as short as world.py sets them.
set -Eeuo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
verb=$1 dir=$2

note() { printf '%s %s\n' "$(date +%T)" "$*"; }
die() { note "$*" >&2; exit 1; }

unset DEV_PG_PORT DEV_REDIS_PORT DEV_KAFKA_PORT # they belong to another folder's servers

# shellcheck source=tools/servers/servers.sh
source "$root/tools/servers/servers.sh"

port=$(cat "$dir/kafka_proxy.port")
# servers.sh reads these.
# shellcheck disable=SC2034
kafka_settings="advertised.listeners=PLAINTEXT://127.0.0.1:$port
group.min.session.timeout.ms=1000"
# shellcheck disable=SC2034
redis_options=(--appendonly yes)
# shellcheck disable=SC2034
kafka_java_options=(-XX:TieredStopAtLevel=1)

case $verb in
up)
  trap 'servers_undo "$dir"' EXIT
  servers_up "$dir"
  trap - EXIT
  ;;
start) "start_$3" "$dir" ;;
down) servers_down "$dir" ;;
esac

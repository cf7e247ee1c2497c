#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages with apt on a clean machine, and runs the command of the systemd unit.
#
#   FRESH_MACHINE=COMMAND tests/package/fresh_install.sh [SUITE...]
#
# `COMMAND --suite SUITE --bind SRC:DST REPOSITORY -- PROGRAM...` must run PROGRAM as root in a clone of the
# repository's HEAD on a clean, minimal Debian of the release SUITE (default: bookworm, then trixie) with the network of
# this machine, and the folder SRC mounted at DST. The script builds the packages on one such machine and installs them
# on another. It tests only committed changes. ./dev test does not run it.
#
# With POSTGRES_URL, REDIS_URL and KAFKA_BROKERS, couponsd must serve; without them, it must say that Postgres is down.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

if [[ -z ${FRESH_MACHINE-} ]]; then
  echo "not run: set FRESH_MACHINE to a command that runs a program on a clean Debian; $0 says how it is called"
  exit 0
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

cat >"$stage/settings" <<SETTINGS
COUPONSD_SET_POSTGRES_URL='${POSTGRES_URL-host=127.0.0.1 port=1}'
COUPONSD_SET_REDIS_URL='${REDIS_URL-redis://127.0.0.1:1}'
COUPONSD_SET_KAFKA_BROKERS='${KAFKA_BROKERS-127.0.0.1:1}'
COUPONSD_SET_KAFKA_TOPIC_PREFIX=fresh-install.
COUPONSD_SET_GRPC_LISTEN=127.0.0.1:0
COUPONSD_SET_HTTP_LISTEN=127.0.0.1:0
COUPONSD_SET_SERVER_STARTUP_WAIT_MS=$([[ -n ${POSTGRES_URL-} ]] && echo 30000 || echo 0)
SETTINGS

cat >"$stage/install.sh" <<'INSTALL'
set -xeuo pipefail
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y install --no-install-recommends /stage/couponsd_*.deb

command=$(sed -n 's/^ExecStart=//p' /usr/lib/systemd/system/couponsd.service)
$command --check-config
couponctl --version
set -a
. /stage/settings
set +a
status=0
(
  # The unit's user has no name and no rights.
  exec setpriv --reuid=65530 --regid=65530 --clear-groups --no-new-privs --bounding-set=-all $command
) >/tmp/out 2>/tmp/log &
until grep -q '^ready ' /tmp/out || ! kill -0 $!; do sleep 0.1; done
cat /tmp/out /tmp/log
if [[ $COUPONSD_SET_SERVER_STARTUP_WAIT_MS != 0 ]]; then
  address=$(sed -n 's/^ready grpc=\([^ ]*\).*/\1/p' /tmp/out)
  couponctl --server "$address" health
  kill -TERM $!
  wait $!
else
  wait $! || status=$?
  [[ $status == 3 ]]
  grep -q postgres /tmp/log
fi

# The client library's packages do not depend on a compiler.
apt-get -q -y install --no-install-recommends /stage/libcouponsd-client*.deb gcc libc6-dev
cc /usr/share/doc/libcouponsd-client-dev/examples/example.c $(pkg-config --cflags --libs couponsd-client) -o /tmp/example
status=0
/tmp/example 2>/tmp/usage || status=$?
[[ $status == 2 ]]
grep '^usage: ' /tmp/usage

apt-get -q -y purge couponsd libcouponsd-client-dev libcouponsd-client0
[[ ! -e /etc/couponsd/couponsd.ini && ! -e /usr/bin/couponsd ]]
INSTALL

run() { # args: what, program...
  echo "== $SECONDS s: $suite: $1"
  "$FRESH_MACHINE" --suite "$suite" --bind "$stage:/stage" "$root" -- "${@:2}"
}
(($#)) || set -- bookworm trixie
for suite in "$@"; do
  rm -f "$stage"/*.deb
  run "building the packages" bash -c './dev package && cp build/package/*.deb /stage/'
  run "installing them" bash /stage/install.sh
done
echo "== $SECONDS s: the packages install and work"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 Starts couponsd in a container. PGPASSWORD_FILE names a file, such as a mounted
# secret, with the password for Postgres. libpq takes the password from the environment, so it is on no command line and
# in no setting.
set -euo pipefail

if [[ -n ${PGPASSWORD_FILE-} ]]; then
  if [[ ! -r $PGPASSWORD_FILE ]]; then
    echo "entrypoint.sh: PGPASSWORD_FILE is $PGPASSWORD_FILE, but user $(id -u) cannot read that file" >&2
    exit 2
  fi
  PGPASSWORD=$(<"$PGPASSWORD_FILE")
  export PGPASSWORD
fi
exec couponsd "$@"

#!/usr/bin/env bash
# Starts couponsd in a container. PGPASSWORD_FILE names a file, such as a mounted secret, with the password for
# Postgres, which libpq then takes from its environment: so it stands on no command line and in no setting.
set -euo pipefail

if [[ -n ${PGPASSWORD_FILE-} ]]; then
  PGPASSWORD=$(<"$PGPASSWORD_FILE") || {
    echo "entrypoint.sh: PGPASSWORD_FILE is $PGPASSWORD_FILE, which user $(id -u) must be able to read" >&2
    exit 2
  }
  export PGPASSWORD
fi
exec couponsd "$@"

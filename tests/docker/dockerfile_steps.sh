#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the Dockerfile's RUN steps without Docker: the steps of each stage on a clean, minimal Debian of the release that
# the Dockerfile names.
#
#   FRESH_MACHINE=COMMAND tests/docker/dockerfile_steps.sh
#
# `COMMAND --suite NAME --bind SRC:DST REPOSITORY -- PROGRAM...` must run PROGRAM as root in a clone of the repository's
# HEAD on a minimal Debian of the release NAME (trixie), with the folder SRC mounted at DST. It tests only committed
# changes. ./dev test does not run it.
#
# The script does the work of the present COPY instructions itself: it copies the context, without the files that
# .dockerignore excludes, to /src, and /out of the build stage and the entry point to the run stage. The checks at the
# end are the script's own.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

if [[ -z ${FRESH_MACHINE-} ]]; then
  echo "not run: set FRESH_MACHINE to a command that runs a program on a clean Debian; $0 says how it is called"
  exit 0
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Prints the RUN steps of the n-th stage, each as a bash script that ends with the line "# end of step".
steps() { # args: n
  awk -v stage="$1" '
    /^FROM / { n++ }
    n == stage && (/^RUN / || continued) {
      sub(/^RUN /, "")
      continued = /\\$/
      print
      if (!continued) print "# end of step"
    }' "$root/docker/Dockerfile"
}

write_stage() { # args: n
  echo 'set -xeuo pipefail'
  if (($1 == 1)); then
    # What .dockerignore lets through: "*" and then exceptions.
    echo 'mkdir -p /src && sed -n "s/^!//p" .dockerignore | xargs cp --parents -rt /src && cd /src'
  else
    echo 'cp -r /stage/out/. / && cp docker/entrypoint.sh /usr/local/bin/ && cd /'
  fi
  # Each step runs in its own shell, as in Docker.
  steps "$1" | awk '
    BEGIN { print "bash -euo pipefail <<\"STEP\"" }
    /^# end of step$/ { print "STEP\nbash -euo pipefail <<\"STEP\""; next }
    { print }
    END { print "STEP" }'
  if (($1 == 1)); then
    echo 'cp -r /out /stage/'
  else
    cat <<'CHECKS'
[[ $(id -u couponsd):$(id -g couponsd) == 10001:10001 ]]
run=(setpriv --reuid=10001 --regid=10001 --clear-groups)
"${run[@]}" /usr/local/bin/entrypoint.sh --set grpc.listen=0.0.0.0:50051 --set grpc.plaintext_anywhere=true --set http.listen=0.0.0.0:9464 --check-config
"${run[@]}" couponctl help health
health=0
"${run[@]}" couponctl --server 127.0.0.1:1 health || health=$?
[[ $health == 1 ]]
! command -v gcc
du -shx --exclude=/srv --exclude=/stage /
CHECKS
  fi
}

suite=$(sed -n 's/^FROM debian:\([a-z]*\)-slim$/\1/p' "$root/docker/Dockerfile") # of the last stage
for n in 1 2; do
  write_stage "$n" >"$out/stage$n.sh"
  echo "== $SECONDS s: stage $n, $(steps "$n" | grep -c '^# end of step$') steps"
  "$FRESH_MACHINE" --suite "$suite" --bind "$out:/stage" "$root" -- bash "/stage/stage$n.sh"
done
echo "== $SECONDS s: the Dockerfile's steps work"

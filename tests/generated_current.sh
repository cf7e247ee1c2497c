#!/usr/bin/env bash
# generated/ must be what proto/generate.sh makes of proto/.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
"$root/proto/generate.sh" "$fresh"
diff -rq --exclude=CMakeLists.txt "$fresh" "$root/generated" || {
  echo "generated/ is not current: run ./dev generate" >&2
  exit 1
}

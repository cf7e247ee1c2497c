#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# generated/ must be what proto/generate.sh makes of proto/.
set -euo pipefail
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
proto/generate.sh "$fresh"
if ! difference=$(diff -rq --exclude=CMakeLists.txt "$fresh" generated); then
  echo "generated/ is not current; run ./dev generate and commit what it makes:"
  sed -E "s#^Files .* and (.*) differ\$#  \1 differs#
    s#^Only in $fresh/?(.*): (.*)#  generated/\1/\2 is missing#
    s#^Only in (generated.*): (.*)#  \1/\2 comes from no .proto; delete it#" <<<"$difference"
  exit 1
fi

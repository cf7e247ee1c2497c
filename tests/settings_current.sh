#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/reference/settings.md must be equal to the output of couponsd --settings markdown.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
diff <("${1:?usage: settings_current.sh COUPONSD}" --settings markdown) "$root/docs/reference/settings.md" || {
  echo "docs/reference/settings.md is not current: build/release/couponsd --settings markdown >docs/reference/settings.md" >&2
  exit 1
}

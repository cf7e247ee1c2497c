#!/usr/bin/env bash
# docs/settings.md must be what couponsd says of its settings.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
diff <("${1:?usage: settings_current.sh COUPONSD}" --settings markdown) "$root/docs/settings.md" || {
  echo "docs/settings.md is not current: build/release/couponsd --settings markdown >docs/settings.md" >&2
  exit 1
}

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/reference/reasons.md must be equal to the output of couponsd --reasons markdown.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
diff <("${1:?usage: reasons_current.sh COUPONSD}" --reasons markdown) "$root/docs/reference/reasons.md" || {
  echo "docs/reference/reasons.md is not current: build/release/couponsd --reasons markdown >docs/reference/reasons.md" >&2
  exit 1
}

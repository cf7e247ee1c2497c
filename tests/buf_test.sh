#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# proto/ follows buf's STANDARD rules (buf.yaml) and does not break clients of the main branch. The test also checks
# that buf finds faults.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
note() { printf '%s\n' "$*"; }
die() { printf 'buf_test: %s\n' "$*" >&2; exit 1; }
# shellcheck source=tools/servers/packages.sh
source tools/servers/packages.sh
# shellcheck source=tools/go.sh
source tools/go.sh

buf=$(go_tool github.com/bufbuild/buf/cmd/buf@v1.65.0)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# buf must not write to the user's home.
export BUF_CACHE_DIR=$scratch/cache

# safe.directory: the checkout may belong to another user than the one who runs the test.
repository() { git -c safe.directory="$root" "$@"; }

base() { # prints the commit to compare with: the main branch, or the nearest substitute in this checkout
  local ref
  for ref in refs/heads/main refs/remotes/origin/main HEAD~1; do
    if repository rev-parse --verify --quiet "$ref^{commit}" >/dev/null; then
      echo "$ref"
      return
    fi
  done
}

mutant() { # args: name, file, sed script that must change it; prints the folder of a copy of proto/ with that change
  local dir=$scratch/$1
  mkdir "$dir"
  cp -r buf.yaml proto "$dir"
  sed -i "$3" "$dir/$2"
  ! cmp -s "$2" "$dir/$2" || die "$2 has changed: the fault '$3' no longer applies to it; fix this test"
  echo "$dir"
}

refused() { # args: expected part of the output, command...
  local said expected=$1
  shift
  if said=$("$@" 2>&1); then die "accepted a fault: $*"; fi
  [[ $said == *"$expected"* ]] || die "expected '$expected' from $*, but it said: $said"
  note "refused, as expected: ${said//"$scratch/"/}"
}

"$buf" lint || die "proto/ breaks the rules above"
note "lint: fine"

if [[ ! -e .git ]]; then
  note "breaking: NOT CHECKED, because this tree has no .git to compare with"
else
  need git
  said=$(repository rev-parse --verify HEAD 2>&1) || die "git cannot read this checkout: $said"
  against=$(base)
  if [[ -z $against ]]; then
    note "breaking: NOT CHECKED, because this checkout has neither main, nor origin/main, nor a commit before HEAD"
  else
    # Unpack the old version here, because buf would clone it, which does not work in a worktree. Use the current rules.
    mkdir "$scratch/before"
    repository archive "$against" proto | tar -x -C "$scratch/before"
    cp buf.yaml "$scratch/before"
    "$buf" breaking --against "$scratch/before" || die "proto/ breaks clients of $against ($(repository rev-parse \
      --short "$against")): see above. What is on the wire can be added to, but not changed"
    note "breaking: fine against $against ($(repository rev-parse --short "$against"))"
  fi
fi

faulty=$(mutant renumbered proto/coupon/v1/publish.proto 's/int64 ticket = 5 /int64 ticket = 15 /')
refused 'Previously present field "5" with name "ticket" on message "PublishStatus" was deleted' \
  "$buf" breaking "$faulty" --against .
faulty=$(mutant retyped proto/coupon/v1/events.proto 's/int64 ticket = 4;/int32 ticket = 4;/')
refused 'changed type from "int64" to "int32"' "$buf" breaking "$faulty" --against .
faulty=$(mutant misnamed proto/coupon/v1/coupon.proto 's/STATUS_PAUSED/PAUSED/')
refused 'should be prefixed with "STATUS_"' "$buf" lint "$faulty"

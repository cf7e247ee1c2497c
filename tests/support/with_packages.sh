#!/usr/bin/env bash
# Runs a test with Debian's python3 (that of the apt packages), once these packages are installed:
#
#   with_packages.sh TEST.py PACKAGE...
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
note() { echo "== $*"; }
die() { echo "with_packages.sh: $*" >&2; exit 1; }
# shellcheck source=tools/servers/packages.sh
source "$here/../../tools/servers/packages.sh"
test=${1:?usage: with_packages.sh TEST.py PACKAGE...}
shift
need "$@"
export PYTHONPATH=$here/../scenario PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 "$test" -v

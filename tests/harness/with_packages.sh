#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs missing packages and then runs a command with Debian's python3, which finds their modules:
#
#   with_packages.sh PACKAGE... -- COMMAND...
set -euo pipefail
note() { echo "== $*"; }
die() { echo "with_packages.sh: $*" >&2; exit 1; }
# shellcheck source=tools/servers/packages.sh
source "$(dirname "$0")/../../tools/servers/packages.sh"
packages=()
while [[ ${1?usage: with_packages.sh PACKAGE... -- COMMAND...} != -- ]]; do
  packages+=("$1")
  shift
done
shift
need "${packages[@]}"
[[ $1 != python3 ]] || set -- /usr/bin/python3 "${@:2}"
exec "$@"

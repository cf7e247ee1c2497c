#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds, installs and tests the C client; tests/clients runs it against a couponsd.
#
#   smoke.sh build            installs the library below $CLIENT_BUILD_DIR, builds programs against it with pkg-config
#   smoke.sh run HOST:PORT    runs smoke.c, which explains itself
#   smoke.sh probe ARGUMENT…  runs probe.c, which explains itself
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=${CLIENT_BUILD_DIR:-$root/build/clients/c}

note() { printf '%s\n' "$*"; }
die() { printf 'clients/c/smoke.sh: %s\n' "$*" >&2; exit 1; }

build() {
  # shellcheck source=tools/servers/packages.sh
  source "$root/tools/servers/packages.sh"
  need "${build_packages[@]}"
  cmake -S "$root" -B "$build/build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_INSTALL_PREFIX=/usr >/dev/null
  cmake --build "$build/build" --target couponsd_client_shared
  rm -rf "$build/prefix"
  local component
  for component in client_library client; do
    cmake --install "$build/build" --component "$component" --prefix "$build/prefix" >/dev/null
  done

  # pkg-config answers for the prefix below $build, where the library is, and the programs look for it there at run
  # time.
  local pc pkg_config flags libdir program
  pc=$(find "$build/prefix" -name couponsd-client.pc)
  export PKG_CONFIG_PATH=${pc%/*}
  pkg_config=(pkg-config "--define-variable=prefix=$build/prefix" couponsd-client)
  read -ra flags < <("${pkg_config[@]}" --cflags --libs)
  libdir=$("${pkg_config[@]}" --variable=libdir)
  for program in example smoke probe; do
    cc -std=c17 -D_GNU_SOURCE -Wall -Wextra -Werror "$here/$program.c" "${flags[@]}" -pthread \
      "-Wl,-rpath,$libdir" -o "$build/$program"
  done
}

case ${1-} in
build) build ;;
run)
  [[ -x $build/smoke ]] || die "$build/smoke does not exist; build it with: clients/c/smoke.sh build"
  exec "$build/smoke" "${2:?usage: smoke.sh run HOST:PORT}"
  ;;
probe)
  shift
  exec "$build/probe" "$@"
  ;;
*) die "usage: smoke.sh build | run HOST:PORT | probe ARGUMENT…" ;;
esac

# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# What Debian 12 or 13 has to have installed, and how ./dev gets it. The names are the same in each release; where Debian
# has several versions side by side, the name is of the package that depends on the release's own.
#
#   need PACKAGE...   installs those that are missing; asks apt for nothing otherwise
#
# Needs die() and note() from the script that sources it.

build_packages=(build-essential cmake ninja-build pkg-config libgrpc-dev libprotobuf-c-dev protobuf-c-compiler
  protobuf-compiler libprotobuf-dev librdkafka-dev libhiredis-dev libpq-dev libmicrohttpd-dev libcurl4-openssl-dev libinih-dev zlib1g-dev libssl-dev
  libcriterion-dev libnghttp2-dev libjemalloc-dev)
package_packages=(dpkg-dev file)
server_packages=(postgresql redis-server default-jre-headless maven openssl python3)
test_packages=(libfaketime git iproute2 nghttp2-client)
lint_packages=(clang clang-format clang-tidy shellcheck)

# Keeps Postgres from making and starting a cluster while it is installed: the private servers bring theirs.
no_cluster=/etc/postgresql-common/createcluster.d/couponsd-dev.conf

is_installed() { # args: package
  [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt_get() { # a unit of apt that is at work, such as the nightly upgrade, is waited for
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"
}

apt_install() { # args: packages
  # The lists may be missing or old, which shows when something is not found.
  apt_get install --no-install-recommends "$@" || { apt_get update && apt_get install --no-install-recommends "$@"; }
}

show_progress() { # of apt's output: a line now and then
  local line last=$SECONDS
  while IFS= read -r line; do
    ((SECONDS - last < 10)) || { last=$SECONDS && note "  … ${line:0:90}"; }
  done
}

need() { # args: packages
  local missing=() package log failed=''
  for package in "$@"; do
    is_installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  ((EUID == 0)) || command -v sudo >/dev/null ||
    die "packages are missing (${missing[*]}): install them, or run ./dev as root or where there is sudo"
  note "installing ${missing[*]}"
  log=$(mktemp)
  if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    as_root mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' | as_root tee "$no_cluster" >/dev/null
  fi
  apt_install "${missing[@]}" 2>&1 | tee "$log" | show_progress || failed=1
  [[ ! -e $no_cluster ]] || as_root rm -f "$no_cluster"
  [[ -z $failed ]] || { tail -n 20 "$log" >&2; die "apt could not install ${missing[*]}; all it said is in $log"; }
  rm -f "$log"
  note "installed"
}

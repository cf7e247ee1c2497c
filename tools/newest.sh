# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # root is the sourcing script's
# couponsd with the newest gRPC that Debian has packaged: builds, tests and measures it in a root of Debian testing with
# the gRPC of Debian experimental. Not a part of CI, since packages of experimental come and go.
#
#   newest [FILTER]   runs the tests whose names match FILTER; without it, those that gRPC matters to and ./dev bench rpc
#
# The root is in .dev/newest, or in the folder that DEV_NEWEST names, and stays for the next run. Delete it to have it made
# anew. Commands in it see the network, /dev and /sys of this machine. Nothing that they start outlives them.
#
# Needs die(), note(), need() and as_root() from the script that sources it, and root or sudo.

newest_dir=${DEV_NEWEST:-$root/.dev/newest}
# Tests that do not depend on gRPC run on Debian 12 and 13 in CI.
newest_tests='^rpc_|^edge_|^api_|^interop$|^example$|^scenario_(access|grpcurl|hostile|process|restart)$'
newest_environment=(HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)

in_newest() { # args: command; runs in the root, in namespaces of its own
  # shellcheck disable=SC2016
  as_root unshare --mount --pid --fork --kill-child bash -ec '
    mount -t proc proc "$1/proc"
    for dir in dev sys; do mount --rbind "/$dir" "$1/$dir"; done
    exec chroot "$1" env -i "${@:2}"' newest "$newest_dir" "${newest_environment[@]}" "$@"
}

newest_write() { # args: file in the root; its content comes from stdin
  as_root mkdir -p "$newest_dir/$(dirname "$1")"
  as_root tee "$newest_dir/$1" >/dev/null
}

# What package clients need to reach their registries as they do here.
newest_carry() {
  local file name
  for file in /etc/hosts /etc/resolv.conf /usr/local/share/ca-certificates; do
    [[ ! -e $file ]] || as_root cp -rL --parents "$file" "$newest_dir"
  done
  for file in .config/go/env .m2/settings.xml; do
    [[ ! -e ~/$file ]] || newest_write "root/$file" <~/"$file"
  done
  apt-config dump | grep -E '^Acquire::(https?::|Check-)' | newest_write etc/apt/apt.conf.d/90host || true
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY GOPROXY GOSUMDB GOFLAGS; do
    [[ -z ${!name-} ]] || newest_environment+=("$name=${!name}")
  done
}

newest_make() {
  local mirror log=$newest_dir.log
  need debootstrap
  # shellcheck disable=SC2016 # apt's own
  mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 !~ /-/ && $2 == "main" && !found { found = $3 } END { print found }')
  note "making a root of Debian testing in $newest_dir"
  mkdir -p "$(dirname "$newest_dir")"
  as_root rm -rf --one-file-system "$newest_dir.new"
  as_root debootstrap --variant=minbase --include=ca-certificates testing "$newest_dir.new" \
    "${mirror:-https://deb.debian.org/debian/}" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "debootstrap failed"; }
  as_root mv "$newest_dir.new" "$newest_dir"
  # Packages start no service when they are installed.
  newest_write usr/sbin/policy-rc.d <<<$'#!/bin/sh\nexit 101'
  as_root chmod 755 "$newest_dir/usr/sbin/policy-rc.d"
  for suite in testing unstable experimental; do
    echo "deb ${mirror:-https://deb.debian.org/debian/} $suite main"
  done | newest_write etc/apt/sources.list
  # gRPC is taken from experimental. Other packages come from there, or from unstable, only where gRPC depends on them.
  newest_write etc/apt/preferences.d/newest <<'EOF'
Package: *
Pin: release a=unstable
Pin-Priority: 100

Package: src:grpc src:utf8-range
Pin: release a=experimental
Pin-Priority: 990
EOF
}

# Puts this checkout's files into the root, in place of those that were there. Builds stay.
newest_copy() {
  as_root mkdir -p "$newest_dir/srv/couponsd"
  as_root find "$newest_dir/srv/couponsd" -mindepth 1 -maxdepth 1 -not -name build -not -name .dev -exec rm -rf {} +
  # shellcheck disable=SC2016 # for the inner shell
  (cd "$root" && git -c safe.directory="$root" ls-files -z -co --exclude-standard |
    xargs -0 sh -c 'for file; do [ ! -e "$file" ] || printf "%s\0" "$file"; done' sh | tar --null -T - -c) |
    as_root tar -x --no-same-owner -C "$newest_dir/srv/couponsd"
}

newest() {
  (($# <= 1)) || usage "newest takes one FILTER"
  local tests=${1:-$newest_tests}
  [[ -d $newest_dir ]] || newest_make
  newest_carry
  newest_copy
  in_newest sh -c 'update-ca-certificates >/dev/null 2>&1; apt-get -qq update'
  # libgrpc-dev does not depend on libutf8-range-dev, but libgrpc.a does not link without it.
  in_newest env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install libutf8-range-dev libgrpc-dev \
    >"$newest_dir.log" 2>&1 || { tail -n 20 "$newest_dir.log" >&2; die "apt could not install libgrpc-dev"; }
  # shellcheck disable=SC2016 # dpkg's own
  note "gRPC: $(in_newest dpkg-query -W -f '${Version}' libgrpc-dev)"
  in_newest /srv/couponsd/dev test "$tests"
  [[ ${1-} ]] || in_newest /srv/couponsd/dev bench rpc
}

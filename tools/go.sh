#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Go that is recent enough for the tests and the Go client, and programs written in Go, at fixed versions.
#
#   tools/go.sh go                        prints the path of a go
#   tools/go.sh tool PACKAGE@VERSION...   installs the programs that are missing; prints a path for each
#
# or, sourced after tools/servers/packages.sh, where there are note() and die():
#
#   use_go                        puts that go first on PATH and keeps it from fetching another one
#   go_tool PACKAGE@VERSION...    as tool does
#
# The script uses the go on PATH where it is recent enough. Debian's is not, but it can fetch one that is: a
# toolchain is a module like any other, with its sum in the checksum database. Downloads are kept in build/tools, under locks, so that
# tests may run side by side.

tools_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/build/tools

go_minimum=1.25.0 # asked for by grpc-go
go_fetched=1.26.8 # where the go on PATH is older

go_is_recent() { # args: go
  local version
  # Not `go version`: inside a module it reports the toolchain that the module selects.
  version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
  [[ $version == go[0-9]* ]] && printf '%s\n' "$go_minimum" "${version#go}" | sort -CV
}

go_fetch() { # args: the folder it is to be in
  local old dir arch
  command -v go >/dev/null || need golang-go >&2
  old=$(command -v go) || die "there is no go on PATH, although golang-go is installed: is /usr/bin on it?"
  arch=$("$old" env GOARCH)
  note "fetching Go $go_fetched" >&2
  dir=$(mktemp -d "$tools_dir/fetch.XXXXXX")
  # An empty folder: outside any module, and with a module cache of its own, which can be deleted (-modcacherw).
  (cd "$dir" && GOFLAGS='-mod=mod -modcacherw' GOMODCACHE=$dir/cache \
    "$old" mod download -json "golang.org/toolchain@v0.0.1-go$go_fetched.linux-$arch" >"$dir/log" 2>&1) ||
    { cat "$dir/log" >&2; rm -rf "$dir"; die "could not fetch Go $go_fetched; put a Go >= $go_minimum on PATH"; }
  # The zip of a module does not preserve the executable bit.
  chmod +x "$dir"/cache/golang.org/toolchain@*/bin/* "$dir"/cache/golang.org/toolchain@*/pkg/tool/*/*
  mv "$dir"/cache/golang.org/toolchain@* "$1"
  rm -rf "$dir"
}

go_lock() { # args: name; held until go_unlock
  mkdir -p "$tools_dir"
  exec {go_lock_fd}>"$tools_dir/lock.$1"
  flock "$go_lock_fd"
}

go_unlock() {
  flock -u "$go_lock_fd"
  exec {go_lock_fd}>&-
}

use_go() {
  local go dir=$tools_dir/go-$go_fetched
  export GOTOOLCHAIN=local
  if go=$(command -v go) && go_is_recent "$go"; then return; fi
  go_lock go
  [[ -x $dir/bin/go ]] || go_fetch "$dir"
  go_unlock
  # A GOROOT in the environment belongs to another Go.
  unset GOROOT
  export PATH=$dir/bin:$PATH
}

go_tool() { # args: package@version...
  local wanted program new
  use_go
  for wanted in "$@"; do
    [[ $wanted == *?@v[0-9]* ]] || die "go_tool takes PACKAGE@VERSION, not $wanted"
    program=${wanted%@*}
    program=$tools_dir/bin/${program##*/}
    go_lock "${program##*/}"
    if [[ ! -x $program || $(cat "$program.version" 2>/dev/null) != "$wanted" ]]; then
      note "installing $wanted" >&2
      new=$(mktemp -d "$tools_dir/install.XXXXXX")
      # Only the resolver of the host would need C.
      (cd "$new" && CGO_ENABLED=0 GOFLAGS=-mod=mod GOBIN=$new go install "$wanted" >"$new/log" 2>&1) ||
        { cat "$new/log" >&2; rm -rf "$new"; die "could not install $wanted"; }
      mkdir -p "$tools_dir/bin"
      # In this order, so that the version file never names a version other than the program's.
      rm -f "$program.version"
      mv "$new/${program##*/}" "$program"
      echo "$wanted" >"$program.version"
      rm -rf "$new"
    fi
    go_unlock
    echo "$program"
  done
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  note() { printf '%s\n' "$*" >&2; }
  die() { printf '%s: %s\n' "$0" "$*" >&2; exit 1; }
  # shellcheck source=tools/servers/packages.sh
  source "$(dirname "${BASH_SOURCE[0]}")/servers/packages.sh"
  case ${1-} in
  go) use_go && command -v go ;;
  tool) shift && go_tool "$@" ;;
  *) die "usage: $0 go | tool PACKAGE@VERSION..." ;;
  esac
fi

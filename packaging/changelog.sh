#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# changelog.sh CHANGELOG.md VERSION MAINTAINER: prints the changelog in Debian's format. VERSION is that of the
# unreleased section, whose date is SOURCE_DATE_EPOCH, or the time of the file.
set -eu
epoch=${SOURCE_DATE_EPOCH:-$(stat -c %Y "$1")}
LC_ALL=C awk -v version="$2" -v maintainer="$3" -v today="$(date -u -d "@$epoch" +%Y-%m-%d)" '
  function end_item(  n, i, words, line) {
    if (item == "") return
    n = split(item, words, " ")
    line = "  *"
    for (i = 1; i <= n; i++) {
      if (length(line) + 1 + length(words[i]) > 79) { print line; line = "   " }
      line = line " " words[i]
    }
    print line
    item = ""
  }
  function end_section(  command, time) {
    end_item()
    if (date == "") return
    command = "LC_ALL=C date -u -R -d " date
    command | getline time
    close(command)
    print "\n -- " maintainer "  " time "\n"
  }
  /^## \[/ {
    end_section()
    split($2, name, /[][]/)
    date = name[2] == "Unreleased" ? today : $4
    print "couponsd (" (name[2] == "Unreleased" ? version : name[2]) ") unstable; urgency=medium\n"
    next
  }
  date == "" { next }
  /^- / { end_item(); item = substr($0, 3); next }
  /^  / && item != "" { item = item " " substr($0, 3); next }
  { end_item() }
  END { end_section() }
' "$1"

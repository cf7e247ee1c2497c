#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/metrics.md from the metrics that a running couponsd serves.

usage: tools/metrics_reference.py [--check] URL

The page comes from the lines # HELP and # TYPE, sorted by name. URL is http://HOST:PORT/metrics of a couponsd with all
its stages. With --check the program writes nothing, and fails when the page is not current.
"""

import os
import re
import sys
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "reference", "metrics.md")
USAGE = "usage: tools/metrics_reference.py [--check] URL"
HEAD = """# Metrics

Made by `tools/metrics_reference.py` from what a running couponsd serves at `/metrics`. [Monitor a running
couponsd](../how-to/monitor.md) says which of these to look at, and when. A histogram NAME is served as `NAME_bucket`, `NAME_sum` and `NAME_count`.

| metric | type | meaning |
|---|---|---|
"""


def page(metrics):
    types = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", metrics))
    texts = dict(re.findall(r"(?m)^# HELP (\S+) (.*)$", metrics))
    if not types or types.keys() != texts.keys():
        sys.exit("each metric needs a line # HELP and a line # TYPE; this answer has "
                 f"{len(texts)} of the one and {len(types)} of the other")
    rows = [f"| `{name}` | {types[name]} | {texts[name].replace('|', chr(92) + '|')} |\n" for name in sorted(types)]
    return HEAD + "".join(rows)


def main():
    arguments = sys.argv[1:]
    check = arguments[:1] == ["--check"]
    if len(arguments) != 1 + check or not arguments[-1].startswith("http://"):
        sys.exit(USAGE)
    with urllib.request.urlopen(arguments[-1], timeout=30) as answer:
        wanted = page(answer.read().decode())
    if not check:
        with open(PAGE, "w", encoding="utf-8") as file:
            file.write(wanted)
        return
    with open(PAGE, encoding="utf-8") as file:
        if file.read() != wanted:
            sys.exit("docs/reference/metrics.md is not current: start couponsd and run tools/metrics_reference.py "
                     "http://127.0.0.1:9464/metrics")


if __name__ == "__main__":
    main()

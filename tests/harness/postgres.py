# SPDX-License-Identifier: Apache-2.0
"""Queries to Postgres through psql."""

import subprocess


def psql(url, *statements):
    """Runs the statements in one session; returns the rows as lists of text."""
    commands = [word for statement in statements for word in ("-c", statement)]
    done = subprocess.run(["psql", url, "-X", "-At", "-v", "ON_ERROR_STOP=1", "-q", *commands], capture_output=True,
                          text=True)
    if done.returncode:
        raise AssertionError(f"{statements[-1]}: {done.stderr}")
    return [line.split("|") for line in done.stdout.splitlines()]


def with_search_path(url, schema):
    """The URL with this schema as the whole search path."""
    separator = "&" if "?" in url else "?"
    return f"{url}{separator}options=-csearch_path%3D{schema}"

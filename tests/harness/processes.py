# SPDX-License-Identifier: Apache-2.0
"""Processes that a test has started: stopping them, and their use of CPU."""

import contextlib
import os
import signal
import subprocess

from tests.harness import environment

TICKS = os.sysconf("SC_CLK_TCK")


def end(process, number=signal.SIGTERM, patience_s=None):
    """Sends a signal to the process if it still runs, and waits for its end. Kills it after patience_s, if given."""
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def stat(pid):
    """The fields of /proc/PID/stat that follow the name of the command; the first one is the state."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return file.read().rpartition(")")[2].split()


def processes():
    """(pid, fields of stat) of all processes."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            yield int(name), stat(name)


def descendants(pid):
    """The pids of all descendants, the youngest generation first, and then the process itself."""
    found = []
    for child, fields in processes():
        if int(fields[1]) == pid:
            found += descendants(child)
    return [*found, pid]


def cpu_seconds(pid):
    """CPU time of the process alone, user and system."""
    return sum(map(int, stat(pid)[11:13])) / TICKS


def cpu_seconds_with_children(pid):
    """CPU time of the process, of its ended children, and of its running descendants."""
    total = sum(map(int, stat(pid)[11:15]))
    for _, fields in processes():
        if fields[1] == str(pid):
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def server_pid(name):
    """The pid of postgres, redis or kafka in SERVERS_DIR."""
    with open(f"{environment.server('SERVERS_DIR')}/{name}.pid", encoding="ascii") as file:
        return int(file.read().split()[0])

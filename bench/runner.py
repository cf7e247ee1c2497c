# SPDX-License-Identifier: Apache-2.0
"""Runs the programs of ./dev bench: the folder for logs, the exit code, and the JSON, which describes the machine.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile

from tests.harness import environment
from tests.harness.postgres import psql


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    query = """
        select name || ' ' || current_setting(name) from pg_settings
        where name in ('server_version', 'fsync', 'synchronous_commit', 'full_page_writes', 'shared_buffers')"""
    shown = psql(environment.server("POSTGRES_URL"), query)
    return {"cores": os.cpu_count(), "model": model, "kernel": platform.release(),
            "postgres": [row[0] for row in shown]}


def machine_text(whole):
    of = whole["machine"]
    return f"{of['cores']} cores ({of['model']}); Postgres: {', '.join(of['postgres'])}"


def whole_of(options, wrong, **figures):
    """Returns the content of the JSON."""
    return {"machine": machine(), "options": vars(options), **figures, "wrong": wrong and str(wrong)}


def write_json(path, whole):
    """path: None: do not write; -: stdout."""
    if not path:
        return
    with sys.stdout if path == "-" else open(path, "w", encoding="utf-8") as file:
        json.dump(whole, file, indent=1)
        file.write("\n")


def end_if_short(rows, wrong, what):
    """Ends the program if a row of the table misses its target, unless run() ends it for another reason."""
    short = [row.what for row in rows if row.ok is False]
    if short and not wrong:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {what}: {'; '.join(short)}")


def run(measure, show):
    """measure(results) fills the results step by step, so that show(results, wrong) has the earlier ones if a later one
    fails. Ends the program if something is wrong, and keeps the logs then."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that context managers stop all processes
    folder = None
    if "TEST_DIR" not in os.environ:
        folder = os.environ["TEST_DIR"] = tempfile.mkdtemp(prefix="couponsd-bench.")
    results, wrong = {}, None
    try:
        measure(results)
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        wrong = error
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if folder and not wrong:
            shutil.rmtree(folder)
    show(results, wrong)
    if wrong:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {wrong}; logs are in {os.environ['TEST_DIR']}")

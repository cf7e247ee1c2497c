# SPDX-License-Identifier: Apache-2.0
"""A couponsd process that a test starts, queries, and stops."""

import os
import re
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

from tests.harness.environment import BUILD, PATIENCE


def http_get(address, path):
    """Returns the status and the body."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Couponsd:
    """One couponsd process on free ports. With another command, the settings go through the environment."""

    def __init__(self, scenario, settings, grpc="127.0.0.1:0", command=None):
        self.log = tempfile.NamedTemporaryFile(
            "w+", dir=os.environ.get("TEST_DIR"), prefix="couponsd-", suffix=".log", delete=False)
        settings = {"grpc.listen": grpc, "http.listen": "127.0.0.1:0", **scenario.settings, **settings}
        environment = None
        if command:
            names = {key: f"COUPONSD_SET_{key.upper().replace('.', '_')}" for key in settings}
            environment = {**os.environ, **{names[key]: str(value) for key, value in settings.items()}}
        else:
            command = [f"{BUILD}/couponsd"]
            for key, value in settings.items():
                command += ["--set", f"{key}={value}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment)
        line = self.process.stdout.readline()
        match = re.fullmatch(r"ready grpc=(\S+) http=(\S+)\n", line)
        if not match:
            self.process.wait()
            raise AssertionError(f"expected a ready line, got {line!r}; log: {self.text()}")
        self.grpc, self.http = match.groups()

    def text(self):
        with open(self.log.name) as log:
            return log.read()

    def kill(self):
        """kill -9"""
        self.process.kill()
        self.process.wait()

    def stop(self, signal_number=signal.SIGTERM):
        self.process.send_signal(signal_number)
        return self.process.wait(60 * PATIENCE)

    def end(self):
        """Ends the process whatever its state, so that it does not outlive its test."""
        if self.process.poll() is None:
            self.kill()
        self.process.stdout.close()
        self.log.close()

    def get(self, path):
        return http_get(self.http, path)

    def metric(self, name, **labels):
        """The sum of the metric over all label sets that include `labels`."""
        having = "".join(f'(?=[^}}]*{key}="{value}")' for key, value in labels.items())
        values = re.findall(rf"^{name}(?:{{{having}[^}}]*}}){'' if labels else '?'} (\S+)$", self.get("/metrics")[1],
                            re.M)
        return sum(float(value) for value in values)

    def check_log(self):
        found = re.search(r".*(Sanitizer|runtime error:).*", self.text())
        assert not found, f"{found.group(0)} in {self.log.name}"

# SPDX-License-Identifier: Apache-2.0
"""Debian's Chromium, driven by the WebDriver protocol."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request

# Chromium must not look for its maker's servers.
ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic",
             "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-default-apps", "--window-size=1280,900"]
WAIT_S = 60


class WebDriver:
    def __init__(self, folder):
        os.makedirs(folder)
        self.process = subprocess.Popen(["chromedriver", "--port=0", f"--log-path={folder}/driver.log"],
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for line in self.process.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                break
        else:
            raise AssertionError("chromedriver has ended")
        self.base = f"http://127.0.0.1:{found[1]}/session"
        options = {"binary": "/usr/bin/chromium", "args": [*ARGUMENTS, f"--user-data-dir={folder}/profile"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
                  "timeouts": {"script": WAIT_S * 1000}}
        self.base += "/" + self.post("", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def send(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2 * WAIT_S) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()[:1000]}") from error

    def post(self, path, body):
        return self.send("POST", path, body)

    def go(self, url):
        self.post("/url", {"url": url})

    def script(self, text, *arguments):
        return self.post("/execute/sync", {"script": text, "args": list(arguments)})

    def wait_for_script(self, expression, *arguments):
        """Returns what the expression's promise brings."""
        return self.post("/execute/sync", {"script": f"return {expression}", "args": list(arguments)})

    def errors(self):
        """Lines of the console that are errors."""
        return [each["message"] for each in self.post("/se/log", {"type": "browser"}) if each["level"] == "SEVERE"]

    def close(self):
        try:
            self.send("DELETE", "")
        finally:
            self.process.terminate()
            self.process.wait(20)
            self.process.stdout.close()

# SPDX-License-Identifier: Apache-2.0
"""A page in a real Chromium, whose script is a Connect client bundled from npm's packages."""

import functools
import http.server
import os
import shutil
import subprocess
import threading

from tests.harness import ROOT
from tests.harness.webdriver import WebDriver

SOURCE = os.path.join(ROOT, "tests", "proxy", "web")
PROTOS = ("coupon/v1/coupon_service.proto", "coupon/v1/publish.proto", "google/api/annotations.proto",
          "google/api/field_behavior.proto", "google/api/http.proto", "google/rpc/error_details.proto")


def need_npm():
    """A Node.js that is not Debian's has its own npm; Debian's npm does not work with it."""
    if not (shutil.which("node") and shutil.which("npm")):
        install = os.path.join(ROOT, "tests", "harness", "with_packages.sh")
        subprocess.run([install, "nodejs", "npm", "--", "true"], check=True)


def bundle(folder):
    """Installs the packages, generates the stubs and bundles the script into the folder."""
    need_npm()
    work = os.path.join(ROOT, "build", "tests", "proxy-web")
    os.makedirs(work, exist_ok=True)
    for name in os.listdir(SOURCE):
        shutil.copy(os.path.join(SOURCE, name), work)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=work, check=True)
    bin_dir = os.path.join(work, "node_modules", ".bin")
    os.makedirs(os.path.join(work, "gen"), exist_ok=True)
    subprocess.run(["protoc", "-I", os.path.join(ROOT, "proto"), "-I", "/usr/include",
                    f"--plugin={bin_dir}/protoc-gen-es", f"--es_out={work}/gen", "--es_opt=target=js", *PROTOS],
                   check=True)
    subprocess.run([f"{bin_dir}/esbuild", "main.mjs", "--bundle", "--log-level=warning",
                    f"--outfile={folder}/main.js"], cwd=work, check=True)


class Page:
    def __init__(self, folder):
        site = os.path.join(folder, "site")
        os.makedirs(site)
        bundle(site)
        with open(os.path.join(site, "index.html"), "w", encoding="utf-8") as file:
            file.write('<!doctype html><title>coupons</title><script src="main.js"></script>')
        handler = functools.partial(Quiet, directory=site)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.driver = WebDriver(os.path.join(folder, "chromium"))
        self.driver.go(f"http://127.0.0.1:{self.http.server_port}/index.html")

    def call(self, protocol, url, coupon, user):
        return self.driver.wait_for_script("window.request(...arguments)", protocol, url, str(coupon), str(user))

    def watch(self, protocol, url, coupon, user):
        return self.driver.wait_for_script("window.watch(...arguments)", protocol, url, str(coupon), str(user))

    def close(self):
        self.driver.close()
        self.http.shutdown()
        self.http.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

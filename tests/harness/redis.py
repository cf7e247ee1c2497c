# SPDX-License-Identifier: Apache-2.0
"""Redis servers, Sentinels and clusters that a test starts on free ports of loopback, in a temporary folder."""

import os
import re
import signal
import subprocess
import tempfile

from tests.harness.ports import free_port
from tests.harness.waiting import wait_until


class RedisServer:
    """One process. `arguments` are options of redis-server: "--maxmemory", "1mb". A port of 0 means no TCP."""

    def __init__(self, folder, *arguments, port=None, program="redis-server", cli=(), sentinel=None):
        self.port = free_port() if port is None else port
        self.folder = tempfile.mkdtemp(dir=folder)
        self.program, self.arguments, self.client, self.sentinel = program, arguments, cli, sentinel
        self.process = None
        self.start()

    def start(self):
        config = []
        if self.sentinel is not None:
            path = os.path.join(self.folder, "sentinel.conf")
            if not os.path.exists(path):
                with open(path, "w", encoding="ascii") as file:
                    file.write(self.sentinel)
            config = [path, "--sentinel"]
        else:
            config = ["--save", "", "--appendonly", "no"]
        with open(os.path.join(self.folder, "log"), "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [self.program, *config, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder,
                 *self.arguments], stdout=log, stderr=log)
        try:
            wait_until(lambda: re.search("PONG|NOAUTH", self.ask("ping")), 20, what=f"{self.program} answers")
        except BaseException:
            self.kill()
            raise

    def ask(self, *arguments):
        """Returns the output of redis-cli, including errors."""
        where = () if "-s" in self.client else ("-p", str(self.port))
        done = subprocess.run(["redis-cli", "--no-auth-warning", *where, *self.client, *map(str, arguments)],
                              capture_output=True, text=True, timeout=30)
        return (done.stdout + done.stderr).strip()

    def kill(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()


class RedisCluster:
    """Three masters with all slots between them. With replicas, three more servers."""
    NODES = 3

    def __init__(self, folder, replicas=0, program="redis-server", arguments=()):
        self.nodes = []
        try:
            for _ in range(self.NODES * (1 + replicas)):
                self.nodes.append(RedisServer(
                    folder, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file",
                    "nodes.conf", "--cluster-require-full-coverage", "no", "--cluster-port", str(free_port()), *arguments,
                    program=program))
            self.join(replicas)
        except BaseException:
            self.kill()
            raise

    def join(self, replicas):
        made = subprocess.run(["redis-cli", "--cluster", "create", *(f"127.0.0.1:{node.port}" for node in self.nodes),
                               "--cluster-replicas", str(replicas), "--cluster-yes"], capture_output=True, text=True,
                              timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr
        wait_until(lambda: all("cluster_state:ok" in node.ask("cluster", "info") for node in self.nodes), 30,
                   what="the cluster is well")
        # A replica that never got its master's data does not take over.
        wait_until(lambda: sum("master_link_status:up" in node.ask("info", "replication") for node in self.nodes) ==
                   self.NODES * replicas, 30, what="the replicas have the data")

    def get(self, key):
        """The value of a key, by a node that is up."""
        for node in self.nodes:
            if node.process.poll() is None:
                return node.ask("-c", "get", key)
        raise AssertionError("no node is up")

    def owner(self, key):
        """The node that serves a key."""
        return next(node for node in self.nodes if node.process.poll() is None and
                    not node.ask("get", key).startswith("MOVED") and "master" in node.ask("role"))

    def kill(self):
        for node in self.nodes:
            node.kill()

# SPDX-License-Identifier: Apache-2.0
"""Two Postgres servers under Patroni, one of them the synchronous standby of the other, with an etcd, and a HAProxy in
front. All listen on free ports of loopback and work in a temporary folder."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from tests.harness import wait_until
from tests.harness.ports import free_port
from tests.harness.postgres import psql
from tests.harness.processes import descendants, end

# How long a dead or silent leader stays the leader. Newer versions of Patroni raise it to 20 s.
TTL_S = 10

PATRONI = """
scope: coupons
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{etcd}"}}
bootstrap:
  dcs:
    ttl: {ttl}
    loop_wait: 1
    retry_timeout: 3
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{max_connections: 300, wal_keep_size: 256MB}}
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, no-sync]
  post_bootstrap: {folder}/post_bootstrap
postgresql:
  listen: "127.0.0.1:{port}"
  connect_address: "127.0.0.1:{port}"
  bin_dir: {bin}
  data_dir: {folder}/{name}/data
  pgpass: {folder}/{name}/pgpass
  basebackup: [{{checkpoint: fast}}, no-sync]
  authentication:
    superuser: {{username: postgres}}
    replication: {{username: replicator}}
    rewind: {{username: rewinder}}
  pg_hba: ["host all all 127.0.0.1/32 trust", "host replication all 127.0.0.1/32 trust"]
  parameters: {{unix_socket_directories: "{folder}/{name}"}}
"""

# Patroni passes the URL of the new database as the argument.
POST_BOOTSTRAP = """#!/bin/sh
exec psql "$1" -X -q -v ON_ERROR_STOP=1 -c 'create role couponsd login' -c 'create database couponsd owner couponsd'
"""

HAPROXY = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 30m
  timeout server 30m
  timeout check 1s
listen primary
  bind 127.0.0.1:{proxy}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
  server a 127.0.0.1:{a.port} check port {a.rest}
  server b 127.0.0.1:{b.port} check port {b.rest}
"""


def as_postgres(*command):
    """Prefixes the command if we are root, because Postgres, and therefore Patroni, refuses to run as root."""
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
    return [*user, *command]


class Node:
    """A Patroni and its Postgres."""

    def __init__(self, cluster, name):
        self.folder, self.name = cluster.folder, name
        self.port, self.rest, self.process = free_port(), free_port(), None
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/couponsd?connect_timeout=2"
        os.mkdir(f"{self.folder}/{name}", 0o700)
        if os.geteuid() == 0:
            shutil.chown(f"{self.folder}/{name}", "postgres", "postgres")
        binaries = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True, check=True).stdout.strip()
        with open(f"{self.folder}/{name}.yml", "w", encoding="ascii") as file:
            file.write(PATRONI.format(name=name, rest=self.rest, etcd=cluster.etcd_port, ttl=TTL_S, folder=self.folder,
                                      port=self.port, bin=binaries))

    def start(self):
        if self.process and self.process.poll() is None:
            return
        with open(f"{self.folder}/{self.name}.log", "a", encoding="utf-8") as log:
            self.process = subprocess.Popen(as_postgres("/usr/bin/patroni", f"{self.folder}/{self.name}.yml"),
                                            stdout=log, stderr=log, cwd="/", env={**os.environ, "LC_ALL": "C.UTF-8"})

    def pids(self):
        """The pids of Patroni and of Postgres, which is not Patroni's child."""
        pids = descendants(self.process.pid) if self.process.poll() is None else []
        data = f"{self.folder}/{self.name}/data"
        with contextlib.suppress(OSError), open(f"{data}/postmaster.pid", encoding="ascii") as file:
            postmaster = int(file.readline())
            if os.readlink(f"/proc/{postmaster}/cwd") == data:
                pids += [pid for pid in reversed(descendants(postmaster)) if pid not in pids]
        return pids

    def signal(self, number, pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """Kills both, as if the machine lost power."""
        if self.process:
            self.signal(signal.SIGKILL, self.pids())
            self.process.wait()

    def reset(self):
        """Kills both and starts them again, as if the machine were switched off and on."""
        self.kill()
        self.start()

    def freeze(self):
        """Freezes both, as if the machine hung: it accepts connections and says nothing."""
        self.signal(signal.SIGSTOP, self.pids())

    def ask(self, statement):
        """Returns rows, or None if Postgres does not answer."""
        with contextlib.suppress(AssertionError):
            return psql(self.url, statement)

    def is_standby(self):
        """Returns None if Postgres does not answer."""
        rows = self.ask("select pg_is_in_recovery()")
        return rows and rows == [["t"]]

    def is_synchronous(self):
        """Returns whether it is a standby that Patroni would promote. Postgres knows this some time before Patroni."""
        url = f"http://127.0.0.1:{self.rest}/synchronous"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
            return True


class Patroni:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="couponsd-patroni.")
        os.chmod(self.folder, 0o755)
        self.etcd_port, self.proxy_port = free_port(), free_port()
        self.etcd = self.proxy = None
        self.is_up = False
        self.a, self.b = self.nodes = [Node(self, name) for name in "ab"]
        self.write("post_bootstrap", POST_BOOTSTRAP, 0o755)
        self.write("haproxy.cfg", HAPROXY.format(proxy=self.proxy_port, a=self.a, b=self.b), 0o644)
        try:
            self.start()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs()}") from error
        finally:
            if not self.is_up:
                self.stop()

    def write(self, name, text, mode):
        with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(file.name, mode)

    def run(self, name, *command):
        with open(f"{self.folder}/{name}.log", "w", encoding="utf-8") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def start(self):
        client, peer = (f"http://127.0.0.1:{port}" for port in (self.etcd_port, free_port()))
        self.etcd = self.run("etcd", "etcd", "--data-dir", f"{self.folder}/etcd", "--listen-client-urls", client,
                             "--advertise-client-urls", client, "--listen-peer-urls", peer,
                             "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}")
        self.proxy = self.run("haproxy", "/usr/sbin/haproxy", "-db", "-f", f"{self.folder}/haproxy.cfg")
        self.a.start()
        wait_until(lambda: self.a.ask("select 1 from pg_database where datname = 'couponsd'") and self.a.is_standby() is
                   False, 60, 0.2, "the first Postgres is up")
        self.b.start()
        wait_until(self.b.is_synchronous, 60, 0.2, "the first Postgres has a synchronous standby")
        self.is_up = True

    def stop(self):
        for node in self.nodes:
            node.kill()
        for process in (self.proxy, self.etcd):
            if process:
                end(process, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def hosts(self):
        """The hosts and ports of both servers, for a URL."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def primary_and_standby(self):
        """Waits until there is one primary and one standby that follows it."""
        return wait_until(lambda: next(((node, other) for node, other in (self.nodes, self.nodes[::-1])
                                        if node.is_standby() is False and other.is_synchronous()), None),
                          90, 0.2, "a primary has a synchronous standby")

    def logs(self):
        """Returns the last lines of each log, for the message of a failed assertion."""
        text = []
        for name in ("etcd", "haproxy", "a", "b"):
            path = f"{self.folder}/{name}.log"
            with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as log:
                text += [f"--- {name}", *log.read().splitlines()[-20:]]
        return "\n".join(text)

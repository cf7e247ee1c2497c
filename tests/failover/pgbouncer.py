# SPDX-License-Identifier: Apache-2.0
"""A PgBouncer on a free port of loopback, in front of one Postgres."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from tests.harness import wait_until
from tests.harness.ports import free_port
from tests.harness.processes import end


class PgBouncer:
    """One process, or several that share a port and have their own pools."""

    def __init__(self, server, mode, processes=1, **settings):
        """server: HOST:PORT of Postgres"""
        self.port, self.n, self.processes = free_port(), processes, []
        self.folder = tempfile.mkdtemp(prefix="couponsd-pgbouncer.")
        os.chmod(self.folder, 0o755)
        settings = {"listen_addr": "127.0.0.1", "listen_port": self.port, "unix_socket_dir": "", "auth_type": "trust",
                    "auth_file": f"{self.folder}/users", "pool_mode": mode, "server_login_retry": 1, **settings}
        if os.geteuid() == 0:  # PgBouncer refuses to run as root
            settings["user"] = "postgres"
        if processes > 1:
            settings["so_reuseport"] = 1
        host, port = server.split(":")
        with open(f"{self.folder}/ini", "w", encoding="ascii") as file:
            file.write(f"[databases]\n* = host={host} port={port}\n[pgbouncer]\n")
            file.writelines(f"{key} = {value}\n" for key, value in settings.items())
        with open(f"{self.folder}/users", "w", encoding="ascii") as file:
            file.write('"couponsd" ""\n')
        self.start()

    def start(self):
        with open(f"{self.folder}/log", "a", encoding="utf-8") as log:
            self.processes = [subprocess.Popen(["/usr/sbin/pgbouncer", f"{self.folder}/ini"], stdout=log, stderr=log)
                              for _ in range(self.n)]
        wait_until(self.answers, 20, what="PgBouncer answers")

    def log(self):
        with open(f"{self.folder}/log", encoding="utf-8") as file:
            return file.read()

    def answers(self):
        assert all(process.poll() is None for process in self.processes), self.log()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
            return True

    def kill(self):
        for process in self.processes:
            end(process, signal.SIGKILL)

    def remove(self):
        self.kill()
        shutil.rmtree(self.folder)

# SPDX-License-Identifier: Apache-2.0
"""The probe of a client, and the network between it and couponsd."""

import json
import os
import selectors
import socket
import subprocess
import threading
import time

from tests.harness import BUILD, ROOT
from tests.harness.environment import PATIENCE
from tests.harness.ports import free_port

ANSWER_S = 60  # the default time limit


def script(language):
    """The client's smoke.sh, and its environment."""
    folder = os.path.join(os.path.dirname(BUILD), "clients", language)
    return os.path.join(ROOT, "clients", language, "smoke.sh"), {**os.environ, "CLIENT_BUILD_DIR": folder}


class Probe:
    """clients/LANGUAGE/probe, which makes all calls on one client."""

    def __init__(self, test, language, environment=None, before=(), **options):
        command, own = script(language)
        words = [f"{name}={value}" for name, value in options.items() if value is not None]
        self.process = subprocess.Popen([*before, command, "probe", *words], env={**own, **(environment or {})},
                                        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=1)
        test.addCleanup(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def begin(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")

    def answer(self, seconds=ANSWER_S):
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(max(seconds, 0) * PATIENCE):
                raise AssertionError("the probe has not answered in time")
        return json.loads(self.process.stdout.readline() or '{"error": "the probe has ended"}')

    def call(self, *words):
        """Makes one call. Returns its result, with its duration in seconds as "s"."""
        start = time.monotonic()
        self.begin(*words)
        return {**self.answer(), "s": time.monotonic() - start}


class Network:
    """Forwards connections to a server, and can lose them: a lost connection stays open while its bytes are dropped, as
    by a firewall that has forgotten it."""

    def __init__(self, test, server, host="127.0.0.1", port=None):
        self.server = server
        self.listener = socket.create_server((host, port or free_port()))
        self.address = "%s:%d" % self.listener.getsockname()
        self.lock = threading.Lock()
        self.sockets, self.lost, self.answers_are_lost, self.accepted = [], set(), False, 0
        threading.Thread(target=self.accept, daemon=True).start()
        test.addCleanup(self.close)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            host, port = self.server.rsplit(":", 1)
            try:
                server = socket.create_connection((host, int(port)))
            except OSError:  # the server has stopped
                client.close()
                continue
            with self.lock:
                self.sockets += [client, server]
                self.accepted += 1
            threading.Thread(target=self.copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self.copy, args=(server, client, True), daemon=True).start()

    def copy(self, source, target, is_answer):
        try:
            while data := source.recv(65536):
                with self.lock:
                    drop = source in self.lost or (is_answer and self.answers_are_lost)
                if not drop:
                    target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def lose_connections(self):
        """Loses the present connections; later ones work."""
        with self.lock:
            self.lost.update(self.sockets)

    def lose_answers(self):
        """Drops everything that the server sends from now on, also on later connections."""
        with self.lock:
            self.answers_are_lost = True

    def close(self):
        """Cuts all connections and accepts no more."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            for each in self.sockets:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                each.close()
            self.sockets = []

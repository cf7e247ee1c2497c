# SPDX-License-Identifier: Apache-2.0
"""A proxy in front of Postgres that cuts one connection between a COMMIT and its reply."""

import socket
import struct
import threading

from tests.harness.forward import copy

COMMIT_DONE = b"C\x00\x00\x00\x0bCOMMIT\x00"


class CommitCutter:
    """Cuts the first connection that commits after it has sent `number` as a bigint, and then sets `has_cut`."""

    def __init__(self, host, port, number):
        self.postgres = (host, port)
        self.needle = struct.pack(">q", number)
        self.has_cut = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server, armed = socket.create_connection(self.postgres), threading.Event()
            threading.Thread(target=self.send, args=(client, server, armed), daemon=True).start()
            threading.Thread(target=self.reply, args=(server, client, armed), daemon=True).start()

    def send(self, client, server, armed):
        copy(client, server, lambda data: armed.set() if self.needle in data else None)

    def reply(self, server, client, armed):
        def look(data):
            if armed.is_set() and COMMIT_DONE in data and not self.has_cut.is_set():
                self.has_cut.set()
                raise OSError("cut")
        copy(server, client, look)

    def close(self):
        self.listener.close()

# SPDX-License-Identifier: Apache-2.0
"""forward.py PORT HOST HOST_PORT: forwards connections to PORT on loopback to HOST:HOST_PORT."""

import socket
import sys
import threading


def copy(source, target, look=None):
    """Copies one direction of a connection, then closes both. Calls `look` with the bytes before they are sent; an
    OSError from `look` ends the copying."""
    try:
        while data := source.recv(65536):
            if look:
                look(data)
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def forward(port, host, host_port):
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, host_port))
            for ends in ((client, server), (server, client)):
                threading.Thread(target=copy, args=ends, daemon=True).start()


if __name__ == "__main__":
    forward(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))

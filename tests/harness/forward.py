# SPDX-License-Identifier: Apache-2.0
"""forward.py PORT HOST HOST_PORT: what comes to PORT on loopback goes on to HOST:HOST_PORT."""

import socket
import sys
import threading

port, host, host_port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


def copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


with socket.create_server(("127.0.0.1", port)) as listener:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, host_port))
        for ends in ((client, server), (server, client)):
            threading.Thread(target=copy, args=ends, daemon=True).start()

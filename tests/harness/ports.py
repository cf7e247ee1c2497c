# SPDX-License-Identifier: Apache-2.0
"""TCP ports on loopback."""

import random
import socket


def free_port():
    """A port below the kernel's range for outgoing connections, so that no client takes it while its server is down."""
    while True:
        port = random.SystemRandom().randrange(10000, 32000)
        with socket.socket() as held:
            try:
                held.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


def free_address():
    """HOST:PORT"""
    return f"127.0.0.1:{free_port()}"

# SPDX-License-Identifier: Apache-2.0
"""Names whose addresses a test changes, and addresses that do not answer."""

import os
import random
import socket
import subprocess
import tempfile

HOSTS_BYTES = 200
MOUNT = 'mount --bind "$0" /etc/hosts && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'


class Names:
    """Programs behind the command `before` find names in a hosts file of the test. All other names are unknown, or they
    wait for a name server that is silent. The test's files are mounted over those of the system, for these programs
    alone."""

    def __init__(self, test, folder, is_silent=False):
        self.addresses = {}
        self.hosts, self.resolver = (tempfile.mkstemp(dir=folder) for _ in range(2))
        self.move(localhost="127.0.0.1")
        name_server = f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}"
        os.write(self.resolver[0], f"nameserver {name_server}\n".encode())
        for descriptor, path in (self.hosts, self.resolver):
            os.chmod(path, 0o644)
            test.addCleanup(os.close, descriptor)
        root = [] if os.geteuid() == 0 else ["--map-root-user"]
        self.before = ["unshare", "--mount", *root, "sh", "-c", MOUNT, self.hosts[1], self.resolver[1]]
        can_mount = subprocess.run([*self.before, "true"], capture_output=True, text=True)
        if can_mount.returncode:
            test.skipTest(f"this user cannot mount files: {can_mount.stderr}")
        if is_silent:
            server = socket.socket(type=socket.SOCK_DGRAM)
            test.addCleanup(server.close)
            try:
                server.bind((name_server, 53))
            except PermissionError as error:
                test.skipTest(f"this user cannot be a name server: {error}")

    def move(self, **addresses):
        """Gives names below .test other addresses. One write of the same length changes the file, so that no reader
        finds a part of it."""
        self.addresses.update(addresses)
        lines = "".join(f"{address} {name} {name}.test\n" for name, address in self.addresses.items())
        os.pwrite(self.hosts[0], lines.ljust(HOSTS_BYTES - 1).encode() + b"\n", 0)


def silent_address(test):
    """An address that drops all packets: the listener's queue is full."""
    listener = socket.socket()
    test.addCleanup(listener.close)
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    for _ in range(4):
        client = socket.socket()
        test.addCleanup(client.close)
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    return "127.0.0.1:%d" % listener.getsockname()[1]

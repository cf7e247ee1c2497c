# SPDX-License-Identifier: Apache-2.0
"""A machine whose only name server never answers."""

import socket
import subprocess


def without_name_server(test, folder):
    """Returns the beginning of a command that runs the rest of it with a name server that never answers, until the test
    ends. Skips the test if the user may not do that."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    test.addCleanup(silent.close)
    try:
        silent.bind(("127.77.1.1", 53))
    except OSError:
        test.skipTest("needs to listen on port 53 of 127.77.1.1")
    path = f"{folder}/resolv.conf"
    with open(path, "w", encoding="ascii") as file:
        file.write("nameserver 127.77.1.1\n")
    mount = ["unshare", "--mount", "sh", "-c", f'mount --bind {path} /etc/resolv.conf && exec "$0" "$@"']
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        test.skipTest("needs the right to mount its own /etc/resolv.conf")
    return mount

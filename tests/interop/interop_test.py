# SPDX-License-Identifier: Apache-2.0
"""gRPC's interoperability cases: the bridge's client and server against each other, grpc-go and grpc-java.

grpc-go's own programs have no cases for compression. go/compressing wraps its server to add them, and grpc-java's
client tests compression in the bridge's server.
"""

import os
import re
import socket
import subprocess
import unittest

from tests.harness import BUILD, PATIENCE, ROOT, wait_until
from tests.harness.ports import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
PEERS = os.path.join(ROOT, "build", "interop")
GO, JAVA = os.path.join(PEERS, "go"), os.path.join(PEERS, "java", "*")
TIMEOUT_S = 60 * PATIENCE

PLAIN = """empty_unary large_unary client_streaming server_streaming ping_pong empty_stream cancel_after_begin
    cancel_after_first_response timeout_on_sleeping_server custom_metadata status_code_and_message
    special_status_message unimplemented_method unimplemented_service""".split()
COMPRESSED = """client_compressed_unary server_compressed_unary client_compressed_streaming
    server_compressed_streaming""".split()


def setUpModule():
    subprocess.run([os.path.join(HERE, "peers.sh")], check=True)


class Server:
    """A server that prints "listening HOST:PORT", or one that was given its port."""

    def __init__(self, *command, port=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if port:
            self.address = f"127.0.0.1:{port}"
            self.wait_for_port(port)
        else:
            line = self.process.stdout.readline()
            match = re.fullmatch(r"listening (127\.0\.0\.1:\d+)\n", line)
            assert match, f"{command} said {line!r}; {self.process.stderr.read()}"
            self.address = match.group(1)
        self.port = self.address.split(":")[1]

    def wait_for_port(self, port):
        def listens():
            assert self.process.poll() is None, self.process.stderr.read()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return True
            except OSError:
                return False
        wait_until(listens, 60, what="the server listens")

    def stop(self):
        """Returns the exit code and stderr."""
        self.process.terminate()
        _, err = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, err


class Interop(unittest.TestCase):
    def start(self, *command, port=None):
        server = Server(*command, port=port)
        self.addCleanup(lambda: server.process.poll() is None and server.stop())
        return server

    def start_bridge(self):
        return self.start(f"{BUILD}/rpc_interop_server", "--port", "0")

    def stop_bridge(self, server):
        code, err = server.stop()
        self.assertEqual((code, err), (0, ""))

    def run_case(self, case, *command):
        with self.subTest(case):
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
            self.assertEqual(done.returncode, 0, f"{case}: {done.stdout} {done.stderr}")

    def run_bridge_client(self, server, cases):
        for case in cases:
            self.run_case(case, f"{BUILD}/rpc_interop_client", "--server", server.address, case)

    def test_the_bridges_client_and_server_agree(self):
        server = self.start_bridge()
        self.run_bridge_client(server, PLAIN + COMPRESSED)
        self.stop_bridge(server)

    def test_the_bridges_server_serves_grpc_go(self):
        server = self.start_bridge()
        for case in PLAIN:
            self.run_case(case, f"{GO}/client", "--server_host", "127.0.0.1", "--server_port", server.port,
                          "--test_case", case)
        self.stop_bridge(server)

    def test_the_bridges_server_serves_grpc_java(self):
        server = self.start_bridge()
        for case in COMPRESSED + ["large_unary", "ping_pong"]:
            self.run_case(case, "java", "-cp", JAVA, "io.grpc.testing.integration.TestServiceClient",
                          "--server_host=127.0.0.1", f"--server_port={server.port}", "--use_tls=false",
                          f"--test_case={case}")
        self.stop_bridge(server)

    def test_the_bridges_client_is_served_by_grpc_go(self):
        port = free_port()
        self.run_bridge_client(self.start(f"{GO}/server", "--port", str(port), port=port), PLAIN)

    def test_the_bridges_client_is_served_by_grpc_go_with_compression(self):
        self.run_bridge_client(self.start(f"{GO}/compressing"), PLAIN + COMPRESSED)

    def test_the_bridges_client_is_served_by_grpc_java(self):
        port = free_port()
        server = self.start("java", "-cp", JAVA, "io.grpc.testing.integration.TestServiceServer", f"--port={port}",
                            "--use_tls=false", port=port)
        self.run_bridge_client(server, PLAIN + ["server_compressed_unary"])


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""clients_test.py LANGUAGE: builds clients/LANGUAGE, and runs its programs against couponsd.

smoke starts while no server listens, so its first call must be retried. couponsd's queues are short, so it refuses
bursts as OVERLOADED. The test compares the program's report with the database.

probe makes single calls over test networks, which are the same for all languages. The wait for a lost connection is the
longest test, so it starts first and ends last.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

from tests.clients.probe import Network, Probe, script
from tests.harness import Scenario
from tests.harness.certificates import Authority
from tests.harness.environment import HAS_EDGE
from tests.harness.names import Names, silent_address
from tests.harness.ports import free_address, free_port
from tests.harness.waiting import wait_until

LANGUAGE = ""
BUILD_TIMEOUT_S, RUN_TIMEOUT_S = 800, 120
SHORT_QUEUES = {f"{stage}.{limit}": 16 for stage, limit in
                (("flow", "queue_size"), ("gate", "batch_max"), ("admit", "batch_max"), ("status", "batch_max"))}

OK, FAILED_PRECONDITION, UNAVAILABLE, UNAUTHENTICATED = 0, 9, 14, 16
PATIENT_MS, IMPATIENT_MS = 20_000, 3_000  # an impatient call gives each try 1 s
FIRST_MS = 9_000  # for the first call of a program; the resolver waits 10 s for a silent name server
NO_JAVA_CACHE = {"JAVA_TOOL_OPTIONS": "-Dsun.net.inetaddr.ttl=1 -Dsun.net.inetaddr.negative.ttl=1"}
FEW_S = 10  # a name that has moved is found within this time
CALLS = 40
TAKEN_S = 60
LOST_S = 30 + 10 + 8  # keepalive's interval, its timeout, and slack for a slow machine


class Client(Scenario):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.user = 0

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def probe(self, environment=None, before=(), **options):
        return Probe(self, LANGUAGE, environment, before, **options)

    def request(self, probe, timeout_ms=PATIENT_MS):
        """Requests the coupon for a new user."""
        self.user += 1
        return probe.call("request", self.coupon, self.user, timeout_ms)

    def expect(self, code, timeout_ms=PATIENT_MS, **options):
        end = self.request(self.probe(**options), timeout_ms)
        self.assertEqual(end.get("code"), code, (options, end))
        return end

    def test_the_client(self):
        command, environment = script(LANGUAGE)
        built = subprocess.run([command, "build"], env=environment, timeout=BUILD_TIMEOUT_S, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(built.returncode, 0, built.stdout)

        self.tokens = self.write("tokens", "".join(
            f"{roles} {hashlib.sha256(token.encode()).hexdigest()}\n"
            for roles, token in (("caller", "web"), ("admin,caller", "boss"))))
        self.first, self.second = (self.start(access__tokens=self.tokens) for _ in range(2))
        self.coupon = self.ctl(self.first, "--token-file", self.write("boss", "boss"), "create", "--quantity", 10**6)[0]["id"]
        waiting = self.begin_on_a_lost_connection()
        for case in (self.refused_early, self.taken, self.several_addresses, self.unreachable_addresses,
                     self.names_that_move, self.proxies, self.tokens_over_plain_text, self.tls, self.smoke):
            with self.subTest(case.__name__):
                case()
        with self.subTest("a lost connection"):
            self.end_on_a_lost_connection(*waiting)

    def begin_on_a_lost_connection(self):
        """A call without a time limit waits on a connection that has been lost."""
        network = Network(self, self.first.grpc)
        probe = self.probe(target=network.address, token="web")
        self.assertEqual(self.request(probe)["code"], OK)
        network.lose_connections()
        probe.begin("watch", self.coupon, self.user)
        return network, probe, time.monotonic() + LOST_S

    def end_on_a_lost_connection(self, network, probe, end):
        """Keepalive ends the call, and the client connects again."""
        self.assertEqual(probe.answer(end - time.monotonic())["code"], UNAVAILABLE)
        self.assertEqual(self.request(probe)["code"], OK)
        self.assertGreater(network.accepted, 1)

    def refused_early(self):
        """The calls of each client have a form that couponsd can refuse before gRPC reads them."""
        coupon = self.ctl(self.first, "--token-file", self.write("boss", "boss"), "create", "--quantity", 1)[0]["id"]
        probe = self.probe(target=self.first.grpc, token="web")
        self.assertEqual(probe.call("request", coupon, 1, PATIENT_MS)["code"], OK)
        users = itertools.count(2)

        def is_early():
            end = probe.call("request", coupon, next(users), PATIENT_MS)
            self.assertEqual((end["code"], end["reason"]), (FAILED_PRECONDITION, "SOLD_OUT"))
            return not HAS_EDGE or self.first.metric("couponsd_refused_early_total") > 10

        wait_until(is_early, FEW_S, every=0.01, what="calls are refused early")

    def taken(self):
        """The requests of each client have a form that couponsd can take before gRPC reads them. Some clients open their
        window wider than HTTP/2's first one at once, others after they have read 32 KiB."""
        probe = self.probe(target=self.first.grpc, token="web")

        def most_are_taken():
            before = self.first.metric("couponsd_rpc_taken_total")
            for _ in range(CALLS):
                self.assertEqual(self.request(probe)["code"], OK)
            return not HAS_EDGE or self.first.metric("couponsd_rpc_taken_total") - before > CALLS / 2

        wait_until(most_are_taken, TAKEN_S, every=0, what="most calls are taken")

    def several_addresses(self):
        lossy, sound = Network(self, self.first.grpc), Network(self, self.second.grpc)
        probe = self.probe(target=f"{lossy.address},{sound.address}", token="web")

        def served(server):
            return server.metric("couponsd_rpc_total", method="RequestPublish", code="OK")

        before = served(self.first), served(self.second)
        for _ in range(8):
            self.assertEqual(self.request(probe)["code"], OK)
        self.assertGreater(served(self.first), before[0], "both servers are called")
        self.assertGreater(served(self.second), before[1], "both servers are called")

        # The server accepts requests whose answers are lost. The next try repeats them at the other server.
        lossy.lose_answers()
        ends = [self.request(probe, IMPATIENT_MS) for _ in range(4)]
        self.assertEqual([end["code"] for end in ends], [OK] * 4, ends)
        self.assertGreater(sum(end["retries"] for end in ends), 0, "a try was given up")
        self.assertLess(max(end["s"] for end in ends), IMPATIENT_MS / 1000)
        self.assertEqual(self.sql(f"select count(*) from publish_request where coupon_id = {self.coupon}"),
                         [[str(self.user)]], "each user has a ticket")

        lossy.close()
        for _ in range(4):
            self.assertEqual(self.request(probe, IMPATIENT_MS)["code"], OK)
        self.assertEqual(self.request(self.probe(target=f"{lossy.address},{sound.address}", token="web"))["code"], OK)

    def unreachable_addresses(self):
        """A list works as long as one of its addresses does, also for a call that is not retried."""
        self.expect_despite("nothing.invalid:1")
        self.expect_despite(silent_address(self))
        self.expect_despite("nothing.test:1", Names(self, self.folder, is_silent=True).before)

    def expect_despite(self, bad, before=()):
        sound = f"localhost:{self.first.grpc.rsplit(':', 1)[1]}"
        for target in (f"{bad},{sound}", f"{sound},{bad}"):
            with self.subTest(target):
                options = {"before": before, "target": target, "token": "web", "plaintext_token": "true"}
                self.expect(OK, FIRST_MS, **options)
                end = self.probe(**options).call("watch", self.coupon, self.user)
                self.assertEqual(end["code"], OK, end)

    def names_that_move(self):
        """A name's new address is found after its old server has gone."""
        for is_list in (False, True):
            with self.subTest(is_list=is_list):
                names, port = Names(self, self.folder), free_port()
                old, new, other = (Network(self, self.first.grpc, host, port)
                                   for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"))
                names.move(coupons="127.0.0.2")
                target = f"coupons.test:{port}" + f",later.test:{port},{other.address}" * is_list
                probe = self.probe(NO_JAVA_CACHE, names.before, target=target, token="web", plaintext_token="true")
                self.call_until_called(probe, old)
                self.assertEqual(new.accepted, 0)
                old.close()
                names.move(coupons="127.0.0.3")
                self.call_until_called(probe, new)
                if is_list:
                    self.assertGreater(other.accepted, 0)
                    later = Network(self, self.first.grpc, "127.0.0.5", port)
                    names.move(later="127.0.0.5")
                    self.call_until_called(probe, later)

    def call_until_called(self, probe, server):
        """Calls go on, and one of them reaches the server."""
        def is_called():
            end = self.request(probe, FEW_S * 1000)
            self.assertEqual(end["code"], OK, end)
            return server.accepted

        wait_until(is_called, FEW_S, what=f"a call to {server.address}")

    def proxies(self):
        """Clients ignore proxies in the environment."""
        proxy = Network(self, self.first.grpc)
        url = f"http://{proxy.address}"
        host, port = proxy.address.split(":")
        variables = [f"{scheme}_proxy" for scheme in ("http", "https", "grpc", "all")]
        environment = {name: url for each in variables for name in (each, each.upper())}
        environment.update(no_proxy="", NO_PROXY="", no_grpc_proxy="", GRPC_PROXY_EXP=proxy.address,
                           JAVA_TOOL_OPTIONS=f"-Dhttp.nonProxyHosts= -Dhttp.proxyHost={host} -Dhttp.proxyPort={port} "
                                             f"-Dhttps.proxyHost={host} -Dhttps.proxyPort={port}")
        for host in ("127.0.0.1", "localhost"):
            self.expect(OK, environment=environment, token="web",
                        target=f"{host}:{self.second.grpc.rsplit(':', 1)[1]}")
        self.assertEqual(proxy.accepted, 0)

    def tokens_over_plain_text(self):
        target = self.first.grpc
        self.expect(OK, target=target, token="web")
        for token in (None, "guess"):
            self.assertEqual(self.expect(UNAUTHENTICATED, target=target, token=token)["reason"], "PERMISSION")
        # 0.0.0.0 is not a loopback address, but it does not reach another host either.
        anywhere = f"{target},0.0.0.0:{target.rsplit(':', 1)[1]}"
        self.assertIn("plaintext", self.probe(target=anywhere, token="web").answer()["error"].lower())
        self.expect(OK, target=anywhere, token="web", plaintext_token="true")

    def tls(self):
        authority, stranger = Authority(self.folder), Authority(self.folder, "stranger")
        certificate, key = authority.sign("server", "DNS:coupons.test,IP:127.0.0.1")
        server = self.start(grpc__tls_certificate=certificate, grpc__tls_key=key, access__callers="shop.test",
                            grpc__tls_client_ca=authority.certificate, grpc__tls_client_optional="true",
                            access__tokens=self.tokens)
        caller, caller_key = authority.sign("caller", "DNS:shop.test")
        known, ca = {"certificate": caller, "key": caller_key}, authority.certificate
        name = f"localhost:{server.grpc.rsplit(':', 1)[1]}"  # the certificate does not have this name
        self.expect(OK, target=server.grpc, ca=ca, **known)
        self.expect(OK, target=name, ca=ca, server_name="coupons.test", **known)
        self.expect(OK, target=server.grpc, ca=ca, token="web")
        self.expect(UNAUTHENTICATED, target=server.grpc, ca=ca)
        self.expect(UNAUTHENTICATED, target=server.grpc, ca=ca, token="guess")
        self.expect(UNAVAILABLE, IMPATIENT_MS, target=name, ca=ca, **known)
        self.expect(UNAVAILABLE, IMPATIENT_MS, target=server.grpc, ca=stranger.certificate, **known)
        self.expect(UNAVAILABLE, IMPATIENT_MS, target=server.grpc, tls="true", **known)
        list_of_two = f"{Network(self, server.grpc).address},{server.grpc}"
        self.expect(OK, target=list_of_two, ca=ca, **known)
        self.expect(OK, target=list_of_two, ca=ca, server_name="coupons.test", token="web")

    def smoke(self):
        command, environment = script(LANGUAGE)
        address = free_address()
        program = subprocess.Popen([command, "run", address], env=environment, text=True, stdout=subprocess.PIPE)
        self.addCleanup(lambda: (program.poll() is None and program.kill(), program.communicate()))
        self.assertEqual(program.stdout.readline(), "calling\n")
        server = self.start(grpc=address, **{key.replace(".", "__"): value for key, value in SHORT_QUEUES.items()})
        out, _ = program.communicate(timeout=RUN_TIMEOUT_S)
        self.assertEqual(program.returncode, 0, f"{out}; couponsd's log is {server.log.name}")

        said = json.loads(out.splitlines()[-1])
        self.assertEqual((said["client"], said["ticket"]), (LANGUAGE, 1))
        self.assertEqual(sorted(said["reasons"]), ["ALREADY_REQUESTED", "SOLD_OUT"])
        self.assertGreaterEqual(said["unavailable_retries"], 1)
        self.assertGreaterEqual(said["overloaded_retries"], 1)
        coupon = int(said["coupon_id"])
        self.assertEqual(self.sql(f"select user_id, ticket from user_coupon where coupon_id = {coupon}"), [["1", "1"]])


if __name__ == "__main__":
    LANGUAGE = sys.argv.pop(1)
    unittest.main()

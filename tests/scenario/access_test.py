# SPDX-License-Identifier: Apache-2.0
"""Access control: TLS, certificates and tokens, roles, users, and the limits of one caller."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from tests.harness import Scenario, wait_until
from tests.harness.certificates import Authority


def token_line(roles, token, *more):
    return " ".join([roles, hashlib.sha256(token.encode()).hexdigest(), *more]) + "\n"


class Access(Scenario):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(shutil.rmtree, self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(f"{name}.new"), "w") as file:
            file.write(text)
        os.rename(self.path(f"{name}.new"), self.path(name))
        return self.path(name)

    def start_with_tls(self, **settings):
        self.authority = Authority(self.folder)
        certificate, key = self.authority.sign("server", "DNS:localhost,IP:127.0.0.1")
        self.tls = ["--ca", self.authority.certificate]
        return self.start(grpc__tls_certificate=certificate, grpc__tls_key=key, **settings)

    def as_certificate(self, name, alternative):
        certificate, key = self.authority.sign(name, alternative)
        return [*self.tls, "--cert", certificate, "--key", key]

    def as_token(self, token):
        return ["--token-file", self.write("token-" + token, token)]

    def assert_denied(self, server, code, *arguments):
        error = self.refusal(server, *arguments)
        self.assertEqual((error["reason"], error["code"]), ("PERMISSION", code), arguments)

    def assert_no_connection(self, server, *credentials):
        self.assertEqual(self.refusal(server, *credentials, "health")["code"], "UNAVAILABLE")

    def test_without_roles_everybody_may_do_everything_over_tls_and_only_over_tls(self):
        server = self.start_with_tls()
        self.ctl(server, *self.tls, "create", "--quantity", 1)
        self.assert_no_connection(server)
        self.assert_no_connection(server, "--ca", Authority(self.folder, "stranger").certificate)

    def test_certificates_stand_for_roles_and_all_else_is_denied(self):
        server = self.start_with_tls(grpc__tls_client_ca=self.path("ca.pem"), access__callers="spiffe://shop/web, shop.test",
                                     access__admins="boss.test", access__observers="eye.test")
        caller = self.as_certificate("caller", "URI:spiffe://shop/web")
        admin = self.as_certificate("admin", "DNS:other.test,DNS:boss.test")
        observer = self.as_certificate("observer", "DNS:eye.test")
        nobody = self.as_certificate("nobody", "DNS:nobody.test")
        coupon = self.ctl(server, *admin, "create", "--quantity", 5)[0]["id"]
        self.ctl(server, *caller, "request", coupon, 1)
        for one in (caller, admin, observer):
            self.ctl(server, *one, "status", coupon, 1)
            self.ctl(server, *one, "health")
        for arguments in (["get", coupon], ["dead-letters", "list"], ["verify", coupon, "--no-topics"]):
            self.ctl(server, *observer, *arguments)
        for one, *arguments in ((caller, "create", "--quantity", 1), (caller, "get", coupon), (caller, "pause", coupon),
                                (admin, "request", coupon, 2), (observer, "request", coupon, 2),
                                (observer, "close", coupon), (observer, "dead-letters", "drop", 1),
                                (observer, "dead-letters", "replay", 1), (caller, "dead-letters", "list"),
                                (caller, "verify", coupon), (nobody, "status", coupon, 1), (nobody, "list")):
            self.assert_denied(server, "PERMISSION_DENIED", *one, *arguments)
        self.assert_no_connection(server, *self.tls)
        self.assertEqual(self.sql("select count(*) from publish_request"), [["1"]])

    def test_tokens_stand_for_roles_and_users(self):
        tokens = self.write("tokens", "# who\n\n" + token_line("caller", "web") + token_line("admin,caller", "boss") +
                            token_line("caller", "u42", "user=42", "# a person"))
        server = self.start(access__tokens=tokens)
        web, boss, user = self.as_token("web"), self.as_token("boss"), self.as_token("u42")
        coupon = self.ctl(server, *boss, "create", "--quantity", 9)[0]["id"]
        self.ctl(server, *boss, "request", coupon, 1)
        self.ctl(server, *web, "request", coupon, 2)
        self.ctl(server, *user, "request", coupon, 42)
        self.ctl(server, *user, "coupons", 42)
        for arguments in (["request", coupon, 43], ["status", coupon, 1], ["watch", coupon, 1], ["coupons", 1]):
            self.assert_denied(server, "PERMISSION_DENIED", *user, *arguments)
        self.assert_denied(server, "PERMISSION_DENIED", *web, "list")
        for credentials in ([], self.as_token("guess"), self.as_token("we"), self.as_token("web2")):
            self.assert_denied(server, "UNAUTHENTICATED", *credentials, "status", coupon, 1)
        self.ctl(server, "health")
        self.assertNotIn("guess", server.text())

    def test_each_administrative_call_leaves_a_line_in_the_audit_log(self):
        name = "token:" + hashlib.sha256(b"boss").hexdigest()[:12]
        tokens = self.write("tokens", token_line("admin", "boss") + token_line("caller", "web"))
        server = self.start(access__tokens=tokens, log__format="json")
        boss, web = self.as_token("boss"), self.as_token("web")
        coupon = int(self.ctl(server, *boss, "create", "--quantity", 9)[0]["id"])
        self.ctl(server, *boss, "pause", coupon)
        self.refusal(server, *boss, "pause", coupon + 1)
        self.refusal(server, *web, "close", coupon)
        self.refusal(server, "close", coupon)
        self.ctl(server, *boss, "list")
        self.ctl(server, *boss, "get", coupon)
        wanted = [(name, "CouponAdminService/CreateCoupon", "OK", coupon),
                  (name, "CouponAdminService/PauseCoupon", "OK", coupon),
                  (name, "CouponAdminService/PauseCoupon", "COUPON_NOT_FOUND", coupon + 1),
                  ("token:" + hashlib.sha256(b"web").hexdigest()[:12], "CouponAdminService/CloseCoupon", "PERMISSION",
                   None),
                  ("unknown", "CouponAdminService/CloseCoupon", "PERMISSION", None)]

        def audit():
            lines = [json.loads(line) for line in server.text().splitlines() if '"event":"audit"' in line]
            self.assertTrue(all(line["peer"].startswith("ipv4:127.0.0.1:") for line in lines))
            return [(line["caller"], line["method"], line["result"], line.get("coupon_id")) for line in lines]
        wait_until(lambda: len(audit()) >= len(wanted), what="the audit log has all lines")
        self.assertEqual(audit(), wanted)

    def test_administrators_who_work_fast_lose_no_line_of_the_audit_log(self):
        server = self.start()
        coupon = self.ctl(server, "create", "--quantity", 9)[0]["id"]
        for _ in range(15):
            self.ctl(server, "pause", coupon)
            self.ctl(server, "resume", coupon)
        wait_until(lambda: server.text().count("event=audit caller=anyone") == 31, what="31 lines")

    def test_a_token_helps_a_client_without_a_certificate_where_these_are_optional(self):
        server = self.start_with_tls(grpc__tls_client_ca=self.path("ca.pem"), grpc__tls_client_optional="true",
                                     access__admins="boss.test",
                                     access__tokens=self.write("tokens", token_line("observer", "eye")))
        self.ctl(server, *self.tls, *self.as_token("eye"), "list")
        self.ctl(server, *self.as_certificate("admin", "DNS:boss.test"), "create", "--quantity", 1)
        self.assert_denied(server, "UNAUTHENTICATED", *self.tls, "list")

    def test_a_changed_file_of_tokens_is_used_and_a_bad_one_is_not(self):
        tokens = self.write("tokens", token_line("observer", "old"))
        server = self.start(access__tokens=tokens)
        self.ctl(server, *self.as_token("old"), "list")
        self.write("tokens", token_line("observer", "new"))
        wait_until(lambda: self.ctl_raw(server, *self.as_token("new"), "list")[0] == 0, what="the new token is known")
        self.assert_denied(server, "UNAUTHENTICATED", *self.as_token("old"), "list")
        self.write("tokens", "observer 1234\n")
        wait_until(lambda: (self.ctl(server, *self.as_token("new"), "list"),
                            "access.tokens_bad" in server.text())[1], what="the log reports the bad file")
        self.assertRegex(server.text(), r"tokens:1: the second word must be the SHA-256")
        self.ctl(server, *self.as_token("new"), "list")

    def test_a_renewed_certificate_is_shown_to_new_connections_and_a_bad_one_is_not(self):
        server = self.start_with_tls()

        def shown():
            done = subprocess.run(["openssl", "s_client", "-connect", server.grpc, "-alpn", "h2", "-showcerts"],
                                  input=b"", capture_output=True)
            return re.search(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", done.stdout, re.S).group(0)

        first = shown()
        kept = self.path("kept.key")
        shutil.copy(self.path("server.key"), kept)
        with open(self.path("server.key"), "w") as file:
            file.write("not a key\n")
        wait_until(lambda: shown() == first and "tls.reload_failed" in server.text(), what="the log has the bad key")
        self.ctl(server, *self.tls, "health")
        self.authority.sign("server", "DNS:localhost,IP:127.0.0.1")
        wait_until(lambda: shown() != first, what="the server presents the renewed certificate")
        self.assertIn("tls.reloaded", server.text())
        self.ctl(server, *self.tls, "health")

    def test_what_does_not_fit_together_is_refused_at_the_start_by_name(self):
        authority = Authority(self.folder)
        certificate, key = authority.sign("server", "DNS:localhost")
        _, other_key = authority.sign("other", "DNS:localhost")
        tls = {"grpc__tls_certificate": certificate, "grpc__tls_key": key}
        cases = [
            ({"grpc__tls_certificate": certificate}, "grpc.tls_certificate is set without grpc.tls_key"),
            ({**tls, "access__admins": "x"}, "set grpc.tls_client_ca"),
            ({"grpc__tls_client_ca": certificate}, "without grpc.tls_certificate"),
            ({"grpc__listen": "0.0.0.0:0"}, "is not loopback, and there is no TLS"),
            ({**tls, "grpc__tls_key": other_key}, f"the key {other_key} is not the one of the certificate"),
            ({**tls, "grpc__tls_key": "/nowhere"}, "/nowhere can't be opened: No such file"),
            ({**tls, "grpc__tls_certificate": key}, "has no certificate in PEM"),
            ({"access__tokens": "/nowhere"}, "access.tokens: /nowhere can't be opened"),
            ({"access__tokens": self.write("bad", "king " + "0" * 64)}, "bad:1: the first word must be caller, admin"),
            ({"access__tokens": self.write("bad2", "\nadmin " + "0" * 64 + " user=1")}, "bad2:2: user=ID is for a caller"),
        ]
        for settings, expected in cases:
            with self.subTest(expected):
                code, out, err = self.refused_start(*self.set_arguments(**settings))
                self.assertNotEqual(code, 0)
                self.assertIn(expected, err)
                self.assertNotIn("ready", out)

    def test_one_caller_that_takes_too_much_does_not_starve_another(self):
        tokens = self.write("tokens", token_line("admin,caller", "greedy") + token_line("observer", "modest"))
        server = self.start(access__tokens=tokens, grpc__caller_requests_per_s=50, grpc__caller_in_flight=20)
        greedy, modest = self.as_token("greedy"), self.as_token("modest")
        coupon = self.ctl(server, *greedy, "create", "--quantity", 5000)[0]["id"]
        began = time.monotonic()
        flood = self.ctl_raw(server, *greedy, "bench", "--coupon", coupon, "--users", 3000, "--concurrency", 64,
                             background=True)
        refused = r'couponsd_rpc_total{service="coupon.v1.CouponService",method="RequestPublish",' \
                  r'code="RESOURCE_EXHAUSTED"} (\d+)'
        wait_until(lambda: int(re.search(refused, server.get("/metrics")[1]).group(1)) > 100, what="the flood is refused")
        for _ in range(20):
            self.ctl(server, *modest, "get", coupon)
        accepted = int(self.sql("select count(*) from publish_request")[0][0])
        self.assertLessEqual(accepted, 50 * (time.monotonic() - began + 1))
        flood.kill()


if __name__ == "__main__":
    unittest.main()

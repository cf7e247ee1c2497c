# SPDX-License-Identifier: Apache-2.0
"""Servers that require credentials. couponsd gets them by file, environment or command line, and never shows them."""

import os
import re
import subprocess
import tempfile
import unittest

from tests.harness import BUILD, HAS_EDGE, Scenario, wait_until
from tests.harness.own_kafka import OwnKafka

PASSWORD = "pa/ss:w@rd %41"  # what needs escaping in a URL
ENCODED = "pa%2Fss%3Aw%40rd%20%2541"


class SecretsBase(Scenario):
    def setUp(self):
        super().setUp()
        self.role = f"{self.schema}_role"
        self.sql(f"create role {self.role} login in role with_password password '{PASSWORD}';"
                 f"grant all on schema {self.schema} to {self.role}")
        subprocess.run(["redis-cli", "-u", self.redis_url, "acl", "setuser", self.role, "on", f">{PASSWORD}", "~*",
                        "+@all"], check=True, capture_output=True)
        self.addCleanup(lambda: subprocess.run(["redis-cli", "-u", self.redis_url, "acl", "deluser", self.role],
                                               capture_output=True))
        self.outputs = []

    def with_password(self, url, user, password):
        return re.sub(r"//(?:[^@/]*@)?", f"//{user}:{password}@", url, count=1)

    def secret_file(self, text):
        handle, path = tempfile.mkstemp(dir=os.environ.get("TEST_DIR"))
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        self.addCleanup(lambda: os.path.exists(path) and os.unlink(path))
        return path

    def rewrite(self, path, text):
        """Writes a new file and renames it over the old one, as tools for secrets do."""
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text + "\n")
        os.rename(f"{path}.new", path)

    def kafka(self, password):
        return {"kafka.brokers": os.environ["KAFKA_SECURE_BROKERS"], "kafka.security.protocol": "SASL_SSL",
                "kafka.sasl.mechanism": "PLAIN", "kafka.sasl.username": "couponsd", "kafka.sasl.password": password,
                "kafka.ssl.ca.location": os.environ["KAFKA_CA"]}

    def assert_not_shown(self, *texts):
        for text in texts:
            for secret in (PASSWORD, ENCODED, "sesame", "s3cret"):
                self.assertNotIn(secret, text)

    def assert_it_serves(self, server):
        coupon = self.create(server, 1)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "false", what="the flag is false")
        self.assert_not_shown(server.text())
        warnings = re.findall(r"level=warn event=(\S+)", server.text())
        self.assertEqual(warnings, [] if HAS_EDGE else ["start.without_edge"])


class Secrets(SecretsBase):
    def test_all_three_servers_with_credentials_from_files(self):
        self.settings.update({
            "postgres.url": "file:" + self.secret_file(self.with_password(self.postgres_url, self.role, ENCODED)),
            "redis.username": self.role, "redis.password": "file:" + self.secret_file(PASSWORD),
            **self.kafka("file:" + self.secret_file("open sesame"))})
        self.assert_it_serves(self.start())

    def test_all_three_servers_with_credentials_from_the_environment(self):
        urls = {"postgres.url": self.with_password(self.postgres_url, self.role, ENCODED),
                "redis.url": self.with_password(self.redis_url, self.role, ENCODED), **self.kafka("open sesame")}
        for key, value in urls.items():
            self.settings.pop(key, None)
            name = "COUPONSD_SET_" + key.upper().replace(".", "_")
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name)
        server = self.start()
        self.assert_it_serves(server)
        with open(f"/proc/{server.process.pid}/cmdline") as arguments:
            self.assert_not_shown(arguments.read())

    def test_libpq_takes_the_password_its_own_way(self):
        os.environ["PGPASSWORD"] = PASSWORD
        self.addCleanup(os.environ.pop, "PGPASSWORD")
        self.settings["postgres.url"] = self.with_password(self.postgres_url, self.role, "").replace(":@", "@")
        self.assert_it_serves(self.start())

    def test_a_wrong_password_of_postgres_is_one_line_without_it(self):
        self.settings["postgres.url"] = self.with_password(self.postgres_url, self.role, "s3cret")
        code, out, err = self.refused_start(*self.set_arguments(server__startup_wait_ms=0))
        self.assertEqual(code, 3)
        self.assertEqual(len(err.splitlines()), 1, err)
        self.assertIn("password authentication failed", err)
        self.assert_not_shown(out, err)

    def test_requests_are_accepted_while_redis_and_kafka_refuse_the_passwords_from_the_start_on(self):
        path = self.secret_file("s3cret")
        self.settings.update({"redis.url": self.with_password(self.redis_url, self.role, "s3cret"),
                              **self.kafka(f"file:{path}")})
        done = subprocess.run([f"{BUILD}/couponsd", *self.set_arguments(), "--check-config"], capture_output=True,
                              text=True)
        self.assertEqual((done.returncode, done.stdout), (0, "settings are fine\n"))
        server = self.start()
        self.assertRegex(server.text(), r"event=start\.without backend=redis .*WRONGPASS")
        self.assertRegex(server.text(), r"event=start\.without backend=kafka .*authentication failed")
        coupon = self.create(server, 1)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["state"], "ACCEPTED")
        wait_until(lambda: re.search("^ready; .* kafka: .*authentication failed", server.get("/readyz")[1]),
                   what="/readyz tells")
        self.assertEqual(server.get("/readyz")[0], 200)
        self.rewrite(path, "open sesame")
        self.wait_for_issued(coupon, 1, 60)
        wait_until(lambda: "kafka" not in server.get("/readyz")[1], what="/readyz tells nothing more")
        self.assert_not_shown(server.text())

    def test_bad_settings_are_refused_without_showing_them(self):
        for bad in (["--set", f"postgres.url=postgres://me:{PASSWORD}@h/db"],
                    ["--set", f"redis.url=redis://me:{PASSWORD}@h"],
                    ["--set", "kafka.ssl.key.pem=s3cret", "--set", "kafka.sasl.oauthbearer.nothing=s3cret"],
                    ["--set", "kafka.enable.sasl.oauthbearer.unsecure.jwt=s3cret"]):
            code, out, err = self.refused_start("--check-config", *bad)
            self.assertEqual(code, 2, f"{bad} {out} {err}")
            self.assertEqual(len(err.splitlines()), 1, err)
            if "unsecure" not in bad[-1]:
                self.assert_not_shown(out, err)


class Rotation(SecretsBase):
    """Passwords change while couponsd runs. It reads their files again."""

    def wait_for_flags(self, server):
        coupon = self.create(server, 1)
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", 10, what="the flag is there")

    def change_redis(self, password):
        subprocess.run(["redis-cli", "-u", self.redis_url, "acl", "setuser", self.role, "resetpass", f">{password}"],
                       check=True, capture_output=True)
        subprocess.run(["redis-cli", "-u", self.redis_url, "client", "kill", "user", self.role], check=True,
                       capture_output=True)

    def test_the_password_of_redis(self):
        def url(password):
            return self.with_password(self.redis_url, self.role, password)

        old, new, newest = ENCODED, "n%C3%A9w%20s3cret", "s3cret3"
        plain = {old: PASSWORD, new: "néw s3cret", newest: newest}
        for key, text in (("redis.url", url), ("redis.password", plain.get)):
            with self.subTest(key):
                self.change_redis(PASSWORD)
                path = self.secret_file(text(old))
                settings = {key: f"file:{path}"}
                if key == "redis.password":
                    settings["redis.username"] = self.role
                server = self.start(**settings)
                self.wait_for_flags(server)
                self.rewrite(path, text(new))
                self.change_redis(plain[new])
                self.wait_for_flags(server)
                self.change_redis(newest)  # Redis changes before the file
                wait_until(lambda: "WRONGPASS" in server.text(), what="Redis refuses the old password")
                self.rewrite(path, text(newest))
                self.wait_for_flags(server)
                self.assert_not_shown(server.text())
                self.assertEqual(server.stop(), 0)

    def test_the_password_of_kafka(self):
        def settings(password):
            return {"listener.name.secure.plain.sasl.jaas.config":
                    f'org.apache.kafka.common.security.plain.PlainLoginModule required user_couponsd="{password}";'}

        kafka = OwnKafka(settings("open sesame"))
        self.addCleanup(kafka.stop)
        path = self.secret_file("open sesame")
        server = self.start(**{**kafka.secure_settings(), "kafka__sasl.password": f"file:{path}"})
        coupon = self.create(server, 10)
        self.ctl(server, "request", coupon, 1)
        self.assertEqual(self.ctl(server, "watch", coupon, 1)[-1]["state"], "ISSUED")
        kafka.restart(settings("s3cret2"))
        wait_until(lambda: "kind=_AUTHENTICATION" in server.text(), 60, what="Kafka refuses the old password")
        self.ctl(server, "request", coupon, 2)
        self.rewrite(path, "s3cret2")
        self.wait_for_issued(coupon, 2, 60)
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", what="the flag is there")
        self.assert_not_shown(server.text())
        self.assertEqual(self.ctl_raw(server, "verify", coupon)[0], 0)


if __name__ == "__main__":
    unittest.main()

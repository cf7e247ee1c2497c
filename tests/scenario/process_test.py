# SPDX-License-Identifier: Apache-2.0
"""couponsd as a process: settings, start, refusals, HTTP, stop, and starts without some of its servers."""

import glob
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from urllib.parse import urlsplit, urlunsplit

from tests.harness import BUILD, ROOT, Scenario, wait_until
from tests.harness.commit_cutter import CommitCutter

FORWARD = os.path.join(ROOT, "tests", "harness", "forward.py")


def closed_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class LostReply(Scenario):
    """Postgres has committed, but the reply is lost. The request must find its own row in the ledger."""

    USER = 1234605616436508552  # its bytes occur nowhere else

    def test_a_request_whose_commit_is_not_confirmed_is_told_its_own_ticket(self):
        url = urlsplit(self.postgres_url)
        for request_id in ("", "given"):
            with self.subTest(request_id=request_id):
                cutter = CommitCutter(url.hostname, url.port, self.USER)
                self.addCleanup(cutter.close)
                through = urlunsplit(url._replace(netloc=f"{url.username}@127.0.0.1:{cutter.port}"))
                server = self.start(postgres__url=f"{through}&sslmode=disable&gssencmode=disable")
                coupon = self.create(server, 100)
                status, = self.ctl(server, "request", coupon, self.USER, "--request-id", request_id)
                self.assertTrue(cutter.has_cut.is_set())
                self.assertEqual(status["ticket"], 1)
                self.assertEqual(self.sql(f"select ticket from publish_request where coupon_id = {coupon}"), [["1"]])
                server.stop()


class Settings(Scenario):
    def check(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
            file.write(text)
            file.flush()
            code, out, err = self.refused_start("--config", file.name, "--check-config")
            return code, out, err.replace(file.name, "FILE")

    def test_good_settings_are_fine(self):
        self.assertEqual(self.check("[grpc]\nlisten = 127.0.0.1:1234\n")[0], 0)

    def test_bad_settings_are_refused_with_name_line_and_what_would_be_right(self):
        for text, expected in (
                ("[grpc]\nlisten = 127.0.0.1:1\npolers = 2\n", ("FILE:3", "grpc.polers", "grpc.pollers")),
                ("[grpc]\npollers = 1000\n", ("FILE:2", "grpc.pollers", "64")),
                ("[kafka]\npartitions = many\n", ("FILE:2", "kafka.partitions", "1000")),
                ("[http]\nlisten = nowhere\n", ("FILE:2", "http.listen"))):
            code, _, err = self.check(text)
            self.assertEqual(code, 2, err)
            for part in expected:
                self.assertIn(part, err)

    def test_a_secret_or_certificate_that_is_not_there_yet_ends_in_the_code_after_which_systemd_restarts(self):
        with tempfile.NamedTemporaryFile("w") as empty:
            for settings, problem in (
                    (["redis.password=file:/nowhere/x"], "redis.password: /nowhere/x can't be opened: No such file"),
                    ([f"postgres.url=file:{empty.name}"], f"postgres.url: {empty.name} is empty"),
                    (["kafka.sasl.password=file:/nowhere/x"], "kafka.sasl.password: /nowhere/x can't be opened"),
                    (["kafka.security.protocol=ssl", "kafka.ssl.ca.location=/nowhere/x"],
                     "kafka.ssl.ca.location: /nowhere/x can't be opened: No such file"),
                    (["access.tokens=/nowhere/x"], "access.tokens: /nowhere/x can't be opened: No such file")):
                arguments = [word for setting in settings for word in ("--set", setting)]
                for what, expected in ((["--check-config"], 2), ([], 3)):
                    with self.subTest(settings, what=what):
                        code, out, err = self.refused_start(*arguments, *what)
                        self.assertEqual((code, out), (expected, ""), err)
                        self.assertIn(problem, err)
                        self.assertEqual(len(err.splitlines()), 1, err)

    def test_files_that_settings_name_have_to_be_readable(self):
        for key, path, problem in (("grpc.tls_client_ca", "/nowhere/ca.pem", "opened"), ("access.tokens", "/", "read")):
            settings = ("--set", "grpc.tls_certificate=/dev/null", "--set", "grpc.tls_key=/dev/null",
                        "--set", f"{key}={path}")
            # The start reads the files before it touches a backend.
            for what, expected in ((["--check-config"], 2), (["--set", "postgres.url=postgresql://127.0.0.1:1/x"], 3)):
                code, out, err = self.refused_start(*settings, *what)
                self.assertEqual((code, out), (expected, ""), err)
                self.assertIn(f"{key}: {path} can't be {problem}: ", err)
        self.assertEqual(self.refused_start("--set", f"access.tokens={__file__}", "--check-config")[0], 0)

    def test_help_lists_every_setting_and_the_version_is_told(self):
        code, out, _ = self.refused_start("--help")
        self.assertEqual(code, 0)
        for key in ("grpc.listen", "kafka.partitions", "flow.lanes", "gate.cache_ms", "server.drain_ms"):
            self.assertIn(key, out)
        self.assertRegex(self.refused_start("--version")[1], r"^couponsd \d+\.\d+")
        self.assertEqual(self.refused_start("--nonsense")[0], 2)
        self.assertEqual(self.refused_start("--set", "grpc.pollers=0", "--check-config")[0], 2)


class Start(Scenario):
    def one_line(self, err, *parts):
        lines = [line for line in err.splitlines() if "level=error" in line]
        self.assertEqual(len(lines), 1, err)
        for part in parts:
            self.assertIn(part, lines[0])

    def test_a_postgres_that_never_comes_is_one_line_and_exit_code_three(self):
        url = f"postgresql://couponsd@127.0.0.1:{closed_port()}/couponsd"
        code, _, err = self.refused_start(
            *self.set_arguments(postgres__url=url, server__startup_wait_ms=1000))
        self.assertEqual(code, 3, err)
        self.one_line(err, "postgres", "refused")

    def test_a_postgres_that_comes_up_later_is_waited_for(self):
        host, port = re.search(r"@([^:/]+):(\d+)/", self.postgres_url).groups()
        late = closed_port()
        command = [f"{BUILD}/couponsd", *self.set_arguments(
            postgres__url=self.postgres_url.replace(f"{host}:{port}", f"127.0.0.1:{late}"))]
        with tempfile.TemporaryFile("w+") as log, \
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server:
            def waits():
                log.seek(0)
                return "event=start.waiting" in log.read()
            wait_until(waits, what="it says that it waits")
            with subprocess.Popen([sys.executable, FORWARD, str(late), host, port]) as forward:
                self.assertRegex(server.stdout.readline(), "^ready ")
                server.terminate()
                self.assertEqual(server.wait(60), 0)
                forward.kill()

    def test_a_signal_ends_the_wait_for_postgres(self):
        url = f"postgresql://couponsd@127.0.0.1:{closed_port()}/couponsd"
        command = [f"{BUILD}/couponsd", *self.set_arguments(postgres__url=url, server__startup_wait_ms=600000)]
        for number in (signal.SIGTERM, signal.SIGINT):
            with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
                self.assertIn("event=start.waiting", server.stderr.readline())
                server.send_signal(number)
                self.assertEqual(server.wait(60), 0)
                self.assertIn("event=stop.done", server.stderr.read())

    def test_a_missing_privilege_is_one_line(self):
        role = f"nobody_{self.schema}"
        self.sql(f"create role {role} login")
        url = self.postgres_url.replace("couponsd@", f"{role}@")
        for expected in ("grant USAGE", "permission denied for schema"):
            code, _, err = self.refused_start(*self.set_arguments(postgres__url=url, server__startup_wait_ms=1000))
            self.assertEqual(code, 3, err)
            self.one_line(err, "postgres", expected)
            self.sql(f"grant usage on schema {self.schema} to {role}")

    def test_another_number_of_partitions_or_lanes_is_refused_with_what_to_set(self):
        self.start().stop()
        code, _, err = self.refused_start(*self.set_arguments(kafka__partitions=3))
        self.assertEqual(code, 3, err)
        self.one_line(err, "kafka.partitions = 8")
        code, _, err = self.refused_start(*self.set_arguments(flow__lanes=3))
        self.assertEqual(code, 3, err)
        self.one_line(err, "flow.lanes = 8")

    def test_too_low_a_limit_of_open_files_is_named(self):
        code, _, err = self.refused_start(*self.set_arguments(), before=("prlimit", "--nofile=64:64"))
        self.assertEqual(code, 1)
        self.assertIn("the limit of open files is 64, and couponsd needs at least 256", err)

    def test_a_port_that_is_in_use_is_named(self):
        server = self.start()
        code, _, err = self.refused_start(*self.set_arguments(grpc__listen=server.grpc))
        self.assertNotEqual(code, 0)
        self.one_line(err, server.grpc)

    def test_it_stops_gracefully_on_both_signals(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            server = self.start()
            self.assertEqual(server.stop(number), 0)
            self.assertIn("event=stop.done", server.text())


class Http(Scenario):
    def test_each_log_line_is_a_json_object_if_log_format_says_so(self):
        server = self.start(log__format="json", log__level="debug",
                            redis__url=f"redis://127.0.0.1:{closed_port()}/0")
        self.ctl(server, "request", self.create(server, 1), 42)
        server.stop()
        lines = [json.loads(line) for line in server.text().splitlines() if not line.startswith("ready ")]
        self.assertTrue(all({"ts", "level", "event"} <= line.keys() for line in lines), lines)
        events = [line["event"] for line in lines]
        self.assertIn("start.without", events)
        self.assertEqual(events[-1], "stop.done")

    def test_metrics_health_and_readiness(self):
        server = self.start()
        coupon = self.create(server, 2)
        for user in (1, 2, 3):
            self.ctl_raw(server, "request", coupon, user)
        self.ctl(server, "watch", coupon, 2)
        self.assertEqual(server.get("/healthz")[0], 200)
        self.assertEqual(server.get("/readyz")[0], 200)
        self.assertEqual(server.get("/nowhere")[0], 404)
        self.assertEqual(server.metric("couponsd_accepted_total"), 2)
        wait_until(lambda: server.metric("couponsd_issued_total") == 2, what="two issued")
        text = server.get("/metrics")[1]
        for part in ('couponsd_rpc_total{service="coupon.v1.CouponService",method="RequestPublish",code="OK"} 2',
                     'couponsd_refused_total{reason="SOLD_OUT"} 1',
                     'couponsd_rpc_seconds_bucket{service="coupon.v1.CouponService",method="RequestPublish",le="',
                     'couponsd_stage_queue_depth{stage="gate"} 0', 'couponsd_stage_batch_size_bucket{stage="admit"',
                     'couponsd_stage_batch_seconds_count{stage="issue"}',
                     'couponsd_relay_lag_rows{stream="requested"}', "couponsd_issue_lag_messages"):
            self.assertIn(part, text)

    def test_the_reference_of_the_metrics_is_current(self):
        server = self.start()
        done = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "metrics_reference.py"), "--check",
                               f"http://{server.http}/metrics"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


class Without(Scenario):
    def test_requests_are_accepted_without_redis_and_without_kafka_and_issued_later(self):
        server = self.start(kafka__brokers=f"127.0.0.1:{closed_port()}",
                            redis__url=f"redis://127.0.0.1:{closed_port()}/0")
        coupon = self.create(server, 3)
        tickets = [self.ctl(server, "request", coupon, user)[0]["ticket"] for user in (1, 2, 3)]
        self.assertEqual(tickets, [1, 2, 3])
        self.assertEqual(self.refusal(server, "request", coupon, 4)["reason"], "SOLD_OUT")
        self.assertEqual(self.sql("select count(*) from user_coupon"), [["0"]])
        server.stop()
        server = self.start()  # all servers are up
        self.assertEqual(self.ctl(server, "watch", coupon, 3)[-1]["state"], "ISSUED")
        self.assert_issued_exactly(coupon, 3)
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "false", what="the flag is false")

    def test_a_lost_flag_is_put_back_and_a_wrong_one_mended(self):
        server = self.start()
        coupon = self.create(server, 3)
        self.redis("del", f"coupon:available:{coupon}", f"coupon:available_version:{coupon}")
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["ticket"], 1)
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", 5, what="the flag is back")
        self.redis("set", f"coupon:available:{coupon}", "false")
        wait_until(lambda: self.redis("get", f"coupon:available:{coupon}") == "true", 5, what="the flag is mended")

    def test_a_second_server_finds_the_database_migrated_and_waits_for_no_one(self):
        servers = [self.start(), self.start()]
        coupon = self.create(servers[0], 10)
        for user in range(10):
            status = self.ctl(servers[user % 2], "request", coupon, user + 1)[0]
            self.assertEqual(status["ticket"], user + 1)
        for user in range(10):
            self.assertEqual(self.ctl(servers[(user + 1) % 2], "watch", coupon, user + 1)[-1]["state"], "ISSUED")
        migrations = len(glob.glob(f"{ROOT}/src/store/migrations/*.sql"))
        self.assertEqual(self.sql("select count(*) from schema_migration"), [[str(migrations)]])


if __name__ == "__main__":
    unittest.main()

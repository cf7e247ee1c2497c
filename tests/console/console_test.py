# SPDX-License-Identifier: Apache-2.0
"""What the console's page asks couponsd for: who may ask, from where, what comes, and what it costs."""

import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import tempfile
import threading
import time

from tests.harness import PATIENCE, SANITIZED, Scenario, wait_until
from tests.harness.certificates import Authority

VIEWERS_MAX = 16
READS_MAX = 12  # that wait; one more may be under way


class Stream:
    """The events of a viewer."""

    def __init__(self, server, token=None):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.connection = http.client.HTTPConnection(server.http, timeout=20 * PATIENCE)
        self.connection.request("GET", "/console/api/stream", headers=headers)
        self.answer = self.connection.getresponse()

    def event(self, kind):
        """The next event of this kind."""
        while True:
            line = self.answer.readline().decode()
            if not line:
                raise EOFError
            if line.startswith("event: "):
                name = line.split()[1]
            elif line.startswith("data: ") and name == kind:
                return json.loads(line[6:])

    def close(self):
        self.answer.close()
        self.connection.close()


class ConsoleTest(Scenario):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tokens = self.write("tokens", "".join(
            f"{roles} {hashlib.sha256(token.encode()).hexdigest()}\n"
            for roles, token in (("caller", "shop"), ("observer", "eyes"), ("admin", "boss"))))

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def start_closed(self, **settings):
        return self.start(access__tokens=self.tokens, **settings)

    def ask(self, server, path, token=None, method="GET", **headers):
        """Returns the status and the body, decoded."""
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(server.http, timeout=70 * PATIENCE)
        connection.request(method, f"/console/{path}", headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        self.last_headers = dict(answer.getheaders())
        return answer.status, json.loads(text) if text.startswith("{") else text

    def call(self, server, name, token=None, **fields):
        query = "&".join(f"{key}={value}" for key, value in fields.items())
        return self.ask(server, f"api/call/{name}?{query}", token)

    def change(self, server, name, token=None, **fields):
        query = "&".join(f"{key}={value}" for key, value in fields.items())
        return self.ask(server, f"api/call/{name}?{query}", token, "POST", X_Couponsd_Console="1")

    def viewer(self, server, token=None):
        stream = Stream(server, token)
        self.addCleanup(stream.close)
        return stream


class Access(ConsoleTest):
    def test_the_page_needs_no_token_and_what_it_shows_does(self):
        server = self.start_closed()
        status, page = self.ask(server, "")
        self.assertEqual((status, page.startswith("<!doctype html>")), (200, True))
        self.assertIn("default-src 'none'", self.last_headers["Content-Security-Policy"])
        self.assertNotIn("unsafe", self.last_headers["Content-Security-Policy"])
        for path in ("coupons", "tickets?coupon_id=1", "stream", "call/CouponAdminService/ListCoupons"):
            with self.subTest(path):
                self.assertEqual(self.ask(server, f"api/{path}")[0], 401)
                self.assertEqual(self.ask(server, f"api/{path}", "wrong")[0], 401)
                self.assertEqual(self.ask(server, f"api/{path}", "shop")[0], 403)
        self.assertEqual(self.ask(server, "api/coupons", "eyes")[0], 200)
        expected = {None: (False, False), "shop": (False, False), "eyes": (True, False), "boss": (True, True)}
        for token, (may_read, may_change) in expected.items():
            self.assertEqual(self.ask(server, "api/me", token),
                             (200, {"is_open": False, "may_read": may_read, "may_change": may_change}))

    def test_only_an_admin_changes_something_and_the_log_says_who(self):
        server = self.start_closed()
        coupon = self.ctl(server, "--token-file", self.write("boss", "boss"), "create", "--quantity", 5)[0]["id"]
        for token, expected in ((None, 401), ("eyes", 403), ("shop", 403)):
            status, answer = self.change(server, "CouponAdminService/PauseCoupon", token, coupon_id=coupon)
            self.assertEqual((status, answer["reason"]), (expected, "PERMISSION"), answer)
        status, answer = self.change(server, "CouponAdminService/PauseCoupon", "boss", coupon_id=coupon)
        self.assertEqual((status, answer["coupon"]["status"]), (200, "PAUSED"))
        self.assertRegex(server.text(), r"event=audit caller=token:\w+ method=CouponAdminService/PauseCoupon "
                                        rf"peer=ipv4:127.0.0.1:\d+ result=OK coupon_id={coupon}")
        status, answer = self.change(server, "CouponAdminService/AddQuantity", "boss", coupon_id=coupon, quantity=3)
        self.assertEqual(answer["coupon"]["quantity"], "8")

    def test_without_tokens_it_shows_everything_and_changes_nothing(self):
        server = self.start()
        coupon = self.create(server, 5)
        self.assertEqual(self.ask(server, "api/me")[1], {"is_open": True, "may_read": True, "may_change": False})
        self.assertEqual(self.call(server, "CouponAdminService/GetCoupon", coupon_id=coupon)[0], 200)
        status, answer = self.change(server, "CouponAdminService/CloseCoupon", coupon_id=coupon)
        self.assertEqual(status, 403)
        self.assertIn("access.tokens", answer["message"])
        self.assertEqual(self.call(server, "CouponAdminService/GetCoupon", coupon_id=coupon)[1]["coupon"]["status"],
                         "PUBLISHABLE")

    def test_other_sites_pages_can_neither_read_nor_change(self):
        server = self.start_closed()
        coupon = self.ctl(server, "--token-file", self.write("boss", "boss"), "create", "--quantity", 5)[0]["id"]
        pause = f"api/call/CouponAdminService/PauseCoupon?coupon_id={coupon}"
        # a name of another site that stands for 127.0.0.1
        self.assertEqual(self.ask(server, "api/coupons", "boss", Host="evil.example")[0], 403)
        for host in ("127.0.0.1.evil.example", "localhost:evil.example", "127.0.0.1:80@evil.example", "[::1]x", "localhost."):
            self.assertEqual(self.ask(server, "", Host=host)[0], 403, host)
        # a form or a script of another site
        for site in ("cross-site", "same-site"):
            self.assertEqual(self.ask(server, "api/coupons", "boss", Sec_Fetch_Site=site)[0], 403)
            self.assertEqual(self.ask(server, pause, "boss", "POST", X_Couponsd_Console="1", Sec_Fetch_Site=site)[0], 403)
        self.assertEqual(self.ask(server, pause, "boss", "POST")[0], 403, "a form cannot send the header")
        self.assertEqual(self.ask(server, pause, "boss", "GET", X_Couponsd_Console="1")[0], 400, "GET changes nothing")
        for host in ("localhost:1", "127.0.0.1", "[::1]:9"):
            self.assertEqual(self.ask(server, "api/coupons", "eyes", Host=host, Sec_Fetch_Site="same-origin")[0], 200)
        # no page of another origin may read an answer, nor show this page in a frame
        self.assertNotIn("Access-Control-Allow-Origin", self.last_headers)
        self.assertEqual(self.last_headers["X-Frame-Options"], "DENY")

    def test_no_token_harms_the_calls_of_others(self):
        """All calls share one connection, which gRPC would end because of metadata that are too long."""
        server = self.start_closed()
        stop = threading.Event()

        def annoy():
            while not stop.is_set():
                for token in ("x" * 4200, "x" * 9000, "x" * 20000):
                    self.assertIn(self.ask(server, "api/call/CouponAdminService/ListCoupons", token)[0], (401, 431))

        annoying = threading.Thread(target=annoy)
        annoying.start()
        answers = [self.call(server, "CouponAdminService/ListCoupons", "boss")[0] for _ in range(200)]
        stop.set()
        annoying.join()
        self.assertEqual(set(answers), {200})
        for token in ("\x7f", "a\tb", "\xe9"):
            self.assertEqual(self.ask(server, "api/coupons", token)[0], 401)

    def test_a_token_that_is_taken_away_ends_its_stream(self):
        server = self.start_closed()
        stream, other = self.viewer(server, "eyes"), self.viewer(server, "boss")
        stream.event("sample")
        with open(self.tokens) as file:
            lines = file.readlines()
        self.write("tokens", "".join(line for line in lines if not line.startswith("observer")))
        with self.assertRaises((EOFError, http.client.HTTPException)):
            for _ in range(20):
                stream.event("sample")
        other.event("sample")

    def test_off_loopback_it_wants_tls(self):
        authority = Authority(self.folder)
        certificate, key = authority.sign("server", "IP:127.0.0.1")
        server = self.start_closed(http__tls_certificate=certificate, http__tls_key=key)
        port = int(server.http.rsplit(":", 1)[1])
        context = ssl.create_default_context(cafile=authority.certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
        # Over TLS, the certificate proves the name, so any Host will do.
        connection.request("GET", "/console/api/coupons", headers={"Authorization": "Bearer eyes", "Host": "a.example"})
        answer = connection.getresponse()
        self.assertEqual((answer.status, json.loads(answer.read())["coupons"]), (200, []))
        connection.request("GET", "/healthz")
        self.assertEqual(connection.getresponse().read(), b"ok\n")
        connection.close()

        own = self.own_address()
        server = self.start_closed(http__listen=f"{own}:0")
        status, answer = self.ask(server, "api/me", "boss", Host="localhost")
        self.assertEqual(status, 403)
        self.assertIn("http.tls_certificate", answer["message"])
        self.assertEqual(server.get("/healthz"), (200, "ok\n"))

        certificate, key = authority.sign("own", f"IP:{own}")
        server = self.start(http__listen=f"{own}:0", http__tls_certificate=certificate, http__tls_key=key)
        connection = http.client.HTTPSConnection(*server.http.split(":"), context=context, timeout=20)
        connection.request("GET", "/console/api/coupons")
        answer = connection.getresponse()
        self.assertEqual(answer.status, 403)
        self.assertIn("access.tokens", json.loads(answer.read())["message"])
        connection.close()

    def own_address(self):
        """An address of this machine that is not loopback. Nothing is sent to the one that it is asked for."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(("192.0.2.1", 9))
                return probe.getsockname()[0]
            except OSError:
                self.skipTest("this machine has no address but loopback")

    def test_settings_that_do_not_fit_together_are_refused(self):
        code, _, err = self.refused_start(*self.set_arguments(http__tls_key="/dev/null"))
        self.assertEqual(code, 2, err)
        self.assertIn("http.tls_key is set without http.tls_certificate: TLS needs both", err)

    def test_it_can_be_switched_off(self):
        server = self.start(http__console="false")
        self.assertEqual(self.ask(server, "")[0], 404)
        self.assertEqual(self.ask(server, "api/coupons")[0], 404)


class Reading(ConsoleTest):
    def test_tickets_come_in_pages_from_both_ends(self):
        server = self.start()
        coupon = self.create(server, 250)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 250, "--concurrency", 50)
        self.wait_for_issued(coupon, 250)
        issued = [ticket for ticket, in self.sql(f"select user_id from user_coupon where coupon_id = {coupon} order by ticket")]
        for newest in ("false", "true"):
            after, seen = 0, []
            while True:
                status, page = self.ask(server, f"api/tickets?coupon_id={coupon}&after={after}&newest={newest}")
                self.assertEqual(status, 200)
                seen += page["tickets"]
                if not page["more"]:
                    break
                after = page["tickets"][-1]["ticket"]
            tickets = list(range(1, 251))
            self.assertEqual([int(each["ticket"]) for each in seen], tickets[::-1] if newest == "true" else tickets)
            users = [each["user_id"] for each in seen]
            self.assertEqual(users[::-1] if newest == "true" else users, issued)
            self.assertEqual({each["state"] for each in seen}, {"ISSUED"})

    def test_states_are_those_of_the_rules(self):
        server = self.start()
        ids = {}
        for name, arguments in (("OPEN", []), ("NOT_OPEN", ["--open", "2099-01-01T00:00:00Z"])):
            ids[name] = self.create(server, 1, *arguments)
        for name, verb in (("PAUSED", "pause"), ("CLOSED", "close")):
            ids[name] = self.create(server, 1)
            self.ctl(server, verb, ids[name])
        ids["SOLD_OUT"] = self.create(server, 1)
        self.ctl(server, "request", ids["SOLD_OUT"], 1)
        coupons = self.ask(server, "api/coupons")[1]["coupons"]
        self.assertEqual({each["state"]: int(each["id"]) for each in coupons}, ids)
        self.assertEqual([int(each["id"]) for each in coupons], sorted(ids.values(), reverse=True), "the newest first")
        page = self.ask(server, f"api/coupons?before={ids['CLOSED']}&limit=2")[1]
        self.assertEqual([each["state"] for each in page["coupons"]], ["PAUSED", "NOT_OPEN"])

    def test_questions_that_make_no_sense_are_answered_with_what_is_wrong(self):
        server = self.start()
        for path, said in (
                ("api/tickets", "coupon_id must be"), ("api/tickets?coupon_id=-1", "coupon_id must be"),
                ("api/tickets?coupon_id=1&after=x", "after must be"), ("api/coupons?before=x", "before and upto must be"),
                ("api/coupons?limit=101", "limit"), ("api/coupons?before=99999999999999999999", "before and upto must be"),
                ("api/call/CouponAdminService/GetCoupon?coupon_id=x", 'coupon_id: "x" does not suit it'),
                ("api/call/CouponAdminService/GetCoupon?nothing=1", "nothing: there is no such field"),
                ("api/call/CouponAdminService/GetCoupon", "coupon_id"),
                ("api/call/CouponAdminService/PauseCoupon?coupon_id=1", "wants POST")):
            with self.subTest(path):
                status, answer = self.ask(server, path)
                self.assertEqual(status, 400, answer)
                self.assertIn(said, answer["message"])
        for path in ("nothing", "api/nothing", "api/call/CouponService/RequestPublish", "api/call/CouponService/WatchStatus",
                     "api/call/Nothing/At", "api/call/", "../metrics", "console.css/"):
            with self.subTest(path):
                self.assertEqual(self.ask(server, path)[0], 404)
        status, answer = self.call(server, "CouponAdminService/GetCoupon", coupon_id=5)
        self.assertEqual((status, answer["code"], answer["reason"]), (404, "NOT_FOUND", "COUPON_NOT_FOUND"))
        self.assertEqual(self.ask(server, "api/coupons", None, "POST")[0], 400)
        self.assertEqual(self.ask(server, "api/stream", None, "HEAD")[0], 400)
        self.assertEqual(self.ask(server, "", None, "DELETE")[0], 405)
        page = self.ask(server, f"api/coupons?upto={2**63 - 1}&limit=1")
        self.assertEqual((page[0], page[1]["coupons"]), (200, []))

    def test_every_read_of_the_page_works(self):
        server = self.start()
        coupon = self.create(server, 1)
        self.ctl(server, "request", coupon, 42)
        self.wait_for_issued(coupon, 1)
        status = self.call(server, "CouponService/GetStatus", coupon_id=coupon, user_id=42)[1]["status"]
        self.assertEqual((status["state"], status["ticket"]), ("ISSUED", "1"))
        held = self.call(server, "CouponService/ListUserCoupons", user_id=42)[1]
        self.assertEqual([each["coupon_id"] for each in held["user_coupons"]], [str(coupon)])
        checks = self.call(server, "IntegrityService/VerifyCoupon", coupon_id=coupon)[1]["checks"]
        self.assertEqual({each["result"] for each in checks}, {"OK"}, checks)
        topics = self.call(server, "TopicAdminService/ListTopics")[1]
        self.assertEqual(len(topics["topics"]), 2)
        self.assertEqual(self.call(server, "DeadLetterAdminService/ListDeadLetters")[1]["dead_letters"], [])


class Live(ConsoleTest):
    def test_a_campaign_shows_in_the_samples(self):
        server = self.start()
        coupon = self.create(server, 100)
        stream = self.viewer(server)
        self.ctl(server, "bench", "--coupon", coupon, "--users", 300, "--concurrency", 50)
        self.wait_for_issued(coupon, 100)

        def is_whole():
            sample = stream.event("sample")
            mine, = [each for each in sample["campaigns"] if each["id"] == str(coupon)] or [None]
            return mine == {"id": str(coupon), "answers": {"OK": 100, "SOLD_OUT": 200}, "quantity": 100, "accepted": 100,
                            "issued": 100} and sample["accepted"] == 100 and sample["refused"] == {"SOLD_OUT": 200}

        wait_until(is_whole, 10, every=0)
        overview = stream.event("overview")
        found, = [each for each in overview["coupons"] if each["id"] == str(coupon)]
        self.assertEqual((found["state"], found["issued"]), ("SOLD_OUT", 100))
        late = self.viewer(server)
        first = late.event("sample")
        self.assertLess(first["t"], time.time() * 1000 - 900, "a new viewer gets the last minutes first")

    def test_the_others_of_a_database_are_known(self):
        first, second = self.start(), self.start()
        stream = self.viewer(first)

        def others():
            return {each["grpc"]: each["self"] for each in stream.event("overview")["instances"]}

        wait_until(lambda: others() == {first.grpc: True, second.grpc: False}, 10, every=0)
        self.assertEqual(second.stop(), 0)
        wait_until(lambda: others() == {first.grpc: True}, 10, every=0, what="it has said goodbye")

    def test_viewers_are_bounded_and_leave_room(self):
        server = self.start(http__listen="127.0.0.1:0")
        streams = [self.viewer(server) for _ in range(VIEWERS_MAX)]
        for stream in streams:
            self.assertEqual(stream.answer.status, 200)
        refused = self.viewer(server)
        self.assertEqual(refused.answer.status, 429)
        self.assertIn("too many people", json.loads(refused.answer.read())["message"])
        self.assertEqual(server.get("/healthz"), (200, "ok\n"))
        streams.pop().close()

        def is_room():
            stream = self.viewer(server)
            ok = stream.answer.status == 200
            stream.close()
            return ok

        wait_until(is_room, 10, what="a viewer who has left makes room")

    def test_a_viewer_who_does_not_read_holds_up_nobody(self):
        server = self.start()
        host, port = server.http.split(":")
        idle = socket.create_connection((host, int(port)))
        self.addCleanup(idle.close)
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.sendall(b"GET /console/api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        stream = self.viewer(server)
        samples = [stream.event("sample")["t"] for _ in range(4)]
        self.assertLess(max(b - a for a, b in zip(samples, samples[1:])), 3000 * PATIENCE)

    def test_it_stops_with_viewers_and_waiting_calls(self):
        server = self.start()
        streams = [self.viewer(server) for _ in range(3)]
        streams[0].event("sample")
        asking = threading.Thread(target=lambda: [self.swallow(server) for _ in range(50)])
        asking.start()
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 10 * PATIENCE)
        asking.join()
        with self.assertRaises((EOFError, http.client.HTTPException, OSError)):
            while True:
                streams[0].event("sample")

    def swallow(self, server):
        try:
            self.call(server, "CouponAdminService/ListCoupons")
        except (OSError, http.client.HTTPException):
            pass

    def test_a_connection_that_reached_its_age_is_replaced(self):
        server = self.start(grpc__max_connection_age_ms="1500")
        end = time.monotonic() + 8
        answers = []
        while time.monotonic() < end:
            answers.append(self.call(server, "CouponAdminService/ListCoupons")[0])
            time.sleep(0.05)
        self.assertEqual(set(answers) - {200, 503}, set())
        self.assertGreater(answers.count(200), len(answers) / 2)
        wait_until(lambda: self.call(server, "CouponAdminService/ListCoupons")[0] == 200, 5)

    def test_a_viewer_costs_less_than_a_hundredth_of_a_core(self):
        """Of couponsd: the first viewer, for whom the coupons are read, and each further one."""
        if SANITIZED:
            self.skipTest("a sanitizer's build is no measure of cost")
        server = self.start()
        for _ in range(100):
            self.create(server, 1)

        def cpu_s():
            total = 0
            for task in os.listdir(f"/proc/{server.process.pid}/task"):
                with open(f"/proc/{server.process.pid}/task/{task}/schedstat") as file:
                    total += int(file.read().split()[0]) / 1e9
            return total

        def percent(seconds=5):
            before, began = cpu_s(), time.monotonic()
            time.sleep(seconds)
            return 100 * (cpu_s() - before) / (time.monotonic() - began)

        def join(n):
            for _ in range(n):
                threading.Thread(target=self.drain, args=(self.viewer(server),), daemon=True).start()
            time.sleep(1)

        nobody = percent()
        join(1)
        one = percent()
        join(VIEWERS_MAX - 1)
        everybody = percent()
        further = (everybody - one) / (VIEWERS_MAX - 1)
        print(f"\n% of a core: {nobody:.2f} without viewers, {one - nobody:.2f} for the first one, {further:.3f} for each further one")
        self.assertLess(one - nobody, 1)
        self.assertLess(further, 1)

    def drain(self, stream):
        try:
            while stream.answer.read1(65536):
                pass
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass


class Outages(ConsoleTest):
    def later(self, *arguments, **options):
        """Asks on another thread. Returns a function that waits for the answer, and one that says whether it is there."""
        answers = []

        def ask():
            try:
                answers.append(self.ask(*arguments, **options))
            except (OSError, http.client.HTTPException) as error:
                answers.append((0, str(error)))

        thread = threading.Thread(target=ask)
        thread.start()
        return lambda: (thread.join(), answers[0])[1], lambda: bool(answers)

    def test_reads_that_wait_leave_room_for_probes_and_do_not_hold_up_the_stop(self):
        server = self.start()
        release = self.hold("lock table publish_request in access exclusive mode")
        waiting = [self.later(server, "api/tickets?coupon_id=1") for _ in range(40)]
        wait_until(lambda: sum(is_there() for _, is_there in waiting) >= 40 - READS_MAX - 1, 10, what="others are refused")
        self.assertEqual(server.get("/healthz"), (200, "ok\n"))
        began = time.monotonic()
        self.assertEqual(server.stop(), 0)
        self.assertLess(time.monotonic() - began, 6 * PATIENCE)
        release()
        statuses = {answer()[0] for answer, _ in waiting}
        self.assertEqual(statuses - {429, 503}, set())
        self.assertIn(503, statuses)

    def test_a_change_that_the_stop_overtakes_is_answered_with_what_became_of_it(self):
        server = self.start_closed()
        coupon = self.ctl(server, "--token-file", self.write("boss", "boss"), "create", "--quantity", 5)[0]["id"]
        release = self.hold(f"update coupon set name = name where id = {coupon}")
        answer, _ = self.later(server, f"api/call/CouponAdminService/PauseCoupon?coupon_id={coupon}", "boss", "POST",
                            X_Couponsd_Console="1")
        wait_until(lambda: self.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ~ "
                                    "'update coupon set status'") != [["0"]], 10)
        server.process.send_signal(15)
        time.sleep(0.3)
        release()
        status, said = answer()
        self.assertEqual((status, said["coupon"]["status"]), (200, "PAUSED"), said)
        self.assertEqual(server.process.wait(20 * PATIENCE), 0)

    def test_many_reads_do_not_keep_the_overview_from_coming(self):
        server = self.start()
        coupon = self.create(server, 10)
        stream = self.viewer(server)
        stop = threading.Event()

        def read():
            while not stop.is_set():
                self.ask(server, f"api/tickets?coupon_id={coupon}")

        readers = [threading.Thread(target=read) for _ in range(8)]
        for reader in readers:
            reader.start()
        began = time.monotonic()
        for _ in range(5):
            stream.event("overview")
        took = time.monotonic() - began
        stop.set()
        for reader in readers:
            reader.join()
        self.assertLess(took, 10 * PATIENCE)

    def test_what_cannot_be_read_is_said(self):
        server = self.start()
        stream = self.viewer(server)
        release = self.hold("lock table coupon in access exclusive mode")
        wait_until(lambda: "coupons_error" in stream.event("overview"), 10, every=0)
        self.assertTrue(stream.event("overview")["instances"], "what can be read still comes")
        status, answer = self.ask(server, "api/coupons")
        self.assertEqual((status, answer["reason"]), (503, "BACKEND_UNAVAILABLE"), answer)
        self.assertTrue(re.search("timeout|silent", answer["message"]), answer)
        release()
        wait_until(lambda: self.ask(server, "api/coupons")[0] == 200, 10)


if __name__ == "__main__":
    import unittest
    unittest.main()

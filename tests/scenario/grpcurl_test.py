# SPDX-License-Identifier: Apache-2.0
"""couponsd with grpcurl alone, which finds services, messages, RPCs and errors by reflection.

CASES has a case for each RPC of couponsd. The test lists the RPCs by reflection, so a new RPC without a case fails.
"""

import itertools
import json
import os
import subprocess
import unittest

from tests.harness import PATIENCE, ROOT, Scenario, wait_until

GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
GO_SH = os.path.join(ROOT, "tools", "go.sh")

USER = "coupon.v1.CouponService"
ADMIN = "coupon.v1.CouponAdminService"
TOPICS = "coupon.v1.TopicAdminService"
LETTERS = "coupon.v1.DeadLetterAdminService"
INTEGRITY = "coupon.v1.IntegrityService"
HEALTH = "grpc.health.v1.Health"
REFLECTIONS = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

# grpcurl's exit code is the sum of FAILED and the status code.
FAILED = 64
INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, FAILED_PRECONDITION = 3, 4, 5, 6, 9

CASES = {}
grpcurl = ""


def setUpModule():
    global grpcurl
    # go.sh prints the path on stdout and its messages on stderr, which goes to the log of the test.
    done = subprocess.run([GO_SH, "tool", GRPCURL], stdout=subprocess.PIPE, text=True, check=True)
    grpcurl = done.stdout.strip()


def case(method):
    def add(function):
        assert method not in CASES, f"two cases for {method}"
        CASES[method] = function
        return function
    return add


def messages(text):
    """grpcurl prints one JSON object after another."""
    decoder, found, text = json.JSONDecoder(), [], text.strip()
    while text:
        message, end = decoder.raw_decode(text)
        found.append(message)
        text = text[end:].strip()
    return found


class Grpcurl(Scenario):
    def setUp(self):
        super().setUp()
        self.server = self.start()

    def command(self, *arguments):
        return [grpcurl, "-plaintext", "-format-error", *arguments]

    def run_grpcurl(self, *arguments, flags=()):
        """Returns exit code, stdout and stderr."""
        done = subprocess.run(self.command(*flags, self.server.grpc, *arguments),
                              capture_output=True, text=True, timeout=60 * PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def read(self, *arguments):
        """Returns the output of `list` or `describe`."""
        code, out, err = self.run_grpcurl(*arguments)
        self.assertEqual(code, 0, f"grpcurl {arguments}: {out} {err}")
        return out

    def stream(self, method, request=None):
        """Makes a call that must succeed. Returns the server's messages."""
        code, out, err = self.run_grpcurl(method, flags=("-d", json.dumps(request or {})))
        self.assertEqual(code, 0, f"{method} {request}: {out} {err}")
        return messages(out)

    def call(self, method, request=None):
        answers = self.stream(method, request)
        self.assertEqual(len(answers), 1, f"{method} {request}")
        return answers[0]

    def refuse(self, code, method, request=None):
        """Makes a call that must fail with this code. Returns its google.rpc.Status."""
        exit_code, out, err = self.run_grpcurl(method, flags=("-d", json.dumps(request or {})))
        self.assertEqual((exit_code, out), (FAILED + code, ""), f"{method} {request}: {err}")
        status = json.loads(err)
        self.assertEqual(status["code"], code)
        return status

    def detail(self, status, kind):
        found = [each for each in status["details"] if each["@type"] == f"type.googleapis.com/google.rpc.{kind}"]
        self.assertEqual(len(found), 1, f"one {kind} in {status}")
        return found[0]

    def new_coupon(self, quantity=1, **fields):
        self.next_id += 1
        coupon = {"id": str(self.next_id), "name": "tea", "quantity": str(quantity), **fields}
        made = self.call(f"{ADMIN}/CreateCoupon", {"coupon": coupon})["coupon"]
        self.assertLessEqual(coupon.items(), made.items())
        return made["id"]

    def request(self, coupon, user, request_id="r"):
        request = {"coupon_id": coupon, "user_id": user, "request_id": request_id}
        return self.call(f"{USER}/RequestPublish", request)["status"]

    def wait_issued(self, coupon, user):
        last = self.stream(f"{USER}/WatchStatus", {"coupon_id": coupon, "user_id": user})[-1]
        self.assertEqual(last["status"]["state"], "STATE_ISSUED")

    def services(self):
        return self.read("list").split()

    # --- a case for each RPC ---

    @case(f"{USER}.RequestPublish")
    def request_publish(self):
        coupon = self.new_coupon(2)
        first = self.request(coupon, 42, "a")
        accept_time = first.pop("acceptTime")
        self.assertEqual(first, {"couponId": coupon, "userId": "42", "requestId": "a", "state": "STATE_ACCEPTED",
                                 "ticket": "1"})
        again = self.request(coupon, 42, "a")
        self.assertEqual((again["ticket"], again["acceptTime"]), ("1", accept_time))
        self.assertEqual(self.request(coupon, 43)["ticket"], "2")

    @case(f"{USER}.GetStatus")
    def get_status(self):
        coupon = self.new_coupon()
        accepted = self.request(coupon, 42)
        self.wait_issued(coupon, 42)
        status = self.call(f"{USER}/GetStatus", {"coupon_id": coupon, "user_id": 42})["status"]
        self.assertGreaterEqual(status.pop("issueTime"), accepted["acceptTime"])
        self.assertEqual(status, {**accepted, "state": "STATE_ISSUED"})

    @case(f"{USER}.WatchStatus")
    def watch_status(self):
        coupon = self.new_coupon()
        lock = subprocess.Popen(["psql", self.postgres_url, "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1"],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watch = self.command("-max-time", str(60 * PATIENCE), "-d", json.dumps({"coupon_id": coupon, "user_id": 42}),
                             self.server.grpc, f"{USER}/WatchStatus")
        # While another session holds this lock, couponsd can read but cannot issue.
        with lock:
            lock.stdin.write("begin; lock table issued in share row exclusive mode; select 'locked';\n")
            lock.stdin.flush()
            self.assertEqual(lock.stdout.readline(), "locked\n")
            self.request(coupon, 42)
            with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as stream:
                first = "".join(itertools.takewhile(lambda line: line != "}\n", stream.stdout)) + "}"
                self.assertEqual([each["status"]["state"] for each in messages(first)], ["STATE_ACCEPTED"])
                self.assertIsNone(stream.poll(), "the stream stays open until the final state")
                lock.communicate("rollback;\n")
                rest = messages(stream.stdout.read())
        self.assertEqual([each["status"]["state"] for each in rest], ["STATE_ISSUED"])
        self.assertEqual(rest[0]["status"]["ticket"], "1")
        self.assertEqual(stream.returncode, 0, "the stream ends by itself, with success")

    @case(f"{USER}.ListUserCoupons")
    def list_user_coupons(self):
        coupons = [self.new_coupon() for _ in range(3)]
        user = self.next_id
        for coupon in coupons:
            self.request(coupon, user)
        for coupon in coupons:
            self.wait_issued(coupon, user)
        page = self.call(f"{USER}/ListUserCoupons", {"user_id": user, "page_size": 2})
        rest = self.call(f"{USER}/ListUserCoupons", {"user_id": user, "page_token": page["nextPageToken"]})
        self.assertNotIn("nextPageToken", rest)
        held = page["userCoupons"] + rest["userCoupons"]
        self.assertEqual([(each["couponId"], each["userId"], each["ticket"]) for each in held],
                         [(coupon, str(user), "1") for coupon in coupons])
        self.assertTrue(all("issueTime" in each for each in held))

    @case(f"{ADMIN}.CreateCoupon")
    def create_coupon(self):
        self.next_id += 1
        wanted = {"id": str(self.next_id), "name": "noon", "quantity": "3", "status": "STATUS_PAUSED",
                  "discountRate": 12.5, "openTime": "2020-01-01T00:00:00Z", "expireTime": "2999-01-01T00:00:00Z"}
        request = {"coupon": wanted, "request_id": f"create {self.next_id}"}
        made = self.call(f"{ADMIN}/CreateCoupon", request)["coupon"]
        self.assertEqual(made.keys() - wanted.keys(), {"createTime"}, "paused: not available")
        self.assertLessEqual(wanted.items(), made.items())
        self.assertEqual(self.call(f"{ADMIN}/CreateCoupon", request)["coupon"], made)

    @case(f"{ADMIN}.GetCoupon")
    def get_coupon(self):
        coupon = self.new_coupon(5)
        self.request(coupon, 42)
        self.wait_issued(coupon, 42)
        got = self.call(f"{ADMIN}/GetCoupon", {"coupon_id": coupon})["coupon"]
        self.assertLessEqual({"id": coupon, "name": "tea", "quantity": "5", "accepted": "1", "issued": "1",
                              "status": "STATUS_PUBLISHABLE", "available": True}.items(), got.items())

    @case(f"{ADMIN}.ListCoupons")
    def list_coupons(self):
        made = [self.new_coupon() for _ in range(3)]
        listed, request = [], {"page_size": 2}
        while True:
            page = self.call(f"{ADMIN}/ListCoupons", request)
            self.assertLessEqual(len(page["coupons"]), 2)
            listed += [coupon["id"] for coupon in page["coupons"]]
            if "nextPageToken" not in page:
                break
            request["page_token"] = page["nextPageToken"]
        self.assertEqual(listed, sorted(listed, key=int))
        self.assertLessEqual(set(made), set(listed))

    @case(f"{ADMIN}.PauseCoupon")
    def pause_coupon(self):
        coupon = self.new_coupon()
        paused = self.call(f"{ADMIN}/PauseCoupon", {"coupon_id": coupon})["coupon"]
        self.assertEqual((paused["id"], paused["status"], paused.get("available")), (coupon, "STATUS_PAUSED", None))

    @case(f"{ADMIN}.ResumeCoupon")
    def resume_coupon(self):
        coupon = self.new_coupon(status="STATUS_PAUSED")
        resumed = self.call(f"{ADMIN}/ResumeCoupon", {"coupon_id": coupon})["coupon"]
        self.assertEqual((resumed["id"], resumed["status"]), (coupon, "STATUS_PUBLISHABLE"))
        self.assertEqual(self.request(coupon, 42)["ticket"], "1")

    @case(f"{ADMIN}.CloseCoupon")
    def close_coupon(self):
        coupon = self.new_coupon()
        closed = self.call(f"{ADMIN}/CloseCoupon", {"coupon_id": coupon})["coupon"]
        self.assertEqual((closed["id"], closed["status"], closed.get("available")), (coupon, "STATUS_CLOSED", None))

    @case(f"{ADMIN}.AddQuantity")
    def add_quantity(self):
        coupon = self.new_coupon(1)
        request = {"coupon_id": coupon, "quantity": 2, "request_id": f"add {coupon}"}
        for _ in range(2):  # the second adds nothing
            self.assertEqual(self.call(f"{ADMIN}/AddQuantity", request)["coupon"]["quantity"], "3")

    def topics(self):
        listed = self.call(f"{TOPICS}/ListTopics")
        return {topic["name"].removeprefix(f"{self.schema}."): topic for topic in listed["topics"]}, listed["migration"]

    def all_lanes_have_moved(self):
        try:
            return self.topics()[1].get("lanesMoved") == 16
        except AssertionError as error:
            if "BACKEND_UNAVAILABLE" not in str(error):
                raise
            return False  # Kafka is still electing the leaders of new partitions

    @case(f"{TOPICS}.ListTopics")
    def list_topics(self):
        wait_until(self.all_lanes_have_moved, what="every lane has moved")
        listed, migration = self.topics()
        version = migration["targetVersion"]
        self.assertEqual(migration, {"targetVersion": version, "lanes": 16, "lanesMoved": 16})
        self.assertEqual(listed[f"outside.coupon.publish.requested.v{version}"]["state"], "STATE_ACTIVE")
        self.assertEqual(listed[f"inside.coupon.published.v{version}"]["stream"], "STREAM_PUBLISHED")

    @case(f"{TOPICS}.MigrateTopics")
    def migrate_topics(self):
        migration = self.call(f"{TOPICS}/MigrateTopics", {"version": 2, "partitions": 3})["migration"]
        self.assertEqual(migration["targetVersion"], 2)
        wait_until(lambda: self.topics()[1].get("lanesMoved") == 16, what="all lanes have moved")
        self.assertEqual(self.topics()[0]["inside.coupon.published.v2"]["partitions"], 3)
        again = {"version": 2, "partitions": 4}
        refused = self.refuse(FAILED_PRECONDITION, f"{TOPICS}/MigrateTopics", again)
        self.assertEqual(self.detail(refused, "ErrorInfo")["reason"], "TOPIC_EXISTS")

    @case(f"{TOPICS}.PauseMigration")
    def pause_migration(self):
        self.assertTrue(self.call(f"{TOPICS}/PauseMigration")["migration"]["paused"])
        version = self.topics()[1]["targetVersion"]
        self.assertNotIn("paused", self.call(f"{TOPICS}/MigrateTopics", {"version": version})["migration"])

    @case(f"{TOPICS}.DeleteTopics")
    def delete_topics(self):
        used = {"version": self.topics()[1]["targetVersion"]}
        refused = self.refuse(FAILED_PRECONDITION, f"{TOPICS}/DeleteTopics", used)
        self.assertEqual(self.detail(refused, "ErrorInfo")["reason"], "TOPIC_IN_USE")
        refused = self.refuse(NOT_FOUND, f"{TOPICS}/DeleteTopics", {"version": 77})
        self.assertEqual(self.detail(refused, "ErrorInfo")["reason"], "TOPIC_NOT_FOUND")
        self.call(f"{TOPICS}/MigrateTopics", {"version": 5, "partitions": 1})
        wait_until(lambda: self.topics()[1].get("lanesMoved") == 16, what="all lanes have moved")
        old = used["version"]
        wait_until(lambda: self.topics()[0][f"inside.coupon.published.v{old}"]["state"] == "STATE_DRAINED" and
                   self.topics()[0][f"outside.coupon.publish.requested.v{old}"]["state"] == "STATE_DRAINED",
                   what="the old version is drained")
        self.assertEqual(len(self.call(f"{TOPICS}/DeleteTopics", used)["topics"]), 2)

    @case(f"{TOPICS}.RetireCouponTopics")
    def retire_coupon_topics(self):
        coupon = self.new_coupon()
        refused = self.refuse(NOT_FOUND, f"{TOPICS}/RetireCouponTopics", {"coupon_id": coupon})
        self.assertEqual(self.detail(refused, "ErrorInfo")["reason"], "TOPIC_NOT_FOUND")

    def new_letter(self):
        """Makes a dead letter with a value of three bytes. Returns its id."""
        before = self.sql("select coalesce(max(id), 0) from dead_letter")[0][0]
        version = self.topics()[1]["targetVersion"]
        self.topic(f"outside.coupon.publish.requested.v{version}").produce([(b"7", b"\xff\xff\xff")])
        rows = wait_until(lambda: self.sql(f"select id from dead_letter where id > {before}"), what="it is put aside")
        return rows[0][0]

    @case(f"{LETTERS}.ListDeadLetters")
    def list_dead_letters(self):
        letters = [self.new_letter() for _ in range(2)]
        page = self.call(f"{LETTERS}/ListDeadLetters", {"page_size": 1})
        self.assertIn("nextPageToken", page)
        rest = self.call(f"{LETTERS}/ListDeadLetters", {"page_token": page["nextPageToken"], "coupon_id": "7"})
        listed = [letter["id"] for letter in page["deadLetters"] + rest["deadLetters"]]
        self.assertLessEqual(set(letters), set(listed))

    @case(f"{LETTERS}.GetDeadLetter")
    def get_dead_letter(self):
        letter = self.call(f"{LETTERS}/GetDeadLetter", {"id": self.new_letter()})["deadLetter"]
        self.assertEqual((letter["key"], letter["value"], letter["valueSize"], letter["couponId"]),
                         ("Nw==", "////", "3", "7"))
        refused = self.refuse(NOT_FOUND, f"{LETTERS}/GetDeadLetter", {"id": 10**9})
        self.assertEqual(self.detail(refused, "ErrorInfo")["reason"], "DEAD_LETTER_NOT_FOUND")

    @case(f"{LETTERS}.ReplayDeadLetters")
    def replay_dead_letters(self):
        letter = self.new_letter()
        replay, = self.call(f"{LETTERS}/ReplayDeadLetters", {"first_id": letter})["replays"]
        self.assertEqual((replay["id"], replay["outcome"]), (letter, "OUTCOME_KEPT"))
        self.assertIn("can't be decoded", replay["detail"])

    @case(f"{LETTERS}.DropDeadLetters")
    def drop_dead_letters(self):
        letter = {"first_id": self.new_letter()}
        self.assertEqual(self.call(f"{LETTERS}/DropDeadLetters", letter), {"dropped": "1"})
        self.assertEqual(self.call(f"{LETTERS}/DropDeadLetters", letter), {})

    @case(f"{INTEGRITY}.VerifyCoupon")
    def verify_coupon(self):
        coupon = self.new_coupon(3)
        self.request(coupon, 42)
        self.wait_issued(coupon, 42)
        checks = self.call(f"{INTEGRITY}/VerifyCoupon", {"coupon_id": coupon})["checks"]
        self.assertEqual({check["name"]: check["result"] for check in checks if check["name"] != "topic published"},
                         {name: "RESULT_OK" for name in (
                             "ledger", "users", "quantity", "counters", "issued", "rejected", "waiting", "dead letters",
                             "outbox requested", "outbox published", "flag", "topic requested")})

    # --- tests ---

    def test_each_rpc_that_reflection_lists_does_what_it_is_for(self):
        listed = {method for service in self.services() if not service.startswith("grpc.")
                  for method in self.read("list", service).split()}
        self.assertEqual(listed, set(CASES), "each RPC needs a case in CASES, and each case an RPC")
        for method in sorted(listed):
            with self.subTest(method):
                CASES[method](self)

    def test_each_service_is_listed_and_described_with_its_messages(self):
        services = self.services()
        self.assertLessEqual({USER, ADMIN, TOPICS, LETTERS, INTEGRITY, HEALTH, *REFLECTIONS}, set(services))
        everything = self.read("describe")
        for service in services:
            described = self.read("describe", service)
            self.assertIn(f"{service} is a service:", described)
            self.assertIn(described, everything)
            for method in self.read("list", service).split():
                one = self.read("describe", method)
                self.assertIn(f"{method} is a method:", one)
                # rpc Name ( [stream] .Request ) returns ( [stream] .Response );
                request, response = [word[1:] for word in one.split() if word.startswith(".")]
                for message in (request, response):
                    self.assertIn(f"{message} is a message:", self.read("describe", message))
        self.assertIn("returns ( stream .coupon.v1.WatchStatusResponse )", self.read("describe", f"{USER}.WatchStatus"))
        self.assertIn("STATE_ISSUED = 2;", self.read("describe", "coupon.v1.PublishStatus.State"))

    def test_the_events_and_the_error_details_are_described_too(self):
        for name, field in (("coupon.v1.PublishRequested", "int64 ticket = 4;"),
                            ("coupon.v1.Published", ".google.protobuf.Timestamp issue_time = 6;"),
                            ("google.rpc.Status", "repeated .google.protobuf.Any details = 3;"),
                            ("google.rpc.ErrorInfo", "string reason = 1;"),
                            ("google.rpc.BadRequest", "field_violations = 1;"),
                            ("google.rpc.RetryInfo", ".google.protobuf.Duration retry_delay = 1;")):
            described = self.read("describe", name)
            self.assertIn(f"{name} is a message:", described)
            self.assertIn(field, described)

    def test_what_does_not_exist_is_an_error_of_grpcurl(self):
        for *verb, symbol in (("list", "coupon.v1.NoService"), ("describe", "coupon.v1.Nothing"),
                              (f"{USER}/NoMethod",)):
            code, out, err = self.run_grpcurl(*verb, symbol)
            self.assertEqual((code, out), (1, ""), symbol)
            self.assertIn(symbol, err)

    def test_both_versions_of_reflection_say_the_same(self):
        for asked, expected in (
                ({"list_services": ""}, "listServicesResponse"),
                ({"file_containing_symbol": "coupon.v1.CouponService.WatchStatus"}, "fileDescriptorResponse"),
                ({"file_by_filename": "coupon/v1/publish.proto"}, "fileDescriptorResponse"),
                ({"file_containing_symbol": "coupon.v1.Nothing"}, "errorResponse")):
            answers = [self.call(f"{service}/ServerReflectionInfo", asked) for service in REFLECTIONS]
            self.assertTrue(answers[0][expected], asked)
            self.assertEqual(answers[0], answers[1], asked)
        self.assertEqual(answers[0]["errorResponse"]["errorCode"], NOT_FOUND)
        self.assertEqual({each["name"] for each in self.call(f"{REFLECTIONS[0]}/ServerReflectionInfo", {
            "list_services": ""})["listServicesResponse"]["service"]}, set(self.services()))

    def test_health_is_told_for_the_server_and_each_service(self):
        for service in ("", USER, ADMIN, TOPICS, LETTERS, INTEGRITY):
            self.assertEqual(self.call(f"{HEALTH}/Check", {"service": service}), {"status": "SERVING"})
        self.refuse(NOT_FOUND, f"{HEALTH}/Check", {"service": "coupon.v1.NoService"})

    def test_a_watch_on_health_tells_the_state_and_stays_open(self):
        for service, expected in (("", "SERVING"), ("coupon.v1.NoService", "SERVICE_UNKNOWN")):
            code, out, err = self.run_grpcurl(f"{HEALTH}/Watch",
                                              flags=("-max-time", "2", "-d", json.dumps({"service": service})))
            self.assertEqual(messages(out), [{"status": expected}], err)
            self.assertEqual(code, FAILED + DEADLINE_EXCEEDED, "open until grpcurl gives up")

    def test_each_refusal_tells_its_reason(self):
        coupon = self.new_coupon(1)
        self.request(coupon, 1)
        other = {"coupon_id": coupon, "user_id": 1, "request_id": "other"}
        closed, missing = self.new_coupon(1), str(self.next_id + 100)
        self.call(f"{ADMIN}/CloseCoupon", {"coupon_id": closed})
        publish = f"{USER}/RequestPublish"
        for code, method, request, reason, metadata in (
                (FAILED_PRECONDITION, publish, {**other, "user_id": 2}, "SOLD_OUT", {"coupon_id": coupon}),
                (FAILED_PRECONDITION, publish, {**other, "coupon_id": closed}, "CLOSED", {"coupon_id": closed}),
                (ALREADY_EXISTS, publish, other, "ALREADY_REQUESTED", {"ticket": "1"}),
                (NOT_FOUND, publish, {**other, "coupon_id": missing}, "COUPON_NOT_FOUND", {}),
                (NOT_FOUND, f"{ADMIN}/GetCoupon", {"coupon_id": missing}, "COUPON_NOT_FOUND", {}),
                (NOT_FOUND, f"{USER}/GetStatus", {"coupon_id": coupon, "user_id": 3}, "REQUEST_NOT_FOUND", {})):
            info = self.detail(self.refuse(code, method, request), "ErrorInfo")
            self.assertEqual((info["reason"], info["domain"]), (reason, "coupon.v1"))
            self.assertLessEqual(metadata.items(), info.get("metadata", {}).items(), reason)

    def test_a_request_needs_no_id_and_then_a_repeat_is_told_its_ticket(self):
        coupon, publish = self.new_coupon(2), f"{USER}/RequestPublish"
        status = self.call(publish, {"coupon_id": coupon, "user_id": 1})["status"]
        self.assertEqual((status["ticket"], status["state"]), ("1", "STATE_ACCEPTED"))
        self.assertEqual(status.get("requestId", ""), "")
        self.request(coupon, 2, "given")
        wait_until(lambda: all(
            self.call(f"{USER}/GetStatus", {"coupon_id": coupon, "user_id": user})["status"]["state"] == "STATE_ISSUED"
            for user in (1, 2)))
        # The coupon is sold out now, which must not hide the rows of the ledger.
        for user, request_id in ((1, ""), (1, "late"), (2, "")):
            again = {"coupon_id": coupon, "user_id": user, "request_id": request_id}
            info = self.detail(self.refuse(ALREADY_EXISTS, publish, again), "ErrorInfo")
            self.assertEqual(info["reason"], "ALREADY_REQUESTED")
            self.assertEqual(info["metadata"], {"coupon_id": coupon, "ticket": str(user), "state": "STATE_ISSUED"})
        self.assertEqual(self.call(publish, {"coupon_id": coupon, "user_id": 2, "request_id": "given"})
                         ["status"]["ticket"], "2")
        self.call(f"{ADMIN}/CloseCoupon", {"coupon_id": coupon})
        self.refuse(ALREADY_EXISTS, publish, {"coupon_id": coupon, "user_id": 1})

    def test_a_bad_request_tells_each_bad_field(self):
        coupon = {"id": -1, "quantity": 0, "discount_rate": 200}
        for method, request, fields in (
                (f"{USER}/RequestPublish", {"user_id": -1, "request_id": "x" * 129},
                 {"coupon_id", "user_id", "request_id"}),
                (f"{ADMIN}/CreateCoupon", {"coupon": coupon},
                 {"coupon.id", "coupon.quantity", "coupon.discount_rate"}),
                (f"{ADMIN}/CreateCoupon", {}, {"coupon"}),
                (f"{ADMIN}/AddQuantity", {}, {"coupon_id", "quantity"}),
                (f"{USER}/ListUserCoupons", {"page_size": -1, "page_token": "?"},
                 {"user_id", "page_size", "page_token"}),
                (f"{TOPICS}/MigrateTopics", {"partitions": -1}, {"version", "partitions"}),
                (f"{TOPICS}/RetireCouponTopics", {}, {"coupon_id"}),
                (f"{LETTERS}/ReplayDeadLetters", {"last_id": -1}, {"first_id", "last_id"}),
                (f"{INTEGRITY}/VerifyCoupon", {"topics_timeout_ms": -1}, {"coupon_id", "topics_timeout_ms"})):
            status = self.refuse(INVALID_ARGUMENT, method, request)
            self.assertEqual(self.detail(status, "ErrorInfo")["reason"], "INVALID_FIELD")
            violations = self.detail(status, "BadRequest")["fieldViolations"]
            self.assertEqual({each["field"] for each in violations}, fields)
            self.assertTrue(all(each["description"] for each in violations), violations)


if __name__ == "__main__":
    unittest.main()

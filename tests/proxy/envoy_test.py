# SPDX-License-Identifier: Apache-2.0
"""JSON by HTTP, gRPC-Web, Connect and gRPC through Envoy with docker/envoy.yaml: called by curl, by a browser and by
grpcurl. The examples of docs/how-to/http-json.md run, too."""

import hashlib
import json
import os
import re
import subprocess
import tempfile
import unittest

from tests.harness import ROOT, Scenario
from tests.proxy.envoy import Envoy
from tests.proxy.page import Page

GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"


class Proxied(Scenario):
    of_server = {}

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = self.start(**self.of_server)
        self.envoy = Envoy(self.server.grpc, self.folder)
        self.addCleanup(self.envoy.stop)

    def curl(self, method, path, body=None, *more):
        """Returns the status and the body, decoded if it is an object."""
        command = ["curl", "--silent", "--max-time", "20", "--request", method, "--write-out", "\n%{http_code}", *more,
                   self.envoy.url + path]
        if body is not None:
            command += ["--header", "content-type: application/json", "--data", json.dumps(body)]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        answer, _, status = text.rpartition("\n")
        return int(status), json.loads(answer) if answer.startswith("{") else answer

    def detail(self, error, name):
        found, = [each for each in error["details"] if each["@type"].endswith("." + name)]
        return found


class Json(Proxied):
    def test_a_campaign_by_curl_alone(self):
        status, created = self.curl("POST", "/v1/coupons?request_id=c1", {"name": "noon", "quantity": "1"})
        self.assertEqual(status, 200, created)
        coupon = created["coupon"]["id"]
        self.assertEqual(self.curl("GET", f"/v1/coupons/{coupon}")[1]["coupon"]["name"], "noon")
        status, answer = self.curl("POST", f"/v1/coupons/{coupon}:request", {"user_id": "42", "requestId": "a"})
        self.assertEqual((status, answer["status"]["ticket"], answer["status"]["userId"]), (200, "1", "42"))
        self.curl("GET", f"/v1/coupons/{coupon}/users/42:watch", None, "--no-buffer")
        status, answer = self.curl("GET", f"/v1/coupons/{coupon}/users/42")
        self.assertEqual((status, answer["status"]["state"]), (200, "STATE_ISSUED"))
        status, answer = self.curl("GET", "/v1/users/42/coupons?page_size=10")
        self.assertEqual([each["couponId"] for each in answer["userCoupons"]], [coupon])
        self.assertIn(coupon, [each["id"] for each in self.curl("GET", "/v1/coupons")[1]["coupons"]])
        self.assertEqual(self.curl("POST", f"/v1/coupons/{coupon}:addQuantity", {"quantity": 2})[1]["coupon"]["quantity"],
                         "3")
        for action, state in (("pause", "STATUS_PAUSED"), ("resume", "STATUS_PUBLISHABLE"), ("close", "STATUS_CLOSED")):
            self.assertEqual(self.curl("POST", f"/v1/coupons/{coupon}:{action}", {})[1]["coupon"]["status"], state)
        checks = self.curl("GET", f"/v1/coupons/{coupon}:verify?without_topics=true")[1]["checks"]
        self.assertEqual({check["result"] for check in checks}, {"RESULT_OK"}, checks)

    def test_a_watch_is_one_object_a_line(self):
        coupon = self.create(self.server, 5)
        self.curl("POST", f"/v1/coupons/{coupon}:request", {"userId": 7})
        done = subprocess.run(["curl", "--silent", "--max-time", "20", "--no-buffer",
                               f"{self.envoy.url}/v1/coupons/{coupon}/users/7:watch"], check=True,
                              stdout=subprocess.PIPE, text=True)
        states = [json.loads(line)["status"]["state"] for line in done.stdout.split("\n") if line]
        self.assertEqual(states[-1], "STATE_ISSUED")

    def test_a_refusal_keeps_reason_metadata_and_retry_info(self):
        coupon = self.create(self.server, 1)
        self.curl("POST", f"/v1/coupons/{coupon}:request", {"userId": 1})
        status, error = self.curl("POST", f"/v1/coupons/{coupon}:request", {"userId": 2})
        info = self.detail(error, "ErrorInfo")
        self.assertEqual((status, info["reason"], info["domain"], info["metadata"]["coupon_id"]),
                         (400, "SOLD_OUT", "coupon.v1", str(coupon)))
        status, error = self.curl("POST", f"/v1/coupons/{coupon}:request", {"userId": -2})
        self.assertEqual((status, self.detail(error, "ErrorInfo")["reason"]), (400, "INVALID_FIELD"))
        self.assertEqual(self.detail(error, "BadRequest")["fieldViolations"][0]["field"], "user_id")
        self.assertEqual(self.curl("GET", "/v1/coupons/999999999999")[0], 404)
        self.assertEqual(self.curl("GET", "/v1/coupons?nonsense=1")[0], 400)
        self.assertEqual(self.curl("POST", f"/v1/coupons/{coupon}:request", {"userId": "x"})[0], 400)

    def test_a_call_that_may_be_repeated_later_says_when(self):
        later = self.ctl(self.server, "create", "--quantity", 1, "--open", "2999-01-01T00:00:00Z")[0]["id"]
        status, error = self.curl("POST", f"/v1/coupons/{later}:request", {"userId": 1})
        self.assertEqual((status, self.detail(error, "ErrorInfo")["reason"]), (400, "NOT_OPEN"))
        self.assertIn("open_time", self.detail(error, "ErrorInfo")["metadata"])

    def test_the_examples_of_the_docs(self):
        with open(os.path.join(ROOT, "docs", "how-to", "http-json.md"), encoding="utf-8") as file:
            blocks = re.findall(r"```sh\n(.*?)```\n\n```json\n(.*?)```", file.read(), re.S)
        self.assertGreaterEqual(len(blocks), 4)
        for command, wanted in blocks:
            text = subprocess.run(["bash", "-ec", command.replace("http://localhost:8080", self.envoy.url)], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
            self.assertEqual(keys_of(json.loads(text.strip().split("\n")[-1])), keys_of(json.loads(wanted)), command)


def keys_of(value):
    """The shape of a JSON value: keys without values."""
    if isinstance(value, dict):
        return {key: keys_of(each) for key, each in value.items()}
    return [keys_of(each) for each in value] if isinstance(value, list) else None


class Grpc(Proxied):
    def test_grpcurl_goes_through(self):
        done = subprocess.run([os.path.join(ROOT, "tools", "go.sh"), "tool", GRPCURL], check=True, text=True,
                              stdout=subprocess.PIPE)
        coupon = self.create(self.server, 1)
        call = [done.stdout.strip(), "-plaintext", "-d", json.dumps({"coupon_id": coupon, "user_id": 5}),
                self.envoy.address, "coupon.v1.CouponService/RequestPublish"]
        answer = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout
        self.assertEqual(json.loads(answer)["status"]["ticket"], "1")
        call[3] = json.dumps({"coupon_id": coupon, "user_id": 6})
        failed = subprocess.run([call[0], "-format-error", *call[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)
        self.assertIn("SOLD_OUT", failed.stdout + failed.stderr)


class Tokens(Proxied):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        path = os.path.join(folder.name, "tokens")
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"admin {hashlib.sha256(b'boss').hexdigest()}\n")
        self.of_server = {"access__tokens": path}
        super().setUp()

    def test_a_token_passes_and_its_absence_is_told(self):
        status, error = self.curl("GET", "/v1/coupons")
        self.assertEqual((status, self.detail(error, "ErrorInfo")["reason"]), (401, "PERMISSION"))
        self.assertEqual(self.curl("GET", "/v1/coupons", None, "--header", "authorization: Bearer boss")[0], 200)


class Limited(Proxied):
    of_server = {"grpc__caller_requests_per_s": 1}

    def test_an_answer_says_after_what_time_to_try_again(self):
        for _ in range(50):
            status, error = self.curl("GET", "/v1/coupons/1")
            if status == 429:
                break
        self.assertEqual((status, self.detail(error, "ErrorInfo")["reason"]), (429, "OVERLOADED"))
        self.assertEqual(self.detail(error, "RetryInfo")["retryDelay"], "1s")


class Browser(Proxied):
    def test_a_page_calls_by_connect_and_by_grpc_web(self):
        coupon = self.create(self.server, 2)
        page = Page(self.folder)
        self.addCleanup(page.close)
        for number, protocol in enumerate(("connect", "grpc-web"), 1):
            answer = page.call(protocol, self.envoy.url, coupon, number)
            self.assertEqual((answer["state"], answer["ticket"]), ("accepted", str(number)), answer)
            states = page.watch("grpc-web", self.envoy.url, coupon, number)
            self.assertEqual(states[-1], "issued")
        for protocol in ("connect", "grpc-web"):
            refused = page.call(protocol, self.envoy.url, coupon, 3)
            self.assertEqual((refused["code"], refused["reason"]), ("failed_precondition", "SOLD_OUT"), (protocol, refused))


if __name__ == "__main__":
    unittest.main()

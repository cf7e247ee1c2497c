# SPDX-License-Identifier: Apache-2.0
"""The console in a real browser.

With a folder as its argument, it also writes screenshots there: python3 -m tests.console.page_test --pictures DIR
"""

import base64
import hashlib
import os
import sys
import tempfile
import unittest

from tests.harness import Scenario, wait_until
from tests.harness.ports import free_port
from tests.harness.redis import RedisServer
from tests.harness.webdriver import WebDriver

PICTURES = None
FEW_S = 20
# How far the whole page can be scrolled sideways.
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
# The contrast of each text with what is behind it, by WCAG 2; returns those below 4.5.
PALE = """
const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
const channels = (color) => { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
const light = (color) => {
  const [r, g, b] = channels(color).map((x) => { const c = x / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (let at = node; at; at = at.parentElement) {
    const color = getComputedStyle(at).backgroundColor;
    if (!['rgba(0, 0, 0, 0)', 'transparent'].includes(color)) return color;
  }
  return 'white';
};
return [...document.querySelectorAll('body *')].filter((node) => node.offsetParent && !node.classList.contains('skip') &&
    [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())).map((node) => {
  const [a, b] = [light(getComputedStyle(node).color), light(behind(node))].sort((x, y) => y - x);
  return [node.textContent.slice(0, 40), (a + 0.05) / (b + 0.05)];
}).filter(([, contrast]) => contrast < 4.5);
"""


class Page(Scenario):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.tokens = self.write("tokens", "".join(
            f"{roles} {hashlib.sha256(token.encode()).hexdigest()}\n"
            for roles, token in (("observer", "eyes"), ("admin,caller", "boss"))))
        self.boss = self.write("boss", "boss")
        self.driver = WebDriver(os.path.join(self.folder, "chromium"))
        self.addCleanup(self.driver.close)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    # --- the browser ---

    def resize(self, width, height=900):
        """The page's own width, which a window's borders and least width do not change."""
        self.driver.post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}})

    def prefer(self, scheme):
        self.driver.post("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]}})

    def open(self, server, place=""):
        self.driver.go(f"http://{server.http}/console/{place}")

    def visit(self, place):
        self.driver.script("location.hash = arguments[0]", place)

    def text(self, selector="body"):
        return self.driver.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def wait_for_text(self, *texts, selector="body", seconds=FEW_S):
        try:
            wait_until(lambda: all(text in self.text(selector) for text in texts), seconds)
        except AssertionError as error:
            raise AssertionError(f"{texts} not in: {self.text(selector)}") from error

    def press(self, keys):
        """Types into whatever has the focus, as a hand at the keyboard does."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.driver.post("/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, text, selector="button"):
        found = self.driver.script(
            "const it = [...document.querySelectorAll(arguments[0])].find((each) => each.innerText === arguments[1] && "
            "each.offsetParent !== null); it?.click(); return Boolean(it)", selector, text)
        self.assertTrue(found, f"no {selector} says {text}: {self.text()}")

    def sign_in(self, token):
        self.wait_for_text("Sign in", selector="header button")
        self.click("Sign in", "header button")
        wait_until(lambda: self.driver.script("return document.activeElement.id") == "token", FEW_S)
        self.press(token + "\ue007")

    def picture(self, name):
        if PICTURES:
            with open(os.path.join(PICTURES, f"{name}.png"), "wb") as file:
                file.write(base64.b64decode(self.driver.send("GET", "/screenshot")))

    def assert_quiet(self, *expected):
        """The browser's own console has no errors but these."""
        errors = [line for line in self.driver.errors() if not any(each in line for each in expected)]
        self.assertEqual(errors, [])

    # --- tests ---

    def test_a_campaign_sells_out_before_ones_eyes(self):
        server = self.start(access__tokens=self.tokens)
        coupon = self.ctl(server, "--token-file", self.boss, "create", "--quantity", 3000, "--name", "Noon sale")[0]["id"]
        self.open(server)
        self.wait_for_text("to those who have a token")
        self.sign_in("wrong")
        self.wait_for_text("this token is unknown", selector="#signing")
        self.click("Cancel")
        self.sign_in("eyes")
        self.wait_for_text("Noon sale", "open", "3,000 of 3,000")
        self.click(str(coupon), "a")
        self.wait_for_text(f"Noon sale (coupon {coupon})", "Nobody has a ticket yet")
        load = self.ctl_raw(server, "--token-file", self.boss, "bench", "--coupon", coupon, "--users", 9000, "--rate", 1000,
                            background=True)
        self.wait_for_text("issued", selector="table")
        self.wait_for_text("sold out", selector="main p", seconds=40)
        self.wait_for_text("0", "3,000", selector=".tiles")
        self.assertRegex(self.text("figure:nth-of-type(1) figcaption"), r"asked [\d,.]+/s\s+accepted [\d,.]+/s\s+issued [\d,.]+/s")
        self.wait_for_text("sold out", selector="figure:nth-of-type(2) figcaption")
        drawn = self.driver.script("const c = document.querySelector('canvas'); return [...c.getContext('2d')"
                                   ".getImageData(0, 0, c.width, c.height).data].some((x) => x > 0)")
        self.assertTrue(drawn)
        out, err = load.communicate(timeout=120)
        self.assertEqual(load.returncode, 0, out + err)
        self.wait_for_issued(coupon, 3000)
        self.picture("console")
        user = self.sql(f"select user_id from user_coupon where coupon_id = {coupon} and ticket = 3000")[0][0]
        self.wait_for_text("3000", user, selector="table")
        self.driver.script("document.querySelector('main form input').focus()")
        self.press(user + "\ue007")
        self.wait_for_text(f"User {user}:", "issued", "ticket 3000")
        self.click("Verify")
        self.wait_for_text("none failed", "ledger", "holds")
        self.visit(f"#/people/{user}")
        self.wait_for_text(f"User {user}", str(coupon))
        self.assert_quiet("401")

    def test_an_action_is_refused_and_one_is_done(self):
        server = self.start(access__tokens=self.tokens)
        coupon = self.ctl(server, "--token-file", self.boss, "create", "--quantity", 5)[0]["id"]
        self.open(server, f"#/coupon/{coupon}")
        self.sign_in("eyes")
        self.wait_for_text("open", "sign in with an admin's token")
        refused = self.driver.wait_for_script(
            "fetch(`api/call/CouponAdminService/PauseCoupon?coupon_id=${arguments[0]}`, {method: 'POST', headers: "
            "{Authorization: 'Bearer eyes', 'X-Couponsd-Console': '1'}}).then((answer) => answer.status)", str(coupon))
        self.assertEqual(refused, 403)
        self.click("Sign out", "header button")
        self.sign_in("boss")
        self.wait_for_text("Pause", selector="main")
        self.click("Pause")
        self.wait_for_text(f"Pause coupon {coupon}?", selector="#asking")
        self.press("\ue00c")  # Escape
        self.assertEqual(self.status_of(server, coupon), "PUBLISHABLE", "a dialog that was left changes nothing")
        self.click("Pause")
        self.press("\ue007")  # Enter
        self.wait_for_text(f"Coupon {coupon} is paused.", "paused")
        self.assertEqual(self.status_of(server, coupon), "PAUSED")
        self.click("Add")
        self.driver.script("document.querySelector('#asking input').value = '7'")
        self.click("Add", "#asking button")
        self.wait_for_text(f"Coupon {coupon} has 12 now.")
        self.click("Close")
        self.click("Close", "#asking button")
        self.wait_for_text(f"Coupon {coupon} is closed.", "closed")
        self.ctl(server, "--token-file", self.boss, "topics", "list")
        self.visit("#/topics")
        self.wait_for_text("lanes publish to version 1", f"{self.schema}.outside.coupon.publish.requested.v1")
        self.click("Migrate")
        self.click("Migrate", "#asking button")
        self.wait_for_text("The lanes move to version 2", seconds=40)
        self.wait_for_text("All 16 lanes publish to version 2", seconds=60)
        self.visit("#/letters")
        self.wait_for_text("There are no dead letters")
        self.assert_quiet("403")

    def test_an_answer_that_comes_after_its_dialog_was_left_is_said(self):
        server = self.start(access__tokens=self.tokens)
        coupon = self.ctl(server, "--token-file", self.boss, "create", "--quantity", 5)[0]["id"]
        self.open(server, f"#/coupon/{coupon}")
        self.sign_in("boss")
        self.wait_for_text("Pause", selector="main")
        release = self.hold(f"update coupon set name = name where id = {coupon}")
        self.click("Pause")
        self.press("\ue007\ue00c")  # Enter, Escape
        self.click("Close")
        self.wait_for_text(f"Close coupon {coupon}?", selector="#asking")
        release()
        self.wait_for_text(f"Coupon {coupon} is paused.", selector="#said")
        self.wait_for_text(f"Close coupon {coupon}?", selector="#asking")
        self.click("Cancel", "#asking button")
        self.assertEqual(self.status_of(server, coupon), "PAUSED")
        server.kill()
        self.click("Sign out", "header button")
        self.wait_for_text("Sign in", "to those who have a token")
        self.assert_quiet("ERR_")

    def test_a_tab_that_nobody_sees_lets_go_of_its_stream(self):
        server = self.start()
        self.open(server)
        self.wait_for_text("live", selector="#live")
        first = self.driver.send("GET", "/window")
        for _ in range(7):  # browsers have six connections for a host
            self.driver.post("/window", {"handle": self.driver.post("/window/new", {"type": "tab"})["handle"]})
            self.open(server)
            self.wait_for_text("live", selector="#live")
        self.driver.post("/window", {"handle": first})
        self.wait_for_text("live", selector="#live")
        self.visit("#/topics")
        self.wait_for_text("lanes publish to version")
        self.assert_quiet()

    def status_of(self, server, coupon):
        return self.ctl(server, "--token-file", self.boss, "get", coupon)[0]["status"]

    def test_an_outage_shows_and_passes(self):
        redis = RedisServer(self.folder)
        self.addCleanup(redis.kill)
        server = self.start(redis__url=f"redis://127.0.0.1:{redis.port}/0")
        coupon = self.create(server, 5)
        self.open(server, "#/health")
        self.wait_for_text("live", "works", server.grpc)
        redis.kill()
        self.ctl(server, "request", coupon, 1)
        self.wait_for_text("Redis fails:", selector="#trouble", seconds=40)
        self.wait_for_text("not reachable", selector="table")
        self.picture("outage")
        redis.start()

        users = iter(range(2, 10**6))

        def is_over():
            self.ctl_raw(server, "request", coupon, next(users))
            return not self.text("#trouble")

        wait_until(is_over, 60, every=1, what="the outage is over")
        server.kill()
        self.wait_for_text("couponsd is not reachable", selector="#trouble")
        self.wait_for_text("not live", selector="#live")
        self.assert_quiet("ERR_")

    def test_a_server_without_kafka_says_so(self):
        server = self.start(kafka__brokers=f"127.0.0.1:{free_port()}")
        self.open(server, "#/health")
        self.wait_for_text("Kafka fails:", selector="#trouble", seconds=40)
        self.wait_for_text("not reachable", selector="table")
        self.assert_quiet()

    def test_it_fits_narrow_and_wide_windows_in_light_and_dark(self):
        server = self.start()
        coupon = self.create(server, 10**9, "--name", "A name that is rather long, but still a\u2028name 쿠폰 " * 3)
        self.ctl(server, "request", coupon, 2**62)
        self.wait_for_issued(coupon, 1)
        self.open(server)
        for scheme in ("light", "dark"):
            self.prefer(scheme)
            for width in (360, 1280, 2560):
                self.resize(width)
                for place in ("#/", f"#/coupon/{coupon}", f"#/people/{2**62}", "#/topics", "#/letters", "#/health"):
                    with self.subTest(scheme=scheme, width=width, place=place):
                        self.visit(place)
                        wait_until(lambda: self.text("h1"), FEW_S)
                        self.wait_for_text({"#/topics": "lanes publish", "#/letters": "no dead letters",
                                            "#/health": "works"}.get(place, str(coupon)), selector="main")
                        self.assertLessEqual(self.driver.script(OVERFLOW), 0)
                        self.assertEqual(self.driver.script(PALE), [])
                self.picture(f"{scheme}-{width}")
        self.assert_quiet()

    def test_the_keyboard_reaches_everything_and_numbers_are_the_readers(self):
        server = self.start()
        coupon = self.create(server, 1234567)
        self.open(server)
        self.wait_for_text("1,234,567")
        reached = []
        for _ in range(12):
            self.press("\ue004")  # Tab
            reached.append(self.driver.script("return document.activeElement.innerText || document.activeElement.tagName"))
        for wanted in ("Skip to the content", "Coupons", "People", "Topics", "Dead letters", "Health", str(coupon), "Open"):
            self.assertIn(wanted, reached)
        self.driver.script(f"[...document.querySelectorAll('a')].find((each) => each.innerText === '{coupon}').focus()")
        wait_until(lambda: self.driver.script("return document.activeElement.innerText") == str(coupon), FEW_S)
        self.ctl(server, "request", coupon, 1)
        self.wait_for_text("1,234,566 of")
        self.assertEqual(self.driver.script("return document.activeElement.innerText"), str(coupon),
                         "an update does not take the focus away")
        self.press("\ue007")
        self.wait_for_text(f"Coupon {coupon}", selector="h1")
        self.driver.post("/goog/cdp/execute", {"cmd": "Emulation.setLocaleOverride", "params": {"locale": "de-DE"}})
        self.open(server)
        self.wait_for_text("1.234.566 of")
        self.assert_quiet()


if __name__ == "__main__":
    if "--pictures" in sys.argv:
        at = sys.argv.index("--pictures")
        PICTURES = sys.argv[at + 1]
        del sys.argv[at:at + 2]
    unittest.main()

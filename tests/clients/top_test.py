# SPDX-License-Identifier: Apache-2.0
"""couponctl top on a real couponsd: in a pseudo terminal, and without one."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from tests.harness import BUILD, Scenario, wait_until

COUPONCTL = os.path.join(BUILD, "couponctl")
WAIT_S = 20


class Terminal:
    """couponctl top in a terminal of its own. `screen` is the newest whole screen."""

    def __init__(self, server, rows, columns, *arguments, **environment):
        self.child, self.fd = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="xterm", **environment)
            os.execv(COUPONCTL, [COUPONCTL, "--server", server.grpc, "top", "--interval", "200", *arguments])
        self.resize(rows, columns)
        self.text = ""

    def resize(self, rows, columns):
        self.columns = columns
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys):
        os.write(self.fd, keys.encode())

    def read(self):
        until = time.monotonic() + 0.05
        while select.select([self.fd], [], [], max(until - time.monotonic(), 0))[0]:
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                return
            if not part:
                return
            self.text += part.decode(errors="replace")

    @property
    def screen(self):
        self.read()
        frames = re.findall(r"\033\[H(.*?)\033\[J", self.text, re.S)
        return re.sub(r"\033\[[0-9;]*[mK]|\r", "", frames[-1]) if frames else ""

    def ends(self):
        """Waits for the end. Returns the exit code, or minus the signal."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            self.read()
            pid, status = os.waitpid(self.child, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError("top did not end")


class Top(Scenario):
    def terminal(self, *arguments, **environment):
        terminal = Terminal(self.server, *arguments, **environment)
        self.addCleanup(os.close, terminal.fd)
        return terminal

    def setUp(self):
        super().setUp()
        self.server = self.start()
        self.coupon = self.create(self.server, 5)

    def row(self, text):
        return next((line for line in text.split("\n") if line.strip().startswith(str(self.coupon))), "")

    def test_a_campaign_is_seen_to_sell_out_and_the_terminal_is_left_as_it_was(self):
        terminal = self.terminal(24, 120, "--metrics", self.server.http)
        wait_until(lambda: " open " in self.row(terminal.screen), what="the coupon is on the screen")
        before = termios.tcgetattr(terminal.fd)
        self.assertFalse(before[3] & termios.ECHO)
        for user in range(1, 6):
            self.ctl(self.server, "request", self.coupon, user)
        self.refusal(self.server, "request", self.coupon, 9)
        wait_until(lambda: "sold out" in self.row(terminal.screen), what="it is sold out")
        self.assertIn("lag: relay", terminal.screen)
        terminal.press("q")
        self.assertEqual(terminal.ends(), 0)
        self.assertTrue(terminal.text.rstrip().endswith("\033[?1049l"))
        self.assertTrue(termios.tcgetattr(terminal.fd)[3] & termios.ECHO)

    def test_it_fits_small_terminals_scrolls_and_sorts(self):
        for _ in range(30):
            self.create(self.server, 5)
        terminal = self.terminal(10, 40)

        def fits(screen):
            lines = screen.split("\n")
            return "q quit" in screen and len(lines) == 10 and all(len(line) <= 40 for line in lines)
        wait_until(lambda: fits(terminal.screen), what="the screen fits")
        first = terminal.screen.split("\n")[5]
        terminal.press("\033[6~")
        wait_until(lambda: terminal.screen.split("\n")[5] != first, what="it has scrolled")
        terminal.resize(40, 100)
        os.kill(terminal.child, signal.SIGWINCH)
        wait_until(lambda: terminal.screen.count("\n") > 25, what="it uses the room")
        terminal.press("s")
        wait_until(lambda: "by what is left" in terminal.screen, what="it is sorted otherwise")
        os.kill(terminal.child, signal.SIGTERM)
        self.assertEqual(terminal.ends(), 0)
        self.assertTrue(terminal.text.rstrip().endswith("\033[?1049l"), "a signal leaves the terminal as it was")

    def test_an_outage_is_told_and_the_last_figures_stay(self):
        terminal = self.terminal(24, 120, NO_COLOR="1")
        wait_until(lambda: self.row(terminal.screen), what="the coupon is on the screen")
        self.server.stop()
        wait_until(lambda: "NO ANSWER" in terminal.screen, what="the outage is on the screen")
        self.assertTrue(self.row(terminal.screen))
        self.assertNotIn("\033[1m", terminal.text)
        terminal.press("q")
        self.assertEqual(terminal.ends(), 0)

    def test_several_instances_are_counted_and_a_missing_one_is_told(self):
        other = self.start()
        terminal = self.terminal(24, 120, "--metrics", f"{self.server.http},{other.http}")
        wait_until(lambda: "instances 2 of 2" in terminal.screen, what="both are counted")
        other.stop()
        wait_until(lambda: "instances 1 of 2" in terminal.screen, what="one is missing")
        terminal.press("q")
        self.assertEqual(terminal.ends(), 0)

    def test_without_a_terminal_it_prints_one_screen(self):
        done = subprocess.run([COUPONCTL, "--server", self.server.grpc, "top", "--interval", "100"], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(" open ", self.row(done.stdout))
        self.assertNotIn("\033", done.stdout)
        self.server.stop()
        done = subprocess.run([COUPONCTL, "--server", self.server.grpc, "--timeout", "500", "top", "--once"], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 3)
        self.assertIn("UNAVAILABLE", done.stderr)


if __name__ == "__main__":
    unittest.main()

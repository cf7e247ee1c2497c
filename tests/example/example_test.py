# SPDX-License-Identifier: Apache-2.0
"""The example service: its own client and grpcurl call it, another project builds it, and the pages about the bridge
show it."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import textwrap
import unittest

from tests.harness import BUILD, ROOT, SANITIZED

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 180 if SANITIZED else 60
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
SERVICE = "weather.v1.WeatherService"


def start_server(program):
    """The process, and the address where it listens."""
    server = subprocess.Popen([program, "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    match = re.fullmatch(r"listening (127\.0\.0\.1:\d+)\n", line)
    assert match, f"the server said {line!r}; {server.communicate()[1]}"
    return server, match.group(1)


def stop_server(server):
    """Exit code, and output on stdout and stderr."""
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=PATIENCE)
    return server.returncode, out + err


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


class Example(unittest.TestCase):
    def setUp(self):
        self.server, self.address = start_server(f"{BUILD}/example_server")
        self.addCleanup(self.end)

    def end(self):
        self.assertEqual(stop_server(self.server), (0, ""))

    def client(self, *arguments):
        """Exit code, stdout, stderr."""
        done = subprocess.run([f"{BUILD}/example_client", self.address, *arguments],
                              capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout, done.stderr

    def test_each_shape_answers(self):
        for arguments, expected in (
                (["get", "Bergen"], "Bergen: 8.5 C\n"),
                (["forecast", "Cairo", "3"], "hour 1: 31.25 C\nhour 2: 31.50 C\nhour 3: 31.75 C\n"),
                (["forecast", "Cairo", "0"], ""),
                (["report", "1", "2", "4.5"], "3 measured, 2.50 C on average\n"),
                (["report"], "0 measured, 0.00 C on average\n"),
                (["ask", "Quito", "Bergen", "Quito"], "Quito: 16.0 C\nBergen: 8.5 C\nQuito: 16.0 C\n"),
                (["ask"], "")):
            self.assertEqual(self.client(*arguments), (0, expected, ""), arguments)

    def test_each_shape_refuses_what_it_does_not_know(self):
        no_city = "NOT_FOUND: no such city\n"
        for arguments, out, err in (
                (["get", "Atlantis"], "", no_city),
                (["forecast", "Atlantis", "3"], "", no_city),
                (["report", "1", "-300", "2"], "", "INVALID_ARGUMENT: nothing is that cold\n"),
                (["ask", "Quito", "Atlantis", "Quito"], "Quito: 16.0 C\n", no_city)):
            self.assertEqual(self.client(*arguments), (1, out, err), arguments)

    def memory(self):
        """The server's peak memory so far, in MiB."""
        with open(f"/proc/{self.server.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s*(\d+) kB", file.read()).group(1)) / 1024

    def test_a_client_that_does_not_read_costs_no_memory_and_holds_up_nobody(self):
        hours = 20_000 if SANITIZED else 300_000
        self.client("forecast", "Cairo", "1000")
        before = self.memory()
        slow = subprocess.Popen([f"{BUILD}/example_client", self.address, "forecast", "Cairo", str(hours)],
                                stdout=subprocess.PIPE, text=True)
        with slow:
            self.assertEqual(slow.stdout.readline(), "hour 1: 31.25 C\n")
            for _ in range(20):
                self.assertEqual(self.client("get", "Bergen")[0], 0)
            numbers = [int(line.split()[1].rstrip(":")) for line in slow.stdout]
        self.assertEqual(slow.returncode, 0)
        self.assertEqual(numbers, list(range(2, hours + 1)))
        if not SANITIZED:  # sanitizers keep freed memory
            self.assertLess(self.memory() - before, 20)

    def test_a_stream_that_is_open_when_the_server_stops_is_cancelled(self):
        # More output than the pipe and the connection hold, so the program can't end before somebody reads it.
        with subprocess.Popen([f"{BUILD}/example_client", self.address, "forecast", "Cairo", "100000000"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as open_one:
            self.assertEqual(open_one.stdout.readline(), "hour 1: 31.25 C\n")
            self.assertEqual(stop_server(self.server), (0, ""))
            _, err = open_one.communicate(timeout=PATIENCE)
        self.assertEqual(open_one.returncode, 1)
        self.assertRegex(err, "UNAVAILABLE|CANCELLED")
        self.server, self.address = start_server(f"{BUILD}/example_server")

    def test_an_address_that_cannot_be_had_is_told(self):
        done = subprocess.run([f"{BUILD}/example_server", self.address], capture_output=True, text=True,
                              timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (1, f"{self.address}: port is in use\n"))

    def test_a_server_that_is_not_there_is_told(self):
        self.address = "127.0.0.1:1"
        code, out, err = self.client("get", "Bergen")
        self.assertEqual((code, out), (1, ""))
        self.assertRegex(err, "^UNAVAILABLE: ")

    def test_grpcurl_finds_and_calls_it_by_reflection(self):
        grpcurl = subprocess.run([os.path.join(ROOT, "tools", "go.sh"), "tool", GRPCURL],
                                 stdout=subprocess.PIPE, text=True, check=True).stdout.strip()

        def ask(*arguments, requests=()):
            done = subprocess.run([grpcurl, "-plaintext", "-d", "@", self.address, *arguments],
                                  input="".join(map(json.dumps, requests)), capture_output=True, text=True,
                                  timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stderr)
            return re.sub(r"\s", "", done.stdout)

        self.assertIn(SERVICE, ask("list"))
        self.assertIn("rpcAsk(stream.weather.v1.GetWeatherRequest)returns(stream.weather.v1.Weather);",
                      ask("describe", SERVICE))
        cities = [{"city": "Bergen"}, {"city": "Quito"}]
        self.assertEqual(ask(f"{SERVICE}/GetWeather", requests=cities[:1]), '{"city":"Bergen","celsius":8.5}')
        self.assertEqual(ask(f"{SERVICE}/Forecast", requests=[{"city": "Quito", "hours": 2}]),
                         '{"number":"1","celsius":16.25}{"number":"2","celsius":16.5}')
        self.assertEqual(ask(f"{SERVICE}/Report", requests=[{"celsius": 3}, {"celsius": 4}]),
                         '{"count":"2","meanCelsius":3.5}')
        self.assertEqual(ask(f"{SERVICE}/Ask", requests=cities),
                         '{"city":"Bergen","celsius":8.5}{"city":"Quito","celsius":16}')


SERVER_PACKAGES = ("rdkafka", "hiredis", "libpq", "libmicrohttpd", "libcurl", "inih", "criterion")


def hide_server_packages(folder):
    """An environment whose pkg-config does not know the packages that only the server needs."""
    path = os.path.join(folder, "pkg-config")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"""#!/bin/sh
for word; do
  case $word in {"|".join(name + "*" for name in SERVER_PACKAGES)}) echo "$word is hidden" >&2; exit 1 ;; esac
done
exec {shutil.which("pkg-config")} "$@"
""")
    os.chmod(path, 0o755)
    return {**os.environ, "PKG_CONFIG": path}


class Outside(unittest.TestCase):
    @unittest.skipIf(SANITIZED, "the outside project is always built without sanitizers")
    def test_another_project_builds_the_bridge_without_the_packages_of_the_server(self):
        with tempfile.TemporaryDirectory() as folder:
            environment = hide_server_packages(folder)
            build = os.path.join(folder, "build")

            def run(*command):
                return subprocess.run(["cmake", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                      env=environment)

            configure = ["-G", "Ninja", "-S", os.path.join(HERE, "outside"), "-B"]
            refused = run(*configure, os.path.join(folder, "server"), "-DCOUPONSD_SERVER=ON")
            self.assertNotEqual(refused.returncode, 0, "the packages are not hidden")
            self.assertIn("rdkafka", refused.stdout)
            for arguments in ([*configure, build], ["--build", build]):
                done = run(*arguments)
                self.assertEqual(done.returncode, 0, done.stdout)
            self.assertFalse(os.path.exists(os.path.join(build, "couponctl")), "it builds more than the bridge")
            server, _ = start_server(os.path.join(build, "weather_server"))
            self.assertEqual(stop_server(server), (0, ""))


# The pages about the bridge.
PAGES = (("how-to", "embed.md"), ("reference", "bridge.md"), ("explanation", "bridge.md"))


class Documentation(unittest.TestCase):
    def setUp(self):
        self.text = "\n".join(read("docs", *page) for page in PAGES)

    def blocks(self, language):
        found = re.findall(rf"^```{language}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)
        self.assertTrue(found, language)
        return found

    def test_each_piece_of_code_is_one_of_the_example(self):
        for language, paths in (("c", ["example_server.c", "example_client.c", "weather_methods.h"]),
                                ("proto", ["weather.proto"]), ("cmake", ["outside/CMakeLists.txt"])):
            sources = "\n".join(read("tests", "example", path) for path in paths)
            for block in self.blocks(language):
                # A block may be a part of a function.
                for indent in ("", 4 * " "):
                    if textwrap.indent(block, indent) in sources:
                        break
                else:
                    self.fail(f"the example does not have this:\n{block}")

    def test_each_name_and_file_that_it_speaks_of_exists(self):
        headers = "".join(read("src", "rpc", name) for name in ("rpc.h", "client.h", "server.h", "poller.h"))
        prose = re.sub(r"^```.*?^```$", "", self.text, flags=re.MULTILINE | re.DOTALL)
        names = {name for code in re.findall(r"`([^`]+)`", prose) for name in re.findall(r"\b[a-z]+_[a-z_]+\b", code)}
        self.assertGreater(len(names), 50)
        self.assertEqual({name for name in names if not re.search(rf"\b{name}\b", headers)}, set())
        for path in re.findall(r"\b(?:src|tests|proto|docs|generated)/[\w./-]*\w", self.text):
            self.assertTrue(os.path.exists(os.path.join(ROOT, path)), path)


if __name__ == "__main__":
    unittest.main()

# SPDX-License-Identifier: Apache-2.0
"""docker/prometheus and docker/grafana: the rules work, and they use only metrics that couponsd has.

A real Prometheus and a real blackbox exporter watch a real couponsd, with the shipped files except for addresses and
intervals.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import urllib.error
import urllib.parse
import urllib.request

import yaml

from tests.harness import PATIENCE, ROOT, Scenario, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
PROMETHEUS = os.path.join(ROOT, "docker", "prometheus")
DASHBOARDS = os.path.join(ROOT, "docker", "grafana", "dashboards")
UNIT_TESTS = os.path.join(HERE, "alerts_unit.yml")

# Words of PromQL that are not metrics.
WORDS = {"and", "or", "unless", "offset", "bool", "group_left", "group_right", "sum", "max", "min", "avg", "count"}


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def alert_rules():
    return [rule for group in yaml.safe_load(read(PROMETHEUS, "alerts.yml"))["groups"] for rule in group["rules"]]


def panel_queries():
    """Yields (title of the panel, query) of all dashboards, with Grafana's variables filled in."""
    for name in os.listdir(DASHBOARDS):
        for panel in json.loads(read(DASHBOARDS, name))["panels"]:
            for target in panel.get("targets", ()):
                query = target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".*")
                yield panel["title"], query


def selectors(query):
    """Returns the metrics of a query with their selectors, such as up{job="couponsd"}."""
    without_labels = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", query)
    for match in re.finditer(r"(?<![\w.])([a-zA-Z_:][\w:]*)(\{[^}]*\})?(?!\s*\()(?!\w)", without_labels):
        if match.group(1) not in WORDS:
            yield match.group(0)


def promtool(*arguments, text=None):
    return subprocess.run(["promtool", *arguments], input=text, capture_output=True, text=True)


class Rules(unittest.TestCase):
    def test_selectors_are_found(self):
        query = 'sum by (a) (rate(b_total{c="d"}[1m])) > 30 * x offset 1h or histogram_quantile(0.9, y_bucket)'
        self.assertEqual(list(selectors(query)), ['b_total{c="d"}', "x", "y_bucket"])

    def test_rules_do_what_their_unit_tests_say(self):
        for arguments in (("check", "rules", os.path.join(PROMETHEUS, "alerts.yml")), ("test", "rules", UNIT_TESTS)):
            done = promtool(*arguments)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_alert_is_tested_to_fire_and_to_end(self):
        tests = {test["name"]: test for test in yaml.safe_load(read(UNIT_TESTS))["tests"]}
        self.assertEqual(sorted(tests), sorted(rule["alert"] for rule in alert_rules()))
        for name, test in tests.items():
            fires = [f'alertname="{name}"' in str(step["exp_samples"]) for step in test["promql_expr_test"]]
            self.assertIn(True, fires, f"the tests of {name} should make it fire")
            self.assertFalse(fires[-1], f"the tests of {name} should make it end")

    def test_texts_name_only_labels_that_their_alert_has(self):
        tests = {test["name"]: test for test in yaml.safe_load(read(UNIT_TESTS))["tests"]}
        for rule in alert_rules():
            firing = str([step["exp_samples"] for step in tests[rule["alert"]]["promql_expr_test"]])
            for label in re.findall(r"\$labels\.(\w+)", str(rule)):
                self.assertIn(f'{label}="', firing, rule["alert"])

    def test_every_alert_says_how_bad_it_is_and_what_to_do(self):
        headings = {line[4:].lower() for line in read(ROOT, "docs", "how-to", "alerts.md").splitlines()
                    if line.startswith("### ")}
        for rule in alert_rules():
            self.assertRegex(rule["labels"]["severity"], "critical|warning", rule["alert"])
            self.assertIn("for", rule, rule["alert"])
            for text in ("summary", "description"):
                self.assertTrue(rule["annotations"][text], rule["alert"])
            self.assertEqual(rule["annotations"]["runbook"], f"docs/how-to/alerts.md#{rule['alert'].lower()}")
            self.assertIn(rule["alert"].lower(), headings, "docs/how-to/alerts.md should have a section of that name")

    def test_prometheus_takes_the_configuration_of_either_layout(self):
        for layout in ("single", "cluster"):
            with tempfile.TemporaryDirectory() as folder:
                for name in ("prometheus.yml", "alerts.yml"):
                    shutil.copy(os.path.join(PROMETHEUS, name), folder)
                shutil.copytree(os.path.join(PROMETHEUS, "targets", layout), os.path.join(folder, "targets"))
                done = promtool("check", "config", os.path.join(folder, "prometheus.yml"))
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


class Watched(Scenario):
    def listening(self, *command):
        """Starts a server on port 0 until the end of the test. Returns the address that it reports."""
        log = open(os.path.join(self.folder, os.path.basename(command[0]) + ".log"), "w+", encoding="utf-8")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=self.folder)

        def stop():
            process.terminate()
            process.wait()
        self.addCleanup(stop)

        def address():
            text = read(log.name)
            self.assertIsNone(process.poll(), text)
            return re.search(r"Listening on.*\baddress=(127\.0\.0\.1:[1-9]\d*)", text)
        return wait_until(address, what=f"{command[0]} listens").group(1)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def watch(self, server):
        """Starts Prometheus with the shipped files, except for addresses and shorter intervals."""
        postgres = re.search(r"@([^/]+)/", self.postgres_url).group(1)
        redis = re.search(r"//([^/]+)/", self.redis_url).group(1)
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        blackbox = self.listening("prometheus-blackbox-exporter", "--web.listen-address=127.0.0.1:0",
                                  f"--config.file={PROMETHEUS}/blackbox.yml")
        shutil.copy(os.path.join(PROMETHEUS, "alerts.yml"), self.folder)
        config = read(PROMETHEUS, "prometheus.yml")
        for shipped, here in (("blackbox:9115", blackbox), ("scrape_interval: 5s", "scrape_interval: 1s"),
                              ("scrape_timeout: 4s", "scrape_timeout: 1s"),
                              ("evaluation_interval: 5s", "evaluation_interval: 1s")):
            self.assertIn(shipped, config)
            config = config.replace(shipped, here)
        backends = {"postgres": postgres, "redis": redis, "kafka": os.environ["KAFKA_BROKERS"]}
        self.write("prometheus.yml", config)
        self.write("targets/couponsd.yml", yaml.dump([{"targets": [server.http]}]))
        self.write("targets/backends.yml", yaml.dump([
            {"targets": [address], "labels": {"backend": backend}} for backend, address in backends.items()]))
        self.prometheus = self.listening("prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                                         "--web.listen-address=127.0.0.1:0")
        wait_until(self.is_ready, what="Prometheus has read its storage")

    def is_ready(self):
        try:
            with urllib.request.urlopen(f"http://{self.prometheus}/-/ready", timeout=30 * PATIENCE) as answer:
                return answer.status == 200
        except urllib.error.HTTPError:
            return False

    def ask(self, path, **parameters):
        url = f"http://{self.prometheus}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30 * PATIENCE) as answer:
            return json.load(answer)["data"]

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}

    def load(self, server):
        self.ctl(server, "bench", "--coupons", 3, "--quantity", 200, "--users", 300)
        coupon = self.create(server, 1)
        self.ctl(server, "request", coupon, 1)
        self.refusal(server, "request", coupon, 2)
        self.ctl(server, "watch", coupon, 1)

    def test_prometheus_understands_what_couponsd_exports(self):
        server = self.start()
        self.load(server)
        done = promtool("check", "metrics", text=server.get("/metrics")[1])
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_a_couponsd_that_is_well_sets_off_nothing_and_one_that_was_killed_does(self):
        server = self.start()
        self.watch(server)

        def targets():
            return {(target["labels"]["job"], target["health"], target["lastError"])
                    for target in self.ask("targets")["activeTargets"]}
        well = {(job, "up", "") for job in ("couponsd", "couponsd-ready", "backends")}
        wait_until(lambda: targets() == well, what="all targets are up")
        wait_until(lambda: len(self.ask("query", query="probe_success == 1")["result"]) == 4, what="all probes succeed")

        self.load(server)
        for name in {selector for rule in alert_rules() for selector in selectors(rule["expr"])}:
            wait_until(lambda: self.ask("series", **{"match[]": name}), what=f"{name} exists")
        for title, query in panel_queries():
            wait_until(lambda: self.ask("query", query=query)["result"], what=f"{title} shows something: {query}")

        def rules():
            found = [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]
            self.assertEqual([rule["name"] for rule in found if rule.get("lastError")], [])
            return {rule["name"] for rule in found if rule["health"] == "ok"}
        wait_until(lambda: rules() == {rule["alert"] for rule in alert_rules()}, what="every rule was evaluated")
        self.assertEqual(self.firing(), set())

        server.kill()
        wait_until(lambda: "CouponsdDown" in self.firing(), seconds=60, what="CouponsdDown fires")
        self.assertEqual(self.firing(), {"CouponsdDown"})


if __name__ == "__main__":
    unittest.main()

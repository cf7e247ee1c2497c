# SPDX-License-Identifier: Apache-2.0
"""Tests that ./dev bench works, small and short. It does not judge speed."""

import json
import subprocess
import sys
import unittest

from tests.harness import ROOT

ONLY = ("pollers", "accept", "relay", "issue", "lone", "end_to_end", "batches", "sold_out")
ENDS = {
    "pollers": [f"{what}{end}" for what in ("sold_out", "accept") for end in (
        "_1.per_s", "_1.cpu_us", "_2.per_s", "_2.cpu_us", ".rates", ".scaling")],
    "accept": ("one_coupon", "100_coupons", "a_transaction_each"),
    "relay": ("one_coupon", "100_coupons", "idle_ms"),
    "issue": ("one_coupon", "100_coupons"),
    "issue_by_row": ("one_coupon", "100_coupons"),
    "end_to_end": [f"{shape}.{figure}" for shape in ("one_coupon", "100_coupons")
                   for figure in ("per_s", "per_s_at_2048", "accepted_per_s", "scaled_per_s",
                                  *(f"scaled_cpu_us.{name}" for name in ("all", "couponsd", "postgres")),
                                  *(f"cpu_us.{name}" for name in (
                                      "all", "couponsd", "postgres", "kafka", "redis", "load")))],
    "lone": ("answer_ms", "answer_p99_ms", "switches", *(f"cpu_us.{name}" for name in (
        "all", "couponsd", "postgres", "kafka", "redis")), *(f"idle_cpu_ms.{name}" for name in (
            "couponsd", "postgres", "kafka", "redis"))),
    "batches": [f"{shape}.{figure}" for shape in ("one_coupon", "100_coupons", "1000_coupons")
                for figure in ("per_s", "scaled_per_s",
                               *(f"cpu_us.{name}" for name in (
                                   "servers", "couponsd", "postgres", "kafka", "redis", "load")))],
    "sold_out": ("per_s", "cpu_us", "redis_commands", "gate_redis_reads", "gate_postgres_reads", "admit_batches",
                 "status_batches", "ledger_scans"),
    "echo": ("per_s", "cpu_us"),
}


class Quick(unittest.TestCase):
    def test_a_quick_bench_checks_what_was_issued_and_tells_each_figure_beside_its_ceiling(self):
        done = subprocess.run([sys.executable, "-m", "bench", "--quick", "--only", ",".join(ONLY), "--json", "-"],
                              capture_output=True, text=True, cwd=ROOT)
        self.assertEqual(done.returncode, 0, done.stderr)
        whole = json.loads(done.stdout)
        figures = {figure["key"]: figure for figure in whole["figures"]}
        self.assertEqual(sorted(figures), sorted(f"{name}.{end}" for name, ends in ENDS.items() for end in ends))
        for key, figure in figures.items():
            self.assertGreaterEqual(figure["value"], 0, key)
            if key.startswith(("end_to_end.", "batches.")):
                self.assertRegex(figure["note"], r"^an echo took [\d.]+ to [\d.]+ us$")
            if key.startswith(("accept.", "issue.", "issue_by_row.")) or key in ("relay.one_coupon", "sold_out.per_s"):
                self.assertGreater(figure["ceiling"], 0, key)
                self.assertGreater(figure["ratio"], 0, key)
        self.assertEqual(len(whole["rounds"]["end_to_end"]["one coupon"]), whole["options"]["rounds"])


if __name__ == "__main__":
    unittest.main()

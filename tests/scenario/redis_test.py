# SPDX-License-Identifier: Apache-2.0
"""Redis as in production (clusters, Sentinels, TLS, sockets, users), and Redis in trouble."""

import datetime
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from tests.harness import Scenario, wait_until
from tests.harness.certificates import Authority
from tests.harness.names import Names
from tests.harness.ports import free_port
from tests.harness.redis import RedisCluster, RedisServer

PASSWORD = "pa/ss:w@rd %41#?"  # what needs escaping in a URL
ENCODED = "pa%2Fss%3Aw%40rd%20%2541%23%3F"


class RedisScenario(Scenario):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=os.environ.get("TEST_DIR"), prefix="redis-")
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.settings["redis.timeout_ms"] = 1000  # the machine may be busy

    def redis_server(self, *arguments, **options):
        server = RedisServer(self.folder, *arguments, **options)
        self.addCleanup(server.kill)
        return server

    def cluster(self, *arguments, **options):
        cluster = RedisCluster(self.folder, *arguments, **options)
        self.addCleanup(cluster.kill)
        return cluster

    def flag_is(self, get, coupon, value, seconds=10):
        wait_until(lambda: get(f"coupon:available:{coupon}") == value, seconds, what=f"coupon {coupon}'s flag is {value}")

    def wait_for_issued(self, coupon, count, seconds=90):
        super().wait_for_issued(coupon, count, seconds)

    def assert_accepted(self, coupon, count):
        self.assertEqual(self.sql(f"select count(*) from publish_request where coupon_id = {coupon}"), [[str(count)]])

    def sell_out(self, server, quantity=1):
        coupon = self.create(server, quantity)
        for user in range(1, quantity + 1):
            self.ctl(server, "request", coupon, user)
        self.assertEqual(self.refusal(server, "request", coupon, quantity + 1)["reason"], "SOLD_OUT")
        return coupon

    def assert_flags_work(self, server, get):
        """Checks that couponsd sets a flag, reads it and makes it false, and logs no complaint about Redis."""
        opened = self.create(server, 10)
        self.flag_is(get, opened, "true")
        self.flag_is(get, self.sell_out(server), "false")
        self.assertTrue(self.ctl(server, "get", opened)[0]["available"])
        self.assertNotIn("backend=redis", server.text())
        self.assertNotIn("redis_unavailable", server.text())


class Kinds(RedisScenario):
    def test_a_unix_socket_serves(self):
        path = f"{self.folder}/redis.sock"
        redis = self.redis_server("--unixsocket", path, port=0, cli=("-s", path, "-n", "3"))
        for url in (f"unix://{path}?db=3", f"redis+unix://{path}?db=3"):
            with self.subTest(url):
                self.assert_flags_work(self.start(redis__url=url), lambda key: redis.ask("get", key))

    def test_a_user_of_an_access_list_with_any_characters_logs_in(self):
        redis = self.redis_server()
        # The minimal rights for couponsd.
        self.assertEqual(redis.ask("acl", "setuser", "cou:pon@s/d", "on", f">{PASSWORD}", "~coupon:*", "+mget", "+mset",
                                   "+eval", "+select"), "OK")
        url = f"redis://cou%3Apon%40s%2Fd:{ENCODED}@127.0.0.1:{redis.port}/0"
        server = self.start(redis__url=url)
        self.assert_flags_work(server, lambda key: redis.ask("get", key))
        self.assertNotIn("pa/ss", server.text())

    def test_valkey_serves_alone_and_as_a_cluster(self):
        if not shutil.which("valkey-server"):
            self.skipTest("valkey-server is not installed")
        valkey = self.redis_server(program="valkey-server")
        self.assert_flags_work(self.start(redis__url=f"redis://127.0.0.1:{valkey.port}"),
                               lambda key: valkey.ask("get", key))
        cluster = self.cluster(program="valkey-server")
        self.assert_flags_work(self.start(redis__url=f"redis://127.0.0.1:{cluster.nodes[0].port}"), cluster.get)

    def test_of_several_addresses_the_master_is_used(self):
        master = self.redis_server()
        replica = self.redis_server("--replicaof", f"127.0.0.1 {master.port}")
        wait_until(lambda: "connected" in replica.ask("role"), 20, what="the replica is in step")
        url = f"redis://127.0.0.1:{free_port()},127.0.0.1:{replica.port},127.0.0.1:{master.port}/0"
        self.assert_flags_work(self.start(redis__url=url), lambda key: master.ask("get", key))


class Tls(RedisScenario):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.sign("redis", "DNS:localhost,IP:127.0.0.1")

    def tls_server(self, *arguments):
        port = free_port()
        client = ("--tls", "--cacert", self.authority.certificate, "--cert", self.certificate, "--key", self.key, "-p",
                  str(port))
        return port, self.redis_server("--tls-port", str(port), "--tls-cert-file", self.certificate, "--tls-key-file",
                                       self.key, "--tls-ca-cert-file", self.authority.certificate, *arguments, port=0,
                                       cli=client)

    def test_redis_is_reached_over_tls_by_name_and_by_address(self):
        port, redis = self.tls_server("--tls-auth-clients", "no", "--requirepass", "s3cret")
        redis.client += ("-a", "s3cret")
        self.settings["redis.tls_ca"] = self.authority.certificate
        for host in ("localhost", "127.0.0.1"):
            with self.subTest(host):
                server = self.start(redis__url=f"rediss://:s3cret@{host}:{port}/0")
                self.assert_flags_work(server, lambda key: redis.ask("get", key))

    def test_redis_may_ask_for_a_certificate(self):
        port, redis = self.tls_server()
        self.settings.update({"redis.tls_ca": self.authority.certificate, "redis.url": f"rediss://localhost:{port}"})
        certificate, key = self.authority.sign("couponsd", "DNS:couponsd")
        self.assert_flags_work(self.start(redis__tls_certificate=certificate, redis__tls_key=key),
                               lambda key: redis.ask("get", key))
        self.assertRegex(self.start().text(), "start.without backend=redis.*the server wants a client certificate")

    def test_a_certificate_of_strangers_or_of_another_name_is_refused_with_the_reason(self):
        port, _ = self.tls_server("--tls-auth-clients", "no")
        strangers = Authority(self.folder, "strangers")
        for settings, reason in (({"redis.tls_ca": strangers.certificate}, "TLS: the certificate is not accepted"),
                                 ({"redis.tls_ca": self.authority.certificate, "redis.tls_name": "redis.example"},
                                  "is not accepted for redis.example: hostname mismatch")):
            with self.subTest(reason):
                server = self.start(**settings, **{"redis.url": f"rediss://localhost:{port}"})
                self.assertIn("start.without backend=redis", server.text())
                self.assertIn(reason, server.text())
                self.sell_out(server)

    def test_settings_of_tls_that_do_not_fit_are_refused(self):
        code, _, err = self.refused_start(*self.set_arguments(redis__tls_ca=self.authority.certificate))
        self.assertEqual(code, 2)
        self.assertIn("let redis.url begin with rediss://", err)
        code, _, err = self.refused_start(*self.set_arguments(
            redis__url="rediss://localhost", redis__tls_certificate=self.certificate))
        self.assertEqual(code, 2)
        self.assertIn("redis.tls_certificate and redis.tls_key need each other", err)
        code, _, err = self.refused_start(*self.set_arguments(
            redis__url="rediss://localhost", redis__tls_ca=f"{self.folder}/missing.pem"))
        self.assertNotEqual(code, 0)
        self.assertIn("redis.tls_ca", err)


class Cluster(RedisScenario):
    def test_flags_are_on_three_nodes_and_follow_slots_that_move(self):
        cluster = self.cluster()
        server = self.start(redis__url=f"redis://127.0.0.1:{cluster.nodes[1].port}")
        self.assert_flags_work(server, cluster.get)
        coupons = [self.create(server, 1) for _ in range(30)]
        for coupon in coupons:
            self.flag_is(cluster.get, coupon, "true")
        owners = {coupon: cluster.owner(f"coupon:available:{coupon}") for coupon in coupons}
        self.assertEqual(len(set(owners.values())), 3, "each node has some")
        coupon = coupons[0]
        key, source = f"coupon:available:{coupon}", owners[coupon]
        target = next(node for node in cluster.nodes if node is not source)
        slot = source.ask("cluster", "keyslot", key)
        source_id, target_id = source.ask("cluster", "myid"), target.ask("cluster", "myid")
        self.assertEqual(target.ask("cluster", "setslot", slot, "importing", source_id), "OK")
        self.assertEqual(source.ask("cluster", "setslot", slot, "migrating", target_id), "OK")
        keys = source.ask("cluster", "getkeysinslot", slot, 100).split()
        self.assertIn(f"coupon:available_version:{{{key}}}", keys, "both keys of a coupon have one slot")
        self.assertEqual(source.ask("migrate", "127.0.0.1", target.port, "", 0, 5000, "keys", *keys), "OK")
        # The source now answers ASK.
        self.ctl(server, "request", coupon, 1)
        self.flag_is(lambda key: target.ask("-c", "get", key), coupon, "false")
        for node in cluster.nodes:
            node.ask("cluster", "setslot", slot, "node", target_id)
        # The source now answers MOVED.
        self.ctl(server, "add", coupon, 1)
        self.flag_is(lambda key: target.ask("get", key), coupon, "true")
        for coupon in coupons[1:]:
            self.ctl(server, "request", coupon, 1)
        for coupon in coupons[1:]:
            self.flag_is(cluster.get, coupon, "false")
        self.assertNotIn("backend=redis", server.text())
        self.assertEqual(server.metric("couponsd_redis_flags_not_written_total"), 0)

    def test_a_flushed_cluster_is_rebuilt(self):
        cluster = self.cluster()
        server = self.start(redis__url=f"redis://127.0.0.1:{cluster.nodes[0].port}")
        coupons = [self.create(server, 1) for _ in range(20)]
        for coupon in coupons:
            self.flag_is(cluster.get, coupon, "true")
        for node in cluster.nodes:
            node.ask("flushall")
        for coupon in coupons:
            self.flag_is(cluster.get, coupon, "true")

    def test_after_a_node_is_lost_the_others_serve_and_its_replica_takes_over(self):
        cluster = self.cluster(replicas=1)
        # The node that dies is the only address in the URL.
        server = self.start(redis__url=f"redis://127.0.0.1:{cluster.nodes[0].port}")
        coupons = [self.create(server, 2) for _ in range(20)]
        for coupon in coupons:
            self.flag_is(cluster.get, coupon, "true")
        cluster.nodes[0].kill()
        for coupon in coupons:
            self.ctl(server, "request", coupon, 1)
            self.ctl(server, "request", coupon, 2)
        for coupon in coupons:
            self.flag_is(cluster.get, coupon, "false", 30)
        self.sell_out(server)
        for coupon in coupons:
            self.wait_for_issued(coupon, 2)

    def test_a_database_other_than_0_is_named_as_the_reason(self):
        cluster = self.cluster()
        server = self.start(redis__url=f"redis://127.0.0.1:{cluster.nodes[0].port}/5")
        self.assertRegex(server.text(), "start.without backend=redis.*SELECT is not allowed in cluster mode")
        self.sell_out(server)


class Sentinel(RedisScenario):
    def test_a_failover_is_followed(self):
        master = self.redis_server("--requirepass", "s3cret", "--masterauth", "s3cret", cli=("-a", "s3cret"))
        replica = self.redis_server("--replicaof", f"127.0.0.1 {master.port}", "--requirepass", "s3cret", "--masterauth",
                                    "s3cret", cli=("-a", "s3cret"))
        wait_until(lambda: "connected" in replica.ask("role"), 20, what="the replica is in step")
        lines = [f"sentinel monitor coupons 127.0.0.1 {master.port} 1", "sentinel auth-pass coupons s3cret",
                 "sentinel down-after-milliseconds coupons 1000", "sentinel failover-timeout coupons 3000",
                 "requirepass guards"]
        sentinel = self.redis_server(sentinel="\n".join(lines) + "\n", cli=("-a", "guards"))
        wait_until(lambda: str(replica.port) in sentinel.ask("sentinel", "replicas", "coupons"), 30,
                   what="the Sentinel knows the replica")
        # The first Sentinel is down.
        url = f"redis+sentinel://:s3cret@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/coupons/0"
        server = self.start(redis__url=url, redis__sentinel_password="guards")
        self.assert_flags_work(server, lambda key: master.ask("get", key))
        coupon = self.create(server, 2)
        self.flag_is(lambda key: master.ask("get", key), coupon, "true")
        master.kill()
        self.ctl(server, "request", coupon, 1)
        wait_until(lambda: "master" in replica.ask("role"), 30, what="the replica is promoted")
        promoted = time.monotonic()
        self.ctl(server, "request", coupon, 2)
        self.flag_is(lambda key: replica.ask("get", key), coupon, "false")
        self.assertLess(time.monotonic() - promoted, 10)
        # The old master comes back, as a replica of the new one.
        master.start()
        wait_until(lambda: "slave" in master.ask("role"), 30, what="the old master is a replica")
        self.flag_is(lambda key: replica.ask("get", key), self.sell_out(server), "false")
        self.wait_for_issued(coupon, 2)

    def test_a_planned_failover_demotes_the_master_that_is_in_use(self):
        master = self.redis_server()
        replica = self.redis_server("--replicaof", f"127.0.0.1 {master.port}")
        wait_until(lambda: "connected" in replica.ask("role"), 20, what="the replica is in step")
        sentinel = self.redis_server(sentinel=f"sentinel monitor m 127.0.0.1 {master.port} 1\n"
                                              "sentinel failover-timeout m 3000\n")
        wait_until(lambda: str(replica.port) in sentinel.ask("sentinel", "replicas", "m"), 30,
                   what="the Sentinel knows the replica")
        server = self.start(redis__url=f"redis+sentinel://127.0.0.1:{sentinel.port}/m")
        self.assert_flags_work(server, lambda key: master.ask("get", key))
        wait_until(lambda: sentinel.ask("sentinel", "failover", "m") == "OK", 30, every=0.5, what="the failover begins")
        wait_until(lambda: "master" in replica.ask("role"), 30, what="the replica is promoted")
        # The Sentinel demotes the old master about 10 s later; couponsd uses the old master until then.
        self.flag_is(lambda key: replica.ask("get", key), self.sell_out(server), "false", 60)

    def test_a_name_that_no_sentinel_knows_is_told(self):
        sentinel = self.redis_server(sentinel="")
        server = self.start(redis__url=f"redis+sentinel://127.0.0.1:{sentinel.port}/nobody")
        self.assertRegex(server.text(), "start.without backend=redis.*knows no master of the name in redis.url")
        self.sell_out(server)


class Trouble(RedisScenario):
    def setUp(self):
        super().setUp()
        self.server = self.redis_server()
        self.settings["redis.url"] = f"redis://127.0.0.1:{self.server.port}/0"

    def get(self, key):
        return self.server.ask("get", key)

    def test_a_flag_with_a_version_above_the_truth_is_mended_and_the_reason_is_told_once(self):
        server = self.start()
        opened, sold_out = self.create(server, 10), self.sell_out(server)
        self.flag_is(self.get, opened, "true")
        self.flag_is(self.get, sold_out, "false")
        for coupon, wrong in ((opened, "false"), (sold_out, "true")):
            self.server.ask("mset", f"coupon:available:{coupon}", wrong, f"coupon:available_version:{coupon}", 4000)
        self.flag_is(self.get, opened, "true")
        self.flag_is(self.get, sold_out, "false")
        self.assertLess(int(self.get(f"coupon:available_version:{opened}")), 100)
        self.ctl(server, "add", sold_out, 1)
        self.flag_is(self.get, sold_out, "true")
        self.assertEqual(server.text().count("reconcile.flag_ahead"), 1, server.text())
        self.assertIn("restored from a backup", server.text())

    def test_keys_of_another_kind_are_mended(self):
        server = self.start()
        coupon = self.create(server, 10)
        for spoil in (("del", "coupon:available:{}", "coupon:available_version:{}"),
                      ("set", "coupon:available_version:{}", "inf"), ("set", "coupon:available_version:{}", "9" * 40),
                      ("set", "coupon:available_version:{}", "abc"), ("hset", "coupon:available_version:{}", "a", "b"),
                      ("rpush", "coupon:available:{}", "a")):
            with self.subTest(spoil):
                self.flag_is(self.get, coupon, "true")
                for key in ("coupon:available", "coupon:available_version"):
                    self.server.ask("del", f"{key}:{coupon}")
                self.server.ask(*(word.format(coupon) for word in spoil))
                wait_until(lambda: self.get(f"coupon:available:{coupon}") == "true" and
                           self.get(f"coupon:available_version:{coupon}") in ("2", "4"), 10, what="it is mended")
        self.assertNotIn("backend=redis", server.text())

    def test_a_redis_that_takes_no_writes_leaves_the_service_on_postgres_and_is_told_once(self):
        server = self.start()
        before = self.create(server, 2)
        self.flag_is(self.get, before, "true")
        refusals = (("config", "set", "maxmemory", "1"), ("config", "set", "maxmemory", "0"), "OOM"), \
            (("config", "set", "min-replicas-to-write", "1"), ("config", "set", "min-replicas-to-write", "0"),
             "NOREPLICAS"), \
            (("replicaof", "127.0.0.1", free_port()), ("replicaof", "no", "one"), "READONLY")
        for number, (begin, end, reason) in enumerate(refusals):
            with self.subTest(reason):
                self.assertEqual(self.server.ask(*begin), "OK")
                counted = server.metric("couponsd_redis_flags_not_written_total")
                mark = len(server.text())
                coupons = [self.sell_out(server, 2) for _ in range(4)]
                wait_until(lambda: server.metric("couponsd_redis_flags_not_written_total") > counted + 4, 20,
                           what="refused writes are counted")

                def told():
                    return [line for line in server.text()[mark:].splitlines()
                            if "stage.interrupted" in line and "backend=redis" in line]

                # A stage that has not written since the refusal before is still interrupted. It tells the new reason
                # with its next line, 10 s after its last one.
                wait_until(lambda: any(reason in line for line in told()), 20, what="the reason is told")
                last = {}
                for line in told():  # couponsd logs a continuing outage again every 10 s
                    at, stage = re.match(r"ts=(\S+) .* stage=(\w+)", line).groups()
                    at = datetime.datetime.fromisoformat(at.replace("Z", "+00:00")).timestamp()
                    self.assertGreater(at - last.get(stage, 0), 9, told())
                    last[stage] = at
                self.assertEqual(self.server.ask(*end), "OK")
                for coupon in coupons:
                    self.flag_is(self.get, coupon, "false")
                    self.assert_accepted(coupon, 2)
                wait_until(lambda: server.text()[mark:].count("stage.resumed") >= 1, 20, what="its end is told")

    def test_a_connection_that_was_cut_while_idle_costs_nothing(self):
        server = self.start(reconcile__interval_ms=60000)
        for _ in range(4):
            coupon = self.create(server, 1)
            self.assertEqual(self.get(f"coupon:available:{coupon}"), "true")
            self.assertTrue(self.ctl(server, "get", coupon)[0]["available"])
            self.ctl(server, "request", coupon, 1)
            self.assertGreater(int(self.server.ask("client", "kill", "type", "normal", "skipme", "yes")), 0)
        self.assertNotIn("backend=redis", server.text())
        self.assertNotIn("redis_unavailable", server.text())
        self.assertEqual(server.metric("couponsd_redis_flags_not_written_total"), 0)

    def test_idle_connections_are_probed(self):
        server = self.start()
        self.sell_out(server)
        sockets = subprocess.run(["ss", "-tnopH", f"dport = :{self.server.port}"], capture_output=True, text=True).stdout
        own = [line for line in sockets.splitlines() if f"pid={server.process.pid}," in line]
        self.assertTrue(own)
        self.assertTrue(all("timer:(keepalive" in line for line in own), own)

    def test_a_name_that_no_name_server_answers_for_delays_nobody(self):
        command = Names(self, self.folder, is_silent=True).before
        began = time.monotonic()
        server = self.start(command=[*command, f"{os.environ['BUILD_DIR']}/couponsd"],
                            redis__url="redis://redis.example.com:6379", redis__timeout_ms=250)
        self.assertRegex(server.text(), "start.without backend=redis.*no name server has answered yet")
        coupon = self.create(server, 20)
        for user in range(1, 21):
            asked = time.monotonic()
            self.ctl(server, "request", coupon, user)
            self.assertLess(time.monotonic() - asked, 3)
        self.assertLess(time.monotonic() - began, 40)
        self.assert_accepted(coupon, 20)


if __name__ == "__main__":
    unittest.main()

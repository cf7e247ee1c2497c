# SPDX-License-Identifier: Apache-2.0
"""Three Kafka brokers, which are their own controllers. An acknowledged message is on at least two of them. They listen
on free ports of loopback, each with a temporary folder."""

import concurrent.futures
import contextlib
import os
import shutil
import tempfile

from tests.harness.own_kafka import new_cluster_id
from tests.harness.ports import free_port
from tests.harness.private_servers import Servers, run

# The time until the others notice that a broker is gone; the default is 9 s.
SESSION_MS = 3000

SETTINGS = """
controller.quorum.voters={voters}
node.id={id}
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
broker.session.timeout.ms={session_ms}
broker.heartbeat.interval.ms=500
"""


class Broker(Servers):
    def __init__(self, folder, number):
        self.number, self.dir = number, f"{folder}/{number}"
        self.ports = {name: free_port() for name in ("kafka", "controller", "kafka_secure")}
        self.address = f"127.0.0.1:{self.ports['kafka']}"
        self.environment = {}
        os.mkdir(self.dir)
        for name, port in self.ports.items():
            with open(f"{self.dir}/{name}.port", "w", encoding="ascii") as file:
                file.write(f"{port}\n")

    def up_again(self):
        self.start("kafka", self.environment)

    def down(self):
        run("stop", self.dir, "kafka", "KILL", "KILL")


class KafkaCluster:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="couponsd-brokers.")
        self.all = [Broker(self.folder, number) for number in (1, 2, 3)]
        self.brokers = ",".join(broker.address for broker in self.all)
        voters = ",".join(f"{broker.number}@127.0.0.1:{broker.ports['controller']}" for broker in self.all)
        cluster = new_cluster_id()
        for broker in self.all:
            settings = SETTINGS.format(voters=voters, id=broker.number, session_ms=SESSION_MS)
            broker.environment = {"KAFKA_CLUSTER_ID": cluster, "KAFKA_HEAP": "256m", "KAFKA_SETTINGS": settings}
        run("fetch_kafka")
        try:
            self.start(self.all)
        except BaseException:
            self.stop()
            raise

    def start(self, brokers):
        """Starts all of them at the same time, because none comes up before a majority does."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for starting in [pool.submit(broker.up_again) for broker in brokers]:
                starting.result()

    def kill(self, brokers):
        """Kills brokers, as if their machines lost power."""
        for broker in brokers:
            broker.kill("kafka")

    def repair(self):
        """Starts the brokers that are down."""
        down = []
        for broker in self.all:
            try:
                broker.pid("kafka")
            except AssertionError:
                down.append(broker)
        self.start(down)

    def stop(self):
        for broker in self.all:
            with contextlib.suppress(AssertionError):
                broker.down()
        shutil.rmtree(self.folder, ignore_errors=True)

# SPDX-License-Identifier: Apache-2.0
"""A private Kafka broker for a test, with settings that the shared one does not have."""

import base64
import os
import secrets
import shutil
import signal
import tempfile

from tests.harness.ports import free_port
from tests.harness.private_servers import run


def new_cluster_id():
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).decode()[:22].replace("-", "a")


class OwnKafka:
    """Clients of `brokers` may do everything. Clients of `secure_brokers` log in as User:couponsd by SASL over TLS."""

    def __init__(self, settings, cluster=""):
        """settings: a dictionary, or a function that makes it of the ports. cluster: the id; "": a cluster of its own"""
        self.cluster, self.dir = cluster, tempfile.mkdtemp(prefix="couponsd-kafka.")
        self.ports = ports = {name: free_port() for name in ("kafka", "controller", "kafka_secure")}
        for name, port in ports.items():
            with open(f"{self.dir}/{name}.port", "w", encoding="ascii") as file:
                file.write(f"{port}\n")
        self.brokers, self.secure_brokers = (f"127.0.0.1:{ports[name]}" for name in ("kafka", "kafka_secure"))
        self.authority = f"{self.dir}/kafka/ca.pem"
        run("fetch_kafka")
        self.start(settings(ports) if callable(settings) else settings)

    def start(self, settings):
        self.environment = {"KAFKA_SETTINGS": "\n".join(f"{key}={value}" for key, value in settings.items()),
                            "KAFKA_CLUSTER_ID": self.cluster}
        run("start_kafka", self.dir, environment=self.environment)

    def restart(self, settings):
        run("stop", self.dir, "kafka", "TERM", "KILL")
        self.start(settings)

    def stop(self):
        run("stop", self.dir, "kafka", "TERM", "KILL")
        shutil.rmtree(self.dir, ignore_errors=True)

    def secure_settings(self):
        """The settings with which couponsd logs in as User:couponsd."""
        return {"kafka__brokers": self.secure_brokers, "kafka__security.protocol": "sasl_ssl",
                "kafka__sasl.mechanisms": "PLAIN", "kafka__sasl.username": "couponsd",
                "kafka__sasl.password": "open sesame", "kafka__ssl.ca.location": self.authority}

    def use(self, test):
        """Makes KAFKA_BROKERS name this broker for the duration of the test."""
        before = os.environ["KAFKA_BROKERS"]
        os.environ["KAFKA_BROKERS"] = self.brokers
        test.addCleanup(os.environ.__setitem__, "KAFKA_BROKERS", before)


class SplitKafka:
    """A broker, and a controller in a process of its own. Without its controller, the broker takes and delivers messages
    but creates no topics."""

    def __init__(self):
        cluster = new_cluster_id()
        self.controller = OwnKafka(lambda ports: {
            "process.roles": "controller", "listeners": f"CONTROLLER://127.0.0.1:{ports['controller']}",
            "advertised.listeners": ""}, cluster)
        voters = f"1@127.0.0.1:{self.controller.ports['controller']}"
        self.broker = OwnKafka(lambda ports: {
            "process.roles": "broker", "node.id": 2, "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://127.0.0.1:{ports['kafka']},SECURE://127.0.0.1:{ports['kafka_secure']}"}, cluster)

    def signal_controller(self, number):
        with open(f"{self.controller.dir}/kafka.pid", encoding="ascii") as file:
            os.kill(int(file.read()), number)

    def freeze_controller(self):
        self.signal_controller(signal.SIGSTOP)

    def thaw_controller(self):
        self.signal_controller(signal.SIGCONT)

    def stop(self):
        self.thaw_controller()
        self.broker.stop()
        self.controller.stop()

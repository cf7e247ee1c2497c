# SPDX-License-Identifier: Apache-2.0
"""docker/: the compose files follow the Compose specification and match couponsd, the image and each other. The test
needs no Docker engine. If `docker compose` is installed, it checks the files too.
"""

import glob
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import unittest

import jsonschema
import yaml

from tests.harness import BUILD, ROOT

DOCKER = os.path.join(ROOT, "docker")

# The Go module with which docker compose reads its files. It has the specification's schema.
COMPOSE_GO = "github.com/compose-spec/compose-go/v2@v2.4.7"
COMPOSE_GO_SUM = "h1:WNpz5bIbKG+G+w9pfu72B1ZXr+Og9jez8TMEo8ecXPk="

LAYOUTS = {"single": ["compose.yaml"], "cluster": ["compose.yaml", "compose.cluster.yaml"]}
HARMLESS_WITHOUT_FILE = {"./secrets/postgres_password", "./secrets/grafana_password"}  # the README says to create them


def read(*path):
    with open(os.path.join(DOCKER, *path), encoding="utf-8") as file:
        return file.read()


def parse(*path):
    return yaml.safe_load(read(*path))


def schema():
    environment = {**os.environ, "GOSUMDB": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    done = subprocess.run(["go", "mod", "download", "-json", COMPOSE_GO], cwd="/", env=environment,
                          capture_output=True, text=True)
    answer = json.loads(done.stdout or "{}")
    assert answer.get("Sum") == COMPOSE_GO_SUM, f"{COMPOSE_GO} was not fetched: {done.stdout} {done.stderr}"
    with open(os.path.join(answer["Dir"], "schema", "compose-spec.json"), encoding="utf-8") as file:
        return json.load(file)


def has_docker_compose():
    return bool(shutil.which("docker")) and subprocess.run(
        ["docker", "compose", "version"], capture_output=True).returncode == 0


def merged(base, over):
    """Merges as Compose does, as far as our files need it: it merges maps, merges volumes by mount point, and replaces
    everything else."""
    result = {**base, **over}
    for key in ("environment", "depends_on"):
        if key in base and key in over:
            result[key] = {**base[key], **over[key]}
    if "volumes" in base and "volumes" in over:
        mounts = {volume.split(":")[1]: volume for volume in base["volumes"] + over["volumes"]}
        result["volumes"] = list(mounts.values())
    return result


def layout(name):
    """Returns the services, volumes and secrets of a layout."""
    whole = {"services": {}, "volumes": {}, "secrets": {}}
    for file in LAYOUTS[name]:
        document = parse(file)
        for key, items in whole.items():
            for item, settings in (document.get(key) or {}).items():
                settings = settings or {}
                if "extends" in settings:
                    other = parse(settings["extends"]["file"])[key][settings["extends"]["service"]]
                    settings = merged(other, {k: v for k, v in settings.items() if k != "extends"})
                items[item] = merged(items.get(item, {}), settings)
    return whole


def couponsds(services):
    return {name: service for name, service in services.items() if service["image"].startswith("couponsd:")}


def kafkas(services):
    return {name: service for name, service in services.items() if "kafka" in service["image"]}


def settings_of(service):
    return dict(argument.removeprefix("--set=").split("=", 1) for argument in service["command"])


def dockerfile(instruction):
    """Returns the last instruction of this kind, with continued lines joined."""
    return re.findall(rf"^{instruction} (.*)$", read("Dockerfile").replace("\\\n", " "), re.M)[-1]


class Compose(unittest.TestCase):
    def each(self):
        return [(name, layout(name)) for name in LAYOUTS]

    def test_the_files_are_what_the_specification_allows(self):
        validator = jsonschema.Draft201909Validator(schema())
        for file in LAYOUTS["cluster"]:
            errors = [f"{file}: {'/'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(parse(file))]
            self.assertEqual(errors, [])
        broken = parse("compose.yaml")
        broken["services"]["couponsd"]["comand"] = []
        self.assertFalse(validator.is_valid(broken), "the schema should refuse unknown keys")
        if has_docker_compose():
            for files in LAYOUTS.values():
                arguments = [word for file in files for word in ("-f", os.path.join(DOCKER, file))]
                done = subprocess.run(["docker", "compose", *arguments, "config", "--quiet"],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_what_is_named_exists(self):
        for _, whole in self.each():
            for name, service in whole["services"].items():
                self.assertRegex(service["image"], r"^[\w./-]+:[\w.-]+$", f"{name}: an image needs a tag")
                self.assertNotIn("latest", service["image"])
                self.assertLessEqual(set(service.get("secrets", ())), set(whole["secrets"]), name)
                for volume in service.get("volumes", ()):
                    source = volume.split(":")[0]
                    if source.startswith("."):
                        self.assertTrue(os.path.exists(os.path.join(DOCKER, source)), f"{name}: {source}")
                    else:
                        self.assertIn(source, whole["volumes"], name)
                if "build" in service:
                    context = os.path.join(DOCKER, service["build"]["context"])
                    self.assertTrue(os.path.exists(os.path.join(context, service["build"]["dockerfile"])), name)
                for needed, how in service.get("depends_on", {}).items():
                    self.assertEqual(how, {"condition": "service_healthy"}, f"{name} on {needed}")
                    self.assertIn("healthcheck", whole["services"][needed], f"{name} waits until it is healthy")
            for secret in whole["secrets"].values():
                self.assertIn(secret["file"], HARMLESS_WITHOUT_FILE)
                self.assertIn(secret["file"].removeprefix("./"), read("README.md"))

    def test_no_volume_has_two_writers(self):
        for _, whole in self.each():
            sources = [volume.split(":")[0] for service in whole["services"].values()
                       for volume in service.get("volumes", ()) if not volume.startswith(".")]
            self.assertEqual(sorted(sources), sorted(set(whole["volumes"])))

    def test_nothing_is_open_to_the_network_and_no_port_is_given_twice(self):
        for _, whole in self.each():
            ports = [port for service in whole["services"].values() for port in service.get("ports", ())]
            for port in ports:
                self.assertTrue(port.startswith("127.0.0.1:"), port)
            self.assertEqual(len({port.split(":")[1] for port in ports}), len(ports))

    def test_no_password_stands_in_a_file(self):
        for _, whole in self.each():
            for name, service in whole["services"].items():
                self.assertNotIn("password", str(service.get("command", "")).lower(), name)
                for key, value in service.get("environment", {}).items():
                    if "PASSWORD" in key:
                        self.assertTrue(key.endswith("_FILE") and value.startswith("/run/secrets/"), f"{name}: {key}")
                        self.assertIn(value.removeprefix("/run/secrets/"), service["secrets"], name)

    def test_couponsd_takes_its_settings(self):
        commands = [service["command"] for _, whole in self.each() for service in couponsds(whole["services"]).values()]
        commands.append(json.loads(dockerfile("CMD")))
        self.assertEqual(len(commands), 4)
        for command in commands:
            done = subprocess.run([f"{BUILD}/couponsd", *command, "--check-config"], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_its_settings_name_the_services_and_the_ports_that_are_published(self):
        for _, whole in self.each():
            services = whole["services"]
            for name, service in couponsds(services).items():
                settings = settings_of(service)
                self.assertIn(re.search(r"host=(\S+)", settings["postgres.url"]).group(1), services)
                self.assertIn(re.match(r"redis://([^:/]+)", settings["redis.url"]).group(1), services)
                self.assertEqual(settings["kafka.brokers"].split(","), [f"{broker}:9092" for broker in kafkas(services)])
                inside = [settings[key].removeprefix("0.0.0.0:") for key in ("grpc.listen", "http.listen")]
                self.assertEqual([port.split(":")[2] for port in service["ports"]], inside, name)
                self.assertEqual(dockerfile("EXPOSE").split(), inside)
                self.assertLessEqual(set(kafkas(services)), set(service["depends_on"]))
        cluster = layout("cluster")["services"]
        self.assertEqual({settings_of(service)["kafka.replication_factor"] for service in couponsds(cluster).values()},
                         {str(len(kafkas(cluster)))})

    def test_the_brokers_are_one_quorum(self):
        for name, whole in self.each():
            brokers = {broker: service["environment"] for broker, service in kafkas(whole["services"]).items()}
            voters = ",".join(f"{environment['KAFKA_NODE_ID']}@{broker}:9093" for broker, environment in brokers.items())
            self.assertEqual(len(brokers), {"single": 1, "cluster": 3}[name])
            self.assertEqual(len({environment["CLUSTER_ID"] for environment in brokers.values()}), 1)
            for broker, environment in brokers.items():
                self.assertEqual(environment["KAFKA_CONTROLLER_QUORUM_VOTERS"], voters)
                self.assertEqual(environment["KAFKA_ADVERTISED_LISTENERS"], f"PLAINTEXT://{broker}:9092")
                self.assertEqual(whole["services"][broker]["hostname"], broker)
                self.assertEqual(environment["KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR"], str(len(brokers)))
                if name == "cluster":
                    self.assertEqual(environment["KAFKA_MIN_INSYNC_REPLICAS"], "2")

    def test_prometheus_and_grafana_look_at_the_services_that_there_are(self):
        for name, whole in self.each():
            services, mounts = whole["services"], str(whole["services"]["prometheus"]["volumes"])
            self.assertIn(f"./prometheus/targets/{name}:/etc/prometheus/targets:ro", mounts)
            watched = [target for group in parse("prometheus", "targets", name, "couponsd.yml")
                       for target in group["targets"]]
            self.assertEqual(watched, [f"{service}:9464" for service in couponsds(services)])
            backends = {target for group in parse("prometheus", "targets", name, "backends.yml")
                        for target in group["targets"]}
            self.assertEqual(backends, {"postgres:5432", "redis:6379", *(f"{kafka}:9092" for kafka in kafkas(services))})
            for exporter in re.findall(r"replacement: ([\w-]+):9115", read("prometheus", "prometheus.yml")):
                self.assertIn(exporter, services)
            sources = parse("grafana", "provisioning", "datasources", "prometheus.yml")["datasources"]
            self.assertEqual([source["url"] for source in sources], ["http://prometheus:9090"])

    def test_grafana_finds_the_dashboards_and_they_their_data(self):
        uids = {source["uid"] for file in glob.glob(f"{DOCKER}/grafana/provisioning/datasources/*")
                for source in parse(file)["datasources"]}
        mounted = {volume.split(":")[1] for volume in layout("single")["services"]["grafana"]["volumes"]}
        for provider in parse("grafana", "provisioning", "dashboards", "couponsd.yml")["providers"]:
            self.assertIn(provider["options"]["path"], mounted)
        dashboards = glob.glob(f"{DOCKER}/grafana/dashboards/*.json")
        self.assertTrue(dashboards)
        for file in dashboards:
            dashboard = json.loads(read(file))
            ids = [panel["id"] for panel in dashboard["panels"]]
            self.assertEqual(len(ids), len(set(ids)))
            taken = set()
            for panel in dashboard["panels"]:
                at = panel["gridPos"]
                cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
                self.assertFalse(cells & taken, f"{panel['title']} overlaps another panel")
                self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
                taken |= cells
            self.assertLessEqual(set(re.findall(r'"uid": "prometheus\w*"', read(file))),
                                 {f'"uid": "{uid}"' for uid in uids})


class Health(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        """Logs nothing."""


class Image(unittest.TestCase):
    def test_its_health_check_asks_whether_couponsd_is_ready(self):
        command = json.loads(re.search(r"CMD (\[.*\])", dockerfile("HEALTHCHECK")).group(1))
        server = http.server.HTTPServer(("127.0.0.1", 0), Health)
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def exit_code(status):
            Health.status = status
            self.assertIn("/9464 ", command[-1])
            words = [word.replace("/9464 ", f"/{server.server_port} ") for word in command]
            return subprocess.run(words, capture_output=True).returncode
        self.assertEqual(exit_code(200), 0)
        self.assertEqual(exit_code(503), 1)
        server.shutdown()
        server.server_close()
        self.assertEqual(exit_code(200), 1, "Docker defines only the exit codes 0 and 1")

    def test_what_it_copies_is_there_and_not_ignored(self):
        with open(os.path.join(ROOT, ".dockerignore"), encoding="utf-8") as file:
            kept = [line[1:].strip() for line in file if line.startswith("!")]
        for line in re.findall(r"^COPY (?!--from)(.*)$", read("Dockerfile"), re.M):
            for source in shlex.split(line)[:-1]:
                self.assertTrue(os.path.exists(os.path.join(ROOT, source)), source)
                self.assertTrue(source == "." or any((source + "/").startswith(path + "/") for path in kept), source)

    def test_it_is_not_root_and_stops_as_couponsd_wants_it(self):
        self.assertRegex(dockerfile("USER"), r"^[1-9]\d*:[1-9]\d*$")
        self.assertIn(f"--uid {dockerfile('USER').split(':')[0]} ", read("Dockerfile"))
        self.assertEqual(dockerfile("STOPSIGNAL"), "SIGTERM")

    def test_its_entry_point_takes_the_password_from_a_file(self):
        entry = json.loads(dockerfile("ENTRYPOINT"))[0]
        script = os.path.join(DOCKER, os.path.basename(entry))
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "couponsd"), "w", encoding="utf-8") as stub:
                stub.write('#!/bin/sh\necho "$PGPASSWORD $*"\n')
            os.chmod(stub.name, 0o755)
            with open(os.path.join(folder, "password"), "w", encoding="utf-8") as password:
                password.write("s3cret word\n")

            def run(**environment):
                environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **environment}
                environment.pop("PGPASSWORD", None)
                return subprocess.run([script, "--set", "a=b"], env=environment, capture_output=True, text=True)
            self.assertEqual(run(PGPASSWORD_FILE=password.name).stdout, "s3cret word --set a=b\n")
            self.assertEqual(run().stdout, " --set a=b\n")
            missing = run(PGPASSWORD_FILE=f"{folder}/none")
            self.assertEqual(missing.returncode, 2)
            self.assertIn("PGPASSWORD_FILE is", missing.stderr)


if __name__ == "__main__":
    unittest.main()

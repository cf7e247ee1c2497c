# SPDX-License-Identifier: Apache-2.0
"""packaging/kubernetes: the manifests follow Kubernetes' own schemas and match couponsd. Needs no cluster."""

import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.request

import yaml

from tests.harness import BUILD, ROOT, Scenario
from tests.harness.certificates import Authority

FOLDER = os.path.join(ROOT, "packaging", "kubernetes")
VALIDATOR = "kubernetes-validate==1.37.0"  # has the schemas
VERSIONS = ("1.29", "1.37")
KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.6.0"
NOT_OF_KUBERNETES = {"kustomization.yaml"}


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as file:
        return file.read()


def manifest(name):
    return yaml.safe_load(read(name))


def validate(path, version):
    """Returns the complaints about a file; "" if there are none."""
    folder = os.path.join(ROOT, "build", "tools", VALIDATOR.replace("==", "-"))
    if not os.path.exists(folder):
        part = f"{folder}.{os.getpid()}"
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target",
                        part, VALIDATOR], check=True)
        os.rename(part, folder)
    done = subprocess.run([sys.executable, os.path.join(folder, "bin", "kubernetes-validate"), "--strict",
                           "--kubernetes-version", version, path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, env={**os.environ, "PYTHONPATH": folder})
    return "" if done.returncode == 0 else done.stdout or "it failed without a word"


def built(folder):
    """Returns what `kubectl apply -k` would send."""
    # Not by tools/go.sh tool: that takes the last word of a path, here v5, for the program's name.
    program = os.path.join(ROOT, "build", "tools", "kustomize-" + KUSTOMIZE.split("@")[1], "kustomize")
    if not os.path.exists(program):
        go = subprocess.run([os.path.join(ROOT, "tools", "go.sh"), "go"], check=True, stdout=subprocess.PIPE, text=True)
        part = f"{os.path.dirname(program)}.{os.getpid()}"
        os.makedirs(part)
        subprocess.run([go.stdout.strip(), "install", KUSTOMIZE], check=True, cwd=part,
                       env={**os.environ, "GOBIN": part, "GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local",
                            "CGO_ENABLED": "0"})
        os.rename(part, os.path.dirname(program))
    return subprocess.run([program, "build", folder], check=True, stdout=subprocess.PIPE, text=True).stdout


class Kubernetes(Scenario):
    def setUp(self):
        super().setUp()
        self.pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
        self.container, = self.pod["containers"]

    def test_every_manifest_follows_the_schemas(self):
        names = {os.path.basename(path) for path in glob.glob(f"{FOLDER}/*.yaml")} - NOT_OF_KUBERNETES
        self.assertEqual(names, set(manifest("kustomization.yaml")["resources"]))
        for name in sorted(names):
            for version in VERSIONS:
                self.assertEqual(validate(os.path.join(FOLDER, name), version), "", (name, version))
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=os.environ.get("TEST_DIR")) as file:
            file.write(read("deployment.yaml").replace("livenessProbe", "livenessprobe"))
            file.flush()
            self.assertIn("livenessprobe", validate(file.name, VERSIONS[-1]))

    def test_kustomize_builds_what_follows_the_schemas_and_fits_together(self):
        text = built(FOLDER)
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=os.environ.get("TEST_DIR")) as file:
            file.write(text)
            file.flush()
            for version in VERSIONS:
                self.assertEqual(validate(file.name, version), "", version)
        objects = {each["kind"]: each for each in yaml.safe_load_all(text)}
        spaces = {each["metadata"].get("namespace") for kind, each in objects.items() if kind != "Namespace"}
        self.assertEqual(spaces, {"couponsd"})
        pod = objects["Deployment"]["spec"]["template"]
        self.assertEqual(pod["spec"]["volumes"][0]["configMap"]["name"], objects["ConfigMap"]["metadata"]["name"])
        self.assertEqual(objects["ConfigMap"]["data"]["couponsd.ini"], read("couponsd.ini"))
        for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            spec = objects[kind]["spec"]
            selector = spec["selector"] if kind == "Service" else spec.get("selector", spec.get("podSelector"))
            wanted = selector.get("matchLabels", selector)
            self.assertEqual({**pod["metadata"]["labels"], **wanted}, pod["metadata"]["labels"], kind)

    def test_the_operator_of_prometheus_finds_the_service(self):
        texts = built(FOLDER), built(os.path.join(FOLDER, "monitoring"))
        objects = {each["kind"]: each for text in texts for each in yaml.safe_load_all(text)}
        monitor, service = objects["ServiceMonitor"], objects["Service"]
        self.assertEqual(monitor["metadata"]["namespace"], service["metadata"]["namespace"])
        labels = service["metadata"]["labels"]
        self.assertEqual({**labels, **monitor["spec"]["selector"]["matchLabels"]}, labels)
        endpoint, = monitor["spec"]["endpoints"]
        self.assertIn(endpoint["port"], [port["name"] for port in service["spec"]["ports"]])

    def test_the_documented_command_makes_a_rule_of_all_alerts(self):
        with open(os.path.join(ROOT, "docs", "how-to", "kubernetes.md"), encoding="utf-8") as file:
            command = re.search(r"```\n(\{ printf.*?) \| kubectl[^\n]*\n```", file.read(), re.S)[1]
        made = subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        with open(os.path.join(ROOT, "docker", "prometheus", "alerts.yml"), encoding="utf-8") as file:
            self.assertEqual(yaml.safe_load(made)["spec"], yaml.safe_load(file))
        self.assertEqual(yaml.safe_load(made)["kind"], "PrometheusRule")

    def test_the_settings_are_fine_with_the_mounted_files(self):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR")) as folder:
            authority = Authority(folder)
            certificate, key = authority.sign("server", "DNS:localhost")
            secrets = {"/run/secrets/couponsd-tls/tls.crt": certificate, "/run/secrets/couponsd-tls/tls.key": key}
            for name, text in (("tokens", ""), ("postgres-url", "host=127.0.0.1 dbname=x"), ("redis-url", "redis://h")):
                secrets[f"/run/secrets/couponsd/{name}"] = path = os.path.join(folder, name)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
            text = read("couponsd.ini")
            for inside, outside in secrets.items():
                self.assertIn(inside, text)
                text = text.replace(inside, outside)
            self.assertNotIn("/run/", text)
            path = os.path.join(folder, "couponsd.ini")
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            done = subprocess.run([os.path.join(BUILD, "couponsd"), "--config", path, "--check-config"],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            self.assertEqual(done.stdout, "settings are fine\n")

    def test_mounts_and_ports_are_those_of_the_settings(self):
        settings = read("couponsd.ini")
        mounts = [mount["mountPath"] for mount in self.container["volumeMounts"]]
        for path in re.findall(r"/run/secrets/[a-z-]+", settings):
            self.assertIn(path, mounts)
        self.assertIn(os.path.dirname(self.container["args"][1]), mounts)
        ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.assertEqual(re.findall(r"listen = 0\.0\.0\.0:(\d+)", settings), [str(ports["grpc"]), str(ports["http"])])
        self.assertEqual({port["name"]: port["port"] for port in manifest("service.yaml")["spec"]["ports"]}, ports)

    def test_a_stop_has_the_time_that_it_needs(self):
        drain_s = int(re.search(r"drain_ms = (\d+)", read("couponsd.ini"))[1]) / 1000
        pause_s = int(self.container["lifecycle"]["preStop"]["exec"]["command"][1])
        self.assertGreaterEqual(self.pod["terminationGracePeriodSeconds"], drain_s + pause_s + 5)

    def test_each_pod_can_issue(self):
        most = manifest("autoscaling.yaml")["spec"]["maxReplicas"]
        self.assertGreaterEqual(int(re.search(r"partitions = (\d+)", read("couponsd.ini"))[1]), most)

    def test_metrics_and_paths_are_those_of_couponsd(self):
        server = self.start()
        metrics = self.get(server, "/metrics")
        for name in re.findall(r"couponsd_[a-z_]+", read("autoscaling.yaml")):
            self.assertIn(f"\n{name}", metrics)
        for probe in ("livenessProbe", "readinessProbe"):
            self.assertTrue(self.get(server, self.container[probe]["httpGet"]["path"]))

    def get(self, server, path):
        with urllib.request.urlopen(f"http://{server.http}{path}", timeout=10) as answer:
            return answer.read().decode()

    def test_the_version_is_that_of_the_project(self):
        with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as file:
            version = re.search(r"project\(couponsd VERSION ([0-9.]+)", file.read())[1]
        self.assertEqual(manifest("kustomization.yaml")["images"][0]["newTag"], version)


if __name__ == "__main__":
    unittest.main()

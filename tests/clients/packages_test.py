# SPDX-License-Identifier: Apache-2.0
"""The packages of the Go, Java, Node.js and Python clients, as their registries get them: built, installed into an
empty project, and used there on a real couponsd. Nothing is uploaded.

The commands in step 1 of the README of each client, the C client included, install the package; the blocks of the other
steps are a program, which runs here as it is, but for the addresses."""

import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
import xml.etree.ElementTree as xml
import zipfile

from tests.harness import BUILD, ROOT, Scenario
from tests.harness.certificates import Authority
from tests.harness.checkout import checkout_files

OUTPUT = os.path.join(os.path.dirname(BUILD), "clients")

GO_REPOSITORY = "github.com/couponsd/couponsd"
MAVEN = {"": "http://maven.apache.org/POM/4.0.0"}
# https://central.sonatype.org/publish/requirements/
WANTED_BY_CENTRAL = ("groupId", "artifactId", "version", "name", "description", "url", "licenses/license/name",
                     "licenses/license/url", "developers/developer/name", "scm/connection", "scm/developerConnection",
                     "scm/url")
# A project that needs nothing but the client. Its repository comes before Maven Central.
SHOP = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>shop</groupId>
  <artifactId>shop</artifactId>
  <version>1</version>
  <properties>
    <maven.compiler.release>17</maven.compiler.release>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <repositories>
    <repository>
      <id>packed</id>
      <url>file://{repository}</url>
    </repository>
  </repositories>
  <dependencies>
{dependency}  </dependencies>
</project>
"""


def read(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as file:
        return file.read()


ADDRESSES = "coupons-1.example:50051,coupons-2.example:50051"  # in the READMEs
# A file of each language. Blocks that begin with one of these words stay outside of the function.
PROGRAMS = {
    "c": ("shop.c", ("#include", "static"), "{top}int main(void) {{\n{statements}}}\n"),
    "go": ("shop.go", ("import",), "package main\n\n{top}func main() {{\n{statements}}}\n"),
    "java": ("Shop.java", ("import",),
             "{top}public class Shop {{\n    public static void main(String[] arguments) {{\n{statements}    }}\n}}\n"),
    "node": ("shop.mjs", (), "{statements}"),
    "python": ("shop.py", (), "{statements}"),
}
FENCES = {"node": "js"}
PRINTED = r"ticket 1\nSOLD_OUT\n(STATE_ACCEPTED\n)?STATE_ISSUED\nSTATE_ISSUED\n"


def blocks(language, fence):
    """The blocks of code in the README of a client."""
    return re.findall(rf"(?ms)^```{fence}\n(.*?)^```$", read("clients", language, "README.md"))


def version_of_couponsd():
    return re.search(r"project\(couponsd VERSION ([0-9.]+)", read("CMakeLists.txt"))[1]


def pom_of_java():
    return xml.fromstring(read("clients", "java", "pom.xml"))


def plugin_of_java(name):
    """GROUP:NAME:VERSION of a plugin, at the version that the client uses."""
    plugin, = [each for each in pom_of_java().iterfind("build/plugins/plugin", MAVEN)
               if each.findtext("artifactId", namespaces=MAVEN) == name]
    return f"org.apache.maven.plugins:{name}:{plugin.findtext('version', namespaces=MAVEN)}"


def build(language, verb="package"):
    """Builds the package. Returns the folder of the build."""
    folder = os.path.join(OUTPUT, language)
    done = subprocess.run([os.path.join(ROOT, "clients", language, "smoke.sh"), verb], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env={**os.environ, "CLIENT_BUILD_DIR": folder})
    assert done.returncode == 0, done.stdout
    return folder


class Packages(Scenario):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        self.addCleanup(folder.cleanup)
        self.project = folder.name
        self.server = self.start()
        self.coupon = self.create(self.server, 1)

    def write_the_program_of_the_readme(self, language, *folder):
        """Writes the program, with the addresses of two servers that ask for TLS and a token."""
        self.ctl(self.server, "create", "--id", 7, "--quantity", 1)
        certificate, key = Authority(self.project).sign("server", "DNS:localhost")
        tokens = os.path.join(self.project, "tokens")
        with open(tokens, "w", encoding="utf-8") as file:
            file.write(f"caller {hashlib.sha256(b'web').hexdigest()}\n")
        servers = [self.start(grpc__tls_certificate=certificate, grpc__tls_key=key, access__tokens=tokens)
                   for _ in range(2)]
        addresses = ",".join(f"localhost:{server.grpc.rpartition(':')[2]}" for server in servers)
        name, outside, frame = PROGRAMS[language]
        parts = {"top": "", "statements": ""}
        for block in blocks(language, FENCES.get(language, language)):
            parts["top" if block.startswith(outside or "\0") else "statements"] += block + "\n"
        text = frame.format(**parts)
        self.assertEqual(text.count(ADDRESSES), 1)
        with open(os.path.join(self.project, *folder, name), "w", encoding="utf-8") as file:
            file.write(text.replace(ADDRESSES, addresses))

    def expect_the_program_of_the_readme_to_work(self, *command, **environment):
        done = self.run_in_project(*command, COUPONS_TOKEN="web", **environment)
        self.assertRegex(done.stdout, f"^{PRINTED}$")
        self.assertEqual(done.returncode, 0)

    def install(self, language, name, package, **environment):
        """Runs the command in the README of the client, with the package in place of its name."""
        command, = [block.split() for block in blocks(language, "sh")]
        self.assertIn(name, command)
        done = self.run_in_project(*[package if word == name else word for word in command], **environment)
        self.assertEqual(done.returncode, 0, done.stdout)

    def run_in_project(self, *command, **environment):
        return subprocess.run(command, cwd=self.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, **environment})

    def expect_a_ticket_and_a_refusal(self, *command):
        first = self.run_in_project(*command, self.server.grpc, str(self.coupon), "1")
        self.assertEqual((first.returncode, first.stdout), (0, "accepted, ticket 1\n"), first.stdout)
        second = self.run_in_project(*command, self.server.grpc, str(self.coupon), "2")
        self.assertEqual((second.returncode, second.stdout.strip()), (1, "refused: SOLD_OUT"))

    def test_python(self):
        dist = os.path.join(build("python"), "dist")
        wheel, = [name for name in os.listdir(dist) if name.endswith(".whl")]
        source, = [name for name in os.listdir(dist) if name.endswith(".tar.gz")]
        names = zipfile.ZipFile(os.path.join(dist, wheel)).namelist()
        for wanted in ("couponsd/py.typed", "coupon/v1/coupon_service_pb2_grpc.py", "coupon/v1/publish_pb2.pyi"):
            self.assertIn(wanted, names)
        self.assertTrue(any(name.endswith("licenses/LICENSE") for name in names), names)
        with tarfile.open(os.path.join(dist, source)) as archive:
            inside = {name.partition("/")[2] for name in archive.getnames()}
        self.assertLessEqual({"LICENSE", "README.md", "pyproject.toml", "couponsd/__init__.py"}, inside)
        subprocess.run([sys.executable, "-m", "venv", os.path.join(self.project, "venv")], check=True)
        python = os.path.join(self.project, "venv", "bin", "python")
        self.install("python", "couponsd", os.path.join(dist, wheel),
                     PATH=f"{os.path.dirname(python)}:{os.environ['PATH']}")
        shutil.copy(os.path.join(ROOT, "clients", "python", "example.py"), self.project)
        self.expect_a_ticket_and_a_refusal(python, "example.py")
        self.write_the_program_of_the_readme("python")
        self.expect_the_program_of_the_readme_to_work(python, "shop.py")

    def test_node(self):
        pack = os.path.join(build("node"), "pack")
        tarball, = [os.path.join(pack, name) for name in os.listdir(pack)]
        with tarfile.open(tarball) as archive:
            inside = set(archive.getnames())
        self.assertLessEqual({"package/LICENSE", "package/README.md", "package/dist/couponsd/index.js",
                              "package/dist/couponsd/index.d.ts"}, inside)
        self.assertEqual([name for name in inside if "smoke" in name or "node_modules" in name], [])
        with open(os.path.join(self.project, "package.json"), "w", encoding="utf-8") as file:
            json.dump({"name": "shop", "private": True}, file)
        self.install("node", "couponsd", tarball, npm_config_ignore_scripts="true", npm_config_audit="false")
        shutil.copy(os.path.join(ROOT, "clients", "node", "example.mjs"), self.project)
        self.expect_a_ticket_and_a_refusal("node", "example.mjs")
        self.write_the_program_of_the_readme("node")
        self.expect_the_program_of_the_readme_to_work("node", "shop.mjs")

    def test_c(self):
        """The Debian packages have tests of their own; here, smoke.sh has installed the same files elsewhere."""
        folder = build("c", "build")
        prefix = os.path.join(folder, "prefix")
        config, = glob.glob(f"{prefix}/**/couponsd-client.pc", recursive=True)
        library = os.path.dirname(os.path.dirname(config))
        os.mkdir(os.path.join(self.project, "bin"))
        wrapper = os.path.join(self.project, "bin", "pkg-config")
        with open(wrapper, "w", encoding="utf-8") as file:
            file.write(f'#!/bin/sh\nexec {shutil.which("pkg-config")} --define-variable=prefix={prefix} "$@"\n')
        os.chmod(wrapper, 0o755)
        self.write_the_program_of_the_readme("c")
        _, compile_it = blocks("c", "sh")[0].splitlines()
        built = self.run_in_project("sh", "-c", compile_it.replace("cc ", "cc -Wall -Wextra -Werror "),
                                    PATH=f"{self.project}/bin:{os.environ['PATH']}",
                                    PKG_CONFIG_PATH=os.path.dirname(config))
        self.assertEqual(built.returncode, 0, built.stdout)
        self.expect_the_program_of_the_readme_to_work("./shop", LD_LIBRARY_PATH=library)

    def test_go(self):
        """Go has no packages: the proxy fetches the tag of the module from the repository, with this same command."""
        tag = f"v{version_of_couponsd()}"
        go = subprocess.run([os.path.join(ROOT, "tools", "go.sh"), "go"], capture_output=True, text=True, check=True)
        go = go.stdout.strip()
        environment = self.environment_of_go(go, self.repository_with_tag(f"clients/go/{tag}"))
        self.assertEqual(self.run_in_project(go, "mod", "init", "shop", **environment).returncode, 0)
        module = f"{GO_REPOSITORY}/clients/go"
        self.install("go", module, module, PATH=f"{os.path.dirname(go)}:{os.environ['PATH']}", **environment)
        shutil.copy(os.path.join(ROOT, "clients", "go", "example.go"), self.project)
        self.write_the_program_of_the_readme("go")
        # tidy adds the sums of what the client imports.
        for arguments in (("mod", "tidy"), ("build", "-o", "example", "example.go"),
                          ("build", "-o", "shop", "shop.go")):
            done = self.run_in_project(go, *arguments, **environment)
            self.assertEqual(done.returncode, 0, done.stdout)
        where = self.run_in_project(go, "list", "-m", "-f", "{{.Version}} {{.Dir}}", module, **environment)
        where = where.stdout.split()
        self.assertEqual(where[0], tag)
        self.expect_inside(os.listdir(where[1]), "LICENSE", "README.md", "coupons", "gen")
        self.expect_a_ticket_and_a_refusal("./example")
        self.expect_the_program_of_the_readme_to_work("./shop")

    def repository_with_tag(self, tag):
        """A repository of this checkout, as it will be at the release."""
        folder = os.path.join(self.project, "repository")
        for name in checkout_files("LICENSE", "clients/*"):
            os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
            shutil.copy(os.path.join(ROOT, name), os.path.join(folder, name))
        for command in (("init", "-q"), ("add", "-A"),
                        ("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "release"),
                        ("tag", tag)):
            subprocess.run(["git", "-C", folder, *command], check=True)
        return folder

    def environment_of_go(self, go, repository):
        """The own module comes from the repository given, all others from the cache and the usual proxy. A cache of
        its own, since the usual one would keep what this test has fetched."""
        cache, proxy = subprocess.run([go, "env", "GOMODCACHE", "GOPROXY"], capture_output=True, text=True,
                                      check=True).stdout.split()
        return {"GOMODCACHE": os.path.join(self.project, "modules"), "GOFLAGS": "-modcacherw", "CGO_ENABLED": "0",
                "GOTOOLCHAIN": "local", "GOPRIVATE": GO_REPOSITORY, "GOPROXY": f"file://{cache}/cache/download,{proxy}",
                "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.file://{repository}.insteadOf",
                "GIT_CONFIG_VALUE_0": f"https://{GO_REPOSITORY}"}

    def test_java(self):
        repository, version = os.path.join(build("java"), "repository"), version_of_couponsd()
        folder = os.path.join(repository, "io", "github", "couponsd", "couponsd-client", version)
        files = [f"couponsd-client-{version}{suffix}" for suffix in (".jar", "-sources.jar", "-javadoc.jar", ".pom")]
        self.assertEqual(sorted(os.listdir(folder)),
                         sorted(name + suffix for name in files for suffix in ("", ".md5", ".sha1")))
        self.expect_what_central_wants(xml.parse(os.path.join(folder, files[3])))
        jar, sources, javadoc = (set(zipfile.ZipFile(os.path.join(folder, name)).namelist()) for name in files[:3])
        self.expect_inside(jar, "META-INF/LICENSE", "couponsd/Couponsd.class", "coupon/v1/CouponServiceGrpc.class")
        self.assertEqual([name for name in jar | sources if "Smoke" in name or "Example" in name], [])
        self.expect_inside(sources, "couponsd/Couponsd.java", "coupon/v1/CouponServiceGrpc.java")
        self.expect_inside(javadoc, "index.html", "couponsd/Couponsd.html", "coupon/v1/CouponServiceGrpc.html")
        code = os.path.join(self.project, "src", "main", "java")
        os.makedirs(code)
        shutil.copy(os.path.join(ROOT, "clients", "java", "src", "test", "java", "Example.java"), code)
        self.write_the_program_of_the_readme("java", "src", "main", "java")
        dependency, = blocks("java", "xml")
        with open(os.path.join(self.project, "pom.xml"), "w", encoding="utf-8") as file:
            file.write(SHOP.format(repository=repository, dependency=dependency))
        built = self.run_in_project(
            "mvn", "-q", "-B", "-Dstyle.color=never", f"-Dmaven.repo.local={self.project}/fresh",
            f"{plugin_of_java('maven-compiler-plugin')}:compile",
            f"{plugin_of_java('maven-dependency-plugin')}:copy-dependencies", "-DoutputDirectory=target/lib")
        self.assertEqual(built.returncode, 0, built.stdout)
        self.expect_a_ticket_and_a_refusal("java", "-cp", "target/classes:target/lib/*", "Example")
        self.expect_the_program_of_the_readme_to_work("java", "-cp", "target/classes:target/lib/*", "Shop")

    def expect_inside(self, names, *wanted):
        self.assertEqual(set(wanted) - set(names), set())

    def expect_what_central_wants(self, pom):
        missing = [path for path in WANTED_BY_CENTRAL if not (pom.findtext(path, "", MAVEN) or "").strip()]
        self.assertEqual(missing, [], "the pom.xml lacks what Maven Central requires")
        for dependency in pom.iterfind("dependencies/dependency", MAVEN):
            self.assertTrue(dependency.findtext("version", "", MAVEN), xml.tostring(dependency))

    def test_their_versions_are_that_of_couponsd(self):
        version = version_of_couponsd()
        self.assertEqual(re.search(r'(?m)^version = "(.*)"', read("clients", "python", "pyproject.toml"))[1], version)
        self.assertEqual(json.loads(read("clients", "node", "package.json"))["version"], version)
        self.assertEqual(pom_of_java().findtext("version", namespaces=MAVEN), version)
        self.assertIn(f"<version>{version}</version>", blocks("java", "xml")[0])


if __name__ == "__main__":
    unittest.main()

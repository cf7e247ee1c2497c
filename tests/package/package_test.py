# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: every file is in its place and works there.

The test unpacks the packages into a folder and does not install them; tests/package/fresh_install.sh does.
"""

import glob
import gzip
import io
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

from tests.harness import BUILD, ROOT, Scenario

UNIT = "usr/lib/systemd/system/couponsd.service"
CONFIG = "etc/couponsd/couponsd.ini"
PAGES = [f"usr/share/man/{page}.gz" for page in ("man1/couponctl.1", "man5/couponsd.ini.5", "man8/couponsd.8")]

SBOM = "usr/share/doc/couponsd/sbom.cdx.json"
VALIDATOR = "cyclonedx-python-lib[json-validation]==8.5.0"
VALIDATE = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(sys.stdin.read())
sys.exit(str(error) if error else 0)
"""

SERVER_FILES = [CONFIG, UNIT, "usr/bin/couponctl", "usr/bin/couponsd", "usr/share/doc/couponsd/README.md",
                "usr/share/doc/couponsd/docs/how-to/alerts.md", "usr/share/bash-completion/completions/couponctl",
                SBOM, "usr/share/zsh/vendor-completions/_couponctl", "usr/share/fish/vendor_completions.d/couponctl.fish",
                *PAGES]
LIBRARY_FILES = ["usr/lib/*/libcouponsd-client.so.0.*"]
DEVELOPMENT_FILES = ["usr/include/couponsd/coupons.h", "usr/include/couponsd/base/err.h",
                "usr/include/couponsd/rpc/client.h", "usr/include/couponsd/coupon/v1/coupon_service.pb-c.h",
                "usr/include/couponsd/google/protobuf/timestamp.pb-c.h",
                "usr/lib/*/libcouponsd-client.so", "usr/lib/*/pkgconfig/couponsd-client.pc",
                "usr/share/couponsd/proto/coupon/v1/coupon_service.proto",
                "usr/share/couponsd/proto/google/rpc/error_details.proto"]
FILES = {"couponsd": SERVER_FILES, "libcouponsd-client0": LIBRARY_FILES, "libcouponsd-client-dev": DEVELOPMENT_FILES}
EXPOSURE_MAX = 2.0  # of 10, by `systemd-analyze security`


def run(*command, **how):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **how)


class Package(Scenario):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        built = run(os.path.join(ROOT, "dev"), "package")
        assert built.returncode == 0, built.stdout
        cls.debs = {name: glob.glob(f"{ROOT}/build/package/{name}_*.deb")[0] for name in FILES}
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_DIR"))
        cls.addClassCleanup(folder.cleanup)
        cls.root = folder.name
        for deb in cls.debs.values():
            subprocess.run(["dpkg-deb", "-x", deb, cls.root], check=True)

    def field(self, package, name):
        return run("dpkg-deb", "-f", self.debs[package], name).stdout.strip()

    def text(self, path):
        """The text of a file of the packages, unpacked."""
        with (gzip if path.endswith(".gz") else io).open(os.path.join(self.root, path), "rt", encoding="utf-8") as file:
            return file.read()

    def test_everything_is_where_it_belongs(self):
        for package, files in FILES.items():
            listing = run("dpkg-deb", "-c", self.debs[package]).stdout
            for file in (*files, f"usr/share/doc/{package}/copyright", f"usr/share/doc/{package}/changelog.gz"):
                self.assertRegex(listing, rf"root/root .*\./{re.escape(file).replace(re.escape('*'), '[^ ]*')}",
                                 f"{package} should hold {file}")
        self.assertEqual(run("dpkg-deb", "-I", self.debs["couponsd"], "conffiles").stdout, f"/{CONFIG}\n")

    def package_of(self, library):
        """Returns the package of this Debian that has the library which the program links."""
        linked = run("readelf", "-d", f"{self.root}/usr/bin/couponsd").stdout
        name, = re.findall(rf"Shared library: \[({library}\.so\.\d[^]]*)\]", linked)
        return run("dpkg-query", "-S", f"*/{name}").stdout.partition(":")[0]

    def test_what_it_depends_on_is_what_it_is_linked_with(self):
        depends = re.findall(r"[^ ,]+", re.sub(r"\([^)]*\)", "", self.field("couponsd", "Depends")))
        for library in ("libcurl", "libgrpc", "libhiredis", "libinih", "libmicrohttpd", "libpq", "librdkafka"):
            self.assertIn(self.package_of(library), depends)
        self.assertIn(self.package_of("libgrpc"), self.field("libcouponsd-client0", "Depends"))
        version = self.field("libcouponsd-client0", "Version")
        for needed in (f"libcouponsd-client0 (= {version})", "libprotobuf-c-dev", "pkgconf"):
            self.assertIn(needed, self.field("libcouponsd-client-dev", "Depends"))

    def lintian(self, *debs):
        return run("lintian", "--allow-root", "--fail-on", "error,warning", *debs)

    def test_lintian_finds_no_errors_and_no_warnings(self):
        done = self.lintian(*self.debs.values())
        self.assertEqual((done.returncode, done.stdout), (0, ""))

    def test_lintian_finds_faults(self):
        with tempfile.TemporaryDirectory() as folder:
            faulty = os.path.join(folder, "faulty")
            subprocess.run(["dpkg-deb", "-R", self.debs["libcouponsd-client-dev"], faulty], check=True)
            os.remove(f"{faulty}/usr/share/doc/libcouponsd-client-dev/copyright")
            deb = os.path.join(folder, os.path.basename(self.debs["libcouponsd-client-dev"]))
            subprocess.run(["dpkg-deb", "--root-owner-group", "-b", faulty, deb], check=True, stdout=subprocess.DEVNULL)
            done = self.lintian(deb)
        self.assertEqual(done.returncode, 2, done.stdout)
        self.assertIn("E: libcouponsd-client-dev: no-copyright-file", done.stdout)

    def test_the_changelog_is_that_of_the_release(self):
        with tempfile.NamedTemporaryFile("w", suffix=".md") as file:
            file.write("# Changelog\n\n## [Unreleased]\n\n- later\n\n## [0.1.0] - 2026-12-01\n\n### Added\n\n- a thing\n"
                       "  of two lines\n- another\n")
            file.flush()
            made = run(os.path.join(ROOT, "packaging", "changelog.sh"), file.name, "0.2.0", "me <me@example>",
                       env={**os.environ, "SOURCE_DATE_EPOCH": "1800000000"})
        self.assertEqual(made.stdout, "couponsd (0.2.0) unstable; urgency=medium\n\n  * later\n\n"
                         " -- me <me@example>  Fri, 15 Jan 2027 00:00:00 +0000\n\n"
                         "couponsd (0.1.0) unstable; urgency=medium\n\n  * a thing of two lines\n  * another\n\n"
                         " -- me <me@example>  Tue, 01 Dec 2026 00:00:00 +0000\n\n")
        head = self.text("usr/share/doc/couponsd/changelog.gz").partition("\n")[0]
        self.assertEqual(head, f"couponsd ({self.field('couponsd', 'Version')}) unstable; urgency=medium")

    def test_the_bill_of_materials_is_valid_and_has_what_the_package_depends_on(self):
        folder = os.path.join(ROOT, "build", "tools", re.sub(r"[^a-z0-9.]+", "-", VALIDATOR))
        if not os.path.exists(folder):
            part = f"{folder}.{os.getpid()}"
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                            "--target", part, VALIDATOR], check=True)
            os.rename(part, folder)
        for text, complaint in ((self.text(SBOM), ""), (self.text(SBOM).replace('"library"', '"libary"'), "libary")):
            done = subprocess.run([sys.executable, "-c", VALIDATE], input=text, text=True, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": folder})
            self.assertIn(complaint, done.stderr)
            self.assertEqual(done.returncode == 0, complaint == "", done.stderr)
        listed = {each["name"]: each for each in json.loads(self.text(SBOM))["components"]}
        self.assertEqual(listed["couponsd"]["version"], self.field("couponsd", "Version"))
        depends = re.findall(r"[^ ,]+", re.sub(r"\([^)]*\)", "", self.field("couponsd", "Depends")))
        self.assertEqual([name for name in depends if name.startswith("lib") and name not in listed], [])

    def test_the_bill_of_a_build_has_grpc_even_if_it_is_linked_statically(self):
        with open(os.path.join(BUILD, "packaging", "sbom.cdx.json"), encoding="utf-8") as file:
            content = json.load(file)
        packages = {each["bom-ref"]: each["name"] for each in content["components"]}
        for program in ("couponsd", "couponctl"):
            of_program, = [each["dependsOn"] for each in content["dependencies"]
                           if each["ref"].startswith(f"{program}@") and each["ref"].endswith(":program")]
            self.assertTrue([ref for ref in of_program if packages[ref].startswith("libgrpc")], (program, of_program))

    def test_the_example_configuration_is_right_and_holds_the_defaults(self):
        command = [f"{self.root}/usr/bin/couponsd", "--config", f"{self.root}/{CONFIG}", "--check-config"]
        done = run(*command)
        self.assertEqual((done.returncode, done.stdout), (0, "settings are fine\n"))
        with tempfile.NamedTemporaryFile("w", suffix=".ini") as wrong:
            wrong.write(self.text(CONFIG).replace("#pollers = 1\n", "pollers = none\n"))
            wrong.flush()
            done = run(*command[:2], wrong.name, "--check-config")
        self.assertEqual(done.returncode, 2)
        self.assertIn("grpc.pollers", done.stdout)

    def test_the_units_command_line_serves(self):
        start, = re.findall(r"^ExecStart=(.*)$", self.text(UNIT), re.M)
        program, *arguments = shlex.split(start)
        self.assertEqual((program, arguments), ("/usr/bin/couponsd", ["--config", f"/{CONFIG}"]))
        server = self.start(command=[self.root + program, "--config", self.root + arguments[1]])
        coupon = self.create(server, 1)
        self.assertEqual(self.ctl(server, "request", coupon, 1)[0]["ticket"], 1)
        self.assertEqual(run(f"{self.root}/usr/bin/couponctl", "--server", server.grpc, "health").returncode, 0)
        self.assertEqual(server.stop(), 0)

    def test_systemd_takes_the_unit_and_finds_it_well_confined(self):
        with tempfile.TemporaryDirectory() as folder:
            unit = os.path.join(folder, "couponsd.service")
            with open(unit, "w", encoding="utf-8") as file:
                file.write(self.text(UNIT).replace("ExecStart=", f"ExecStart={self.root}"))
            done = run("systemd-analyze", "verify", "--man=no", unit)
        ours = [line for line in done.stdout.splitlines() if "couponsd" in line]
        self.assertEqual((done.returncode, ours), (0, []), done.stdout)
        done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX * 10:.0f}",
                   f"{self.root}/{UNIT}")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_man_pages_are_well_formed_and_complete(self):
        for page in PAGES:
            done = run("mandoc", "-T", "lint", "-W", "warning", f"{self.root}/{page}")
            self.assertEqual(done.stdout.replace(self.root, ""), "")
        settings = run(f"{self.root}/usr/bin/couponsd", "--settings", "markdown").stdout
        # Rows with fewer columns are Kafka properties that couponsd refuses or limits.
        for key in re.findall(r"^\| `([^`]+)` (?:\|[^|\n]*){4,}\|$", settings, re.M):
            self.assertIn(f".It Cm {key}\n", self.text(PAGES[1]))
        verbs = re.findall(r"^  (\w+)", run(f"{self.root}/usr/bin/couponctl", "help").stdout.split("Options")[0], re.M)
        self.assertIn("topics", verbs)
        for verb in verbs:
            self.assertRegex(self.text(PAGES[0]), rf"\bCm {verb}\b")
        for option in re.findall(r"^  --([a-z-]+)", run(f"{self.root}/usr/bin/couponsd", "--help").stdout, re.M):
            self.assertIn("\\-" + option.replace("-", "\\-"), self.text(PAGES[2]))


if __name__ == "__main__":
    unittest.main()

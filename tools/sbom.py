# SPDX-License-Identifier: Apache-2.0
"""Writes a software bill of materials (CycloneDX 1.5, JSON) of programs: themselves, and the Debian packages of the
libraries that they load, with the versions on this machine.

    python3 tools/sbom.py [--static ARCHIVE]... VERSION OUTPUT PROGRAM...

--static names the archives (libX.a) that the programs were linked with. The Debian package of each is listed too, and
each program depends on it. The Debian packages of couponsd have no archives; a release build has those of gRPC.
"""

import argparse
import json
import os
import re
import subprocess
import uuid

LICENCE = [{"license": {"id": "Apache-2.0"}}]


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def libraries(program):
    """Paths of the libraries that the program loads, directly or not."""
    return [os.path.realpath(path) for path in re.findall(r"=> (/\S+)", run("ldd", program))]


def package_of(library):
    """The Debian package that has the library. dpkg may know it by the path without /usr."""
    for path in (library, library.removeprefix("/usr")):
        done = subprocess.run(["dpkg-query", "-S", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if done.returncode == 0:
            return done.stdout.split(": ")[0].split(",")[0]
    raise SystemExit(f"sbom.py: no package has {library}: the list would not be whole")


def distribution():
    with open("/etc/os-release", encoding="utf-8") as file:
        values = dict(re.findall(r'(?m)^(\w+)="?([^"\n]*)', file.read()))
    return values["ID"], values.get("VERSION_ID", "")


def component_of(package):
    name, version, architecture, source = run(
        "dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\t${source:Package}", package).split("\t")
    vendor, release = distribution()
    purl = f"pkg:deb/{vendor}/{name}@{version}?arch={architecture}&distro={vendor}-{release}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "properties": [{"name": "debian:source", "value": source}]}


def bill(version, programs, archives):
    linked = {package_of(os.path.realpath(each)) for each in archives}
    found = {program: sorted({package_of(each) for each in libraries(program)} | linked) for program in programs}
    components = {package: component_of(package) for packages in found.values() for package in packages}
    whole = {"type": "application", "bom-ref": f"couponsd@{version}", "name": "couponsd", "version": version,
             "licenses": LICENCE}
    own = [{"type": "application", "bom-ref": f"{os.path.basename(program)}@{version}:program",
            "name": os.path.basename(program), "version": version, "licenses": LICENCE} for program in programs]
    libraries_of = [components[name] for name in sorted(components)]
    depends = [{"ref": whole["bom-ref"], "dependsOn": [each["bom-ref"] for each in own]}]
    depends += [{"ref": each["bom-ref"], "dependsOn": sorted(components[package]["bom-ref"] for package in packages)}
                for each, packages in zip(own, found.values())]
    content = json.dumps([version, [each["bom-ref"] for each in libraries_of]])
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
            # The same content has the same number, so that builds are reproducible.
            "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
            "metadata": {"component": whole}, "components": own + libraries_of, "dependencies": depends}


def main():
    parser = argparse.ArgumentParser(usage="sbom.py [--static ARCHIVE]... VERSION OUTPUT PROGRAM...")
    parser.add_argument("--static", action="append", default=[], metavar="ARCHIVE")
    parser.add_argument("version")
    parser.add_argument("output")
    parser.add_argument("programs", nargs="+")
    args = parser.parse_args()
    text = json.dumps(bill(args.version, args.programs, args.static), indent=1) + "\n"
    with open(args.output, "w", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()

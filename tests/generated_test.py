# SPDX-License-Identifier: Apache-2.0
"""generated/ is the output of proto/generate.sh for proto/.

Versions of protoc-gen-c (protobuf-c) write the same code differently. If this machine has the version that made
generated/, the files must be equal. If it has another version, they must be equal apart from the known differences.
"""

import os
import re
import subprocess
import tempfile
import unittest

from tests.harness.environment import ROOT

GENERATED = os.path.join(ROOT, "generated")
CHECK = re.compile(r"#if PROTOBUF_C_VERSION_NUMBER < \d+\n.*?#elif (\d+) < .*?#endif\n", re.S)
UNION = re.compile(r"(  union \{\n)(.*?)(  \};\n)", re.S)


def files(folder):
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            if name != "CMakeLists.txt":
                path = os.path.join(parent, name)
                with open(path, encoding="utf-8") as file:
                    found[os.path.relpath(path, folder)] = file.read()
    return found


def versions(texts):
    """Returns the versions of protobuf-c in the headers; 1004001 is 1.4.1."""
    return {int(check[1]) for text in texts.values() for check in CHECK.finditer(text)}


def without_differences(text):
    """Removes the differences of version 1.5, which changes the check of versions, writes flags without "0 | ", and
    sorts the fields of a oneof."""
    text = CHECK.sub("", text).replace(" 0 | PROTOBUF_C_FIELD_FLAG_", " PROTOBUF_C_FIELD_FLAG_")
    return UNION.sub(lambda union: union[1] + "".join(sorted(union[2].splitlines(True))) + union[3], text)


class Generated(unittest.TestCase):
    def test_it_is_current(self):
        kept = files(GENERATED)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(ROOT, "proto", "generate.sh"), folder], check=True)
            made = files(folder)
        self.assertEqual(len(versions(kept)), 1, "one version of protobuf-c should have made generated/")
        if versions(kept) != versions(made):
            kept = {name: without_differences(text) for name, text in kept.items()}
            made = {name: without_differences(text) for name, text in made.items()}
        wrong = [f"{name} is missing" for name in sorted(made.keys() - kept.keys())]
        wrong += [f"{name} comes from no .proto; delete it" for name in sorted(kept.keys() - made.keys())]
        wrong += [f"{name} differs" for name in sorted(made.keys() & kept.keys()) if made[name] != kept[name]]
        self.assertFalse(wrong, "run ./dev generate and commit the result:\n  " + "\n  ".join(wrong))

    def test_a_change_shows_whatever_the_version(self):
        old = files(GENERATED)["grpc/reflection/v1/reflection.pb-c.h"]
        new = old.replace("char *list_services;", "char *list_names;")
        self.assertNotEqual(old, new)
        self.assertNotEqual(without_differences(old), without_differences(new))


if __name__ == "__main__":
    unittest.main()

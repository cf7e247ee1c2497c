# SPDX-License-Identifier: Apache-2.0
"""generated/ is what proto/generate.sh makes of proto/.

Versions of protoc-gen-c (protobuf-c) write the same code differently. Where the version on this machine is the one that
made generated/, the files have to be equal; where it is another one, they have to be equal but for those differences.
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
    """Of protobuf-c, as the headers have it: 1004001 is 1.4.1."""
    return {int(check[1]) for text in texts.values() for check in CHECK.finditer(text)}


def without_differences(text):
    """1.5 numbers and words the check of versions anew, writes flags without "0 | ", and orders the fields of a oneof."""
    text = CHECK.sub("", text).replace(" 0 | PROTOBUF_C_FIELD_FLAG_", " PROTOBUF_C_FIELD_FLAG_")
    return UNION.sub(lambda union: union[1] + "".join(sorted(union[2].splitlines(True))) + union[3], text)


class Generated(unittest.TestCase):
    def test_it_is_current(self):
        kept = files(GENERATED)
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([os.path.join(ROOT, "proto", "generate.sh"), folder], check=True)
            made = files(folder)
        self.assertEqual(len(versions(kept)), 1, "generated/ should be made by one version of protobuf-c")
        if versions(kept) != versions(made):
            kept = {name: without_differences(text) for name, text in kept.items()}
            made = {name: without_differences(text) for name, text in made.items()}
        wrong = [f"{name} is missing" for name in sorted(made.keys() - kept.keys())]
        wrong += [f"{name} comes from no .proto; delete it" for name in sorted(kept.keys() - made.keys())]
        wrong += [f"{name} differs" for name in sorted(made.keys() & kept.keys()) if made[name] != kept[name]]
        self.assertFalse(wrong, "run ./dev generate and commit what it makes:\n  " + "\n  ".join(wrong))

    def test_a_change_shows_whatever_the_version(self):
        old = files(GENERATED)["grpc/reflection/v1/reflection.pb-c.h"]
        new = old.replace("char *list_services;", "char *list_names;")
        self.assertNotEqual(old, new)
        self.assertNotEqual(without_differences(old), without_differences(new))


if __name__ == "__main__":
    unittest.main()

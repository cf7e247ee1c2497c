# SPDX-License-Identifier: Apache-2.0
"""The rules of the house: the includes that each folder may have, the parameters of a function, the length of a file,
the license line, and the language. The test only reads sources and needs no server and no build."""

import ast
import io
import os
import re
import tokenize
import unittest

from tests.harness.checkout import checkout_files

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# folder of src → the other folders that it may include. `.` is src/main.c and src/server.c.
INCLUDES = {
    "base": (),
    "config": ("base",),
    "model": ("base",),
    "rpc": ("base", "edge"),
    "edge": ("base",),
    "trace": ("base",),
    "http": ("base", "config"),
    "store": ("base", "config", "model"),
    "flow": ("base", "config", "model", "store", "rpc", "trace"),
    "api": ("base", "config", "model", "store", "flow", "rpc", "trace"),
    "console": ("api", "base", "flow", "http", "model", "rpc", "store"),
    ".": ("base", "config", "model", "store", "flow", "api", "rpc", "edge", "http", "console", "trace"),
}
PARAMETERS_MAX = 6
# Functions whose parameters a library defines.
CALLBACKS = {("src/http/http.c", "handle"): "MHD_AccessHandlerCallback"}
LINES_MAX = 600  # of a file in src
COLUMNS_MAX = 120  # of a line of C
LICENSE = "SPDX-License-Identifier: Apache-2.0"
LICENSE_LINES = 5  # the license line is among the first ones
LICENSED = re.compile(r"\.(c|h|py|sh|go|java|ts|mjs|proto|cmake|ya?ml|supp|map|(?:service|pc)\.in)$"
                      r"|(^|/)(CMakeLists\.txt|Dockerfile)$|^(dev|\.ci/run|\.editorconfig)$"
                      r"|^(packaging/(postinst|prerm)|docs/man/.*)$")
# Files written by other projects or by a program.
FOREIGN = re.compile(r"^(generated|proto/g|tests/interop/proto)/|^proto/(google|grpc|opentelemetry)/")

# Sentences and words that the language rules forbid.
FORBIDDEN = {
    "a relative clause or question word as the subject": re.compile(
        r"(?:^|[.:;!] +)(?:Whoever|Whom|Whatever|Who|So many|So long|As many|That which) [^?]*$"),
    "\"What is ... is\" as the subject": re.compile(
        r"(?:^|[.:;!] +)What (?:is|was|has|comes|came|it|they|he|does|did) [^.?,;:]{1,70} (?:is|are|was|were|has|must|may|can|goes|stays) [^?]*$"),
    "\"he\" for a program": re.compile(r"\b(?:[Hh]e|[Hh]im|[Hh]imself)\b"),
    "the plural of couponsd is \"couponsd processes\"": re.compile(r"\bcouponsds\b"),
    "an idiom that is not English": re.compile(
        r"\b(?:so many-th|one of so many|so seldom|that of others|more than all else|in front of or behind|in peace"
        r"|say good-?bye|(?:at|from|since) the begin|sees? to it|(?:fast|slowly|much) as it goes|of which that|who is that far"
        r"|not looked at|holds? (?:nobody|nothing) up|by much|at the most|told nonsense)\b", re.I),
}
# The rules that Markdown keeps too. The others would find headings and questions there.
FORBIDDEN_IN_MARKDOWN = ("the plural of couponsd is \"couponsd processes\"", "an idiom that is not English")

# rule → the beginnings of the names of files that do not follow it yet.
PENDING = {
    "language": (),
}


def text_of(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read()


def folder_of(path):
    return path.split("/")[0] if "/" in path else "."


def without_comments(text):
    """Returns C with comments, strings and preprocessor lines blanked. Line breaks stay."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())
    text = re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def wide_functions(text):
    """Yields (line, name, number of parameters) of each definition in C that has too many."""
    text = without_comments(text)
    for match in re.finditer(r"^[A-Za-z_][^;{}()=]*?\b(\w+)\s*\(", text, re.M):
        depth, commas, at = 1, 0, match.end()
        while depth and at < len(text):
            depth += {"(": 1, ")": -1}.get(text[at], 0)
            commas += text[at] == "," and depth == 1
            at += 1
        if re.match(r"\s*(?:__attribute__\s*\(\(.*?\)\)\s*)?\{", text[at:]) and commas + 1 > PARAMETERS_MAX:
            yield text.count("\n", 0, match.start(1)) + 1, match.group(1), commas + 1


def comments(name, text):
    """Returns (line, text) of each comment. Consecutive line comments are one comment, so that sentences are whole."""
    found = []
    if name.endswith((".c", ".h", ".proto", ".go", ".java", ".ts", ".mjs")):
        for match in re.finditer(r'"(?:\\.|[^"\\\n])*"|/\*.*?\*/|(?://[^\n]*\n\s*)+', text, re.S):
            if match.group()[0] == "/":
                body = re.sub(r"(?m)^\s*(?:/\*+|\*+/|\*|///?)", " ", match.group()).removesuffix("*/")
                found.append((text.count("\n", 0, match.start()) + 1, body))
    elif name.endswith(".py"):
        block = None
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                if block and block[1] == token.start[0] - 1:
                    block[1], block[2] = token.start[0], block[2] + " " + token.string[1:]
                else:
                    block = [token.start[0], token.start[0], token.string[1:]]
                    found.append(block)
        found = [(block[0], block[2]) for block in found]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
                found.append((node.body[0].lineno, ast.get_docstring(node)))
    else:
        for match in re.finditer(r"(?m)(?:^[ \t]*#[^\n]*\n)+|[^\n\S]#[ ][^\n]*", text):
            found.append((text.count("\n", 0, match.start()) + 1, re.sub(r"(?m)^\s*#+", " ", match.group())))
    return found


def sentences(text):
    """Yields the sentences, each on one line. Paragraphs and items of lists end a sentence."""
    for paragraph in re.split(r"\n\s*\n|\n\s+(?=[-*] |\w+ {3,})", text):
        yield from re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split()))


def unit_test_of(source, tests):
    """Returns the unit test that mirrors src/PART/…/x.c, or None. The test may be in any subfolder of its part."""
    part, base = source.split("/")[1], os.path.basename(source).removesuffix(".c")
    for name in tests:
        if name.startswith(f"tests/unit/{part}/") and os.path.basename(name) == f"{base}_test.c":
            return name
    return None


class House(unittest.TestCase):
    def assert_none(self, found, rule, key=None):
        found = [one for one in found if not one.startswith(PENDING.get(key, ()))]
        self.assertFalse(found, f"{rule}:\n  " + "\n  ".join(found))

    def test_includes_go_downwards_only(self):
        found = []
        for name in checkout_files("src/*.c", "src/*.h"):
            own = folder_of(name.removeprefix("src/"))
            self.assertIn(own, INCLUDES, f"{name}: INCLUDES does not say which folders it may include")
            for line, include in enumerate(text_of(name).splitlines(), 1):
                match = re.match(r'#include "(\w+)/', include)
                if match and match.group(1) in INCLUDES and match.group(1) not in (own, *INCLUDES[own]):
                    found.append(f"{name}:{line} {include}")
        self.assert_none(found, "a folder of src includes only the folders below it", "includes")

    def test_no_function_has_more_than_six_parameters(self):
        found = [f"{name}:{line} {function} has {count}"
                 for name in checkout_files("src/*.c", "src/*.h", "clients/*.c", "clients/*.h", "bench/*.c", "bench/*.h")
                 for line, function, count in wide_functions(text_of(name)) if (name, function) not in CALLBACKS]
        self.assert_none(found, f"a function has at most {PARAMETERS_MAX} parameters", "parameters")

    def test_the_count_of_parameters_finds_wide_functions_and_no_others(self):
        wide = "static int f(int a, int b, int (*c)(int, int),\n    int d, int e, /* a, b */ int g, int h) {\n"
        self.assertEqual(list(wide_functions(wide)), [(1, "f", 7)])
        self.assertEqual(list(wide_functions(wide.replace(", int h", ""))), [])
        self.assertEqual(list(wide_functions(wide.replace(" {", ";"))), [])

    def test_a_file_of_src_is_one_thing(self):
        found = [f"{name}: {lines} lines" for name in checkout_files("src/*.c", "src/*.h")
                 if (lines := text_of(name).count("\n")) > LINES_MAX]
        self.assert_none(found, f"a file has at most {LINES_MAX} lines")

    def test_lines_of_c_fit_the_screen(self):
        found = [f"{name}:{number}: {len(line)} columns" for name in checkout_files("*.c", "*.h") if not FOREIGN.search(name)
                 for number, line in enumerate(text_of(name).split("\n"), 1) if len(line) > COLUMNS_MAX]
        self.assert_none(found, f"a line has at most {COLUMNS_MAX} columns; clang-format leaves comments as they are")

    def test_unit_tests_mirror_src(self):
        tests, elsewhere, found = checkout_files("tests/*"), {}, []
        for number, line in enumerate(text_of("tests/unit/mirror.txt").splitlines(), 1):
            if line and not line.startswith("#"):
                source, arrow, test = line.partition(" → ")
                self.assertTrue(arrow, f"tests/unit/mirror.txt:{number} is not SOURCE → TEST")
                self.assertNotIn(source, elsewhere, f"tests/unit/mirror.txt:{number}")
                elsewhere[source] = test
        sources = checkout_files("src/*.c")
        for source in sources:
            mirror = unit_test_of(source, tests)
            if not mirror and source not in elsewhere:
                found.append(f"{source} has no unit test, and tests/unit/mirror.txt names none elsewhere")
            if mirror and source in elsewhere:
                found.append(f"{source} has {mirror}: take it out of tests/unit/mirror.txt")
        found += [f"tests/unit/mirror.txt: there is no {source}" for source in elsewhere if source not in sources]
        found += [f"tests/unit/mirror.txt: there is no {test}" for test in elsewhere.values() if test not in tests]
        self.assert_none(found, "each source of src has a unit test of its name, or a test elsewhere")

    def test_each_source_file_names_its_license(self):
        found = [name for name in checkout_files() if LICENSED.search(name) and not FOREIGN.search(name)
                 and LICENSE not in "\n".join(text_of(name).splitlines()[:LICENSE_LINES])]
        self.assert_none(found, f"each source file says {LICENSE}", "license")

    def test_comments_are_plain_english(self):
        found = []
        for name in checkout_files():
            if LICENSED.search(name) and not FOREIGN.search(name) and name != "tests/house_test.py":
                for line, comment in comments(name, text_of(name)):
                    for sentence in sentences(comment):
                        found += [f"{name}:{line} {what}: {sentence}" for what, pattern in FORBIDDEN.items()
                                  if pattern.search(sentence)]
        self.assert_none(found, "comments follow the language rules (CONTRIBUTING, Language)", "language")

    def test_markdown_has_no_foreign_idioms(self):
        found = []
        for name in checkout_files("*.md"):
            prose = re.sub(r"(?ms)^[ \t]*```.*?^[ \t]*```", "", text_of(name))
            for sentence in sentences(prose):
                found += [f"{name} {what}: {sentence}" for what in FORBIDDEN_IN_MARKDOWN
                          if FORBIDDEN[what].search(sentence)]
        self.assert_none(found, "Markdown follows the language rules (CONTRIBUTING, Language)", "language")

    def test_forbidden_sentences_are_found_and_others_are_not(self):
        for bad in ("Whom guard.c does not want is not let in.", "So many calls at a time.",
                    "What is expected is what is cheap.", "The server stops when he wants.",
                    "Two couponsds share a topic.", "Calls are made as fast as it goes.",
                    "A kill in front of or behind a commit.", "An identifier sees to it that it is done once."):
            self.assertTrue(any(pattern.search(bad) for pattern in FORBIDDEN.values()), bad)
        for good in ("Clients that the guard has blocked are refused.", "What is left?", "The lane that owns it waits.",
                     "A proxy in front of Postgres.", "The couponsd processes agree."):
            self.assertFalse(any(pattern.search(good) for pattern in FORBIDDEN.values()), good)

    def test_python_finds_its_modules_without_help(self):
        found = [name for name in checkout_files("*.py") if name != "tests/house_test.py" and "sys.path" in text_of(name)]
        self.assert_none(found, "tests and benches are modules of packages: python3 -m, and no change of the search path")


if __name__ == "__main__":
    unittest.main()

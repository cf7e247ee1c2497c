# SPDX-License-Identifier: Apache-2.0
"""Checks the links of the documentation: every relative link leads to a file, and every anchor to a heading of that
file. Also checks facts that are written in two places: the reasons in the proto's comments, the verbs in the README."""

import os
import re
import unittest
import urllib.parse

from tests.harness.checkout import checkout_files
from tests.harness.environment import ROOT

LINK = re.compile(r"!?\[[^\]]*\]\(([^()\s]+)\)")
FENCE = re.compile(r"(?ms)^(```|~~~).*?^\1[ \t]*$")


def pages():
    return checkout_files("*.md")


def text_of(path):
    with open(path, encoding="utf-8") as file:
        return FENCE.sub("", file.read())


def anchors(text):
    """The anchors of the headings, by GitHub's rules. A repeated heading gets a number."""
    found = set()
    for heading in re.findall(r"(?m)^#{1,6} +(.+?) *#*$", text):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        unique, number = anchor, 0
        while unique in found:
            number += 1
            unique = f"{anchor}-{number}"
        found.add(unique)
    return found


def broken_links(page):
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        path, _, anchor = urllib.parse.unquote(link).partition("#")
        target = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
        if not os.path.exists(target):
            yield f"{link}: no such file"
        elif anchor and target.endswith(".md") and anchor not in anchors(text_of(target)):
            yield f"{link}: no such heading"


class Docs(unittest.TestCase):
    def test_anchors_follow_the_headings(self):
        self.assertEqual(anchors("# One `two`, three?\n## Same\n## Same\n"), {"one-two-three", "same", "same-1"})

    def test_every_relative_link_leads_somewhere(self):
        self.assertTrue(pages())
        broken = [f"{page}: {why}" for page in pages() for why in broken_links(os.path.join(ROOT, page))]
        self.assertFalse(broken, "broken links:\n  " + "\n  ".join(broken))

    def test_the_comments_of_the_proto_have_the_codes_of_the_table_of_reasons(self):
        table, proto = text_of("docs/reference/reasons.md"), text_of("proto/coupon/v1/error_reason.proto")
        reasons = re.findall(r"(?m)^\| `(\w+)` \| ([A-Z_ or]+) \| (yes|no)", table)
        comments = {name: " ".join(comment.replace("//", " ").split()) for comment, name
                    in re.findall(r"(?m)((?:^  //.*\n)+)  ERROR_REASON_(\w+) = ", proto)}
        self.assertEqual(sorted(name for name, _, _ in reasons), sorted(comments))
        for name, codes, is_retried in reasons:
            first, _, other = codes.partition(" or ")
            self.assertRegex(comments[name], f"^{first}[:,]", name)
            if other:
                self.assertIn(f"{other}:", comments[name])
            self.assertEqual("RetryInfo" in comments[name], is_retried == "yes", name)

    def test_readme_names_every_verb(self):
        verbs = set(re.findall(r"(?m)^verb_(\w+)\(\)", text_of("dev"))) - {"help", "matrix_row"}
        rows = "\n".join(line.split(" | ")[0] for line in text_of("README.md").splitlines() if line.startswith("| `"))
        self.assertEqual(sorted(verb for verb in verbs if not re.search(rf"`{verb.replace('_', '-')}\b", rows)), [])
        kinds = re.search(r"`bench \[(.*?)\]`", rows).group(1).split("\\|")
        self.assertEqual(sorted(kinds), sorted(re.findall(r"(?m)^  bench ([a-z]+) ", text_of("dev"))))

    def test_the_clients_have_the_same_steps(self):
        steps = {page: re.findall(r"(?m)^## (.*)$", text_of(os.path.join(ROOT, page)))
                 for page in pages() if re.fullmatch(r"clients/\w+/README\.md", page)}
        self.assertEqual(len(steps), 5)
        for page, headings in steps.items():
            self.assertEqual(headings, ["1. Install", "2. Connect", "3. Request a coupon",
                                        "4. Handle refusals and retries", "5. Watch or look up the status",
                                        "In this repository"], page)

    def test_the_index_names_every_page(self):
        index = os.path.join(ROOT, "docs", "README.md")
        linked = {os.path.normpath(os.path.join("docs", link.partition("#")[0])) for link in LINK.findall(text_of(index))}
        missing = [page for page in pages() if page.startswith("docs/") and page != "docs/README.md" and page not in linked]
        self.assertFalse(missing, "docs/README.md should link to " + ", ".join(missing))


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""Holds that links in the Markdown files lead to files and headings that exist.

    check_links.py [ROOT]     checks a source tree, exit status 1 if anything is wrong
    check_links.py --self-test
"""

import re
import sys
import tempfile
import unittest
from pathlib import Path

NOT_SOURCES = ("build", "out")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(path):
    """Without code blocks."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+)$", prose(path), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(root):
    for path in sorted(root.rglob("*.md")):
        if path.relative_to(root).parts[0] in NOT_SOURCES:
            continue
        for link in LINK.findall(prose(path)):
            if re.match(r"[a-z]+:", link):
                continue
            target, _, anchor = link.partition("#")
            file = path.parent / target if target else path
            if not file.exists():
                yield f"{path.relative_to(root)}: {link}: no such file"
            elif anchor and anchor not in anchors(file):
                yield f"{path.relative_to(root)}: {link}: no such heading"


class BrokenLinks(unittest.TestCase):
    def found(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                (Path(folder) / f"{name}.md").write_text(text, encoding="utf-8")
            return list(broken(Path(folder)))

    def test_links_to_files_headings_and_other_sites(self):
        self.assertEqual(self.found(a="# A, or: `b`?\n[x](b.md) [y](b.md#the-end) [z](#a-or-b) [w](https://x.org/y)",
                                    b="## The end\n"), [])

    def test_files_and_headings_that_are_not_there(self):
        found = self.found(a="![x](c.png) [y](b.md#end)\n```\n[z](code)\n```\n", b="```\n# end\n```\n")
        self.assertEqual(found, ["a.md: c.png: no such file", "a.md: b.md#end: no such heading"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        unittest.main(argv=sys.argv[:1])
    problems = list(broken(Path(sys.argv[1] if len(sys.argv) > 1 else ".")))
    print(*problems, sep="\n")
    sys.exit(1 if problems else 0)

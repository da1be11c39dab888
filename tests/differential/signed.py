"""Differences that are meant: each has a line in signed_differences.txt and an entry in docs/differences.md.

A line holds, separated by tabs: a slug, which references (a regular expression on `valkey-9.1.2`), a regular expression
on the command line, one on `candidate reply => reference reply`, the reason, and, where it takes an earlier command to come to
the difference, a regular expression on that one. docs/differences.md names the slug.
"""
import os
import re


class Entry:
    """One signed difference."""

    def __init__(self, slug, references, command, replies, reason, earlier=""):
        self.slug, self.reason, self.references = slug, reason, references
        self.reference = re.compile(references)
        self.command, self.replies = re.compile(command, re.I | re.S), re.compile(replies, re.S)
        self.earlier = re.compile(earlier, re.I | re.S) if earlier else None

    def covers(self, reference, difference, commands):
        """Whether this is the difference; `commands` are those of its script up to it."""
        matches = self.reference.search(reference) and self.command.match(difference.line) and self.replies.search(difference.replies())
        return bool(matches) and (self.earlier is None or any(map(self.earlier.match, commands)))


class Signed:
    """The signed list."""

    def __init__(self, path):
        self.entries = []
        with open(path, encoding="utf8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip() and not line.startswith("#"):
                    fields = line.rstrip("\n").split("\t")
                    if len(fields) not in (5, 6):
                        raise SystemExit(f"{path}:{number}: {len(fields)} fields, not 5 or 6 (slug, references, command, replies, reason, earlier command)")
                    self.entries.append(Entry(*fields))

    def find(self, reference, difference, commands=()):
        """The entry that covers a difference behind these commands, if any."""
        return next((e for e in self.entries if e.covers(reference, difference, commands[: difference.place])), None)

    def undocumented(self, document):
        """The slugs that docs/differences.md does not name."""
        try:
            with open(document, encoding="utf8") as page:
                text = page.read()
        except FileNotFoundError:
            text = ""
        return sorted({e.slug for e in self.entries if f"`{e.slug}`" not in text})

    def silent(self, references, seen):
        """The slugs that apply to these references and did not occur."""
        return sorted({e.slug for e in self.entries if any(e.reference.search(r) for r in references) and e.slug not in seen})


def default_paths():
    """The list beside this file and the document it must agree with."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(here, "signed_differences.txt"), os.path.join(here, "..", "..", "docs", "differences.md")

#!/usr/bin/env python3
"""Runs a suite of ../shared against the program in LARDER and holds it to the checks that passed before.

    pinned.py harness | documents | hostile

compat_expected.txt names the checks that must pass, one a line as `SUITE: NAME`. A pinned check that fails is a
failure; a check that passes without being pinned is printed, to be added there. For `hostile` a check passes when the
server still answers and the reply is the recorded one or the case is named in docs/differences.md.
"""
import os
import re
import subprocess
import sys

import support

SHARED = os.environ.get("SHARED") or os.path.join(support.ROOT, "..", "shared")
EXPECTED = os.path.join(support.ROOT, "tests", "compat_expected.txt")
TIMEOUT_S = 900


def output(*command, **environment):
    """Runs a suite, shows what it prints, and returns it."""
    lines = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env={**os.environ, **environment}) as process:
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            print(re.sub(r"(\d+) (pass|fail)ed", r"\1 \2ing", "   " + lines[-1])[:300], flush=True)
        process.wait(TIMEOUT_S)
    return lines


def compat_python():
    """The Python that has what the documents import."""
    return os.environ.get("COMPAT_PYTHON") or sys.executable


def harness():
    """check_harness.py: {name: passed}."""
    lines = output(sys.executable, os.path.join(SHARED, "tools", "compat", "check_harness.py"), " ".join(support.program()), "--port", str(support.free_port(2)))
    return _results(lines, r"(ok|FAIL) +(.*)")


def documents():
    """documents_check.py: {name: passed}."""
    with support.Server(enable_debug_command="yes") as server:
        lines = output(compat_python(), os.path.join(SHARED, "tools", "compat", "documents_check.py"), str(server.port), "-v", "--server", " ".join(support.program()))
    return _results(lines, r"(ok|FAIL|skip) +(.*?)(?: \([\d.]+s\))?$")


def _results(lines, pattern):
    found = {}
    for line in lines:
        if match := re.match(pattern, line):
            # A failure is printed with its reason after the name, and names may hold colons themselves.
            found[match[2]] = match[1] == "ok"
    return found


def hostile():
    """hostile/run.py: {case id: answered as recorded, or signed}."""
    try:
        with open(os.path.join(support.ROOT, "docs", "differences.md"), encoding="utf8") as page:
            signed = set(re.findall(r"\b[A-Z]\d{2,3}\b", page.read()))
    except FileNotFoundError:
        signed = set()
    with support.Server(enable_debug_command="yes") as server:
        lines = output(sys.executable, os.path.join(SHARED, "hostile", "run.py"), str(server.port))
    found, current = {}, None
    for line in lines:
        if match := re.match(r"([A-Z]+\d+) ", line):
            current = match[1]
            found[current] = True
        elif line.startswith("   want") and current not in signed or line.startswith("   NOT ANSWERING"):
            found[current] = False
    dead = re.search(r"(\d+) left the server unresponsive", lines[-1] if lines else "")
    found["the server answers after every case"] = bool(dead) and dead[1] == "0"
    return found


def pinned(suite):
    """The names of this suite in compat_expected.txt."""
    with open(EXPECTED, encoding="utf8") as lines:
        return [line.rstrip("\n").split(": ", 1)[1] for line in lines if line.startswith(suite + ": ")]


def main():
    suite = sys.argv[1]
    results = {"harness": harness, "documents": documents, "hostile": hostile}[suite]()
    must = pinned(suite)
    lost = [name for name in must if not results.get(name, False)]
    new = [name for name, ok in results.items() if ok and name not in must]
    for name in new:
        print(f"passes and is not pinned in tests/compat_expected.txt: {suite}: {name}")
    for name in lost:
        print(f"PINNED AND LOST: {suite}: {name}")
    if not results:
        print(f"the suite {suite} printed no result")
    print(f"{suite}: {len(must) - len(lost)} passed, {len(lost) + (not results)} failed (pinned); {sum(results.values())} of {len(results)} pass")
    return 1 if lost or not results else 0


if __name__ == "__main__":
    sys.exit(main())

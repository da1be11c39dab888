#!/usr/bin/env python3
"""Runs the applications of this folder against a server and ends with `N passed, M failed`.

    run.py [--port N] [--only celery,bullmq] [-v]

Without --port each application gets a server of its own: the program in LARDER (default target/release/larder). The
libraries are those that tests/install.sh put into APPS_PYTHON and APPS_NODE. An application that dies or hangs
fails with the steps that it has not done.
"""
import argparse
import contextlib
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import support

LIMIT_S = 180


def scripts():
    """The applications."""
    names = [name for name in sorted(os.listdir(HERE)) if name.endswith(("_app.py", "_app.js"))]
    node = os.environ.get("APPS_NODE", "")
    if not node:
        print("NOT RUN: the node applications, for want of npm")
    return [name for name in names if node or name.endswith(".py")]


def run(name, port):
    """Steps passed and failed of one application, and what it printed."""
    path = os.path.join(HERE, name)
    with open(path) as text:
        wanted = len(re.findall(r"^\s*(?:@|await )?step\(", text.read(), re.M))
    command = [os.environ.get("APPS_PYTHON", sys.executable), path] if name.endswith(".py") else ["node", path]
    environment = dict(os.environ, NODE_PATH=os.environ.get("APPS_NODE", ""), NODE_NO_WARNINGS="1", PYTHONWARNINGS="ignore")
    try:
        ended = subprocess.run(
            [*command, str(port)], cwd=HERE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S
        )
        out, errors = ended.stdout.decode(errors="replace"), ended.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired as late:
        out, errors = (late.stdout or b"").decode(errors="replace"), f"no end after {LIMIT_S} s"
    good = len(re.findall(r"^ok ", out, re.M))
    if good < wanted and not re.search(r"^FAIL ", out, re.M):
        out += "FAIL " + (errors.strip().splitlines() or ["(no output)"])[-1][:300] + "\n"
    bad = max(len(re.findall(r"^FAIL ", out, re.M)), wanted - good)
    return good, bad, out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int)
    parser.add_argument("--only", default="")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    passed = failed = 0
    for name in scripts():
        if options.only and not name.startswith(tuple(options.only.split(","))):
            continue
        begun = time.monotonic()
        with contextlib.nullcontext() if options.port else support.Server() as server:
            good, bad, out = run(name, options.port or server.port)
        passed, failed = passed + good, failed + bad
        print(f"{name}: {good} good, {bad} bad  {time.monotonic() - begun:.1f} s", flush=True)
        for line in out.splitlines():
            if line.startswith("FAIL") or options.v and line.startswith("ok"):
                print("   ", line)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

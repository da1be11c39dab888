#!/usr/bin/env python3
"""Runs the proofs of durability, and ends with `N passed, M failed`.

usage: run.py [--server COMMAND] [--whole] [--seed S] [--only TOOL,..] [--keep FOLDER]

Without --whole a few rounds of each, for continuous integration (under four minutes on two cores). With it the numbers
that docs/durability.md reports: 300 kills, 50 power cuts a policy, 200 faults and more (about an hour). The peers are
named by VALKEY_SERVER, REDIS_SERVER and REDIS8_SERVER; one that is missing is a failure. What needs a mounted file
system (power.py, full.py) is not run, and says so, where mounting is not permitted; with --whole that is a failure too.
"""
import os
import re
import subprocess
import sys
import time

import service

# What is run: tool, arguments in continuous integration, arguments of the whole.
PROOFS = [
    ("planted.py", ["--check", "VALKEY", "lose_the_end", "halve_transactions", "start_empty", "sync_each_second"], ["--check", "VALKEY"]),
    ("kill.py", ["--rounds", "7", "--seconds", "0.8"], ["--rounds", "300"]),
    ("order.py", ["--no-faults"], ["--no-faults", "--operations", "2000"]),
    ("order.py", ["--no-order", "--rounds", "5"], ["--no-order", "--rounds", "70"]),
    ("prefixes.py", ["--rounds", "40"], ["--rounds", "1500", "--operations", "1500"]),
    ("exchange.py", ["--rounds", "1", "--keys", "150"], ["--rounds", "4", "--keys", "400"]),
    ("power.py", ["--rounds", "3", "--seconds", "1"], ["--rounds", "50"]),
    ("full.py", ["--rounds", "3"], ["--rounds", "30"]),
]


def command_of(args, tool, words):
    """The command line of one proof."""
    here = [sys.executable, os.path.join(service.HERE, tool)]
    if tool == "planted.py":
        return here + [os.environ.get("VALKEY_SERVER", "VALKEY_SERVER is not set") if w == "VALKEY" else w for w in words]
    return here + ["--server", args.server, "--seed", str(args.seed), *(["--keep", args.keep] if args.keep else []), *words]


def prove(args, tool, words):
    """Runs one proof; returns 'passed', 'failed' or 'not run'."""
    command, began = command_of(args, tool, words), time.monotonic()
    print(f"\n== {tool} {' '.join(words)}", flush=True)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        said = []
        for line in process.stdout:
            said.append(line)
            print("   " + line, end="", flush=True)
    print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    if process.returncode == 0:
        return "passed"
    if process.returncode == 2 and not args.whole and any(re.search("cannot be mounted", line) for line in said):
        print(f"   NOT RUN: {tool} needs root and permission to mount", flush=True)
        return "not run"
    return "failed"


def main():
    parser = service.arguments(__doc__, 0)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--only", help="names of tools, without .py")
    args = parser.parse_args()
    outcomes = []
    for tool, small, whole in PROOFS:
        if not args.only or tool[:-3] in args.only.split(","):
            outcomes.append(prove(args, tool, whole if args.whole else small))
    print(f"\n{outcomes.count('passed')} passed, {outcomes.count('failed')} failed")
    sys.exit(1 if "failed" in outcomes else 0)


if __name__ == "__main__":
    main()

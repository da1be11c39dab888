#!/usr/bin/env python3
"""A server that breaks a promise on purpose, so that the tools can show that they see it.

usage: planted.py FAULT PROGRAM [OPTION...]     (what the tools start, as `--server "planted.py FAULT PROGRAM"`)
       planted.py --check PROGRAM [FAULT...]    (runs the tools on every fault; exit status 1 if one of them is not caught)

Some faults change the options that the program gets, others its files before it starts; then the program takes the
place of this script, so that signals reach it. The program itself must be one that keeps its promises.
"""
import glob
import os
import subprocess
import sys
import time


HERE = os.path.dirname(os.path.abspath(__file__))
EXEC = b"*1\r\n$4\r\nEXEC\r\n"


def option(arguments, name):
    """The value of an option in a command line."""
    return arguments[arguments.index("--" + name) + 1] if "--" + name in arguments else None


def replaced(arguments, name, value):
    """The command line with another value of an option."""
    at = arguments.index("--" + name) + 1
    return arguments[:at] + [value] + arguments[at + 1 :]


def increments(folder):
    """The parts of the log that are not empty, oldest first."""
    found = glob.glob(os.path.join(folder, "appendonlydir", "*.incr.aof"))
    return sorted((path for path in found if os.path.getsize(path)), key=lambda path: int(path.split(".")[-3]))


def requests(data):
    """Where each request of a log begins and ends."""
    position, found = 0, []
    while position < len(data):
        if data[position : position + 1] == b"#":   # a line of time
            position = data.find(b"\n", position) + 1 or len(data)
            continue
        start, count = position, int(data[position + 1 : data.index(b"\r\n", position)])
        position = data.index(b"\r\n", position) + 2
        for _ in range(count):
            end = data.find(b"\r\n", position)
            size = int(data[position + 1 : end]) if end > 0 else len(data)
            position = end + 2 + size + 2
        if position > len(data):
            break
        found.append((start, position))
    return found


def rewrite(path, data):
    with open(path, "wb") as file:
        file.write(data)


def lose_the_end(folder):
    """The last request of the log that is no part of a transaction is gone."""
    for path in increments(folder)[-1:]:
        data = open(path, "rb").read()
        spans = requests(data)
        while spans and data[spans[-1][0] : spans[-1][1]] != EXEC and b"SELECT" in data[spans[-1][0] : spans[-1][1]]:
            spans.pop()
        if spans and data[spans[-1][0] : spans[-1][1]] != EXEC:
            rewrite(path, data[: spans[-1][0]])


def lose_from_the_middle(folder):
    """One request in the middle of the log is gone."""
    for path in increments(folder)[-1:]:
        data = open(path, "rb").read()
        spans = [s for s in requests(data) if not any(w in data[s[0] : s[1]].upper() for w in (b"SELECT\r", b"MULTI\r", b"EXEC\r"))]
        if len(spans) > 4:
            start, end = spans[len(spans) // 2]
            rewrite(path, data[:start] + data[end:])


def halve_transactions(folder):
    """The last change of the last transaction is gone."""
    for path in increments(folder)[-1:]:
        data = open(path, "rb").read()
        spans = requests(data)
        ends = [i for i, (start, end) in enumerate(spans) if data[start:end] == EXEC]
        if ends and ends[-1] > 1:
            start, end = spans[ends[-1] - 2]
            rewrite(path, data[:start] + data[end:])


def forget_the_log(folder):
    """Everything since the last rewrite is gone."""
    for path in increments(folder):
        rewrite(path, b"")


def start_empty(folder):
    """Nothing that was there is loaded."""
    for path in glob.glob(os.path.join(folder, "appendonlydir", "*")) + glob.glob(os.path.join(folder, "dump.rdb")):
        os.remove(path)


FILES = {f.__name__: f for f in (lose_the_end, lose_from_the_middle, halve_transactions, forget_the_log, start_empty)}
# What the server is told is not what the tool believes it was told.
OPTIONS = {"sync_each_second": {"appendfsync": "everysec"}, "never_sync": {"appendfsync": "no"}, "keep_no_log": {"appendonly": "no"}}
# Which tool, with which options, must catch a fault.
CAUGHT_BY = {
    "lose_the_end": "kill.py --policy always --rounds 12",
    "lose_from_the_middle": "kill.py --policy everysec --rounds 12",
    "halve_transactions": "kill.py --policy no --rounds 12",
    "forget_the_log": "kill.py --policy always --rounds 4",
    "start_empty": "kill.py --policy rdb --rounds 3",
    "keep_no_log": "kill.py --policy everysec --rounds 3",
    "never_sync": "power.py --policy everysec --rounds 6",
    "sync_each_second": "order.py --policy always --no-faults",
}


def check(program, faults):
    """Runs the tools against every fault; returns how many went unseen."""
    unseen = 0
    for fault in faults or CAUGHT_BY:
        tool, *words = CAUGHT_BY[fault].split()
        command = [sys.executable, os.path.join(HERE, tool), "--server", f"{sys.executable} {os.path.abspath(__file__)} {fault} {program}", *words]
        began = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        said = next((line for line in done.stdout.splitlines() if line.startswith("BROKEN")), done.stderr[-300:])
        caught = done.returncode == 1 and "BROKEN" in done.stdout
        unseen += not caught
        print(f"{'caught' if caught else 'NOT CAUGHT'}: {fault} by {CAUGHT_BY[fault]} in {time.monotonic() - began:.1f} s: {said[:150]}", flush=True)
    return unseen


def main():
    if sys.argv[1] == "--check":
        sys.exit(1 if check(sys.argv[2], sys.argv[3:]) else 0)
    fault, arguments = sys.argv[1], sys.argv[2:]
    if fault in FILES and (folder := option(arguments, "dir")):
        FILES[fault](folder)
    for name, value in OPTIONS.get(fault, {}).items():
        if "--" + name in arguments:
            arguments = replaced(arguments, name, value)
    os.execv(arguments[0], arguments)


if __name__ == "__main__":
    main()

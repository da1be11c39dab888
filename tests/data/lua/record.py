#!/usr/bin/env python3
"""Records what a real server answers to the snippets of a corpus.

usage: record.py --port PORT FILE...
A corpus is a text file: `> ` and one line of Lua, then `= ` and the recorded report (see report.lua). `all(...)` in a
snippet keeps the number of results. Lines that begin with `#` are notes. The file is rewritten in place.
"""
import argparse
import pathlib
import sys

import redis

HERE = pathlib.Path(__file__).parent
HEAD = "local function all(...) return select('#', ...), {...} end local function case() "


def script_of(snippet):
    return HEAD + snippet + "\nend\n" + (HERE / "report.lua").read_text()


def record(client, path):
    lines, cases = [], 0
    for line in path.read_text().splitlines():
        if line.startswith("= "):
            continue
        lines.append(line)
        if line.startswith("> "):
            cases += 1
            try:
                reply = client.eval(script_of(line[2:]), 0)
            except redis.ResponseError as error:
                reply = ("refused " + str(error)).encode()
            lines.append("= " + reply.decode("ascii", "backslashreplace").replace("\n", "\\010"))
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.name}: {cases} cases", file=sys.stderr)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("files", nargs="+", type=pathlib.Path)
    chosen = options.parse_args()
    client = redis.Redis(port=chosen.port)
    for path in chosen.files:
        record(client, path)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs a corpus of scripts on a server and compares each reply, byte for byte, with the one a real server gave.

usage: lua_corpus.py --candidate COMMAND|PORT [FILE...]     compares; ends with `N passed, M failed`
       lua_corpus.py --record COMMAND|PORT FILE...          asks that server (Valkey 9.1) and rewrites the files

A COMMAND may hold {port} and {dir}. A corpus (default: tests/data/lua/engine.txt) is a text file of cases:
    > script            one line of Lua, sent by EVAL on an empty server over a connection of its own
    @ 2 k1 k2 a1        before it: numkeys, keys and arguments (default: 0)
    ~ 3                 before it: the protocol version that HELLO asks for (default: none)
    = reply             what came back; `\\r\\n` and bytes outside ASCII are escaped as in Python
    ! reason            behind it: larder answers otherwise, for this reason; counted as signed when it does
Lines that begin with `#` are notes.
"""
import argparse
import pathlib
import socket
import sys

import wire
from servers import Server

CORPUS = pathlib.Path(__file__).parent.parent / "data" / "lua" / "engine.txt"

# Characters of a reply that are printed.
SHOWN = 300


def shown(data):
    """Bytes as one line of ASCII, a backslash before what is not printable and before itself."""
    short = {13: "\\r", 10: "\\n", 92: "\\\\"}
    return "".join(short.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)


class Client:
    """One connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.socket.settimeout(30)
        self.data = b""

    def ask(self, *arguments):
        """The raw reply to one request."""
        self.socket.sendall(wire.encode([a if isinstance(a, bytes) else str(a).encode() for a in arguments]))
        while (end := wire.frame_end(self.data, 0)) < 0:
            chunk = self.socket.recv(1 << 20)
            if not chunk:
                raise ConnectionError("the server closed the connection")
            self.data += chunk
        reply, self.data = self.data[:end], self.data[end:]
        return reply

    def close(self):
        self.socket.close()


class Case:
    """A script with what goes before it in the file."""

    def __init__(self):
        self.notes, self.arguments, self.protocol, self.script, self.reply, self.signed = [], ["0"], None, None, None, None

    def run(self, port):
        """The reply as text; a connection that breaks is an answer too."""
        try:
            client = Client(port)
            client.ask("FLUSHALL")
            if self.protocol:
                client.ask("HELLO", self.protocol)
            reply = shown(client.ask("EVAL", self.script, *self.arguments))
            client.close()
            return reply
        except OSError as error:
            return f"no reply: {error}"


def read(path):
    """The cases of a corpus, with the lines before each."""
    cases, case = [], Case()
    for line in path.read_text().splitlines():
        kind, rest = line[:2], line[2:]
        if kind == "= ":
            cases[-1].reply = rest
            continue
        if kind == "! ":
            cases[-1].signed = rest
            continue
        if case.script is not None:
            case = Case()
        if kind == "> ":
            case.script = rest
            cases.append(case)
            continue
        case.notes.append(line)
        if kind == "@ ":
            case.arguments = rest.split(" ")
        elif kind == "~ ":
            case.protocol = rest
    return cases


def open_server(where):
    return Server("candidate", port=int(where)) if where.isdigit() else Server("candidate", command=where)


def record(server, path):
    lines = []
    for case in read(path):
        lines += [*case.notes, "> " + case.script, "= " + case.run(server.port)]
        lines += ["! " + case.signed] if case.signed else []
    path.write_text("\n".join(lines) + "\n")
    print(f"{path.name}: {len(lines)} lines recorded")


def compare(server, path):
    """The numbers of cases that agree and that do not."""
    failed = 0
    cases = read(path)
    for case in cases:
        found = case.run(server.port)
        if (found != case.reply) != bool(case.signed):
            failed += 1
            print(f"> {case.script}\n= {case.reply[:SHOWN]}\n? {found[:SHOWN]}  (signed: {case.signed})\n")
    return len(cases) - failed, failed


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--candidate")
    options.add_argument("--record")
    options.add_argument("files", nargs="*", type=pathlib.Path, default=[CORPUS])
    chosen = options.parse_args()
    if bool(chosen.candidate) == bool(chosen.record):
        options.error("one of --candidate and --record")
    server = open_server(chosen.record or chosen.candidate)
    try:
        if chosen.record:
            for path in chosen.files:
                record(server, path)
            return 0
        counts = [compare(server, path) for path in chosen.files]
    finally:
        server.stop()
    passed, failed = (sum(column) for column in zip(*counts))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

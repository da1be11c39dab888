#!/usr/bin/env python3
"""The longest pauses while much memory is freed, as a bystander sees them who sends a GET each millisecond.

usage: freeing.py [--keys 10000000] [--members 10000000] [--only flushall,..] --server NAME='CMD --port {port} ..' ..

flushall: FLUSHALL of KEYS strings. unlink: UNLINK of a set of MEMBERS. del, overwrite, expire: of a sorted set of MEMBERS,
by DEL, by SET and by its deadline. Each is watched for three seconds; `idle` before it is the machine's own noise. Needs
some 2 GB of memory.
"""
import argparse
import time

from servers import SUMMARY, Probe, Server

WATCH_S = 3
A_REQUEST = 100


def strings(connection, count):
    text = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$8\r\nvalue-01\r\n"
    connection.fill((text % number for number in range(count)), b"+OK\r\n")


def members(connection, count, command, score):
    """Fills the key `big` with `count` members, a hundred a request."""
    member = b"%s$16\r\nmember:%09d\r\n"
    head = b"*%d\r\n$4\r\n%s\r\n$3\r\nbig\r\n" % (2 + A_REQUEST * (2 if score else 1), command)
    scored = lambda number: b"$9\r\n%09d\r\n" % (number * 7919 % 1_000_000_000) if score else b""
    requests = (
        head + b"".join(member % (scored(number), number) for number in range(first, first + A_REQUEST))
        for first in range(0, count, A_REQUEST)
    )
    connection.fill(requests, b":%d\r\n" % A_REQUEST, 20)


SCENARIOS = {
    "flushall": ("keys", lambda c: c.call("FLUSHALL")),
    "unlink": (b"SADD", lambda c: c.call("UNLINK", "big")),
    "del": (b"ZADD", lambda c: c.call("DEL", "big")),
    "overwrite": (b"ZADD", lambda c: c.call("SET", "big", "1")),
    "expire": (b"ZADD", lambda c: c.call("PEXPIRE", "big", 500)),
}


def measure(server, name, options):
    what, act = SCENARIOS[name]
    if what == "keys":
        strings(server.connection, options.keys)
    else:
        members(server.connection, options.members, what, what == b"ZADD")
    server.connection.call("SET", "probe", "1")
    probe = Probe(server, 1000)
    time.sleep(WATCH_S)
    started = time.time()
    act(server.connection)
    took = (time.time() - started) * 1000
    time.sleep(WATCH_S)
    probe.stop()
    print(f"{server.label}\tidle\t\t{probe.summary(end=started)}")
    print(f"{server.label}\t{name}\t{took:.1f}\t{probe.summary(started)}", flush=True)
    server.connection.call("FLUSHALL")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--members", type=int, default=10_000_000)
    parser.add_argument("--only", default=",".join(SCENARIOS))
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    print(f"server\twhat\treply_ms\t{SUMMARY}", flush=True)
    for spec in options.server:
        for name in options.only.split(","):
            with Server(spec) as server:
                measure(server, name, options)


if __name__ == "__main__":
    main()

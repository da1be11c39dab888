#!/usr/bin/env python3
"""What commands on several large sets take.

usage: sets.py [--sets 10] [--members 100000] [--rounds 9] --server NAME='CMD --port {port}' ..

Each server gets SETS sets of MEMBERS that were drawn from half as many more, first names, then integers. Prints for SINTER, SINTERCARD, SUNION and
SDIFF of all of them, asked in turn, how many members come out (the servers must agree), the median time until the reply was read, and the mean
that the server says it took itself, in milliseconds. Loopback only; ends by itself.
"""
import argparse
import contextlib
import random
import statistics
import time

from servers import Connection, Server


def fill(connection, number, members):
    for first in range(0, len(members), 1000):
        connection.call("SADD", "set:%d" % number, *members[first : first + 1000])


def own_ms(connection, command):
    """The mean time of a command as the server counts it."""
    fields = connection.info("commandstats")["cmdstat_" + command.lower()]
    return float(dict(field.split("=") for field in fields.split(","))["usec_per_call"]) / 1000


def measure(connections, words, rounds):
    """Prints what one command takes each server."""
    times, sizes = {name: [] for name in connections}, set()
    for _ in range(rounds):
        for name, connection in connections.items():
            began = time.perf_counter()
            reply = connection.call(*words)
            times[name].append(time.perf_counter() - began)
            sizes.add(reply if isinstance(reply, int) else len(reply))
    if len(sizes) > 1:
        raise SystemExit("%s: the servers do not agree: %r" % (words[0], sizes))
    for name, connection in connections.items():
        print("\t".join([words[0], str(*sizes), name, "%.1f" % (statistics.median(times[name]) * 1000), "%.1f" % own_ms(connection, words[0])]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=10)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    chance, keys = random.Random(7), ["set:%d" % number for number in range(options.sets)]
    with contextlib.ExitStack() as stack:
        connections = {server.label: Connection(server.port) for server in [stack.enter_context(Server(spec)) for spec in options.server]}
        for kind, member in (("names", "member:{:06d}".format), ("integers", str)):
            print("of %s\tcome out\tserver\treply_ms\town_ms" % kind)
            for connection in connections.values():
                connection.call("FLUSHALL")
                connection.call("CONFIG", "RESETSTAT")
            for number in range(options.sets):
                members = [member(drawn) for drawn in chance.sample(range(options.members * 3 // 2), options.members)]
                for connection in connections.values():
                    fill(connection, number, members)
            for words in (("SINTER", *keys), ("SINTERCARD", options.sets, *keys), ("SUNION", *keys), ("SDIFF", *keys)):
                measure(connections, words, options.rounds)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What a command costs by the size of what it works on: nanoseconds of a call, as the server counts them (INFO commandstats).

usage: growth.py [--kinds keys,list,set,hash,sorted-set] [--largest 10000000] [--calls 20000] --server NAME='CMD --port {port} ..' ..

For each kind a server is filled with 10, 1,000, 100,000, .. elements by a script, then gets CALLS of each command in pipelines of 100, with
random arguments, so that larder requests what they need ahead. A command that takes a range is given ranges of 10 and of
1,000 elements anywhere. Those that go over everything (unions) run a few times, and the figure is for one element. What is
added is removed again, so that the size stays.
"""
import argparse
import random

from servers import Server, encode

FILL = {
    "keys": "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SET', string.format('m:%011d', i), 'value') end",
    "list": "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('RPUSH', 'all', string.format('m:%011d', i)) end",
    "set": "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('SADD', 'all', string.format('m:%011d', i)) end",
    "hash": "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('HSET', 'all', string.format('m:%011d', i), 'value') end",
    "sorted-set": "for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do redis.call('ZADD', 'all', i, string.format('m:%011d', i)) end",
}
STEP = 100_000


def present(chance, n):
    return b"m:%011d" % chance.randrange(n)


def ranges(name, by_score=False):
    """A command that takes a range of so many elements."""
    def words(chance, n, many):
        start = chance.randrange(max(1, n - many))
        limits = (start, start + many - 1)
        return ("ZRANGE", "all", *limits, "BYSCORE") if by_score else (name, "all", *limits)
    return words


# Of each kind: the label, its commands, each from a source of random numbers, the size and the number of the call.
COMMANDS = {
    "keys": [("GET", lambda c, n, i: ("GET", present(c, n))), ("SET over", lambda c, n, i: ("SET", present(c, n), "other")), ("SET new", lambda c, n, i: ("SET", b"n:%011d" % i, "value")), ("DEL", lambda c, n, i: ("DEL", b"n:%011d" % i))],
    "list": [("RPUSH", lambda c, n, i: ("RPUSH", "all", "m:00000000000")), ("LPOP", lambda c, n, i: ("LPOP", "all")), ("LINDEX", lambda c, n, i: ("LINDEX", "all", c.randrange(n)))],
    "set": [("SISMEMBER", lambda c, n, i: ("SISMEMBER", "all", present(c, n))), ("SADD", lambda c, n, i: ("SADD", "all", b"n:%011d" % i)), ("SREM", lambda c, n, i: ("SREM", "all", b"n:%011d" % i))],
    "hash": [("HGET", lambda c, n, i: ("HGET", "all", present(c, n))), ("HSET over", lambda c, n, i: ("HSET", "all", present(c, n), "other")), ("HSET new", lambda c, n, i: ("HSET", "all", b"n:%011d" % i, "value")), ("HDEL", lambda c, n, i: ("HDEL", "all", b"n:%011d" % i))],
    "sorted-set": [
        ("ZSCORE", lambda c, n, i: ("ZSCORE", "all", present(c, n))),
        ("ZRANK", lambda c, n, i: ("ZRANK", "all", present(c, n))),
        ("ZADD new", lambda c, n, i: ("ZADD", "all", c.randrange(n), b"n:%011d" % i)),
        ("ZREM", lambda c, n, i: ("ZREM", "all", b"n:%011d" % i)),
    ],
}
RANGES = {"list": [("LRANGE", ranges("LRANGE"))], "sorted-set": [("ZRANGE", ranges("ZRANGE")), ("ZRANGE BYSCORE", ranges("ZRANGE", True))]}
WHOLE = {
    "set": [("SUNIONSTORE", ("SUNIONSTORE", "to", "all", "few"), ("SADD", "few", "a", "b")), ("SINTERSTORE", ("SINTERSTORE", "to", "all", "same"), ("SUNIONSTORE", "same", "all", "few"))],
    "sorted-set": [("ZUNIONSTORE", ("ZUNIONSTORE", "to", 2, "all", "few"), ("ZADD", "few", 1, "a"))],
}


class Measured:
    """A server, and what its commands take."""

    def __init__(self, server, options):
        self.connection, self.options, self.chance = server.connection, options, random.Random(1)

    def fill(self, kind, start, end):
        while start < end:
            step = min(end, start + STEP)
            self.connection.call("EVAL", FILL[kind], 1, "all", start, step - 1)
            start = step

    def nanos(self, words, calls, batch=100):
        """Nanoseconds a call; `words` gives the request of each."""
        self.connection.call("CONFIG", "RESETSTAT")
        for start in range(0, calls, batch):
            count = min(batch, calls - start)
            self.connection.socket.sendall(b"".join(encode(*words(start + number)) for number in range(count)))
            for _ in range(count):
                self.connection.reply()
        name = str(words(0)[0]).lower()
        fields = dict(field.split("=") for field in self.connection.info("commandstats")["cmdstat_" + name].split(","))
        return float(fields["usec"]) * 1000 / int(fields["calls"])

    def rows(self, kind, n):
        """Label and nanoseconds, of everything of this kind at this size."""
        calls = self.options.calls
        for label, words in COMMANDS[kind]:
            yield label, self.nanos(lambda i, words=words: words(self.chance, n, i), calls)
        for label, words in RANGES.get(kind, []):
            for many in (10, 1000):
                if many <= n:
                    yield f"{label} of {many}", self.nanos(lambda i, words=words, many=many: words(self.chance, n, many), max(100, calls // many))
        for label, words, before in WHOLE.get(kind, []):
            self.connection.call(*before)
            yield f"{label}, an element", self.nanos(lambda i, words=words: words, max(1, min(1000, 1_000_000 // n)), 1) / n
            self.connection.call("UNLINK", "to")


def sizes(largest):
    """10 and on in steps of a hundred, and the largest."""
    found = [10]
    while found[-1] * 100 < largest:
        found.append(found[-1] * 100)
    return found + [largest]


def measure(spec, kind, options):
    """All sizes of a kind: a row of figures for each label."""
    table = {}
    with Server(spec) as server:
        measured, before = Measured(server, options), 0
        for column, n in enumerate(sizes(options.largest)):
            measured.fill(kind, before, n)
            before = n
            for label, nanos in measured.rows(kind, n):
                table.setdefault(label, {})[column] = nanos
    return table


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--kinds", default=",".join(FILL))
    parser.add_argument("--largest", type=int, default=10_000_000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    columns = sizes(options.largest)
    print("| server | kind | command | " + " | ".join(f"{n:,}" for n in columns) + " |")
    print("|---" * (3 + len(columns)) + "|")
    for kind in options.kinds.split(","):
        for spec in options.server:
            for label, row in measure(spec, kind, options).items():
                shown = (row.get(column) for column in range(len(columns)))
                cells = ("" if nanos is None else f"{nanos:.0f}" if nanos >= 10 else f"{nanos:.1f}" for nanos in shown)
                print(f"| {spec.split('=', 1)[0]} | {kind} | {label} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()

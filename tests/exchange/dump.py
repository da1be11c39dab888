#!/usr/bin/env python3
"""DUMP and RESTORE between larder and other servers, both ways, with equal content afterwards.

usage: dump.py --larder PORT --peer NAME=PORT [--peer NAME=PORT ..] [--rounds 200] [--seed N]

Random values of every type and encoding are made on one server, dumped, restored on the other, and compared by DEBUG
DIGEST-VALUE and TYPE. The servers must allow DEBUG to local clients. What a peer does not know (a type or a command) is
counted, not hidden. Ends with the number of values exchanged and of differences; exit status 1 when there are any.
"""
import argparse
import random
import socket
import sys


class Conn:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words))
        return self.reply()

    def reply(self):
        line = self.file.readline()
        if line[:1] == b"$":
            size = int(line[1:])
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if line[:1] == b"*":
            return [self.reply() for _ in range(int(line[1:]))]
        return line.rstrip()


def text(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return str(rng.choice([0, 12, 13, 127, 128, -1, 4095, 4096, 40000, -70000, 10**9, 10**12, -(2**63), 2**63 - 1])).encode()
    if kind == 1:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(40)))
    if kind == 2:
        return b"x" * rng.choice([0, 1, 20, 63, 64, 65, 300, 5000, 17000])
    return b"%s%d" % (rng.choice([b"a", b"field", b"member-"]), rng.randrange(1000))


def score(rng):
    return rng.choice([0, 1, -1, 1.5, 3.14159, -2.5e-7, 1e100, 123456789, 0.1, "inf", "-inf", rng.random(), rng.randrange(-50, 50)])


def make(rng, server, key):
    """Makes a random value at `key`; returns what it is."""
    size = rng.choice([1, 2, 5, 20, 130, 600])
    kind = rng.choice(["string", "list", "set", "intset", "hash", "zset", "stream", "hll"])
    if kind == "string":
        server.call("SET", key, text(rng))
    elif kind == "list":
        for _ in range(size):
            server.call(rng.choice(["RPUSH", "LPUSH"]), key, text(rng))
    elif kind == "set":
        server.call("SADD", key, *[text(rng) for _ in range(size)])
    elif kind == "intset":
        top = rng.choice([100, 40000, 2**31, 2**62])
        server.call("SADD", key, *[rng.randrange(-top, top) for _ in range(size)])
    elif kind == "hash":
        for _ in range(size):
            server.call("HSET", key, text(rng), text(rng))
    elif kind == "zset":
        for _ in range(size):
            server.call("ZADD", key, score(rng), text(rng))
    elif kind == "hll":
        server.call("PFADD", key, *[text(rng) for _ in range(size)])
    else:
        for n in range(min(size, 150)):
            fields = [text(rng) or b"f" for _ in range(2 * rng.randrange(1, 4))]
            server.call("XADD", key, f"{n + 1}-{rng.randrange(5)}", *fields)
        if rng.random() < 0.7:
            server.call("XGROUP", "CREATE", key, "g", "0")
            server.call("XREADGROUP", "GROUP", "g", "c1", "COUNT", "3", "STREAMS", key, ">")
            server.call("XREADGROUP", "GROUP", "g", "c2", "COUNT", "2", "STREAMS", key, ">")
            server.call("XACK", key, "g", "1-0")
        if rng.random() < 0.3:
            server.call("XDEL", key, "2-0", "2-1", "2-2")
    return kind


def details(server, key, kind):
    """What DIGEST-VALUE does not cover."""
    if kind != "stream":
        return None
    full = server.call("XINFO", "STREAM", key, "FULL", "COUNT", "0")
    if not isinstance(full, list):
        return full
    drop = {b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes"}
    return strip(full, drop)


def sorted_scores(server, key):
    flat = server.call("ZRANGE", key, 0, -1, "WITHSCORES")
    return [(member, float(score)) for member, score in zip(flat[::2], flat[1::2])]


def strip(value, drop):
    if not isinstance(value, list):
        return value
    kept, skip = [], False
    for item in value:
        if skip:
            skip = False
        elif isinstance(item, bytes) and item in drop:
            skip = True
        else:
            kept.append(strip(item, drop))
    return kept


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--larder", type=int, required=True)
    parser.add_argument("--peer", action="append", required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    larder, exchanged, differences = Conn(args.larder), 0, 0
    for peer in args.peer:
        name, port = peer.split("=")
        other = Conn(int(port))
        rng = random.Random(args.seed)
        kinds = {}
        for n in range(args.rounds):
            maker, taker = (larder, other) if n % 2 else (other, larder)
            key = b"exchange:%d" % n
            for server in (larder, other):
                server.call("DEL", key)
            kind = make(rng, maker, key)
            dump = maker.call("DUMP", key)
            if dump is None:  # the random value was refused, as an empty name is
                continue
            answer = taker.call("RESTORE", key, 0, dump)
            seen = [(s.call("TYPE", key), s.call("DEBUG", "DIGEST-VALUE", key), details(s, key, kind)) for s in (maker, taker)]
            if name == "redis7" and kind == "zset":
                # Its digest writes scores with 17 digits, those of later servers with as many as needed.
                seen = [(s.call("TYPE", key), sorted_scores(s, key)) for s in (maker, taker)]
            exchanged += 1
            kinds[kind] = kinds.get(kind, 0) + 1
            if answer != b"+OK" or seen[0] != seen[1]:
                differences += 1
                if differences <= 10:
                    print(f"{name} round {n} {kind} {'larder -> ' + name if n % 2 else name + ' -> larder'}: {answer} {dump[:60]!r}")
                    print("   ", seen[0], "\n   ", seen[1])
        print(f"{name}: {kinds}")
    print(f"{exchanged} values exchanged, {differences} differences")
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()

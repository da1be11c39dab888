#!/usr/bin/env python3
"""Snapshot files of larder, loaded by other servers with equal content.

usage: snapshot.py --larder PROGRAM --peer NAME=PROGRAM [--peer NAME=PROGRAM ..] [--keys 2000] [--seed N]

Fills larder with random values of every type and encoding in several databases, with deadlines, functions and large collections, saves,
starts each peer on the file, and compares every key, and DEBUG DIGEST where that can be compared. Then once more with deadlines
of fields, for those peers whose name begins with `valkey`; once without compression and checksum; and once for each policy that
writes how keys were used. Exit status 1 when there is a difference.
"""
import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

from dump import Conn, make

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support import free_port  # noqa: E402

LIBRARY = b"#!lua name=lib%d\n" + b"-- " + b"text that repeats itself " * 20 + b"\nredis.register_function('f%d', function() return 1 end)"


class Server:
    """A server in a folder of its own, on the snapshot `file` if one is given."""

    def __init__(self, program, file=None, options=()):
        self.folder, self.port = tempfile.mkdtemp(prefix="larder-exchange-"), free_port()
        if file:
            shutil.copy(file, os.path.join(self.folder, "dump.rdb"))
        words = [*program.split(), "--port", str(self.port), "--dir", self.folder, "--save", "", "--enable-debug-command", "yes"]
        self.log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen([*words, *options], stdout=self.log, stderr=self.log, cwd=self.folder)
        for _ in range(400):
            try:
                self.conn = Conn(self.port)
                if self.conn.call("PING") == b"+PONG":
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{program} does not start:\n" + open(self.log.name, errors="replace").read()[-2000:])

    def call(self, *words):
        return self.conn.call(*words)

    def state(self):
        """What must be equal: the content of every key, and the number of libraries."""
        content = {"functions": len(self.call("FUNCTION", "LIST"))}
        for db in range(16):
            self.call("SELECT", db)
            content[db] = self.call("DBSIZE")
            for key in self.call("KEYS", "*"):
                content[db, key] = self.call("PEXPIRETIME", key), self.value(key)
        return content

    def value(self, key):
        # Redis 7.0 has its own text for doubles in digests.
        if self.call("TYPE", key) == b"+zset":
            words = self.call("ZRANGE", key, 0, -1, "WITHSCORES")
            return list(zip(words[::2], map(float, words[1::2])))
        return self.call("DEBUG", "DIGEST-VALUE", key)

    def digest(self):
        return self.call("DEBUG", "DIGEST")

    def close(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def fill(rng, server, keys, timed_fields):
    for db in (0, 1, 9, 15):
        server.call("SELECT", db)
        for number in range(keys // 4):
            key = b"key:%d" % number if rng.random() < 0.8 else b"%d" % number
            make(rng, server, key)
            if rng.random() < 0.3:
                server.call("PEXPIRE", key, rng.randrange(10**6, 10**12))
            if timed_fields and server.call("TYPE", key) == b"+hash" and rng.random() < 0.5:
                fields = server.call("HKEYS", key)[:3]
                server.call("HPEXPIRE", key, rng.randrange(10**6, 10**10), "FIELDS", len(fields), *fields)
        server.call("SET", "big", b"some text " * 100_000)
        server.call("RPUSH", "biglist", *[b"%d" % n * rng.randrange(1, 30) for n in range(20_000)], b"x" * 100_000)
        server.call("SADD", "bigset", *[b"m%d" % n for n in range(20_000)])
        server.call("HSET", "bighash", *[b"f%d" % n for n in range(20_000)])
        server.call("ZADD", "bigzset", *[word for n in range(20_000) for word in (rng.random(), b"z%d" % n)])
    for number in range(3):
        server.call("FUNCTION", "LOAD", LIBRARY % (number, number))


def run(larder, peers, keys, seed, timed_fields, options):
    rng, failures = random.Random(seed), 0
    server = Server(larder, options=options)
    try:
        fill(rng, server, keys, timed_fields)
        expected, digest, began = server.state(), server.digest(), time.monotonic()
        reply = server.call("SAVE")
        assert reply == b"+OK", reply
        took = time.monotonic() - began
        file = os.path.join(server.folder, "dump.rdb")
        with open(file, "rb") as snapshot:
            head = snapshot.read(9).decode()
        print(f"{head} {os.path.getsize(file)} bytes in {took:.2f} s {' '.join(options)}")
        for name, program in peers:
            if timed_fields and not name.startswith("valkey"):
                continue
            peer = Server(program, file)
            state, peer_digest = peer.state(), peer.digest()
            peer.close()
            differ = [key for key in expected | state if state.get(key) != expected.get(key)]
            equal = not differ and (peer_digest == digest or name == "redis7")
            failures += not equal
            print(f"  {name}: {'equal' if equal else f'DIFFERENT {differ[:5]}'}")
    finally:
        server.close()
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--larder", required=True)
    parser.add_argument("--peer", action="append", required=True)
    parser.add_argument("--keys", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    peers = [tuple(peer.split("=", 1)) for peer in args.peer]
    failures = 0
    for timed_fields, options in [
        (False, []),
        (True, []),
        (False, ["--rdbcompression", "no", "--rdbchecksum", "no"]),
        (False, ["--maxmemory-policy", "allkeys-lfu"]),
        (True, ["--maxmemory-policy", "volatile-lru"]),
    ]:
        failures += run(args.larder, peers, args.keys, args.seed, timed_fields, options)
    print(f"{failures} differences")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())

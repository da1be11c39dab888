#!/usr/bin/env python3
"""Snapshots and logs exchanged with other servers, both ways, with equal digests afterwards.

usage: exchange.py [--server COMMAND] [--peers redis7,redis8,valkey] [--rounds N] [--seed S]

One server is filled with random values of every type and encoding in several databases, with deadlines, functions and
(where both know them) deadlines of hash fields; it saves, or writes a log with and without an RDB base; the other
starts on a copy of the files. DEBUG DIGEST, the groups of streams, functions, and deadlines of fields must be equal. The
peers are the programs that REDIS_SERVER (7.0.15), REDIS8_SERVER (8.2.3) and VALKEY_SERVER (9.1.2) name.
"""
import collections
import os
import random
import shutil
import sys
import tempfile
import time

import service

sys.path.insert(0, os.path.join(service.ROOT, "tests", "exchange"))
import dump  # noqa: E402

PEERS = {"redis7": "REDIS_SERVER", "redis8": "REDIS8_SERVER", "valkey": "VALKEY_SERVER"}
FORMS = {
    "snapshot": {},
    "snapshot, not compressed, no checksum": {"rdbcompression": "no", "rdbchecksum": "no"},
    "snapshot, LFU": {"maxmemory_policy": "allkeys-lfu", "maxmemory": "1gb"},
    "log with RDB base": {"appendonly": "yes", "aof_use_rdb_preamble": "yes"},
    "log of commands": {"appendonly": "yes", "aof_use_rdb_preamble": "no"},
    "log with times": {"appendonly": "yes", "aof_timestamp_enabled": "yes"},
}
LIBRARY = "#!lua name=lib%d\nredis.register_function('f%d', function(keys, args) return %d end)\n"


class Adapter:
    """A connection in the form that tests/exchange/dump.py takes: errors are bytes with a minus sign."""

    def __init__(self, client):
        self.client = client

    def call(self, *words):
        try:
            return self.client(*words)
        except service.support.ReplyError as refused:
            return b"-" + str(refused).encode()


def plain_score(rng):
    """A score that all digests write alike: Redis 7.0 writes 17 digits, later servers as few as needed."""
    return rng.choice([0, 1, -1, 1.5, -2.25, 123456789, "inf", "-inf", rng.randrange(-50, 50), rng.randrange(1000) / 4])


def fill(client, rng, keys, fields):
    """Random values in four databases; with `fields` also deadlines of fields. Returns counts by type."""
    kinds, adapter = collections.Counter(), Adapter(client)
    later = int(time.time() * 1000) + 10**9
    for n in range(keys):
        client("SELECT", rng.choice([0, 0, 1, 7, 15]))
        key = b"key:%d" % rng.randrange(10**9)
        kind = dump.make(rng, adapter, key)
        kinds[kind] += 1
        if rng.random() < 0.3:
            client("PEXPIREAT", key, later + rng.randrange(10**9))
        if fields and kind == "hash":
            for name in client("HKEYS", key)[: rng.randrange(12)]:
                client("HPEXPIREAT", key, later + rng.randrange(10**9), "FIELDS", 1, name)
    for n in range(3):
        client("FUNCTION", "LOAD", "REPLACE", LIBRARY % (n, n, rng.randrange(100)))
    return kinds


def groups_of(client, key):
    """What a log keeps of the groups of a stream. Redis and Valkey lose there, by themselves: consumers that wait for
    nothing, how many entries were read, and what was delivered and then deleted."""
    found = {}
    there = {name for name, _ in client("XRANGE", key, "-", "+")}
    for group in client("XINFO", "GROUPS", key):
        about = dict(zip(group[::2], group[1::2]))
        pending = client("XPENDING", key, about[b"name"], "-", "+", 1000)
        found[about[b"name"]] = (about[b"last-delivered-id"], [(name, who) for name, who, *_ in pending if name in there])
    return found


def content(client, fields, log):
    """What must be equal: digest, sizes, deadlines of fields, groups of streams, functions."""
    found = {"functions": sorted(map(repr, client("FUNCTION", "LIST", "WITHCODE")))}
    adapter = Adapter(client)
    if fields != "redis8":   # its digest marks hashes with timed fields, that of others does not: they are compared one by one
        found["digest"] = client("DEBUG", "DIGEST")
    for db in (0, 1, 7, 15):
        client("SELECT", db)
        found[f"size {db}"] = client("DBSIZE")
        for key in sorted(client("KEYS", "*")):
            kind = client("TYPE", key)
            found[(db, key, "at")] = client("PEXPIRETIME", key)
            if kind == "stream":
                found[(db, key)] = groups_of(client, key) if log else dump.details(adapter, key, "stream")
            if fields == "redis8":
                found[(db, key, "all")] = sorted(zip(*[iter(client("HGETALL", key))] * 2)) if kind == "hash" else client("DEBUG", "DIGEST-VALUE", key)
            if fields and kind == "hash" and (names := client("HKEYS", key)) and (at := adapter.call("HPEXPIRETIME", key, "FIELDS", len(names), *names)):
                if isinstance(at, list):
                    found[(db, key)] = sorted((name, when) for name, when in zip(names, at) if when > 0)
    return found


def write(command, folder, options, rng, args, fields):
    """Fills a server and lets it write its files; returns its content."""
    server = service.Service(command, folder, **options)
    try:
        server.start()
        with server.connect(60) as client:
            if "appendonly" not in options:
                kinds = fill(client, rng, args.keys, fields)
                client("SAVE")
            else:
                kinds = fill(client, rng, args.keys // 2, fields)
                client("BGREWRITEAOF")
                until_rewritten(client)
                kinds += fill(client, rng, args.keys // 2, fields)
            seen = content(client, fields, "appendonly" in options)
            if "appendonly" in options:
                client("CONFIG", "SET", "appendfsync", "always")
        return seen, kinds
    finally:
        server.close()


def until_rewritten(client):
    end = time.monotonic() + 30
    while True:
        info = service.support.parse_info(client("INFO", "persistence"))
        if info["aof_rewrite_in_progress"] == info.get("aof_rewrite_scheduled", "0") == "0":
            if info["aof_last_bgrewrite_status"] != "ok":
                raise service.Failure("BGREWRITEAOF has failed")
            return
        if time.monotonic() > end:
            raise service.Failure("BGREWRITEAOF does not end")
        time.sleep(0.01)


def exchange(writer, reader, form, rng, args, fields):
    """One pair of servers and one form of files; returns counts by type."""
    top = tempfile.mkdtemp(prefix="larder-exchange-")
    try:
        folders = [os.path.join(top, name) for name in ("written", "read")]
        os.mkdir(folders[0])
        options = dict(FORMS[form])
        seen, kinds = write(writer, folders[0], options, rng, args, fields)
        shutil.copytree(folders[0], folders[1])
        server = service.Service(reader, folders[1], **({"appendonly": "yes"} if "appendonly" in options else {}))
        try:
            server.start()
            with server.connect(60) as client:
                loaded = content(client, fields, "appendonly" in options)
        finally:
            server.close()
        wrong = sorted((name for name in seen.keys() | loaded.keys() if seen.get(name) != loaded.get(name)), key=repr)
        if wrong:
            if args.keep:
                shutil.copytree(top, os.path.join(args.keep, os.path.basename(top)), dirs_exist_ok=True)
            raise service.Failure(f"{len(wrong)} things differ, {wrong[0]}: {difference(seen.get(wrong[0]), loaded.get(wrong[0]))}; {wrong[1:4]}")
        return kinds
    finally:
        shutil.rmtree(top, ignore_errors=True)


def difference(one, other):
    """Where two things differ first."""
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        at = next(i for i, (a, b) in enumerate(zip(one, other)) if a != b)
        return f"[{at}, after {str(one[at - 1])[:30] if at else 'nothing'}] {difference(one[at], other[at])}"
    return f"{str(one)[:300]} became {str(other)[:300]}"


def main():
    parser = service.arguments(__doc__, 1)
    parser.add_argument("--peers", default="redis7,redis8,valkey")
    parser.add_argument("--forms", help="only forms that contain this")
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--no-fields", action="store_true", help="no deadlines of hash fields")
    args = parser.parse_args()
    print(f"{service.name_of(args.server)}, seed {args.seed}")
    dump.score, broken, kinds, done = plain_score, 0, collections.Counter(), 0
    for peer in args.peers.split(","):
        program = os.environ.get(PEERS[peer])
        if not program or not os.access(program, os.X_OK):
            print(f"BROKEN {PEERS[peer]} does not name a server to exchange files with")
            broken += 1
            continue
        for form in FORMS:
            if args.forms and args.forms not in form:
                continue
            for round_number in range(args.rounds):
                for way, (writer, reader) in enumerate([(args.server, program), (program, args.server)]):
                    # Who knows deadlines of fields writes them in a form of its own: larder's is Valkey's, and it reads both.
                    fields = (peer == "valkey" or peer == "redis8" and way == 1) and round_number % 2 == 0 and not args.no_fields and peer
                    arrow = f"{'larder -> ' + peer if way == 0 else peer + ' -> larder'}, {form}, round {round_number}"
                    try:
                        kinds += exchange(writer, reader, form, random.Random(f"{args.seed}-{arrow}"), args, fields)
                        done += 1
                    except service.Failure as failure:
                        broken += 1
                        print(f"BROKEN {arrow}: {failure}", flush=True)
    print(f"{done} sets of files exchanged, {dict(kinds)} values, {broken} differences")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

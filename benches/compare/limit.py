#!/usr/bin/env python3
"""How far memory passes `maxmemory`: writers fill a server beyond its limit while one process reads used_memory and another sends GETs.

usage: limit.py [--writers 16] [--bytes 10240] [--limit 200] [--seconds 10] [--lower 0] [--one-shard] --server NAME='CMD --port {port}' ..

Each writer is a process that sets random keys of BYTES bytes, 16 at a time. Prints, for each server, the writes, the highest used_memory
seen as a share of maxmemory (LIMIT megabytes), how far it was at most from what the allocator says that it has handed out, keys evicted, and the replies that
a bystander got who sends a GET each millisecond. With --lower N the limit is lowered to N megabytes when the server is full: then the highest share is that
of the last second, and the GETs are those from that moment on. With --one-shard all keys lie in one of the sixteen shards that two workers have: SCAN goes
through the shards one after the other, so that the first keys that it returns share one. Loopback only; ends by itself.
"""
import argparse
import multiprocessing
import random
import time

from servers import SUMMARY, Connection, Probe, Server, encode

NAMES = 10_000_000
SCANNED = 1_000_000  # names, of which a seventeenth is taken: less than the sixteenth that one shard has


def write(port, number, size, names, until, counts):
    connection, chance, value = Connection(port), random.Random(number), b"x" * size
    name = (lambda: chance.choice(names)) if names else (lambda: b"key:%d" % chance.randrange(NAMES))
    while time.time() < until:
        connection.socket.sendall(b"".join(encode("SET", name(), value) for _ in range(16)))
        for _ in range(16):
            connection.reply()
        counts[number] += 16


def names_of_a_shard(connection):
    """Names that lie in the first shard."""
    connection.fill((encode("SET", b"key:%d" % number, 1) for number in range(SCANNED)), b"+OK\r\n")
    names, cursor = [], b"0"
    while len(names) < SCANNED // 17:
        cursor, some = connection.call("SCAN", cursor, "COUNT", 1000)
        names += some
    connection.call("FLUSHALL", "SYNC")
    return names[: SCANNED // 17]


def used(connection):
    """Bytes in use: as the server counts them, and as its allocator does."""
    figures = connection.info("memory")
    return int(figures["used_memory"]), int(figures.get("allocator_allocated", 0))


def watch(server, until, a):
    """The highest share of the limit, the largest difference to the allocator's figure, and since when that counts."""
    look, limit, since = Connection(server.port), a.limit << 20, time.time()
    lowered, highest, difference = not a.lower, 0.0, 0.0
    while time.time() < until:
        bytes_used, allocated = used(look)
        if not lowered and bytes_used > limit * 0.99:
            limit, lowered, since, until = a.lower << 20, True, time.time(), time.time() + a.seconds
            look.call("CONFIG", "SET", "maxmemory", limit)
        if lowered and (not a.lower or time.time() > until - 1):
            highest = max(highest, bytes_used / limit)
            difference = max(difference, abs(bytes_used / allocated - 1)) if allocated else 0.0
        time.sleep(0.001)
    return highest, difference, since


def measure(server, a):
    connection = server.connection
    names = names_of_a_shard(connection) if a.one_shard else None
    connection.call("SET", "probe", "1")
    connection.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    connection.call("CONFIG", "SET", "maxmemory", a.limit << 20)
    until = time.time() + a.seconds + (30 if a.lower else 0)
    counts = multiprocessing.Array("L", a.writers, lock=False)  # a lock would stay with a writer that is ended
    of = lambda number: (server.port, number, a.bytes, names, until, counts)
    writers = [multiprocessing.Process(target=write, args=of(number)) for number in range(a.writers)]
    for writer in writers:
        writer.start()
    probe = Probe(server, 1000)
    highest, difference, since = watch(server, until, a)
    probe.stop()
    for writer in writers:
        writer.terminate()
        writer.join()
    evicted = connection.info("stats")["evicted_keys"]
    columns = [server.label, str(sum(counts)), f"{highest:.4f}", f"{difference * 100:.2f}", evicted]
    print("\t".join(columns + [probe.summary(since)]), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--writers", type=int, default=16)
    p.add_argument("--bytes", type=int, default=10_240)
    p.add_argument("--limit", type=int, default=200)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--lower", type=int, default=0)
    p.add_argument("--one-shard", action="store_true")
    p.add_argument("--server", action="append", required=True)
    a = p.parse_args()
    print(f"server\twrites\thighest/limit\tallocator_differs_%\tevicted\t{SUMMARY}")
    for spec in a.server:
        with Server(spec) as server:
            measure(server, a)


if __name__ == "__main__":
    main()

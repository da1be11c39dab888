#!/usr/bin/env python3
"""Resident memory after values of changing sizes have come and gone, against the memory in use.

usage: fragmentation.py [--keys 1000000] [--rounds 10] --server NAME='CMD --port {port} ..' ..

Stores KEYS strings; then ROUNDS times half of the keys, chosen at random, are deleted and as many are stored with values of
other sizes, from 16 to 1,000 bytes. Prints used_memory and resident bytes at the end of each round, their ratio, the
allocator's own figure (MEMORY STATS allocator.allocated) over used_memory, and at the end the ratio after two seconds'
rest and MEMORY PURGE. Takes about 1 GB for 1,000,000 keys.
"""
import argparse
import random
import time

from servers import Server

SIZES = [(16, 40), (100, 200), (500, 1000), (40, 100), (200, 500)]


def store(connection, numbers, sizes, chance):
    low, high = sizes
    texts = {size: b"$%d\r\n%s\r\n" % (size, b"v" * size) for size in range(low, high + 1)}
    request = b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n"
    connection.fill((request % number + texts[chance.randint(low, high)] for number in numbers), b"+OK\r\n")


def show(server, what):
    info = server.connection.info("memory")
    stats = server.connection.call("MEMORY", "STATS")
    stats = dict(zip(stats[::2], stats[1::2]))
    used, resident = int(info["used_memory"]), server.resident_bytes()
    own = stats[b"allocator.allocated"] / stats[b"total.allocated"]
    print(f"{server.label}\t{what}\t{used / 1e6:.1f}\t{resident / 1e6:.1f}\t{resident / used:.3f}\t{own:.3f}", flush=True)


def measure(server, keys, rounds):
    chance = random.Random(1)
    connection = server.connection
    store(connection, range(keys), SIZES[0], chance)
    show(server, "filled")
    for number in range(1, rounds + 1):
        gone = chance.sample(range(keys), keys // 2)
        connection.fill((b"*2\r\n$3\r\nDEL\r\n$16\r\nkey:%012d\r\n" % key for key in gone), b":1\r\n")
        store(connection, gone, SIZES[number % len(SIZES)], chance)
        show(server, f"round {number}")
    time.sleep(2)
    show(server, "at rest")
    connection.call("MEMORY", "PURGE")
    time.sleep(0.5)
    show(server, "purged")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    print("server\twhat\tused_MB\tresident_MB\tratio\tallocator/used", flush=True)
    for spec in options.server:
        with Server(spec) as server:
            measure(server, options.keys, options.rounds)


if __name__ == "__main__":
    main()

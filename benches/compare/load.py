#!/usr/bin/env python3
"""How long servers take to load one snapshot file, from the start of the process to the end of loading.

usage: load.py [--keys 1000000] [--size 64] [--rounds 3] [--file FILE] --server NAME='CMD --port {port} ..' ..

The file holds KEYS strings of SIZE random bytes; the first server writes it, with its checksum, unless FILE is given. Every server
loads it ROUNDS times, in turn. Printed are the fastest wall time and the least processor time (all threads) of each, and what the
first server takes for each second of the others. On a busy machine only the processor times mean something.
"""
import argparse
import os
import random
import shutil
import time

from servers import Connection, Server, encode


def write(server, options, path):
    """Lets a server write the file."""
    chance = random.Random(1)
    with server:
        server.connection.call("CONFIG", "SET", "save", "")
        requests = (encode("SET", b"key:%012d" % number, chance.randbytes(options.size)) for number in range(options.keys))
        server.connection.fill(requests, b"+OK\r\n")
        server.connection.call("SAVE")
        shutil.move(os.path.join(server.folder, "dump.rdb"), path)


class Loader(Server):
    """A server that is started beside a snapshot."""

    def __init__(self, spec, path):
        super().__init__(spec + f" --dir {os.path.dirname(path)} --dbfilename {os.path.basename(path)} --save ''")

    def load(self):
        """Seconds on the clock, and of processors."""
        started = time.monotonic()
        with self:
            while self.connection.info("persistence")["loading"] != "0":
                time.sleep(0.01)
            took, cpu = time.monotonic() - started, self.cpu_s()
            keys = int(self.connection.info("keyspace")["db0"].split(",")[0].split("=")[1])
            return took, cpu, keys, self.resident_bytes()


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--file")
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    path = os.path.abspath(options.file or f"/tmp/larder-load-{os.getpid()}.rdb")
    try:
        if not options.file:
            write(Server(options.server[0]), options, path)
        runs = {spec.split("=", 1)[0]: [] for spec in options.server}
        for _ in range(options.rounds):
            for spec in options.server:
                runs[spec.split("=", 1)[0]].append(Loader(spec, path).load())
        print(f"{os.path.getsize(path)} bytes\nserver\tkeys\twall_s\tcpu_s\tresident_mb")
        best = {name: [min(column) for column in zip(*rows)] for name, rows in runs.items()}
        for name, (took, cpu, keys, resident) in best.items():
            print(f"{name}\t{keys}\t{took:.2f}\t{cpu:.2f}\t{resident / 1e6:.0f}")
        first, *others = best
        for name in others:
            print(f"{first} / {name}: wall {best[first][0] / best[name][0]:.2f}, cpu {best[first][1] / best[name][1]:.2f}")
    finally:
        if not options.file and os.path.exists(path):
            os.remove(path)


if __name__ == "__main__":
    main()

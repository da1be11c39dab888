#!/usr/bin/env python3
"""How long servers take to load one snapshot or one append-only file, from the start of the process to the end of loading.

usage: load.py [--keys 1000000] [--size 64] [--kind strings|sorted-set] [--log base|commands] [--rounds 3] [--write-only]
               [--file FILE] --server NAME='CMD --port {port} ..' ..

The file holds KEYS strings of SIZE random bytes, or one sorted set of KEYS members with random scores; the first server
writes it, with its checksum, unless FILE is there. With --log it is a folder `appendonlydir`: of which the base is a
snapshot that holds everything, or in which everything is a command. Every server loads it ROUNDS times, in turn. Printed are the fastest
wall time and the least processor time (all threads) of each, and what the first server takes for each second of the
others. On a busy machine only the processor times mean something. A FILE is kept, others are removed.
"""
import argparse
import os
import random
import shutil
import time

from servers import Connection, Server, encode


def requests(options):
    """What fills a server, and the reply to each of them."""
    chance = random.Random(1)
    if options.kind == "sorted-set":
        return (encode("ZADD", "set", repr(chance.random() * 1e6), b"member:%012d" % number) for number in range(options.keys)), b":1\r\n"
    return (encode("SET", b"key:%012d" % number, chance.randbytes(options.size)) for number in range(options.keys)), b"+OK\r\n"


def write(server, options, path):
    """Lets a server write the file, or the folder of the log."""
    with server:
        call = server.connection.call
        call("CONFIG", "SET", "save", "")
        if options.log == "commands":
            call("CONFIG", "SET", "appendonly", "yes")
            wait_for_rewrite(server)
        server.connection.fill(*requests(options))
        if options.log == "base":
            call("CONFIG", "SET", "appendonly", "yes")
            wait_for_rewrite(server)
        if not options.log:
            call("SAVE")
        shutil.move(os.path.join(server.folder, "appendonlydir" if options.log else "dump.rdb"), path)


def wait_for_rewrite(server):
    """Returns once the log has its base."""
    while True:
        time.sleep(0.05)
        info = server.connection.info("persistence")
        if info["aof_enabled"] == "1" and info["aof_rewrite_in_progress"] == info["aof_rewrite_scheduled"] == "0":
            return


class Loader(Server):
    """A server that is started beside the file."""

    def __init__(self, spec, path, log):
        folder, name = os.path.split(path)
        what = f"--appendonly yes --appenddirname {name}" if log else f"--dbfilename {name}"
        super().__init__(spec + f" --dir {folder} {what} --save ''")

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
    parser.add_argument("--kind", choices=("strings", "sorted-set"), default="strings")
    parser.add_argument("--log", choices=("base", "commands"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write-only", action="store_true", help="only let the first server write FILE")
    parser.add_argument("--file")
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    path = os.path.abspath(options.file or f"/tmp/larder-load-{os.getpid()}.rdb")
    try:
        if not os.path.exists(path):
            write(Server(options.server[0]), options, path)
        if not options.write_only:
            measure(options, path)
    finally:
        if not options.file:
            shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.remove(path)


def bytes_of(path):
    """The size of a file, or of all files of a folder."""
    return sum(os.path.getsize(os.path.join(path, name)) for name in os.listdir(path)) if os.path.isdir(path) else os.path.getsize(path)


def measure(options, path):
    """Loads it again and again, and prints."""
    runs = {spec.split("=", 1)[0]: [] for spec in options.server}
    for _ in range(options.rounds):
        for spec in options.server:
            runs[spec.split("=", 1)[0]].append(Loader(spec, path, options.log).load())
    print(f"{bytes_of(path)} bytes\nserver\tkeys\twall_s\tcpu_s\tresident_mb")
    best = {name: [min(column) for column in zip(*rows)] for name, rows in runs.items()}
    for name, (took, cpu, keys, resident) in best.items():
        print(f"{name}\t{keys}\t{took:.2f}\t{cpu:.2f}\t{resident / 1e6:.0f}")
    first, *others = best
    for name in others:
        print(f"{first} / {name}: wall {best[first][0] / best[name][0]:.2f}, cpu {best[first][1] / best[name][1]:.2f}")


if __name__ == "__main__":
    main()

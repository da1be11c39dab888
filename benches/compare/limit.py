#!/usr/bin/env python3
"""How far memory passes `maxmemory`: writers fill a server beyond its limit while a probe reads used_memory.

usage: limit.py [--writers 16] [--bytes 10240] [--limit 200] [--seconds 10] [--lower 0] --server NAME='CMD --port {port}' [--server ..]

Each writer is a process that sets random keys of BYTES bytes, 16 at a time. Prints, for each server, the writes, the highest used_memory
seen as a share of maxmemory (LIMIT megabytes), keys evicted, and the longest reply that the probe got. With --lower N the limit is lowered to N
megabytes half-way, and the highest share is that of the last second. Loopback only; ends by itself.
"""
import argparse, multiprocessing, os, random, shutil, socket, subprocess, tempfile, time


def encode(*words):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def read(self):
        line = self.file.readline()
        if line[:1] == b"$" and line[1:2] != b"-":
            return self.file.read(int(line[1:]) + 2)[:-2]
        return line

    def call(self, *words):
        self.socket.sendall(encode(*words))
        return self.read()

    def info(self):
        text = self.call("INFO", "memory").decode() + "\r\n" + self.call("INFO", "stats").decode()
        return dict(line.split(":", 1) for line in text.split("\r\n") if ":" in line)


def write(port, seed, size, until, count):
    connection, chance, value = Connection(port), random.Random(seed), b"x" * size
    while time.time() < until:
        connection.socket.sendall(b"".join(encode("SET", "key:%d" % chance.randrange(10_000_000), value) for _ in range(16)))
        for _ in range(16):
            connection.read()
        with count.get_lock():
            count.value += 16


def measure(name, command, a):
    directory = tempfile.mkdtemp(prefix="larder-limit-")
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(command.format(port=port).split(), cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                probe = Connection(port)
                break
            except OSError:
                time.sleep(0.1)
        limit = a.limit << 20
        probe.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        probe.call("CONFIG", "SET", "maxmemory", limit)
        begun, count = time.time(), multiprocessing.Value("L", 0)
        writers = [multiprocessing.Process(target=write, args=(port, n, a.bytes, begun + a.seconds, count)) for n in range(a.writers)]
        for writer in writers:
            writer.start()
        highest, longest, lowered = 0.0, 0.0, not a.lower
        while time.time() < begun + a.seconds:
            if not lowered and time.time() > begun + a.seconds / 2:
                limit, lowered = a.lower << 20, True
                probe.call("CONFIG", "SET", "maxmemory", limit)
            at = time.time()
            used = int(probe.info()["used_memory"])
            longest = max(longest, time.time() - at)
            if not a.lower or time.time() > begun + a.seconds - 1:
                highest = max(highest, used / limit)
            time.sleep(0.001)
        for writer in writers:
            writer.join()
        print(f"{name}\t{count.value}\t{highest:.4f}\t{probe.info()['evicted_keys']}\t{longest * 1e3:.1f}", flush=True)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--writers", type=int, default=16)
    p.add_argument("--bytes", type=int, default=10_240)
    p.add_argument("--limit", type=int, default=200)
    p.add_argument("--seconds", type=float, default=10)
    p.add_argument("--lower", type=int, default=0)
    p.add_argument("--server", action="append", required=True)
    a = p.parse_args()
    print("server\twrites\thighest/limit\tevicted\tlongest_ms")
    for spec in a.server:
        measure(*spec.split("=", 1), a)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What listeners that do not read cost a publisher, the memory and the other clients, until they are closed.

usage: stalled.py [--stalled 1000] [--reading 10] [--bytes 512] [--limit-mb 8] [--messages 10000] [--rounds 3] --server NAME='CMD --port {port} ..' ..

One publisher sends a message, waits for its reply and sends the next: to READING listeners alone, and, in another server of the same
kind, to as many beside STALLED whose sockets take nothing any more. The two servers take turns of a few hundred messages, MESSAGES each in all: how
long a PUBLISH takes depends first of all on which processor the system has put whom, and that changes every few seconds. Then the second
one goes on until the stalled ones are closed for what waits for them (`client-output-buffer-limit pubsub`), while a bystander sends a GET each
millisecond. Rows are medians of the rounds:
  alone, stalled   PUBLISH round trips, and the server's processor time for each
  falling behind   the longest PUBLISH (of 32 KB) of those that fill the sockets of the stalled ones
  closing          the longest PUBLISH until the last one is closed, and the bystander's GETs from the first to the last
Memory is the highest used_memory and resident size over those before the first stalled listener, in MB.
"""
import argparse
import os
import resource
import socket
import statistics
import subprocess
import sys
import time

from servers import FIRST, Connection, Probe, Server, encode, quantile

CHANNEL = "channel"
TURN = 250  # messages, some 20 to 60 ms
SETTLE_S = 1  # in which the system sends what the first messages have left


def listen(port, small):
    """A socket that has subscribed; a `small` one lets little wait in the kernel."""
    one = socket.socket()
    if small:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    one.sendall(encode("SUBSCRIBE", CHANNEL))
    one.recv(256)
    return one


def read_all(port, count):
    """Reads what `count` listeners get, for ever."""
    import selectors
    ready = selectors.DefaultSelector()
    for _ in range(count):
        ready.register(listen(port, False), selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _ in ready.select():
            if not key.fileobj.recv(1 << 20):
                return


class Publisher:
    """Sends one message after the other and notes how long each took."""

    def __init__(self, connection, payload):
        self.connection, self.request, self.receivers = connection, encode("PUBLISH", CHANNEL, b"x" * payload), 0

    def publish(self):
        """Milliseconds."""
        began = time.perf_counter()
        self.connection.socket.sendall(self.request)
        self.receivers = self.connection.reply()
        return (time.perf_counter() - began) * 1000

    def times(self, count):
        return sorted(self.publish() for _ in range(count))


def memory(server):
    return int(server.connection.info("memory")["used_memory"]) / 1e6, server.resident_bytes() / 1e6


def all_stalled(server, count):
    """Whether something waits in the server for each of the stalled ones."""
    lines = server.connection.call("CLIENT", "LIST", "TYPE", "PUBSUB").decode().splitlines()
    return sum(" omem=0 " not in line for line in lines) >= count


class Side:
    """A server, its listeners that read, its publisher and what that has measured."""

    def __init__(self, server, options):
        self.server, self.milliseconds = server, []
        server.connection.call("CONFIG", "SET", "client-output-buffer-limit", f"pubsub {options.limit_mb}mb 0 0")
        words = [sys.executable, os.path.abspath(__file__), "--read", str(options.reading), "--server", f"x={server.port}"]
        self.reader = subprocess.Popen(FIRST + words, stdout=subprocess.PIPE)
        self.reader.stdout.readline()
        self.publisher = Publisher(Connection(server.port), options.bytes)

    def turn(self, count):
        self.milliseconds += self.publisher.times(count)

    def figures(self, cpu_s):
        """The server's processor time for each message in microseconds, p50 and p99 in milliseconds."""
        times = sorted(self.milliseconds)
        return cpu_s / len(times) * 1e6, quantile(times, 0.5), quantile(times, 0.99)

    def end(self):
        self.reader.kill()
        self.reader.wait()


def take_turns(sides, options):
    """The figures of each side."""
    for side in sides:
        side.turn(options.messages // 4)
        side.milliseconds = []
    before = [side.server.cpu_s() for side in sides]
    for _ in range(0, options.messages, TURN):
        for side in sides:
            side.turn(TURN)
    return [side.figures(side.server.cpu_s() - cpu_s) for side, cpu_s in zip(sides, before)]


def close_all(server, publisher, options):
    """Publishes until every stalled listener is closed: the figures of that, and the memory meanwhile."""
    probe, peaks = Probe(server, 1000), [memory(server)]
    expected, first, longest, number, deadline = publisher.receivers, None, 0.0, 0, time.time() + 120
    while publisher.receivers > options.reading and time.time() < deadline:
        took, number = publisher.publish(), number + 1
        if publisher.receivers < expected and first is None:
            first = time.time()
        longest = max(longest, took)
        if number % 128 == 0:
            peaks.append(memory(server))
    time.sleep(0.5)
    probe.stop()
    gets = probe.between(first - 0.01 if first else 0)
    return (longest, quantile(gets, 0.99), gets[-1] if gets else 0.0), peaks


def measure(server, other, options):
    """The figures of one round, by name; `other` is the server that has no stalled listeners."""
    sides = [Side(other, options), Side(server, options)]
    publisher = sides[1].publisher
    publisher.times(options.messages // 4)
    before = memory(server)
    stalled = [listen(server.port, True) for _ in range(options.stalled)]
    fill, behind = Publisher(Connection(server.port), 32768), 0.0
    while not all_stalled(server, options.stalled):
        behind = max(behind, fill.times(4)[-1])
    time.sleep(SETTLE_S)
    alone, beside = take_turns(sides, options)
    closing, peaks = close_all(server, publisher, options)
    closed = options.stalled + options.reading - publisher.receivers
    for one in stalled:
        one.close()
    for side in sides:
        side.end()
    return {
        "alone": alone,
        "stalled": beside,
        "behind": (behind,),
        "closing": closing,
        "memory": tuple(max(peak[i] for peak in peaks) - before[i] for i in (0, 1)),
        "closed": (closed,),
    }


def medians(rounds, name):
    return [statistics.median(column) for column in zip(*(figures[name] for figures in rounds))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--stalled", type=int, default=1000)
    parser.add_argument("--reading", type=int, default=10)
    parser.add_argument("--bytes", type=int, default=512)
    parser.add_argument("--messages", type=int, default=10000)
    parser.add_argument("--limit-mb", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    if options.read:
        return read_all(int(options.server[0].split("=")[1]), options.read)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    print("server\talone cpu us\tp50\tp99 ms\tstalled cpu us\tp50\tp99 ms\tp99 ratio\tfalling behind\tclosing PUBLISH\tGET p99\tlongest GET\tused MB\tresident MB\tclosed")
    for spec in options.server:
        rounds = []
        for _ in range(options.rounds):
            with Server(spec) as server, Server(spec) as other:
                rounds.append(measure(server, other, options))
        figures = [medians(rounds, name) for name in ("alone", "stalled", "behind", "closing", "memory", "closed")]
        alone, stalled, behind, closing, used, closed = figures
        columns = [f"{x:.3f}" for x in alone + stalled] + [f"{stalled[2] / alone[2]:.2f}"] + [f"{x:.2f}" for x in behind + closing]
        print("\t".join([server.label] + columns + [f"{x:.0f}" for x in used + closed]), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What listeners that do not read cost a publisher, the memory and the other clients, until they are closed.

usage: stalled.py [--stalled 1000] [--reading 10] [--bytes 512] [--limit-mb 2] [--rounds 3] --server NAME='CMD --port {port} ..' ..

One publisher sends a message, waits for its reply and sends the next: first to READING listeners alone, then with STALLED
more whose sockets take nothing any more, in the same server. Then it goes on until those are closed for what waits for
them (`client-output-buffer-limit pubsub`), while a bystander sends a GET each millisecond. Rows are medians of the rounds:
  alone, stalled   PUBLISH round trips, and the server's processor time for each
  closing          GETs of the bystander from the first closed listener to the last; reply_ms is the longest PUBLISH
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

    def measure(self, server, count):
        """The server's processor time for each in microseconds, p50 and p99 in milliseconds."""
        began = server.cpu_s()
        times = self.times(count)
        return (server.cpu_s() - began) / count * 1e6, quantile(times, 0.5), quantile(times, 0.99)


def memory(server):
    return int(server.connection.info("memory")["used_memory"]) / 1e6, server.resident_bytes() / 1e6


def all_stalled(server, count):
    """Whether something waits in the server for each of the stalled ones."""
    lines = server.connection.call("CLIENT", "LIST", "TYPE", "PUBSUB").decode().splitlines()
    return sum(" omem=0 " not in line for line in lines) >= count


def measure(server, options):
    """The figures of one round, by name."""
    server.connection.call("CONFIG", "SET", "client-output-buffer-limit", f"pubsub {options.limit_mb}mb 0 0")
    words = [sys.executable, os.path.abspath(__file__), "--read", str(options.reading), "--server", f"x={server.port}"]
    reader = subprocess.Popen(FIRST + words, stdout=subprocess.PIPE)
    reader.stdout.readline()
    publisher = Publisher(Connection(server.port), options.bytes)
    publisher.times(options.messages // 4)
    alone = publisher.measure(server, options.messages)
    before = memory(server)
    stalled = [listen(server.port, True) for _ in range(options.stalled)]
    fill = Publisher(Connection(server.port), 32768)
    while not all_stalled(server, options.stalled):
        fill.times(4)
    time.sleep(SETTLE_S)
    publisher.times(options.messages // 4)
    times = publisher.measure(server, options.messages)
    peaks = [memory(server)]
    probe = Probe(server, 1000)
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
    closing = probe.between(first - 0.01 if first else 0)
    closed = options.stalled + options.reading - publisher.receivers
    for one in stalled:
        one.close()
    reader.kill()
    reader.wait()
    return {
        "alone": alone,
        "stalled": times,
        "closing": (longest, quantile(closing, 0.99), closing[-1] if closing else 0.0),
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
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--limit-mb", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    if options.read:
        return read_all(int(options.server[0].split("=")[1]), options.read)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)
    print("server\talone cpu us\tp50\tp99 ms\tstalled cpu us\tp50\tp99 ms\tp99 ratio\tlongest PUBLISH\tGET p99\tlongest GET\tused MB\tresident MB\tclosed")
    for spec in options.server:
        rounds = []
        for _ in range(options.rounds):
            with Server(spec) as server:
                rounds.append(measure(server, options))
        figures = [medians(rounds, name) for name in ("alone", "stalled", "closing", "memory", "closed")]
        alone, stalled, closing, used, closed = figures
        columns = [f"{x:.3f}" for x in alone + stalled] + [f"{stalled[2] / alone[2]:.2f}"] + [f"{x:.2f}" for x in closing]
        print("\t".join([server.label] + columns + [f"{x:.0f}" for x in used + closed]), flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Looks for lost, doubled or reordered replies: many connections, each with its own pipeline of tagged requests.

    pipeline_order.py [--port N] [--requests 10000000] [--connections 50] [--depth 100] [--processes 2]

Every connection owns a key. It sends SET key TAG and GET key in turn, each TAG new, and every reply must be the one
that was asked for. Without --port the program in LARDER (default target/release/larder) is started. Prints requests
per second; exits with 1 when a reply is missing or wrong.
"""
import argparse
import dataclasses
import multiprocessing
import os
import selectors
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SILENCE_S = 30


@dataclasses.dataclass
class Result:
    """What a run found: requests sent, replies that were wrong or missing, and how long it took."""

    requests: int
    lost: int
    seconds: float
    first: str = ""


class Connection:
    """One pipeline: `depth` requests are sent together, their replies compared as one piece of bytes."""

    def __init__(self, port, name, requests, depth):
        self.socket = socket.create_connection(("127.0.0.1", port), SILENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.name, self.left, self.depth = name, requests, depth
        self.tag, self.expected, self.have, self.wrong = 0, b"", bytearray(), ""

    def send(self):
        """Sends the next pipeline; false when everything was sent."""
        count = min(self.depth, self.left)
        if count == 0:
            return False
        name, requests, replies = self.name, [], []
        for i in range(count):
            number = self.tag + i
            if number & 1:
                tag = b"%s/%012d" % (name, number - 1)
                requests.append(b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(name), name))
                replies.append(b"$%d\r\n%s\r\n" % (len(tag), tag))
            else:
                tag = b"%s/%012d" % (name, number)
                requests.append(b"*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n" % (len(name), name, len(tag), tag))
                replies.append(b"+OK\r\n")
        self.tag, self.left = self.tag + count, self.left - count
        self.expected, self.have = b"".join(replies), bytearray()
        self.socket.sendall(b"".join(requests))
        return True

    def receive(self):
        """Takes what arrived; true when the pipeline is answered or went wrong."""
        piece = self.socket.recv(1 << 18)
        if not piece:
            self.wrong = f"closed after {len(self.have)} of {len(self.expected)} bytes"
            return True
        self.have += piece
        if len(self.have) < len(self.expected):
            return False
        if self.have != self.expected:
            at = next((i for i, (a, b) in enumerate(zip(self.have, self.expected)) if a != b), len(self.expected))
            self.wrong = f"got {bytes(self.have[max(0, at - 40):at + 60])!r}, expected {self.expected[max(0, at - 40):at + 60]!r}"
        return True


def work(port, number, connections, requests, depth):
    """Drives some connections to their end; (requests sent, requests wrong, the first wrong reply)."""
    share, rest = divmod(requests, connections)
    open_connections = [Connection(port, b"order:%d:%d" % (number, i), share + (i < rest), depth) for i in range(connections)]
    selector, wrong, first = selectors.DefaultSelector(), 0, ""
    for connection in open_connections:
        if connection.send():
            selector.register(connection.socket, selectors.EVENT_READ, connection)
    while selector.get_map():
        ready = selector.select(SILENCE_S)
        if not ready:
            waiting = [key.data for key in selector.get_map().values()]
            return requests, wrong + sum(min(c.depth, c.tag) for c in waiting), first or f"{len(waiting)} connections got no reply within {SILENCE_S} s"
        for key, _ in ready:
            connection = key.data
            if not connection.receive():
                continue
            if connection.wrong:
                wrong, first = wrong + 1, first or f"{connection.name.decode()}: {connection.wrong}"
            if connection.wrong or not connection.send():
                selector.unregister(connection.socket)
                connection.socket.close()
    return requests, wrong, first


def run(port, requests, connections, depth, processes):
    """Spreads the connections over processes and adds up what they found."""
    processes = max(1, min(processes, connections))
    shares = [(port, n, connections // processes + (n < connections % processes), requests // processes + (n < requests % processes), depth) for n in range(processes)]
    start = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        results = pool.starmap(work, shares)
    return Result(sum(r[0] for r in results), sum(r[1] for r in results), time.monotonic() - start, next((r[2] for r in results if r[2]), ""))


def main():
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--port", type=int)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    options = parser.parse_args()
    server = None
    if options.port is None:
        import support
        server = support.Server()
    try:
        result = run(options.port or server.port, options.requests, options.connections, options.depth, options.processes)
    finally:
        if server:
            server.close()
    print(f"{result.requests} requests on {options.connections} connections, {options.depth} deep, in {result.seconds:.1f} s: {result.requests / result.seconds:,.0f} requests/s, {result.lost} wrong or missing {result.first}")
    return 1 if result.lost else 0


if __name__ == "__main__":
    sys.exit(main())

"""Client-side caches over sockets, with two workers: no cache may keep what the server no longer holds.

The same tests pass against Valkey (`LARDER=$VALKEY_SERVER`).
"""
import random
import re
import select
import threading
import time

import pytest
import support
from support import encode, parse_info, until

KEYS = [f"k{i}" for i in range(20)]


@pytest.fixture(scope="module")
def module_server():
    """A server with two workers: connections are dealt out to both in turn."""
    options = {} if "valkey" in " ".join(support.program()) else {"threads": 2}
    with support.Server(**options) as server:
        yield server
        assert server.process.poll() is None, "the server died:\n" + server.log()[-3000:]


class Cache:
    """A connection that caches what it reads until it is told otherwise."""

    def __init__(self, server, *options):
        self.client, self.values = server.connect(), {}
        self.client("HELLO", "3")
        assert self.client("CLIENT", "TRACKING", "ON", *options) == "OK"

    def request(self, *words):
        """A request; messages before its reply are taken in."""
        self.client.send(*words)
        while isinstance(reply := self.client.read(), list) and reply[0] == b"invalidate":
            self.drop(reply[1])
        return reply

    def drop(self, keys):
        """Forgets keys, or all of them."""
        if keys is None:
            self.values.clear()
        for key in keys or []:
            self.values.pop(key.decode(), None)

    def get(self, key):
        """A value, from the cache if it is there."""
        if key not in self.values:
            value = self.request("GET", key)
            self.values[key] = value
        return self.values[key]

    def settle(self):
        """Takes in what is on its way."""
        while self.client.buffer or select.select([self.client.socket], [], [], 0.3)[0]:
            self.drop(self.client.read()[1])


@pytest.mark.parametrize("options", [[], ["BCAST"], ["BCAST", "PREFIX", "k1", "PREFIX", "k0", "PREFIX", "k2", "PREFIX", "k3", "PREFIX", "k4",
                                                     "PREFIX", "k5", "PREFIX", "k6", "PREFIX", "k7", "PREFIX", "k8", "PREFIX", "k9"]],
                         ids=["default", "broadcast", "prefixes"])
def test_no_cache_keeps_an_old_value(server, options):
    stop, caches = threading.Event(), [Cache(server, *options) for _ in range(4)]

    def read(cache, seed):
        choose = random.Random(seed)
        while not stop.is_set():
            cache.get(choose.choice(KEYS))
            if choose.random() < 0.02:
                cache.request("PING")

    def write(seed):
        choose = random.Random(seed)
        with server.connect() as client:
            for i in range(1500):
                key, roll = choose.choice(KEYS), choose.random()
                if roll < 0.7:
                    client("SET", key, f"{seed}:{i}")
                elif roll < 0.8:
                    client("DEL", key)
                elif roll < 0.9:
                    client("SET", key, "soon gone", "PX", "3")
                elif roll < 0.98:
                    client("MSET", *(word for k in choose.sample(KEYS, 4) for word in (k, f"{seed}:{i}")))
                else:
                    client("FLUSHDB")

    readers = [threading.Thread(target=read, args=(cache, i)) for i, cache in enumerate(caches)]
    writers = [threading.Thread(target=write, args=(i,)) for i in range(2)]
    [thread.start() for thread in readers + writers]
    [thread.join() for thread in writers]
    time.sleep(0.5)  # what was to be soon gone is gone
    stop.set()
    [thread.join() for thread in readers]
    with server.connect() as control:
        held = dict(zip(KEYS, control("MGET", *KEYS)))
    for cache in caches:
        cache.settle()
        assert {key: value for key, value in cache.values.items() if value != held[key]} == {}
        cache.client.close()


def test_who_is_gone_is_forgotten(server):
    caches = [Cache(server) for _ in range(20)]
    for cache in caches:
        cache.request("MGET", *KEYS)
    with server.connect() as control:
        assert parse_info(control("INFO", "clients"))["tracking_clients"] == "20"
        [cache.client.close() for cache in caches]
        assert until(lambda: parse_info(control("INFO", "clients"))["tracking_clients"] == "0")
        control("SET", KEYS[0], "x")
        if "valkey" not in " ".join(support.program()):
            assert until(lambda: parse_info(control("INFO", "stats"))["tracking_total_keys"] == "0")


def test_a_client_is_told_of_its_own_flush_behind_the_reply(server):
    """FLUSHALL SYNC waits until memory is free, and its own client was told before the reply came."""
    client = server.connect()
    client("HELLO", "3")
    assert client("CLIENT", "TRACKING", "ON", "NOLOOP") == "OK"
    for words in (["FLUSHALL", "SYNC"], ["FLUSHDB", "SYNC"], ["FLUSHALL", "ASYNC"], ["FLUSHALL"]):
        client("SET", "k", "v")
        client("GET", "k")
        client.raw(encode(*words))
        expected = b"+OK\r\n>2\r\n$10\r\ninvalidate\r\n_\r\n"
        received = b""
        while len(received) < len(expected):
            received += client.socket.recv(len(expected) - len(received))
        assert received == expected, words


def test_a_lower_limit_of_remembered_reads_is_told_at_once(module_server):
    """It took effect only when somebody read another key."""
    with module_server.connect() as reader, module_server.connect() as other:
        reader("HELLO", "3")
        assert reader("CLIENT", "TRACKING", "ON") == "OK"
        other("MSET", *(word for number in range(5) for word in (f"limit{number}", "1")))
        reader("MGET", *(f"limit{number}" for number in range(5)))
        try:
            other("CONFIG", "SET", "tracking-table-max-keys", "1")
            forgotten = {reader.read()[1][0] for _ in range(4)}
            assert len(forgotten) == 4 and forgotten < {b"limit%d" % number for number in range(5)}
            assert until(lambda: parse_info(other("INFO", "stats"))["tracking_total_keys"] == "1")
        finally:
            other("CONFIG", "SET", "tracking-table-max-keys", "1000000")


def test_prefixes_are_charged_to_who_named_them(module_server):
    def charged():
        return int(re.search(rb"tot-mem=(\d+)", client("CLIENT", "INFO")).group(1))

    with module_server.connect() as client:
        before = charged()
        for number in range(0, 1000, 2):
            prefixes = ("PREFIX", f"a{number:09}", "PREFIX", f"b{number:09}")
            assert client("CLIENT", "TRACKING", "ON", *prefixes, "BCAST") == "OK"
        assert charged() > before + 1000 * 10
        client("CLIENT", "TRACKING", "OFF")
        assert charged() < before + 1000

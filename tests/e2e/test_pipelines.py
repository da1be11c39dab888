"""Long pipelines, split requests, large values and order under many connections."""
import os
import random
import threading

import pipeline_order
import pytest
import support
from support import encode

MEGABYTE = 1 << 20


def test_a_million_commands_before_reading_a_byte(server):
    client = server.connect(timeout=120)
    client.raw(encode("SET", "counter", "0"))
    assert client.read() == "OK"
    request, total = encode("INCR", "counter"), 1_000_000
    sender = threading.Thread(target=lambda: [client.raw(request * 10_000) for _ in range(total // 10_000)])
    sender.start()
    sender.join(120)
    assert not sender.is_alive(), "the server stopped reading because its replies are not read"
    expected = b"".join(b":%d\r\n" % i for i in range(1, total + 1))
    got = bytearray()
    while len(got) < len(expected):
        piece = client.socket.recv(1 << 20)
        assert piece, "closed"
        got += piece
    assert got == expected


@pytest.mark.parametrize("connections,depth", [(1, 1), (1, 1000), (10, 16), (50, 100), (200, 5)])
def test_order(server, connections, depth):
    assert pipeline_order.run(server.port, requests=20_000, connections=connections, depth=depth, processes=2).lost == 0


def test_requests_split_at_every_byte(client):
    request = encode("SET", "k", b"a\r\n$1\r\nb") + encode("GET", "k") + b'GET "k"\r\n' + encode("PING") + b"*0\r\n\r\nPING\r\n"
    expected = b"+OK\r\n" + 2 * b"$8\r\na\r\n$1\r\nb\r\n" + b"+PONG\r\n+PONG\r\n"
    for at in range(1, len(request)):
        client.raw(request[:at])
        client.raw(b"")
        client.raw(request[at:])
        got = b""
        while len(got) < len(expected):
            got += client.socket.recv(1000)
        assert got == expected, at


def test_requests_sent_byte_by_byte(client):
    for byte in encode("SET", "k", "value") + encode("GET", "k"):
        client.raw(bytes([byte]))
    assert client.read() == "OK" and client.read() == b"value"


def test_random_splits(client):
    chance = random.Random(7)
    requests, expected = [], []
    for i in range(3000):
        value = chance.randbytes(chance.choice((0, 1, 10, 100, 5000, 40_000)))
        requests += [encode("SET", f"k{i % 7}", value), encode("GET", f"k{i % 7}")]
        expected += ["OK", value]
    data = b"".join(requests)

    def send():
        at = 0
        while at < len(data):
            size = chance.choice((1, 2, 3, 17, 100, 1460, 16_384, 100_000))
            client.raw(data[at : at + size])
            at += size
    sender = threading.Thread(target=send)
    sender.start()
    assert [client.read() for _ in expected] == expected
    sender.join()


@pytest.mark.parametrize("megabytes", [1, 3, 16, 64])
def test_large_values(server, megabytes):
    client, size = server.connect(timeout=60), megabytes * MEGABYTE
    value = os.urandom(MEGABYTE) * megabytes
    assert client("SET", "big", value) == "OK" and client("STRLEN", "big") == size and client("GET", "big") == value
    assert client("GETRANGE", "big", size - 5, -1) == value[-5:] and client("GETRANGE", "big", 0, -1) == value
    assert client("APPEND", "big", b"tail") == size + 4 and client("GETRANGE", "big", -6, -1) == value[-2:] + b"tail"
    assert client("SETRANGE", "big", MEGABYTE // 2, b"HERE") == size + 4
    assert client("GETRANGE", "big", MEGABYTE // 2 - 1, MEGABYTE // 2 + 4) == value[MEGABYTE // 2 - 1 : MEGABYTE // 2] + b"HERE" + value[MEGABYTE // 2 + 4 : MEGABYTE // 2 + 5]
    assert client("SET", "big", b"small", "GET")[-4:] == b"tail" and client("GET", "big") == b"small"
    assert client("COPY", "big", "other") == 1 and client("UNLINK", "big", "other") == 2


def test_sizes_around_the_limits_of_buffers(client):
    for size in [*range(0, 70), *(n + d for n in (1 << 9, 1 << 10, 1 << 12, 1 << 14, 1 << 15, 1 << 16, 1 << 17, 1 << 20) for d in range(-3, 4))]:
        value = bytes((i * 7 + size) & 255 for i in range(min(size, 4096))) * (size // 4096 + 1)
        value = value[:size]
        client.raw(encode("SET", "k", value) + encode("GET", "k") + encode("APPEND", "k", value) + encode("GET", "k"))
        assert client.read() == "OK" and client.read() == value and client.read() == 2 * size and client.read() == 2 * value, size


def test_large_and_small_values_in_one_pipeline(client):
    big = os.urandom(200_000)
    client.raw(encode("SET", "big", big) + encode("SET", "small", "s") + encode("MGET", "big", "small", "big", "x", "small"))
    assert client.read() == "OK" and client.read() == "OK" and client.read() == [big, b"s", big, None, b"s"]


def test_many_arguments(client):
    keys = [f"key:{i}" for i in range(50_000)]
    assert client("MSET", *[word for key in keys for word in (key, key)]) == "OK"
    assert client("MGET", *keys) == [key.encode() for key in keys]
    assert client("EXISTS", *keys) == 50_000 and client("UNLINK", *keys) == 50_000 and client("DBSIZE") == 0


def test_a_value_over_the_limit_is_refused_at_once(server):
    client = server.connect()
    client.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870913\r\n")
    assert client.all() == b"-ERR Protocol error: invalid bulk length\r\n"
    client = server.connect()
    client.raw(b"*2147483648\r\n")
    assert client.all() == b"-ERR Protocol error: invalid multibulk length\r\n"


def test_replies_before_a_protocol_error_arrive(server):
    client = server.connect()
    client.raw(encode("SET", "k", "v") + encode("GET", "k") + b"*1\r\n+x\r\n" + encode("SET", "k", "after"))
    assert client.all() == b"+OK\r\n$1\r\nv\r\n-ERR Protocol error: expected '$', got '+'\r\n"
    with server.connect() as other:
        assert other("GET", "k") == b"v"


def test_increments_from_many_connections_are_all_counted(server):
    def work():
        with server.connect(timeout=60) as client:
            client.raw(encode("INCR", "total") * 2000)
            replies = [client.read() for _ in range(2000)]
            assert replies == sorted(replies)
    threads = [threading.Thread(target=work) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.connect() as client:
        assert client("GET", "total") == b"40000"


def test_a_pair_set_together_is_never_seen_apart(server):
    stop, seen = threading.Event(), []

    def write(number):
        with server.connect(timeout=60) as client:
            i = number
            while not stop.is_set():
                client("MSET", "left", i, "middle", i, "right", i)
                i += 2
    writers = [threading.Thread(target=write, args=(n,)) for n in range(2)]
    for writer in writers:
        writer.start()
    with server.connect(timeout=60) as client:
        client("MSET", "left", 0, "middle", 0, "right", 0)
        for _ in range(3000):
            values = client("MGET", "left", "middle", "right")
            if len(set(values)) != 1:
                seen.append(values)
    stop.set()
    for writer in writers:
        writer.join()
    assert not seen


def test_resp3_shapes(client):
    assert client("HELLO", "3")[b"proto"] == 3
    assert client("CONFIG", "GET", "maxmemory") == {b"maxmemory": b"0"}
    client.raw(encode("GET", "nosuch") + encode("MGET", "nosuch"))
    got = b""
    while len(got) < 3 + 4 + 3:
        got += client.socket.recv(100)
    assert got == b"_\r\n*1\r\n_\r\n"
    assert client("HELLO", "2")[:2] == [b"server", client("HELLO", "2")[1]]
    client.raw(encode("GET", "nosuch"))
    assert client.socket.recv(100) == b"$-1\r\n"


def test_what_is_flushed_or_deleted_does_not_gather(start):
    """Segments of tables are freed when nobody can be reading them: in time, also where one batch retires many."""
    server = start()
    keys = [f"key:{i}" for i in range(1000)]
    sets = b"".join(encode("SET", key, "v") for key in keys)
    deletes = b"".join(encode("DEL", key) for key in keys)
    with server.connect(timeout=60) as client:
        def used():
            return int(support.parse_info(client("INFO", "memory"))["used_memory"])

        def batches(count, *pipelines):
            for _ in range(count):
                for requests, replies in pipelines:
                    client.raw(requests)
                    for _ in range(replies):
                        client.read()
        few = b"".join(encode("SET", key, "v") for key in keys[:10])
        for pipelines in [[(encode("FLUSHALL"), 1)], [(few, 10), (encode("FLUSHALL"), 1)], [(few + encode("FLUSHALL"), 11)], [(sets, 1000), (deletes, 1000)]]:
            batches(20, *pipelines)
            before = used()
            batches(100, *pipelines)
            assert support.until(lambda: used() < before + MEGABYTE, 5), (pipelines[0][0][:40], used() - before)


def test_memory_of_threads_that_end_is_counted(server):
    with server.connect(timeout=60) as client:
        def used():
            return int(support.parse_info(client("INFO", "memory"))["used_memory"])
        client("SAVE")
        before = used()
        for _ in range(100):
            client("SAVE")
        assert abs(used() - before) < 100_000, used() - before


def test_memory_is_given_back(start):
    server = start()
    with server.connect(timeout=60) as client:
        def used():
            return int(support.parse_info(client("INFO", "memory"))["used_memory"])
        before = used()
        for i in range(50):
            client("SET", f"k{i}", b"x" * MEGABYTE)
        assert used() > before + 50 * MEGABYTE
        client("FLUSHALL")
        assert support.until(lambda: used() < before + 5 * MEGABYTE, 10), used() - before


@pytest.mark.parametrize("words", [["FLUSHALL"], ["FLUSHALL", "ASYNC"], ["FLUSHALL", "SYNC"], ["FLUSHDB", "ASYNC"]], ids="-".join)
def test_flushes_leave_nothing_behind(start, words):
    """Suites of tests flush before each: what they took out was freed too slowly, until no memory was left."""
    server = start(threads=2) if "valkey" not in " ".join(support.program()) else start()
    with server.connect(timeout=60) as client:
        def used():
            return int(support.parse_info(client("INFO", "memory"))["used_memory"])

        def flush(times):
            for _ in range(times):
                client.raw(b"".join(encode("SET", f"k{i}", "v") for i in range(20)) + encode(*words) + encode("PING"))
                assert [client.read() for _ in range(22)] == ["OK"] * 21 + ["PONG"]
        flush(100)
        before = used()
        flush(1000)
        assert support.until(lambda: used() < before + MEGABYTE, 5), used() - before

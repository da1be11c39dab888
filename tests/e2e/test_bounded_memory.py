"""What a client asks for, announces or leaves behind does not grow the server's memory for good, and what is slow is not idle."""
import random
import re
import threading
import time

import pytest
from support import encode, parse_info, until

LIST_BYTES = 2_000_000


def used(client):
    return int(parse_info(client("INFO", "memory"))["used_memory"])


@pytest.fixture
def long_list(start):
    """A server with a list of 2 MB, whose clients may leave 1 MB unread."""
    server = start(**{"client-output-buffer-limit": "normal 1mb 0 0"})
    client = server.connect()
    client("RPUSH", "list", *["x" * 1000] * (LIST_BYTES // 1000))
    return server, client


@pytest.mark.parametrize("wrapped", [False, True], ids=["pipeline", "transaction"])
def test_replies_beyond_the_limit_are_not_gathered(long_list, wrapped):
    server, client = long_list
    before, most = used(client), 0
    greedy = server.connect()
    request = encode("LRANGE", "list", "0", "-1") * 400
    greedy.socket.sendall(encode("MULTI") + request + encode("EXEC") if wrapped else request)

    def gone():
        nonlocal most
        most = max(most, used(client))
        return int(parse_info(client("INFO", "stats"))["client_output_buffer_limit_disconnections"]) == 1

    assert until(gone, timeout=20)
    peak = int(parse_info(client("INFO", "memory"))["used_memory_peak"])
    assert max(most, peak) - before < 40 * LIST_BYTES
    assert until(lambda: used(client) < before + LIST_BYTES)


def test_a_transaction_whose_replies_are_dropped_has_run(long_list):
    server, client = long_list
    greedy = server.connect()
    requests = encode("MULTI") + encode("LRANGE", "list", "0", "-1") * 3 + encode("INCR", "n") + encode("EXEC")
    greedy.socket.sendall(requests)
    assert until(lambda: client("GET", "n") == b"1")
    assert greedy.closed(5)


def test_long_pipelines_of_long_replies_are_answered_in_order(start):
    server = start()
    client = server.connect()
    client("RPUSH", "list", *["x" * 1000] * 2000)
    client.socket.sendall(b"".join(encode("LRANGE", "list", "0", "-1") + encode("INCR", "n") for _ in range(40)))
    for number in range(1, 41):
        assert len(client.read()) == 2000
        assert client.read() == number


@pytest.mark.parametrize("leave", ["watch", "block", "subscribe"])
def test_what_many_names_took_comes_back(start, leave):
    server = start()
    client = server.connect()
    before = used(client)
    names = [f"name:{number}" for number in range(200_000)]
    many = server.connect()
    if leave == "watch":
        assert many("WATCH", *names) == "OK"
    elif leave == "block":
        assert many("BLPOP", *names, "0.01") is None
    else:
        many.socket.sendall(encode("SUBSCRIBE", *names))
        assert until(lambda: parse_info(client("INFO", "stats"))["pubsub_channels"] == str(len(names)), timeout=20)
    assert used(client) > before
    many.close()
    assert until(lambda: used(client) < before + 3_000_000, timeout=20), (before, used(client))


def test_nothing_is_reserved_for_what_is_only_announced(start):
    server = start()
    client = server.connect()
    before = used(client)
    held = [server.connect() for _ in range(50)]
    for one in held:
        one.socket.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nabc")
    assert until(lambda: int(parse_info(client("INFO", "clients"))["connected_clients"]) == 51)
    time.sleep(0.3)
    assert used(client) - before < 50 * 100_000


def test_who_sends_or_receives_slowly_is_not_idle(start):
    server = start(timeout=1)
    sender, receiver, other = server.connect(), server.connect(), server.connect()
    value = b"v" * 400_000
    whole = encode("SET", "slow", value) + encode("MSET", *[f"k{number // 2}" for number in range(8000)])

    def send():
        for first in range(0, len(whole), len(whole) // 10 + 1):
            sender.socket.sendall(whole[first:first + len(whole) // 10 + 1])
            time.sleep(0.35)

    thread = threading.Thread(target=send)
    thread.start()
    other("SET", "long", b"l" * 30_000_000)
    receiver.socket.sendall(encode("GET", "long"))
    got, began = 0, time.monotonic()
    while got < 30_000_000:
        chunk = receiver.socket.recv(1_000_000)
        assert chunk, f"closed behind {got} bytes"
        got += len(chunk)
        time.sleep(0.1)
    thread.join()
    assert time.monotonic() - began > 1.5
    assert [sender.read(), sender.read()] == ["OK", "OK"]


def test_what_many_keys_leave_goes_back_to_the_system(start):
    """The allocator keeps what is freed while much is being freed; all of it goes back when that is over, though nobody asks for anything."""
    server = start()

    def fill(first):
        for at in range(first, first + 300_000, 1000):
            client.raw(b"".join(encode("SET", f"key:{number}", b"v" * 200) for number in range(at, at + 1000)))
            assert [client.read() for _ in range(1000)] == ["OK"] * 1000
            if at % 10_000 == 0:
                look()

    def look():
        """What is counted is what the allocator says that it has handed out, also while that changes by megabytes a second."""
        figures = parse_info(client("INFO", "memory"))
        used, allocated = int(figures["used_memory"]), int(figures["allocator_allocated"])
        assert abs(used - allocated) < 0.03 * allocated + 2_000_000, (used, allocated)

    with server.connect(timeout=30) as client:
        empty = server.resident_bytes()
        for turn in range(2):
            fill(turn * 300_000)
            full = server.resident_bytes()
            assert full > empty + 60_000_000
            client("FLUSHALL")
            assert until(lambda: server.resident_bytes() < empty + (full - empty) / 4, timeout=5), (empty, full, server.resident_bytes())
        look()


def test_large_arguments_that_wait_for_exec_count_once(start):
    """Room for a copy was kept beside each that had been taken over without one."""
    server = start()
    with server.connect() as client, server.connect() as other:
        number = client("CLIENT", "ID")
        before = used(other)
        client("MULTI")
        for _ in range(4):
            assert client("SET", "key", b"v" * 1_000_000) == "QUEUED"
        listed = other("CLIENT", "LIST", "ID", number)
        assert 4_000_000 < int(re.search(rb"multi-mem=(\d+)", listed).group(1)) < 4_100_000, listed
        assert used(other) < before + 5_500_000
        assert client("EXEC") == ["OK"] * 4


def test_values_of_changing_sizes_leave_no_holes(start):
    """Half of the keys go, and as many of other sizes come, again and again: what lies between the blocks in use goes back, as far as
    it is more than a tenth of these or 16 MB (src/server/compaction.rs)."""
    server, chance = start(), random.Random(7)

    def store(client, numbers, lengths):
        for at in range(0, len(numbers), 1000):
            some = numbers[at:at + 1000]
            client.raw(b"".join(encode("SET", f"key:{number}", b"v" * chance.randint(*lengths)) for number in some))
            assert [client.read() for _ in some] == ["OK"] * len(some)

    with server.connect(timeout=30) as client:
        keys = list(range(300_000))
        store(client, keys, (16, 40))
        for lengths in [(100, 200), (500, 1000), (40, 100), (16, 40)]:
            gone = chance.sample(keys, len(keys) // 2)
            for at in range(0, len(gone), 1000):
                some = gone[at:at + 1000]
                assert client("DEL", *(f"key:{number}" for number in some)) == len(some)
            store(client, gone, lengths)

        def holes():
            return server.resident_bytes() - used(client) * 1.1

        assert until(lambda: holes() < 32 << 20, timeout=20, pause=0.2), (server.resident_bytes(), used(client))


def own(client):
    """What CLIENT LIST charges a client, in bytes."""
    return int(re.search(rb"tot-mem=(\d+)", client("CLIENT", "INFO")).group(1))


@pytest.mark.parametrize("kind", ["watch", "subscribe", "psubscribe", "block"])
def test_what_a_client_enters_elsewhere_is_charged_to_it(start, kind):
    """Keys that it watches or waits for, channels: in CLIENT LIST, and for maxmemory-clients."""
    names, server = [f"name:{n}:{'x' * 100}" for n in range(20_000)], start()
    with server.connect() as admin, server.connect() as client:
        client("HELLO", "3")
        admin("PING")
        number, before, alone = client("CLIENT", "ID"), used(admin), own(client)
        for first in range(0, len(names), 1000):
            part = names[first : first + 1000]
            if kind == "watch":
                client("WATCH", *part)
            elif kind != "block":
                client.send(kind.upper(), *part)
                for _ in part:
                    client.read()
        if kind == "block":
            client.send("BLPOP", *names, "0")
            assert until(lambda: b"blocked_clients:1" in admin("INFO", "clients"))
        line = admin("CLIENT", "LIST", "ID", str(number))
        charged, grown = int(re.search(rb"tot-mem=(\d+)", line).group(1)) - alone, used(admin) - before
        assert 0.5 * grown < charged < 2 * grown, (charged, grown)
        admin("CONFIG", "SET", "maxmemory-clients", "2mb")
        assert until(lambda: b"evicted_clients:1" in admin("INFO", "stats"))
        admin("CONFIG", "SET", "maxmemory-clients", "0")
        assert until(lambda: used(admin) < before + 500_000), used(admin) - before


def test_what_a_client_has_left_is_not_charged_to_it(start):
    with start().connect() as client:
        client("HELLO", "3")
        alone = own(client)
        client("WATCH", *range(1000))
        assert own(client) > alone + 100_000
        client("UNWATCH")
        client("WATCH", *range(1000))
        client("MULTI")
        assert client("EXEC") == []
        for word in ("SUBSCRIBE", "UNSUBSCRIBE"):
            client.send(word, *range(1000))
            for _ in range(1000):
                client.read()
        client("BLPOP", *range(1000), "0.01")
        assert own(client) < alone + 20_000

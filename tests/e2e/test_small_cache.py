"""A cache of a few hundred keys keeps as many as fit, whatever else the server takes for a while."""
import threading
import time

import pytest
from support import encode, until

VALUE = b"v" * 64


@pytest.fixture
def cache(start):
    """A connection to a server with room for some hundred keys, full of them; how many it holds is known to `DBSIZE`."""
    server = start(maxmemory_policy="allkeys-lru")
    with server.connect() as client:
        client("DBSIZE")
        info = client("INFO", "memory").decode()
        used = int(info.split("used_memory:")[1].split()[0])
        client("CONFIG", "SET", "maxmemory", str(used + 100_000))
        fill(client, 0, 5000)
        time.sleep(0.5)
        fill(client, 5000, 6000)
        client.server = server
        yield client


def fill(client, first, last):
    """Stores new keys, sixteen at a time."""
    for at in range(first, last, 16):
        client.raw(b"".join(encode("SET", f"key:{number:012}", VALUE) for number in range(at, at + 16)))
        assert [client.read() for _ in range(16)] == ["OK"] * 16


def test_it_holds_the_same_number_of_keys_throughout(cache):
    held = []
    for turn in range(100):
        fill(cache, 10_000 + turn * 160, 10_160 + turn * 160)
        held.append(cache("DBSIZE"))
    assert min(held) > 100 and min(held) > 0.8 * max(held), held


def test_what_is_above_the_limit_is_told(cache):
    fill(cache, 6000, 8000)
    info = dict(line.split(":") for line in cache("INFO", "memory").decode().split() if ":" in line)
    used, limit = int(info["used_memory"]), int(info["maxmemory"])
    uncounted = int(info["mem_not_counted_for_evict"])
    assert limit < used <= (limit + uncounted) * 1.01, (used, limit, uncounted)
    cache("CONFIG", "SET", "maxmemory", "100mb")
    assert b"\r\nmem_not_counted_for_evict:0\r\n" in cache("INFO", "memory")


OF_THE_SERVER = [
    line.split()
    for line in """
    INFO everything | CONFIG SET maxmemory 8mb | CONFIG SET maxmemory-policy allkeys-lfu | CONFIG SET maxmemory-policy allkeys-lru maxmemory-samples 6
    CONFIG SET maxmemory-samples 5 | CONFIG SET notify-keyspace-events KEA | CONFIG GET * | CONFIG RESETSTAT | MEMORY STATS | MEMORY DOCTOR
    MEMORY PURGE | MEMORY MALLOC-STATS | FLUSHDB | FLUSHALL ASYNC | SWAPDB 0 1 | DBSIZE | SCAN 0 COUNT 1000 | RANDOMKEY | KEYS * | LATENCY HISTOGRAM
    CLIENT LIST | LASTSAVE | CLIENT TRACKING ON | FUNCTION STATS | SCRIPT FLUSH | PUBSUB CHANNELS | DEBUG DIGEST | DEBUG HTSTATS 0
    COMMAND COUNT | SLOWLOG GET | CONFIG SET appendonly yes | CONFIG SET appendonly no | EVAL return#redis.call('INFO') 0
    EVAL return#redis.call('MEMORY','MALLOC-STATS') 0 | EVAL return#redis.call('FLUSHALL') 0
    """.strip().replace("\n", "|").split("|")
]


def test_commands_of_the_server_in_transactions_while_others_evict(start):
    """What runs with the locks of a transaction held must not wait for whoever evicts, which waits for these."""
    server = start(maxmemory="8mb", maxmemory_policy="allkeys-lru", enable_debug_command="yes")

    def work(number):
        with server.connect(timeout=10) as client:
            for turn in range(4 * len(OF_THE_SERVER)):
                command = [word.replace("#", " ") for word in OF_THE_SERVER[(turn + number) % len(OF_THE_SERVER)]]
                stored = [encode("SET", f"key:{number}:{turn}:{key}", VALUE * 16) for key in range(40)]
                asked = [encode("MULTI"), *stored, encode(*command), encode("EXEC")] if number % 2 else stored
                client.raw(b"".join(asked))
                replies = [client.read() for _ in asked]
                assert not number % 2 or len(replies[-1]) == 41, (command, replies[-1])
        done.append(number)

    done = []
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(done) == list(range(8))


def test_a_request_in_two_pieces_costs_no_keys(cache):
    before = cache("DBSIZE")
    request = encode("SET", "key:in:two:pieces", VALUE)
    for _ in range(20):
        cache.raw(request[:30])
        time.sleep(0.005)
        cache.raw(request[30:])
        assert cache.read() == "OK"
    assert cache("DBSIZE") > 0.9 * before - 2, before


def test_what_fifty_clients_needed_is_given_back(cache):
    """Two workers that serve fifty pipelines at once need room for them; afterwards keys have it again."""
    before, server = cache("DBSIZE"), cache.server

    def work():
        with server.connect(timeout=30) as client:
            for _ in range(20):
                client.raw(b"".join(encode("GET", f"key:{number:012}") for number in range(5900, 6000)) + encode("ECHO", b"x" * 4000))
                [client.read() for _ in range(101)]

    threads = [threading.Thread(target=work) for _ in range(50)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    def held():
        time.sleep(0.3)
        fill(cache, 6000, 8000)  # more than fit, or as many are held as were stored
        return cache("DBSIZE")

    assert until(lambda: held() > 0.9 * before), (held(), before)


@pytest.mark.parametrize("header", ["", "#!lua\n"])
def test_a_script_writes_when_it_is_full(cache, header):
    text = header + "return redis.call('SET', KEYS[1], ARGV[1])"
    for number in range(2000):
        assert cache("EVAL", text, "1", f"script:{number:012}", VALUE) == "OK", number


def test_it_holds_the_same_number_of_keys_with_pauses(cache):
    """Whoever sends a batch of reads and writes now and then finds as much room for keys each time, however many of each there are."""
    newest, held = 6000, []

    def batch(reads, writes):
        nonlocal newest
        stored = [encode("SET", f"key:{newest + number:012}", VALUE) for number in range(writes)]
        cache.raw(b"".join(stored + [encode("GET", f"key:{newest - number:012}") for number in range(reads)]))
        newest += writes
        replies = [cache.read() for _ in range(writes + reads)]
        assert replies[:writes] == ["OK"] * writes and set(replies[writes:]) <= {None, VALUE}

    for _ in range(100):
        batch(16, 16)
    for reads, writes in [(16, 16), (0, 16), (16, 8), (16, 1)] * 5:
        for _ in range(2):
            time.sleep(0.12)  # longer than a worker keeps what it does not need
            batch(reads, writes)
            held.append(cache("DBSIZE"))
    assert max(held[8:]) - min(held[8:]) <= 0.01 * max(held), held


def test_forgetting_hot_keys_adds_nothing_to_the_limit(cache):
    long = [encode("GET", f"{number:0900}") for number in range(200)]

    def uncounted():
        return int(cache("INFO", "memory").decode().split("mem_not_counted_for_evict:")[1].split()[0])

    def sampled_and_forgotten():
        cache.raw(b"".join(long * 15))
        assert [cache.read() for _ in range(3000)] == [None] * 3000
        assert cache("HOTKEYS", "RESET") == "OK"

    sampled_and_forgotten()
    before = uncounted()
    for _ in range(30):
        sampled_and_forgotten()
    # Each time it was some 45 KB more.
    assert uncounted() < before + 100_000

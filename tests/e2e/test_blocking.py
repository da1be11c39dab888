"""Clients that wait for keys: who is served, in which order, and how a wait can end, against a server with two threads.

The same tests pass against Valkey (`LARDER=$VALKEY_SERVER`), but for the number of threads, which it does not know.
"""
import collections
import itertools
import random
import threading
import time

import pytest
import support
from support import ReplyError, encode, parse_info, until


@pytest.fixture(scope="module")
def module_server():
    """A server with two workers: connections are dealt out to both in turn."""
    options = {} if "valkey" in " ".join(support.program()) else {"threads": 2}
    with support.Server(enable_debug_command="yes", **options) as server:
        yield server
        assert server.process.poll() is None, "the server died:\n" + server.log()[-3000:]


@pytest.fixture(autouse=True)
def nobody_waits(server):
    """Each test begins with no client that waits: those of the test before may have gone without the server having noticed."""
    with server.connect() as client:
        client("CLIENT", "KILL", "TYPE", "normal")
        assert until(lambda: blocked(client) == 0), "clients of the test before still wait"


def blocked(client):
    """How many clients wait, as INFO tells."""
    return int(parse_info(client("INFO", "clients"))["blocked_clients"])


def waiting(server, *requests, hello=False):
    """A connection for each request, all of them waiting, in this order."""
    clients = []
    with server.connect() as control:
        before = blocked(control)
        for count, request in enumerate(requests, before + 1):
            clients.append(server.connect())
            if hello:
                clients[-1]("HELLO", "3")
            clients[-1].send(*request)
            assert until(lambda: blocked(control) == count), f"{request} does not wait"
    return clients


def silent(client, seconds=0.1):
    """Whether no reply comes for a while."""
    client.socket.settimeout(seconds)
    try:
        client.read()
        return False
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(10)


def id_of(server, *request):
    """A connection that waits, and its id."""
    client = server.connect()
    number = client("CLIENT", "ID")
    client.send(*request)
    with server.connect() as control:
        assert until(lambda: " flags=b " in f" {control('CLIENT', 'LIST', 'ID', number).decode()} ")
    return client, number


# Turn


@pytest.mark.parametrize("hello", [False, True])
def test_first_come_first_served_over_both_workers(server, client, hello):
    waiters = waiting(server, *[("BLPOP", "other", "q", "0")] * 9, hello=hello)
    for number in range(9):
        assert client("RPUSH", "q", number) == 1
    assert [each.read() for each in waiters] == [[b"q", b"%d" % number] for number in range(9)]
    assert client("EXISTS", "q") == 0 and blocked(client) == 0


def test_one_write_serves_many(server, client):
    waiters = waiting(server, ("BLPOP", "q", "0"), ("BRPOP", "q", "0"), ("BLMPOP", "0", "2", "x", "q", "LEFT", "COUNT", "2"), ("BLPOP", "q", "0"))
    assert client("RPUSH", "q", *range(5)) == 5
    assert [each.read() for each in waiters] == [[b"q", b"0"], [b"q", b"4"], [b"q", [b"1", b"2"]], [b"q", b"3"]]


def test_who_was_served_queues_at_the_end(server, client):
    first, second = waiting(server, ("BLPOP", "q", "0"), ("BLPOP", "q", "0"))
    client("RPUSH", "q", "1")
    assert first.read() == [b"q", b"1"]
    first.send("BLPOP", "q", "0")
    assert until(lambda: blocked(client) == 2)
    client("RPUSH", "q", "2", "3")
    assert (second.read(), first.read()) == ([b"q", b"2"], [b"q", b"3"])


def test_keys_named_twice_and_keys_of_others(server, client):
    twice, other = waiting(server, ("BLPOP", "a", "a", "b", "a", "0"), ("BLPOP", "b", "0"))
    client("RPUSH", "b", "1")
    assert twice.read() == [b"b", b"1"]
    client("RPUSH", "a", "x")
    assert client("LRANGE", "a", "0", "-1") == [b"x"], "nobody waits for it any more"
    client("RPUSH", "b", "2")
    assert other.read() == [b"b", b"2"]


def test_the_first_key_with_elements_wins(server, client):
    (waiter,) = waiting(server, ("BLPOP", "a", "b", "c", "0"))
    client.raw(encode("RPUSH", "c", "3") + encode("RPUSH", "a", "1"))
    assert (client.read(), client.read()) == (1, 1)
    assert waiter.read() == [b"c", b"3"] and client("LLEN", "a") == 1
    assert waiter("BLPOP", "b", "a", "0") == [b"a", b"1"]


# Time


@pytest.mark.parametrize("request_, reply", [
    (("BLPOP", "a", "b", "0.25"), b"*-1\r\n"), (("BRPOP", "a", "0.25"), b"*-1\r\n"), (("BLMPOP", "0.25", "1", "a", "LEFT"), b"*-1\r\n"),
    (("BLMOVE", "a", "b", "LEFT", "LEFT", "0.25"), b"*-1\r\n"), (("BRPOPLPUSH", "a", "b", "0.25"), b"*-1\r\n")])
@pytest.mark.parametrize("hello", [False, True])
def test_time_is_up(server, request_, reply, hello):
    with server.connect() as client:
        if hello:
            client("HELLO", "3")
        start = time.monotonic()
        client.send(*request_)
        assert client.socket.recv(100) == (b"_\r\n" if hello else reply)
        assert 0.24 <= time.monotonic() - start < 1
        assert client("PING") == "PONG" and blocked(client) == 0


def test_the_shortest_wait_is_a_millisecond(server, client):
    start = time.monotonic()
    assert client("BLPOP", "a", "0.0001") is None
    assert time.monotonic() - start < 0.5
    for wrong in ("-1", "x", "inf", "1e400"):
        assert "timeout" in client.error("BLPOP", "a", wrong)


def test_no_limit(server, client):
    (waiter,) = waiting(server, ("BLPOP", "q", "0"))
    assert silent(waiter, 1.2)
    assert client("RPUSH", "q", "1") == 1 and waiter.read() == [b"q", b"1"]


def test_an_element_that_comes_late_stays(server, client):
    waiters = [server.connect() for _ in range(20)]
    for waiter in waiters:
        waiter.send("BLPOP", "q", "0.1")
    assert [waiter.read() for waiter in waiters] == [None] * 20
    client("RPUSH", "q", "1")
    assert client("LRANGE", "q", "0", "-1") == [b"1"]


def test_a_race_of_time_and_element_loses_nothing(server, client):
    """Pushes that come just when the time is up: each element is either delivered or still there."""
    waiters = [server.connect() for _ in range(8)]
    for turn in range(40):
        for number, waiter in enumerate(waiters):
            waiter.send("BLPOP", "q", "0.0%d" % (10 + number))
        time.sleep(0.008 + (turn % 10) / 1000)
        client("RPUSH", "q", *range(4))
        got = [reply[1] for waiter in waiters if (reply := waiter.read())]
        got += client("LPOP", "q", "10") or []
        assert sorted(got) == [b"0", b"1", b"2", b"3"], turn


# Other ends of a wait


def test_unblock(server, client):
    waiter, number = id_of(server, "BLPOP", "q", "0")
    assert client("CLIENT", "UNBLOCK", number) == 1 and waiter.read() is None
    assert client("CLIENT", "UNBLOCK", number) == 0
    waiter.send("BLMOVE", "q", "r", "LEFT", "LEFT", "0")
    assert until(lambda: blocked(client) == 1)
    assert client("CLIENT", "UNBLOCK", number, "ERROR") == 1
    with pytest.raises(ReplyError, match="^UNBLOCKED client unblocked via CLIENT UNBLOCK$"):
        waiter.read()
    assert b"errorstat_UNBLOCKED:count=1\r\n" in client("INFO", "errorstats")
    waiter.send("BLPOP", "q", "0")
    assert until(lambda: blocked(client) == 1)
    assert client("CLIENT", "UNBLOCK", number, "TIMEOUT") == 1 and waiter.read() is None
    client("RPUSH", "q", "1")
    assert client("LLEN", "q") == 1 and waiter("LPOP", "q") == b"1"


@pytest.mark.parametrize("turn", range(5))
def test_who_has_gone_gets_nothing(server, client, turn):
    gone, stays = waiting(server, ("BLPOP", "q", "0"), ("BLPOP", "q", "0"))
    gone.close()
    client("RPUSH", "q", "1")
    assert stays.read() == [b"q", b"1"]
    assert until(lambda: blocked(client) == 0)
    (gone,) = waiting(server, ("BLPOP", "q", "0"))
    gone.close()
    client("RPUSH", "q", "2")
    assert client("LRANGE", "q", "0", "-1") == [b"2"]


@pytest.mark.parametrize("turn", range(5))
def test_who_is_killed_gets_nothing(server, client, turn):
    waiter, number = id_of(server, "BLPOP", "q", "0")
    client.raw(encode("CLIENT", "KILL", "ID", number) + encode("RPUSH", "q", "1") + encode("LRANGE", "q", "0", "-1"))
    assert [client.read() for _ in range(3)] == [1, 1, [b"1"]]
    assert waiter.closed() and until(lambda: blocked(client) == 0)


def test_what_a_killed_client_sent_ahead_is_not_run(server, client):
    waiter = server.connect()
    number = waiter("CLIENT", "ID")
    waiter.raw(encode("BLPOP", "q", "0") + encode("SET", "ran", "1"))
    assert until(lambda: blocked(client) == 1)
    assert client("CLIENT", "KILL", "ID", number) == 1 and waiter.closed()
    assert client("EXISTS", "ran") == 0


def test_idle_clients_that_wait_are_not_closed(start):
    server = start(timeout=1)
    (waiter,) = waiting(server, ("BLPOP", "q", "0"))
    time.sleep(2.5)
    with server.connect() as client:
        client("RPUSH", "q", "1")
        assert waiter.read() == [b"q", b"1"]


# Pipelines and silence


def test_requests_behind_one_that_waits(server, client):
    with server.connect() as waiter:
        waiter.raw(encode("PING") + encode("BLPOP", "q", "0") + encode("SET", "k", "1") + encode("BLPOP", "q", "r", "0") + encode("GET", "k"))
        assert waiter.read() == "PONG" and silent(waiter)
        waiter.raw(encode("INCR", "k")[:10])
        client("RPUSH", "r", "x")
        assert client("EXISTS", "k") == 0 and silent(waiter)
        waiter.raw(encode("INCR", "k")[10:])
        client("RPUSH", "q", "1")
        assert [waiter.read() for _ in range(5)] == [[b"q", b"1"], "OK", [b"r", b"x"], b"1", 2]


def test_a_long_pipeline_behind_one_that_waits(server, client):
    with server.connect() as waiter:
        waiter.raw(encode("BLPOP", "q", "0") + encode("INCR", "n") * 5000)
        assert until(lambda: blocked(client) == 1)
        client("RPUSH", "q", "1")
        assert waiter.read() == [b"q", b"1"] and [waiter.read() for _ in range(5000)] == list(range(1, 5001))


def test_waits_in_a_row(server, client):
    with server.connect() as waiter:
        waiter.raw(encode("BLPOP", "q", "0.05") * 3 + encode("BLPOP", "q", "0") * 2 + encode("PING"))
        start = time.monotonic()
        assert [waiter.read() for _ in range(3)] == [None] * 3
        assert 0.14 < time.monotonic() - start < 0.6
        client("RPUSH", "q", "1", "2")
        assert [waiter.read() for _ in range(3)] == [[b"q", b"1"], [b"q", b"2"], "PONG"]


def test_silenced_clients_wait_too(server, client):
    with server.connect() as waiter:
        waiter.raw(encode("CLIENT", "REPLY", "OFF") + encode("BLPOP", "q", "0"))
        assert until(lambda: blocked(client) == 1)
        client("RPUSH", "q", "1")
        assert until(lambda: client("EXISTS", "q") == 0)
        waiter.raw(encode("CLIENT", "REPLY", "ON"))
        assert waiter.read() == "OK"
        waiter.raw(encode("CLIENT", "REPLY", "SKIP") + encode("BLPOP", "q", "0") + encode("PING"))
        assert until(lambda: blocked(client) == 1)
        client("RPUSH", "q", "2")
        assert waiter.read() == "PONG" and client("EXISTS", "q") == 0


# Moves


def test_a_chain_of_moves(server, client):
    chain = [("BLMOVE", f"l{n}", f"l{n + 1}", "LEFT", "RIGHT", "0") for n in range(5)]
    waiters = waiting(server, *reversed(chain), ("BLPOP", "l5", "0"))
    assert client("RPUSH", "l0", "x") == 1
    assert [each.read() for each in waiters] == [b"x"] * 5 + [[b"l5", b"x"]]
    assert client("DBSIZE") == 0


def test_moves_in_a_circle_end(server, client):
    waiters = waiting(server, ("BLMOVE", "a", "b", "LEFT", "RIGHT", "0"), ("BLMOVE", "b", "a", "LEFT", "RIGHT", "0"), ("BRPOPLPUSH", "a", "a", "0"))
    client("RPUSH", "a", "x")
    assert [each.read() for each in waiters] == [b"x"] * 3
    assert client("LRANGE", "a", "0", "-1") == [b"x"]


# Types, and keys that come to be in other ways


def test_other_types_serve_nobody(server, client):
    (waiter,) = waiting(server, ("BLPOP", "q", "0"))
    for words in (("SET", "q", "v"), ("APPEND", "q", "v"), ("DEL", "q")):
        client(*words)
    assert silent(waiter)
    client("RPUSH", "q", "1")
    assert waiter.read() == [b"q", b"1"]


def test_a_move_to_another_type_fails_and_takes_nothing(server, client):
    client("SET", "target", "v")
    first, second = waiting(server, ("BLMOVE", "q", "target", "LEFT", "LEFT", "0"), ("BLPOP", "q", "0"))
    client("RPUSH", "q", "1")
    with pytest.raises(ReplyError, match="^WRONGTYPE"):
        first.read()
    assert second.read() == [b"q", b"1"]


@pytest.mark.parametrize("request_", [("RENAME", "source", "q"), ("RENAMENX", "source", "q"), ("COPY", "source", "q"), ("LMOVE", "source", "q", "LEFT", "LEFT")])
def test_keys_that_come_by_another_name(server, client, request_):
    client("RPUSH", "source", "1")
    (waiter,) = waiting(server, ("BLPOP", "q", "0"))
    client(*request_)
    assert waiter.read() == [b"q", b"1"]


def test_keys_that_come_from_another_database(server, client):
    client("SELECT", "1")
    client("RPUSH", "q", "1")
    for request in (("MOVE", "q", "0"), ("COPY", "q", "q", "DB", "0"), ("SWAPDB", "0", "1")):
        client("DEL", "q")
        client("RPUSH", "q", "1")
        (waiter,) = waiting(server, ("BLPOP", "q", "0"))
        assert client("SELECT", "1") == "OK" and silent(waiter, 0.02)
        assert client(*request) in (1, "OK")
        assert waiter.read() == [b"q", b"1"], request
    client("SELECT", "0")


def test_a_flush_ends_no_wait(server, client):
    (waiter,) = waiting(server, ("BLPOP", "q", "0"))
    assert client("FLUSHALL") == "OK" and client("FLUSHDB") == "OK" and silent(waiter)
    client("RPUSH", "q", "1")
    assert waiter.read() == [b"q", b"1"]


def test_waits_are_counted_and_shown(server, client):
    (waiter,) = waiting(server, ("BLPOP", "a", "b", "100"))
    info = parse_info(client("INFO", "clients"))
    assert (info["blocked_clients"], info["total_blocking_keys"], info["clients_in_timeout_table"]) == ("1", "2", "1")
    assert b" flags=b " in client("CLIENT", "LIST") and b"cmd=blpop" in client("CLIENT", "LIST")
    waiter.close()
    assert until(lambda: parse_info(client("INFO", "clients"))["total_blocking_keys"] == "0")


# Many at once


class Consumer(threading.Thread):
    """Takes elements from some keys until it is told to stop by an element."""

    def __init__(self, server, keys, command):
        super().__init__(daemon=True)
        self.client, self.keys, self.command = server.connect(timeout=60), keys, command
        self.got, self.failure = [], None

    def run(self):
        """Reads until the stop sign."""
        try:
            while True:
                key, value = self.client(self.command, *self.keys, "0")
                if value == b"stop":
                    return
                self.got.append((key, value))
        except Exception as failure:  # noqa: BLE001  (shown by the test)
            self.failure = failure


def _produce(server, number, keys, count, failures):
    chooser = random.Random(number)
    try:
        with server.connect(timeout=60) as client:
            numbers = itertools.count()
            while count:
                batch = min(count, chooser.choice((1, 1, 1, 2, 5, 20)))
                key = chooser.choice(keys)
                values = [b"%d:%d" % (number, next(numbers)) for _ in range(batch)]
                client("RPUSH", key, *values)
                count -= batch
    except Exception as failure:  # noqa: BLE001
        failures.append(failure)


def test_every_element_is_delivered_once_and_in_order(server, client):
    keys, total, failures = [b"s0", b"s1", b"s2", b"s3"], 20_000, []
    consumers = [Consumer(server, keys[n % 4:] + keys[:n % 4], "BLPOP") for n in range(8)]
    producers = [threading.Thread(target=_produce, args=(server, n, keys, total // 8, failures), daemon=True) for n in range(8)]
    for thread in consumers + producers:
        thread.start()
    for producer in producers:
        producer.join(120)
    assert not failures
    assert until(lambda: client("EXISTS", *keys) == 0, timeout=30), "elements are left though clients wait"
    for _ in consumers:
        client("RPUSH", "s0", "stop")
    for consumer in consumers:
        consumer.join(30)
        assert consumer.failure is None and not consumer.is_alive()
    delivered = collections.Counter(value for consumer in consumers for _, value in consumer.got)
    assert len(delivered) == total and set(delivered.values()) == {1}
    for consumer in consumers:
        seen = {}
        for key, value in consumer.got:
            producer, number = map(int, value.split(b":"))
            assert seen.get((key, producer), -1) < number, "taken out of turn"
            seen[key, producer] = number


def test_clients_that_come_and_go_lose_nothing(server, client):
    """Consumers with short waits, among them some that hang up: what they were not sent is still there or went to others."""
    stop, got, lock = threading.Event(), [], threading.Lock()

    def consume(number):
        chooser = random.Random(number)
        while not stop.is_set():
            with server.connect(timeout=30) as consumer:
                for _ in range(chooser.randrange(1, 6)):
                    reply = consumer("BLPOP", "q", "0.%03d" % chooser.randrange(1, 20))
                    if reply:
                        with lock:
                            got.append(int(reply[1]))

    threads = [threading.Thread(target=consume, args=(number,), daemon=True) for number in range(8)]
    for thread in threads:
        thread.start()
    for number in range(3000):
        client("RPUSH", "q", number)
        if number % 50 == 0:
            time.sleep(0.01)
    assert until(lambda: client("EXISTS", "q") == 0, timeout=30)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == list(range(3000)) and blocked(client) == 0

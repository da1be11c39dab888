"""Scripts that run for long keep their locks while their worker does other things: nothing of these may wait for the locks.

The story: a client's wait ended (by its time limit, or with its connection) while a script of the same worker held the shard
of its key. The worker waited for the lock, and so for itself: the server answered nobody any more. So did an eviction, and
the end of a watch; the prefetching of elements ended the connection; and the clock of the server, which counts keys under
their locks, kept it from letting anybody in who could have ended the script.
"""
import time

import pytest

from support import ReplyError

FOR_EVER = ("EVAL", "while true do end", 0)


@pytest.fixture
def one_worker(start):
    """A server of one worker, with a thousand keys."""
    server = start(threads=1)
    with server.connect() as client:
        for number in range(1000):
            client.send("SET", f"key:{number}", "v" * 300)
        assert [client.read() for _ in range(1000)] == ["OK"] * 1000
    return server


def begin(server):
    """A connection whose script runs for ever, and has held its locks for long."""
    runner = server.connect()
    runner.send(*FOR_EVER)
    time.sleep(0.1)
    return runner


def end(server, runner):
    """Somebody who comes in now can end the script, and be served."""
    with server.connect(timeout=5) as client:
        assert client("SCRIPT", "KILL") == "OK"
        assert "killed by user" in _error(runner)
        assert client("SET", "after", "1") == "OK"
    runner.close()


def _error(client):
    with pytest.raises(ReplyError) as error:
        client.read()
    return str(error.value)


def test_a_wait_for_keys_ends_meanwhile(one_worker):
    with one_worker.connect() as waiting:
        waiting.send("BLPOP", "queue", "0.3")
        runner = begin(one_worker)
        assert waiting.read() is None
        end(one_worker, runner)
        # Its ticket is out of the queue: what comes now is kept for the next.
        time.sleep(0.3)
        assert waiting("RPUSH", "queue", "a") == 1
        assert waiting("BLPOP", "queue", "1") == [b"queue", b"a"]


def test_a_client_that_waits_or_watches_leaves_meanwhile(one_worker):
    waiting, watching = one_worker.connect(), one_worker.connect()
    assert watching("WATCH", "queue", "key:1") == "OK"
    waiting.send("BLPOP", "queue", "0")
    runner = begin(one_worker)
    waiting.close()
    watching.close()
    time.sleep(0.2)
    end(one_worker, runner)
    with one_worker.connect() as client:
        time.sleep(0.3)
        assert client("RPUSH", "queue", "a") == 1
        assert client("LLEN", "queue") == 1
        info = dict(line.split(":", 1) for line in client("INFO", "clients").decode().split("\r\n") if ":" in line)
        assert (info["blocked_clients"], info["total_blocking_keys"]) == ("0", "0")


def test_elements_of_a_collection_are_asked_for_meanwhile(one_worker):
    with one_worker.connect() as client:
        assert client("HSET", "hash", "field", "value") == 1
        runner = begin(one_worker)
        for _ in range(3):
            client.send("HGET", "hash", "field")
        time.sleep(0.2)
        end(one_worker, runner)
        assert [client.read() for _ in range(3)] == [b"value"] * 3


@pytest.mark.parametrize("writes", ["others", "script"])
def test_memory_is_full_meanwhile(one_worker, writes):
    with one_worker.connect() as client:
        assert client("CONFIG", "SET", "maxmemory-policy", "allkeys-lru") == "OK"
        used = int(client("INFO", "memory").decode().split("used_memory:")[1].split("\r\n")[0])
        assert client("CONFIG", "SET", "maxmemory", used + 100_000) == "OK"
        if writes == "others":
            runner = begin(one_worker)
            for number in range(600):
                client.send("SET", f"more:{number}", "v" * 300)
            time.sleep(0.3)
            end(one_worker, runner)
            assert [client.read() for _ in range(600)] == ["OK"] * 600
        else:
            runner = one_worker.connect()
            runner.send("EVAL", "for i = 1, 2000 do redis.call('set', 'more:' .. i, string.rep('v', 300)) end "
                        "local start = redis.call('time')[1] while redis.call('time')[1] - start < 2 do end", 0)
            time.sleep(0.5)
            with one_worker.connect(timeout=5) as other:
                assert other("SET", "after", "1") == "OK"
            assert runner.read() is None
        time.sleep(0.3)
        assert int(client("INFO", "stats").decode().split("evicted_keys:")[1].split("\r\n")[0]) > 0


def test_who_waits_for_two_keys_is_served_when_the_script_is_over(one_worker):
    with one_worker.connect() as waiting, one_worker.connect() as client, one_worker.connect() as runner:
        waiting.send("BLMOVE", "source", "destination", "LEFT", "LEFT", "0")
        time.sleep(0.1)
        # It holds the locks of its key alone; who comes next has locks of its own.
        runner.send("EVAL", "redis.call('get', KEYS[1]) while true do end", 1, "destination")
        time.sleep(0.1)
        client.send("RPUSH", "source", "a")
        time.sleep(0.1)
        assert waiting.socket.fileno() >= 0
        with one_worker.connect(timeout=5) as killer:
            assert killer("SCRIPT", "KILL") == "OK"
        assert "killed by user" in _error(runner)
        assert client.read() == 1
        assert waiting.read() == b"a"

"""redis-py: pub/sub, keyspace notifications and client-side caching, synchronous and asyncio."""
import asyncio
import threading
import time

import pytest
import redis
import redis.asyncio as aredis
from redis.cache import CacheConfig


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def r(server, request):
    """A client of each protocol version."""
    with redis.Redis(port=server.port, protocol=request.param, decode_responses=True, socket_timeout=10) as client:
        yield client


def messages(pubsub, count):
    """The next messages, confirmations among them."""
    found, end = [], time.monotonic() + 5
    while len(found) < count and time.monotonic() < end:
        if message := pubsub.get_message(timeout=0.2):
            found.append((message["type"], message["pattern"], message["channel"], message["data"]))
    return found


def test_channels_and_patterns(r):
    with r.pubsub() as p:
        p.subscribe("a", "b")
        p.psubscribe("x*")
        assert messages(p, 3) == [("subscribe", None, "a", 1), ("subscribe", None, "b", 2), ("psubscribe", None, "x*", 3)]
        assert r.publish("a", "1") == 1 and r.publish("xyz", "2") == 1 and r.publish("nobody", "3") == 0
        assert messages(p, 2) == [("message", None, "a", "1"), ("pmessage", "x*", "xyz", "2")]
        assert r.pubsub_channels() == ["a", "b"] or r.pubsub_channels() == ["b", "a"]
        assert r.pubsub_numsub("a", "c") == [("a", 1), ("c", 0)] and r.pubsub_numpat() == 1
        p.unsubscribe("a")
        p.punsubscribe()
        assert messages(p, 2) == [("unsubscribe", None, "a", 2), ("punsubscribe", None, "x*", 1)]
        p.unsubscribe()


def test_a_thread_of_handlers(r):
    seen, done = [], threading.Event()

    def handler(message):
        seen.append(message["data"])
        if len(seen) == 500:
            done.set()

    with r.pubsub() as p:
        p.subscribe(**{"a": handler})
        assert messages(p, 1) == [("subscribe", None, "a", 1)]
        thread = p.run_in_thread(sleep_time=0.01)
        assert [r.publish("a", i) for i in range(500)] == [1] * 500
        assert done.wait(10)
        thread.stop()
        thread.join()
        assert seen == [str(i) for i in range(500)]


def test_the_listener_survives_a_lost_connection(r):
    with r.pubsub() as p:
        p.subscribe("a")
        assert messages(p, 1)
        assert r.client_kill_filter(_type="pubsub") == 1
        seen = []
        for _ in range(50):
            try:
                message = p.get_message(timeout=0.1)
            except redis.ConnectionError:
                continue
            if message and message["type"] == "message":
                seen.append(message["data"])
                break
            r.publish("a", "again")
        assert seen == ["again"]


def test_sharded_channels(r):
    with r.pubsub() as p:
        p.execute_command("SSUBSCRIBE", "s")
        assert p.parse_response(block=True) == ["ssubscribe", "s", 1]
        assert r.execute_command("SPUBLISH", "s", "x") == 1
        assert r.execute_command("PUBSUB", "SHARDCHANNELS") == ["s"]
        assert p.parse_response(block=True) == ["smessage", "s", "x"]
        p.reset()


def test_expired_keys_are_heard_of(r):
    r.config_set("notify-keyspace-events", "Ex")
    assert r.config_get("notify-keyspace-events") == {"notify-keyspace-events": "xE"}
    with r.pubsub() as p:
        p.psubscribe("__keyevent@*__:expired")
        assert messages(p, 1)
        r.set("session:1", "x", px=50)
        r.hset("session:2", "f", "v")
        r.pexpire("session:2", 80)
        heard = messages(p, 2)
        assert [message[3] for message in heard] == ["session:1", "session:2"]
        assert heard[0][2] == "__keyevent@0__:expired"
    r.config_set("notify-keyspace-events", "")


def test_asyncio(server):
    async def go():
        async with aredis.Redis(port=server.port, decode_responses=True) as client, client.pubsub() as p:
            await p.psubscribe("c:*")
            seen = []

            async def listen():
                async for message in p.listen():
                    if message["type"] == "pmessage":
                        seen.append(message["data"])
                        if len(seen) == 300:
                            return

            task = asyncio.create_task(listen())
            await asyncio.sleep(0.05)
            async with client.pipeline(transaction=False) as pipe:
                for i in range(300):
                    pipe.publish(f"c:{i % 7}", i)
                assert await pipe.execute() == [1] * 300
            await asyncio.wait_for(task, 10)
            assert seen == [str(i) for i in range(300)]

    asyncio.run(asyncio.wait_for(go(), 60))


def test_client_side_cache(server, monkeypatch):
    # The version a client is told is 7.2; what redis-py asks of a server for its cache is there.
    monkeypatch.setattr(redis.connection.CacheProxyConnection, "MIN_ALLOWED_VERSION", "7.2.0")
    with redis.Redis(port=server.port, protocol=3, decode_responses=True, cache_config=CacheConfig()) as client, \
            redis.Redis(port=server.port, decode_responses=True) as other:
        other.set("k", "1")
        assert client.get("k") == "1" and client.get_cache().size == 1
        reads = other.info("commandstats")["cmdstat_get"]["calls"]
        assert [client.get("k") for _ in range(10)] == ["1"] * 10
        assert other.info("commandstats")["cmdstat_get"]["calls"] == reads, "answered from the cache"
        other.set("k", "2")
        time.sleep(0.05)
        assert client.get("k") == "2"
        other.flushall()
        time.sleep(0.05)
        assert client.get("k") is None
        other.set("short", "x", px=100)
        assert client.get("short") == "x"
        time.sleep(0.4)
        assert client.get("short") is None

"""redis-py, asyncio: the same server under many coroutines, pools and cancelled requests."""
import asyncio
import contextlib

import pytest
import redis
import redis.asyncio as aredis


def run(coroutine):
    """Runs a test's coroutine to its end."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def url(server, request):
    """The address of the server for each protocol version."""
    return f"redis://127.0.0.1:{server.port}?protocol={request.param}"


def test_commands(url):
    async def go():
        async with aredis.from_url(url) as r:
            assert await r.ping() and await r.set("k", "v", ex=100) and await r.get("k") == b"v"
            assert await r.incr("n") == 1 and await r.mget("k", "n", "x") == [b"v", b"1", None]
            assert await r.ttl("k") > 90 and await r.delete("k", "n") == 2 and await r.dbsize() == 0
            with pytest.raises(redis.ResponseError, match="unknown command"):
                await r.execute_command("NOSUCH")
    run(go())


def test_pipeline(url):
    async def go():
        async with aredis.from_url(url, decode_responses=True) as r:
            async with r.pipeline(transaction=False) as pipe:
                for i in range(2000):
                    pipe.set(f"k{i}", i).get(f"k{i}")
                replies = await pipe.execute()
            assert replies[1::2] == [str(i) for i in range(2000)]
            assert {k async for k in r.scan_iter("k*", count=100)} == {f"k{i}" for i in range(2000)}
    run(go())


def test_many_coroutines_share_a_pool(url):
    async def go():
        pool = aredis.BlockingConnectionPool.from_url(url, max_connections=16, timeout=30)
        r = aredis.Redis(connection_pool=pool)

        async def work(number):
            for i in range(25):
                await r.set(f"w{number}", f"{number}:{i}")
                assert await r.get(f"w{number}") == f"{number}:{i}".encode()
                await r.incr("total")
        await asyncio.gather(*(work(n) for n in range(100)))
        assert await r.get("total") == b"2500"
        await r.aclose()
        await pool.disconnect()
    run(go())


def test_a_cancelled_request_does_not_spoil_the_next(url):
    async def go():
        async with aredis.from_url(url, max_connections=1) as r:
            await r.set("a", "1")
            for _ in range(30):
                task = asyncio.create_task(r.get("a"))
                await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                assert await r.set("b", "2") is True and await r.get("b") == b"2"
    run(go())


def test_a_closed_connection_is_opened_again(url):
    async def go():
        async with aredis.from_url(url) as r, aredis.from_url(url) as other:
            await r.set("k", "v")
            await other.client_kill_filter(_id=await r.client_id())
            for _ in range(3):
                try:
                    assert await r.get("k") == b"v"
                    return
                except redis.ConnectionError:
                    continue
            pytest.fail("not opened again")
    run(go())


def test_monitor(url, server):
    async def go():
        async with aredis.from_url(url) as watcher, aredis.from_url(url) as worker:
            async with watcher.monitor() as monitor:
                await worker.set("k", "v")
                while not (await monitor.next_command())["command"].startswith("SET"):
                    pass
    run(go())

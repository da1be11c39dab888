"""Dramatiq: its broker is one long script; messages, retries, delays, results, groups, a rate limiter."""
import threading

import dramatiq
from dramatiq import group
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import BucketRateLimiter, ConcurrentRateLimiter, WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend as LimitBackend
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from steps import PORT, done, equal, server, step, until

server().flushall()
broker = RedisBroker(host="127.0.0.1", port=PORT)
broker.add_middleware(Results(backend=RedisBackend(client=server())))
dramatiq.set_broker(broker)
seen, lock = [], threading.Lock()


@dramatiq.actor(store_results=True)
def add(a, b):
    return a + b


@dramatiq.actor
def note(number):
    with lock:
        seen.append(number)


@dramatiq.actor(max_retries=3, min_backoff=20, max_backoff=50, store_results=True)
def flaky(key):
    tries = server().incr(key)
    if tries < 3:
        raise ValueError("not yet")
    return tries


worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=4)
worker.start()


@step("a message and its result")
def _():
    equal(add.send(2, 3).get_result(block=True, timeout=10_000), 5)


@step("500 messages, each once")
def _():
    [note.send(number) for number in range(500)]
    assert until(lambda: len(seen) >= 500, 20), len(seen)
    equal(sorted(seen), list(range(500)))


@step("retries")
def _():
    equal(flaky.send("tries").get_result(block=True, timeout=20_000), 3)


@step("a delay")
def _():
    equal(add.send_with_options(args=(1, 2), delay=300).get_result(block=True, timeout=10_000), 3)


@step("a group")
def _():
    results = group([add.message(number, 1) for number in range(10)]).run().get_results(block=True, timeout=10_000)
    equal(list(results), list(range(1, 11)))


@step("limiters: concurrent, bucket, window")
def _():
    backend = LimitBackend(client=server())
    mutex = ConcurrentRateLimiter(backend, "mutex", limit=1)
    with mutex.acquire(raise_on_failure=False) as first, mutex.acquire(raise_on_failure=False) as second:
        equal((first, second), (True, False))
    for limiter in [BucketRateLimiter(backend, "bucket", limit=3, bucket=60_000), WindowRateLimiter(backend, "window", limit=3, window=60)]:
        granted = []
        for _ in range(5):
            with limiter.acquire(raise_on_failure=False) as got:
                granted.append(got)
        equal(granted, [True] * 3 + [False] * 2)


worker.stop()


@step("what was not acknowledged is still there, and a queue can be flushed")
def _():
    note.send(1000)
    assert server().llen("dramatiq:default") == 1
    broker.flush_all()
    assert server().llen("dramatiq:default") == 0


done()

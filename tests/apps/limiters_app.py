"""Rate limiters and distributed locks that live in scripts: limits, pyrate-limiter, pottery."""
import threading
import time

import limits
import limits.storage
import limits.strategies
from pottery import BloomFilter, NextID, RedisDict, RedisList, Redlock, RedisSimpleQueue
from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
from steps import URL, done, equal, server, step

connection = server()
connection.flushall()
storage = limits.storage.storage_from_string(URL)

for kind in ("FixedWindowRateLimiter", "MovingWindowRateLimiter", "SlidingWindowCounterRateLimiter"):

    @step(f"limits: {kind}")
    def _():
        limiter = getattr(limits.strategies, kind)(storage)
        rate = limits.parse("5/minute")
        equal([limiter.hit(rate, kind, "user") for _ in range(7)], [True] * 5 + [False] * 2)
        assert not limiter.test(rate, kind, "user") and limiter.test(rate, kind, "another")
        left = limiter.get_window_stats(rate, kind, "user")
        assert left.remaining == 0 and time.time() - 1 < left.reset_time < time.time() + 61
        limiter.clear(rate, kind, "user")
        if kind != "SlidingWindowCounterRateLimiter":
            assert limiter.hit(rate, kind, "user")


@step("limits: eight threads get what is allowed and no more")
def _():
    limiter = limits.strategies.MovingWindowRateLimiter(storage)
    rate, granted = limits.parse("100/minute"), []
    hit = lambda: granted.extend(limiter.hit(rate, "many") for _ in range(30))
    threads = [threading.Thread(target=hit) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal((granted.count(True), granted.count(False)), (100, 140))


@step("limits: a window ends")
def _():
    limiter = limits.strategies.MovingWindowRateLimiter(storage)
    rate = limits.parse("1/second")
    assert limiter.hit(rate, "short") and not limiter.hit(rate, "short")
    time.sleep(1.1)
    assert limiter.hit(rate, "short")


@step("pyrate-limiter: two rates in one bucket")
def _():
    bucket = RedisBucket.init([Rate(3, Duration.SECOND), Rate(4, Duration.MINUTE)], connection, "bucket")
    limiter = Limiter(bucket)
    taken = lambda: limiter.try_acquire("user", blocking=False)
    equal([taken() for _ in range(4)], [True] * 3 + [False])
    time.sleep(1.2)
    equal([taken(), taken()], [True, False])


@step("pottery: Redlock excludes, expires, is extended")
def _():
    lock = Redlock(key="lock", masters={connection}, auto_release_time=2)
    assert lock.acquire() and not Redlock(key="lock", masters={connection}).acquire(blocking=False)
    assert lock.locked() > 0
    lock.extend()
    lock.release()
    with Redlock(key="lock", masters={connection}, auto_release_time=0.3):
        time.sleep(0.1)


@step("pottery: ids are given out once")
def _():
    ids = []
    work = lambda: ids.extend(next(NextID(key="ids", masters={connection}, num_tries=50)) for _ in range(20))
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(len(set(ids)), 80)


@step("pottery: a dictionary, a list, a queue, a Bloom filter")
def _():
    table = RedisDict({"a": 1}, redis=connection, key="table")
    table["b"] = [2, 3]
    equal(dict(table), {"a": 1, "b": [2, 3]})
    numbers = RedisList(range(5), redis=connection, key="numbers")
    numbers.insert(2, 99)
    numbers[0] = -1
    del numbers[1]
    equal(list(numbers), [-1, 99, 2, 3, 4])
    queue = RedisSimpleQueue(redis=connection, key="queue")
    queue.put("x")
    equal((queue.qsize(), queue.get()), (1, "x"))
    seen = BloomFilter(redis=connection, key="seen", num_elements=100, false_positives=0.01)
    seen.update({"one", "two"})
    assert "one" in seen and "three" not in seen


done()

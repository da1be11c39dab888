"""Huey: blocking, priority and expiring queues; results, retries, schedules, locks, pipelines."""
import time

from huey import PriorityRedisHuey, RedisExpireHuey, RedisHuey
from huey.exceptions import TaskException, TaskLockedException
from steps import PORT, done, equal, server, step

server().flushall()


def consumed(huey, action):
    """Runs `action` beside a consumer with four workers."""
    consumer = huey.create_consumer(workers=4, initial_delay=0.01, max_delay=0.05, backoff=1.1, scheduler_interval=1, check_worker_health=False)
    consumer.start()
    try:
        return action()
    finally:
        consumer.stop(graceful=True)


for kind in (RedisHuey, PriorityRedisHuey, RedisExpireHuey):
    huey = kind(kind.__name__, host="127.0.0.1", port=PORT)
    runs = []

    @huey.task()
    def add(a, b):
        return a + b

    @huey.task(retries=2)
    def flaky():
        runs.append(1)
        if len(runs) < 3:
            raise ValueError("not yet")
        return len(runs)

    @step(f"{kind.__name__}: 100 tasks and their results")
    def _():
        equal(consumed(huey, lambda: [r.get(blocking=True, timeout=20) for r in [add(n, 1) for n in range(100)]]), list(range(1, 101)))

    @step(f"{kind.__name__}: retries")
    def _():
        def both():
            result = flaky()
            while True:
                try:
                    return result.get(blocking=True, timeout=20)
                except TaskException:
                    result.reset()

        equal(consumed(huey, both), 3)

    @step(f"{kind.__name__}: a task of later")
    def _():
        begun = time.monotonic()
        equal(consumed(huey, lambda: add.schedule((4, 5), delay=1).get(blocking=True, timeout=20)), 9)
        assert time.monotonic() - begun >= 0.9

    @step(f"{kind.__name__}: one after another, revoked, locked, flushed")
    def _():
        line = add.s(1, 2).then(add, 3).then(add, 4)
        equal(consumed(huey, lambda: huey.enqueue(line).get(blocking=True, timeout=20)), [3, 6, 10])
        result = add(1, 1)
        result.revoke()
        assert result.is_revoked()
        with huey.lock_task("only-one"):
            try:
                with huey.lock_task("only-one"):
                    raise AssertionError("locked twice")
            except TaskLockedException:
                pass
        huey.storage.flush_all()
        equal((len(huey), huey.scheduled_count(), huey.result_count()), (0, 0, 0))


done()

"""Celery: tasks, results, retries, countdowns, groups, chords and chains, with broker and results on the server."""
import threading
import time

from celery import Celery, chain, chord, group
from celery.contrib.testing.worker import start_worker
from steps import URL, done, equal, server, step

server().flushall()
app = Celery("jobs", broker=URL + "/0", backend=URL + "/1")
app.conf.update(broker_connection_retry_on_startup=True, worker_hijack_root_logger=False, task_track_started=True)
tried = []


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


@app.task(bind=True, max_retries=2, default_retry_delay=0.05)
def flaky(self):
    tried.append(1)
    if len(tried) < 3:
        raise self.retry(exc=ValueError("not yet"))
    return len(tried)


@app.task
def boom():
    raise ValueError("boom")


with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False, loglevel="ERROR"):

    @step("a task and its result")
    def _():
        equal(add.delay(2, 3).get(timeout=20), 5)

    @step("200 tasks, each done once")
    def _():
        results = [add.delay(number, 0) for number in range(200)]
        equal([result.get(timeout=25) for result in results], list(range(200)))

    @step("a failure is told")
    def _():
        result = boom.delay()
        try:
            result.get(timeout=20)
            raise AssertionError("no failure")
        except ValueError as error:
            equal(str(error), "boom")
        equal(result.state, "FAILURE")

    @step("retries")
    def _():
        equal(flaky.delay().get(timeout=20), 3)

    @step("a countdown")
    def _():
        begun = time.monotonic()
        equal(add.apply_async((1, 1), countdown=1).get(timeout=20), 2)
        assert time.monotonic() - begun >= 0.9

    @step("group, chain, chord")
    def _():
        equal(group(add.s(number, 1) for number in range(10))().get(timeout=20), list(range(1, 11)))
        equal(chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=20), 10)
        equal(chord((add.s(number, number) for number in range(20)), total.s())().get(timeout=20), 380)

    @step("results are forgotten and expire")
    def _():
        result = add.delay(1, 2)
        result.get(timeout=20)
        key = "celery-task-meta-" + result.id
        assert 0 < server(db=1).ttl(key) <= 86400
        result.forget()
        assert not server(db=1).exists(key)

done()

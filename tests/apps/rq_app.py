"""RQ: queues, results, failures, retries, dependencies, deferred jobs, repeated fetches."""
import datetime
import operator

from rq import Queue, Retry, SimpleWorker
from rq.job import Job
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry
from rq.scheduler import RQScheduler
from steps import done, equal, server, step

connection = server()
connection.flushall()
queue = Queue("jobs", connection=connection)


def work(**options):
    SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR", **options)


@step("a job, its status and its result")
def _():
    job = queue.enqueue(operator.add, 2, 3)
    equal((job.get_status(), len(queue)), ("queued", 1))
    work()
    equal((job.get_status(), job.return_value()), ("finished", 5))
    assert job.id in FinishedJobRegistry(queue=queue)


@step("100 jobs in order")
def _():
    jobs = [queue.enqueue(operator.mul, number, 2) for number in range(100)]
    work()
    equal([job.return_value() for job in jobs], [number * 2 for number in range(100)])
    equal(Job.fetch(jobs[7].id, connection=connection).return_value(), 14)


@step("a failure is registered and can be put back")
def _():
    job = queue.enqueue(operator.truediv, 1, 0)
    work()
    equal(job.get_status(), "failed")
    registry = FailedJobRegistry(queue=queue)
    assert job.id in registry
    registry.requeue(job.id)
    equal(len(queue), 1)
    work()


@step("retries")
def _():
    job = queue.enqueue(operator.truediv, 1, 0, retry=Retry(max=2))
    work()
    equal((job.get_status(), Job.fetch(job.id, connection=connection).retries_left), ("failed", 0))


@step("a job that depends on others runs after them")
def _():
    first = [queue.enqueue(operator.add, number, 1) for number in range(3)]
    last = queue.enqueue(operator.add, 40, 2, depends_on=first)
    equal(last.get_status(), "deferred")
    work()
    work()
    equal(last.return_value(), 42)


@step("a scheduled job waits for its time")
def _():
    soon = queue.enqueue_in(datetime.timedelta(seconds=-1), operator.add, 1, 1)
    later = queue.enqueue_in(datetime.timedelta(hours=1), operator.add, 1, 1)
    scheduler = RQScheduler([queue], connection=connection)
    scheduler.acquire_locks()
    scheduler.enqueue_scheduled_jobs()
    work()
    equal((soon.return_value(), later.id in ScheduledJobRegistry(queue=queue)), (2, True))


@step("jobs with the same unique name are enqueued once, a cancelled one not run")
def _():
    job = queue.enqueue(operator.add, 1, 1)
    job.cancel()
    equal((job.get_status(), len(queue)), ("canceled", 0))


done()

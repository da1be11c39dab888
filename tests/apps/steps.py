"""Steps of an application's check: named, timed, counted; a step that fails does not stop those after it."""
import os
import signal
import sys
import time
import traceback

import redis

PORT = int(sys.argv[1]) if len(sys.argv) > 1 else 6379
URL = f"redis://127.0.0.1:{PORT}"
LIMIT_S = 30
_passed = 0
_failed = 0


def server(**options):
    """A redis-py client of the server under test."""
    return redis.Redis(port=PORT, **options)


def _late(*_):
    raise TimeoutError(f"no end after {LIMIT_S} s")


signal.signal(signal.SIGALRM, _late)


def step(name):
    """Runs the function below it at once, as one step."""

    def run(function):
        global _passed, _failed
        signal.alarm(LIMIT_S)
        try:
            function()
            _passed += 1
            print(f"ok   {name}", flush=True)
        except BaseException as error:  # a step may fail in any way
            _failed += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"FAIL {name}: {type(error).__name__}: {str(error)[:300]} ({place.name}:{place.lineno})", flush=True)
        finally:
            signal.alarm(0)
        return function

    return run


def equal(left, right):
    """Fails unless both are equal."""
    assert left == right, f"{left!r} != {right!r}"


def until(condition, seconds=10.0):
    """Waits for a condition; returns its last value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    return condition()


def done():
    """Prints the counts and ends the process, whatever threads the library has left."""
    print(f"{_passed} passed, {_failed} failed", flush=True)
    os._exit(1 if _failed else 0)

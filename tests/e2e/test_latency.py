"""LATENCY: what takes long beside requests, under the names that Redis gives it. strace makes the calls of the system slow."""
import shutil
import subprocess
import time

import pytest
from support import until

DELAY_MS = 40


class Slowed:
    """While it lasts every call of these names that the server makes takes `DELAY_MS` longer."""

    def __init__(self, server, calls):
        inject = f"inject={calls}:delay_enter={DELAY_MS * 1000}"
        command = ["strace", "-f", "-q", "-e", f"trace={calls}", "-e", inject, "-o", server.path("trace"), "-p", str(server.process.pid)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def __enter__(self):
        time.sleep(0.5)
        if self.process.poll() is not None:
            pytest.skip("strace may not trace here: " + self.process.stderr.read().decode())

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate()


def events(client):
    """The events with the longest of each."""
    return {row[0].decode(): row[3] for row in client("LATENCY", "LATEST")}


@pytest.fixture(autouse=True)
def strace():
    if not shutil.which("strace"):
        pytest.skip("there is no strace")


def test_slow_writes_and_syncs_of_the_log(start):
    server = start(appendonly="yes", appendfsync="always", latency_monitor_threshold=DELAY_MS // 2)
    client = server.connect()
    with Slowed(server, "fdatasync,fsync"):
        client("SET", "k", "v")
        assert until(lambda: events(client).get("aof-fsync-always", 0) >= DELAY_MS)
    with Slowed(server, "write,writev,pwrite64,pwritev"):
        client("SET", "k", "w")
        assert until(lambda: {"aof-write", "aof-write-alone"} <= events(client).keys())
    latest = events(client)
    assert latest["aof-write"] >= DELAY_MS and latest["aof-write-alone"] >= DELAY_MS
    history = client("LATENCY", "HISTORY", "aof-fsync-always")
    assert history and all(abs(second - time.time()) < 60 and ms >= DELAY_MS // 2 for second, ms in history)
    assert client("LATENCY", "RESET", "aof-write", "nosuch") == 1 and "aof-write" not in events(client)
    assert client("LATENCY", "HISTORY", "aof-write") == [] and "aof-fsync-always" in events(client)
    assert client("LATENCY", "RESET") >= 2 and "aof-fsync-always" not in events(client)


def test_nothing_is_noted_below_the_threshold(start):
    server = start(appendonly="yes", appendfsync="always", latency_monitor_threshold=0)
    client = server.connect()
    with Slowed(server, "fdatasync,fsync"):
        client("SET", "k", "v")
    assert events(client) == {}


def test_a_snapshot_that_is_given_up_and_whose_file_goes_slowly(start):
    server = start(latency_monitor_threshold=DELAY_MS // 2, rdb_key_save_delay=1_000_000)
    client = server.connect()
    for number in range(20):
        client("SET", f"k{number}", "v")
    assert client("CONFIG", "SET", "save", "3600 1000000") == "OK"
    assert client("BGSAVE").startswith("Background saving started")
    with Slowed(server, "unlink,unlinkat"):
        assert client("FLUSHALL") == "OK"  # a snapshot of what is gone is of no use
        assert until(lambda: events(client).get("rdb-unlink-temp-file", 0) >= DELAY_MS)
    assert len(client("LATENCY", "HISTORY", "rdb-unlink-temp-file")) == 1
    assert client("LATENCY", "RESET", "rdb-unlink-temp-file") == 1 and "rdb-unlink-temp-file" not in events(client)

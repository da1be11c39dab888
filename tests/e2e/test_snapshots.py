"""Snapshots of a running server: at its end, at save points, and what is in them."""
import os
import signal
import threading
import time

import pytest
import support
from support import ReplyError, parse_info, until


def persistence(client):
    return parse_info(client("INFO", "persistence"))


def restart(start, server, **options):
    """A server on the files of another one, which has ended."""
    again = start(dir=server.folder.name, **options)
    with again.connect() as client:
        assert until(lambda: persistence(client)["loading"] == "0")
    return again


def test_sigterm_saves_where_there_are_save_points(start):
    server = start(save=["3600", "1"])
    with server.connect() as client:
        client("SET", "a", "1")
    assert server.terminate() == 0
    assert os.path.exists(server.path("dump.rdb"))
    assert not [name for name in os.listdir(server.folder.name) if name.startswith("temp-")]
    with restart(start, server).connect() as client:
        assert client("GET", "a") == b"1"


def test_sigterm_saves_nothing_where_there_are_none_or_it_is_told_not_to(start):
    for options in ({}, {"save": ["3600", "1"], "shutdown_on_sigterm": "nosave"}):
        server = start(**options)
        with server.connect() as client:
            client("SET", "a", "1")
        assert server.terminate() == 0
        assert not os.path.exists(server.path("dump.rdb"))


def test_shutdown_save_and_nosave(start):
    server = start()
    with server.connect() as client:
        client("SET", "a", "1")
        client.send("SHUTDOWN", "SAVE")
        assert client.all() == b""
    assert server.process.wait(10) == 0 and os.path.exists(server.path("dump.rdb"))
    server = start(save=["3600", "1"])
    with server.connect() as client:
        client("SET", "a", "1")
        client.send("SHUTDOWN", "NOSAVE")
        assert client.all() == b""
    assert server.process.wait(10) == 0 and not os.path.exists(server.path("dump.rdb"))


def test_everything_that_was_answered_before_the_end_is_in_the_last_snapshot(start):
    server, answered = start(save=["3600", "1"], rdb_key_save_delay=100), []

    def write(number):
        done = 0
        with server.connect() as client:
            try:
                while True:
                    client("SET", f"writer:{number}", str(done + 1))
                    done += 1
            except (OSError, ReplyError, EOFError, AssertionError, IndexError):
                answered.append((number, done))

    with server.connect() as client:
        for number in range(2000):
            client("SET", f"key:{number}", "v")
    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    time.sleep(0.3)
    assert server.terminate() == 0
    for writer in writers:
        writer.join()
    with restart(start, server).connect() as client:
        assert client("DBSIZE") == 2004
        for number, done in answered:
            # The last one may have been done and not answered.
            assert done > 0 and int(client("GET", f"writer:{number}")) in (done, done + 1)


def test_a_shutdown_that_cannot_save_is_given_up_unless_forced(start):
    server = start(save=["3600", "1"])
    os.mkdir(server.path("dump.rdb"))  # no file can take its place
    with server.connect() as client:
        client("SET", "a", "1")
        assert client.error("SHUTDOWN") == "ERR Errors trying to SHUTDOWN. Check logs."
        assert client("SET", "a", "2") == "OK"
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert client("GET", "a") == b"2"
        client.send("SHUTDOWN", "FORCE")
        assert client.all() == b""
    assert server.process.wait(10) == 0


def test_shutdown_abort_and_the_second_signal(start):
    server = start(save=["3600", "1"], rdb_key_save_delay=100_000)
    with server.connect() as client, server.connect() as other:
        for number in range(300):
            client("SET", f"key:{number}", "v")
        assert client.error("SHUTDOWN", "ABORT") == "ERR No shutdown in progress."
        client.send("SHUTDOWN")
        assert until(lambda: persistence(other)["current_save_keys_total"] == "300")
        assert other("GET", "key:1") == b"v"
        assert other("SHUTDOWN", "ABORT") == "OK"
        with pytest.raises(ReplyError, match="ERR Errors trying to SHUTDOWN. Check logs."):
            client.read()
        assert client("SET", "a", "2") == "OK"
        server.process.send_signal(signal.SIGTERM)
        assert until(lambda: persistence(other)["current_save_keys_total"] != "0")
        server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(5) == 1
    assert os.listdir(server.folder.name) == ["log"]


def test_a_save_point_is_reached(start):
    server = start(save=["1", "5"])
    with server.connect() as client:
        for number in range(5):
            client("SET", f"key:{number}", "v")
        assert until(lambda: persistence(client)["rdb_saves"] == "1", 10)
        assert persistence(client)["rdb_changes_since_last_save"] == "0"
    assert os.path.exists(server.path("dump.rdb"))


def test_save_waits_while_others_are_served(start):
    server = start(rdb_key_save_delay=2000)
    with server.connect() as client, server.connect() as other:
        for number in range(500):
            client("SET", f"key:{number}", "v")
        client.send("SAVE")
        assert until(lambda: persistence(other)["current_save_keys_total"] == "500")
        assert other("SET", "key:1", "new") == "OK"
        assert other.error("BGSAVE") == "ERR Background save already in progress"
        assert client.read() == "OK"
    server.process.kill()
    server.process.wait()
    with restart(start, server).connect() as client:
        assert client("GET", "key:1") == b"v"


@pytest.mark.parametrize("words", [["SAVE"], ["DEBUG", "RELOAD"]], ids="-".join)
def test_memory_is_the_same_after_many_snapshots(start, words):
    """The threads of each took what they had counted along when they ended: six kilobytes a time."""
    server = start(enable_debug_command="yes")
    with server.connect(timeout=60) as client:
        def used():
            return min(int(parse_info(client("INFO", "memory"))["used_memory"]) for _ in range(3))

        def save(times):
            for _ in range(times):
                assert client("SET", "k", b"v" * 3000) == "OK" and client(*words) == "OK"
        save(10)
        before = used()
        save(200)
        assert until(lambda: abs(used() - before) < 300_000, 2), used() - before

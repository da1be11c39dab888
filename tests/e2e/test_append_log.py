"""The append-only file of a running server: what a restart finds, rewrites, files that are damaged, larder check-aof."""
import os
import signal
import subprocess

import support
from support import encode, parse_info, until
from test_snapshots import persistence, restart


def log_of(server):
    return server.path("appendonlydir")


def last_file(server):
    """The path of the file that is written to."""
    names = [name for name in os.listdir(log_of(server)) if ".incr." in name]
    return os.path.join(log_of(server), max(names, key=lambda name: int(name.split(".")[2])))


def kill(server):
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(10)


def check(*arguments):
    done = subprocess.run([*support.program(), "check-aof", *map(str, arguments)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_what_was_answered_is_there_after_a_kill(start):
    for policy in ("always", "everysec", "no"):
        server = start(appendonly="yes", appendfsync=policy)
        with server.connect() as client:
            for number in range(100):
                client("RPUSH", "l", str(number))
            client("MULTI"), client("SET", "a", "1"), client("SELECT", "3"), client("SET", "b", "2"), client("EXEC")
            client("EVAL", "redis.call('INCR', 'a') return redis.call('INCR', 'a')", "0")
        kill(server)
        with restart(start, server, appendonly="yes").connect() as client:
            assert (client("LLEN", "l"), client("GET", "a")) == (100, b"1")
            client("SELECT", "3")
            assert (client("GET", "b"), client("GET", "a")) == (b"2", b"2")


def test_the_log_is_switched_on_and_rewritten_while_the_server_runs(start):
    server = start(auto_aof_rewrite_min_size="20000", auto_aof_rewrite_percentage="50")
    with server.connect() as client:
        client("SET", "before", "1")
        assert client("CONFIG", "SET", "appendonly", "yes") == "OK"
        # What is written while its first file is made counts with that, and is not growth.
        assert until(lambda: int(persistence(client)["aof_rewrites"]) >= 1)
        written = 0
        for number in range(2000):
            client("SET", "key", str(number))
            written += len(encode("SET", "key", str(number)))
        # Nearly all is dead. It is rewritten by itself, once there are 20,000 bytes of it: those are gone then. What is written
        # while that goes on, all the rest on a slow disk, is no growth.
        assert until(lambda: int(persistence(client)["aof_rewrites"]) >= 2)
        assert written > 60_000
        assert until(lambda: int(persistence(client)["aof_current_size"]) < written - 19_000)
        client("SET", "after", "1")
        assert len([name for name in os.listdir(log_of(server)) if name.endswith(".base.rdb")]) == 1
    kill(server)
    with restart(start, server, appendonly="yes").connect() as client:
        assert client("MGET", "before", "key", "after") == [b"1", b"1999", b"1"]


def test_a_torn_end_is_cut_off_or_refused(start):
    server = start(appendonly="yes")
    with server.connect() as client:
        client("SET", "a", "1")
        client("SET", "b", "2")
    kill(server)
    path = last_file(server)
    os.truncate(path, os.path.getsize(path) - 3)
    status, text = check(path)
    assert status == 1 and "ok_up_to" in text
    refused = start(dir=server.folder.name, appendonly="yes", aof_load_truncated="no", wait=False)
    assert refused.process.wait(10) == 1 and os.path.basename(path) in refused.log()
    with restart(start, server, appendonly="yes").connect() as client:
        assert client("MGET", "a", "b") == [b"1", None]


def test_check_aof(start, tmp_path):
    server = start(appendonly="yes")
    with server.connect() as client:
        client("SET", "a", "1")
    kill(server)
    manifest, path = os.path.join(log_of(server), "appendonly.aof.manifest"), last_file(server)
    assert check(manifest)[0] == 0
    with open(path, "ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$1\r\nb")
    assert check(manifest)[0] == 1
    status, text = check("--fix", manifest)
    assert status == 0 and "Successfully truncated AOF" in text
    assert check(manifest)[0] == 0
    # It said nothing of what it could not open.
    status, text = check(tmp_path / "missing")
    assert status == 1 and "missing" in text and "No such file" in text

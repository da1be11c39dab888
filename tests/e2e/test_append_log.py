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
        assert client("CONFIG", "RESETSTAT") == "OK"
        assert int(persistence(client)["aof_rewrites"]) == 0
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
    # The words and the line that valkey-check-aof has.
    with open(path, "ab") as file:
        file.write(b"*1\r\n$4\r\nPING!!")
    status, text = check(manifest)
    lines = ["Start checking Multi Part AOF", "Start to check BASE AOF (RDB format).", "RDB preamble is OK, proceeding with AOF tail...",
             "BASE AOF appendonly.aof.1.base.rdb is valid", "Start to check INCR files.", "Expected \\r\\n, got: 2121", "ok_up_to_line=15, diff=",
             "AOF appendonly.aof.1.incr.aof is not valid. Use the --fix option"]
    places = [text.find(line) for line in lines]
    assert status == 1 and -1 not in places and places == sorted(places), text
    assert "Start checking Old-Style AOF" in check(path)[1]
    assert check("--fix", manifest)[1].endswith("All AOF files and manifest are valid\n")
    # It said nothing of what it could not open.
    status, text = check(tmp_path / "missing")
    assert status == 1 and "missing" in text and "No such file" in text


def test_a_time_to_go_back_to_is_in_the_last_file(tmp_path):
    base, last, manifest = (tmp_path / name for name in ("a.1.base.aof", "a.1.incr.aof", "a.manifest"))
    manifest.write_text(f"file {base.name} seq 1 type b\nfile {last.name} seq 1 type i\n")
    timed = b"#TS:5\r\n" + encode("SET", "a", "1") + b"#TS:9\r\n" + encode("SET", "b", "1")
    for path, other in ((base, last), (last, base)):
        path.write_bytes(timed)
        other.write_bytes(encode("SET", "c", "1"))
        status, text = check("--truncate-to-timestamp", "7", manifest)
        whole = len(timed) // 2
        if path == base:
            assert status == 1 and f"Failed to truncate AOF {base.name} to timestamp 7 to offset {whole} because it is not the last file" in text, text
            assert path.read_bytes() == timed
        else:
            assert status == 0 and f"Successfully truncated AOF {last.name} to timestamp 7" in text, text
            assert f"Truncate nothing in AOF {base.name} to timestamp 7" in text and path.read_bytes() == timed[:whole]
    assert "aborting" in check("--truncate-to-timestamp", "1", manifest)[1]


def test_switching_the_log_off_ends_its_rewrite(start):
    """The rewrite went on, another one was refused meanwhile, and the log began all the same when it had been switched off while it waited to begin."""
    server = start(appendonly="yes")
    with server.connect() as client:
        for number in range(100):
            client("SET", f"k{number}", "v")
        client("CONFIG", "SET", "rdb-key-save-delay", "1000000")
        client("BGREWRITEAOF")
        until(lambda: persistence(client)["aof_rewrite_in_progress"] == "1")
        client("CONFIG", "SET", "appendonly", "no")
        report = persistence(client)
        assert (report["aof_rewrite_in_progress"], report["aof_enabled"], report["aof_last_bgrewrite_status"]) == ("0", "0", "ok")
        # Twice, each time before the first base is there.
        for _ in range(2):
            client("CONFIG", "SET", "appendonly", "yes")
            until(lambda: persistence(client)["aof_enabled"] == "1")
            client("SET", "one_more", "v")
            client("CONFIG", "SET", "appendonly", "no")
            assert persistence(client)["aof_enabled"] == "0"
        client("CONFIG", "SET", "rdb-key-save-delay", "0")
        client("CONFIG", "SET", "appendonly", "yes")
        until(lambda: persistence(client)["aof_enabled"] == "1" and persistence(client)["aof_rewrite_in_progress"] == "0")
        client("SET", "last", "1")
        assert client("WAITAOF", "1", "0", "5000")[0] == 1
    assert not [name for name in os.listdir(log_of(server)) if name.startswith("temp")]
    kill(server)
    again = restart(start, server, appendonly="yes")
    with again.connect() as client:
        assert client("DBSIZE") == 102 and client("GET", "last") == b"1"


def test_a_log_that_is_wanted_during_a_snapshot_waits_for_its_end(start):
    server = start()
    with server.connect() as client:
        for number in range(100):
            client("SET", f"k{number}", "v")
        client("CONFIG", "SET", "rdb-key-save-delay", "1000000")
        client("BGSAVE")
        client("CONFIG", "SET", "appendonly", "yes")
        report = persistence(client)
        assert (report["aof_rewrite_scheduled"], report["aof_rewrite_in_progress"]) == ("1", "0")
        client("CONFIG", "SET", "appendonly", "no")
        assert persistence(client)["aof_rewrite_scheduled"] == "0"
        client("CONFIG", "SET", "appendonly", "yes")
        client("CONFIG", "SET", "rdb-key-save-delay", "0")
        client("BGSAVE", "CANCEL")
        until(lambda: persistence(client)["aof_enabled"] == "1" and persistence(client)["aof_rewrite_in_progress"] == "0")
        assert len(os.listdir(log_of(server))) == 3

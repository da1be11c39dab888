"""The server and the system around it: limits of open files, signals, the background, files that Redis and Valkey have rewritten."""
import json
import os
import shlex
import signal
import socket
import subprocess
import time

import pytest

from support import Client, ReplyError, Server, free_port, program


def with_open_files(monkeypatch, limit):
    """The program, in a process that may open so many files."""
    monkeypatch.setenv("LARDER", f"prlimit --nofile={limit}:{limit} " + shlex.join(program()))


def test_clients_do_not_take_the_files_that_the_server_needs(monkeypatch):
    with_open_files(monkeypatch, 100)
    with Server(appendonly="yes") as server, server.connect() as first:
        most = int(first("CONFIG", "GET", "maxclients")[1])
        assert 50 <= most < 70 and "has been reduced to" in server.log()
        clients = [first]
        with pytest.raises(ReplyError, match="max number of clients reached"):
            for _ in range(100):
                clients.append(server.connect())
                clients[-1]("PING")
        clients.pop().close()
        assert len(clients) == most
        for task in ("BGREWRITEAOF", "BGSAVE"):
            first(task)
            deadline = time.time() + 20
            while b"in_progress:1" in first("INFO", "persistence"):
                assert time.time() < deadline
                time.sleep(0.05)
        status = first("INFO", "persistence")
        assert b"rdb_last_bgsave_status:ok" in status and b"aof_last_bgrewrite_status:ok" in status
        assert clients[-1]("SET", "k", "v") == "OK"
        with pytest.raises(ReplyError, match="not able to handle the specified number of clients, try with %d$" % most):
            first("CONFIG", "SET", "maxclients", "100000")
        assert int(first("CONFIG", "GET", "maxclients")[1]) == most
        for client in clients[1:]:
            client.close()


def test_without_files_for_clients_it_does_not_start(monkeypatch):
    with_open_files(monkeypatch, 20)
    server = Server(wait=False)
    try:
        assert server.process.wait(10) == 1
        assert "not enough for the server to start" in server.log()
    finally:
        server.close()


def refuses(port, address="127.0.0.1"):
    try:
        socket.create_connection((address, port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_it_listens_elsewhere_when_it_is_told_to():
    with Server() as server, server.connect() as client, socket.socket() as other:
        first, second = server.port, free_port()
        assert client("CONFIG", "SET", "port", second) == "OK"
        assert refuses(first) and not refuses(second)
        assert b",port=%d" % second in client("INFO", "server")
        # What cannot be had changes nothing.
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ReplyError, match=r"argument 'port'\) - Unable to listen on this port. Check server logs.$"):
            client("CONFIG", "SET", "port", taken)
        with pytest.raises(ReplyError, match=r"argument 'bind'\) - Failed to bind to specified addresses.$"):
            client("CONFIG", "SET", "bind", "127.0.0.1 999.999.999.999", "hz", "50")
        # Nor does one of several options that does not go.
        with pytest.raises(ReplyError, match="Unable to listen on this port"):
            client("CONFIG", "SET", "port", taken, "maxclients", "50", "loglevel", "debug")
        assert client("CONFIG", "GET", "port") == [b"port", b"%d" % second]
        assert client("CONFIG", "GET", "bind", "hz") == [b"bind", b"127.0.0.1", b"hz", b"10"]
        assert client("CONFIG", "GET", "loglevel") == [b"loglevel", b"notice"]
        assert not refuses(second) and "Could not create server TCP listening socket" in server.log()
        # Another address, and one that takes the place of all.
        assert client("CONFIG", "SET", "bind", "127.0.0.1 127.0.0.2") == "OK"
        assert not refuses(second) and not refuses(second, "127.0.0.2")
        assert client("CONFIG", "SET", "bind", "*", "port", first) == "OK"
        assert refuses(second) and not refuses(first, "127.0.0.3")
        assert client("CONFIG", "SET", "bind", "127.0.0.2") == "OK"
        assert refuses(first) and not refuses(first, "127.0.0.2")
        # An address too many in the way of one that is wanted and one that cannot be had: the old ones come back.
        with pytest.raises(ReplyError, match="Failed to bind"):
            client("CONFIG", "SET", "bind", "0.0.0.0 999.999.999.999")
        assert not refuses(first, "127.0.0.2")
        assert client("CONFIG", "SET", "bind", "") == "OK"
        assert refuses(first) and refuses(first, "127.0.0.2")
        assert client("CONFIG", "SET", "bind", "127.0.0.1") == "OK"
        with server.connect() as again:
            assert again("PING") == "PONG" and client("PING") == "PONG"
        assert client("CONFIG", "SET", "port", "0") == "OK"
        assert refuses(first) and client("PING") == "PONG"


def test_the_log_follows_its_options():
    with Server(enable_debug_command="yes") as server, server.connect() as client:
        assert client("CONFIG", "SET", "loglevel", "warning") == "OK"
        client("DEBUG", "LOG", "first")
        assert client("CONFIG", "SET", "loglevel", "notice", "log-format", "json", "log-timestamp-format", "iso8601") == "OK"
        client("DEBUG", "LOG", 'a "b"')
        client("CONFIG", "SET", "loglevel", "nothing")
        client("DEBUG", "LOG", "third")
        lines = server.log().splitlines()
        found = json.loads(lines[-1])
        assert found["pid"] == server.process.pid and found["role"] == "primary" and found["level"] == "warning"
        assert found["message"] == 'DEBUG LOG: a "b"' and found["timestamp"].endswith("+00:00")


def oom_score(server):
    with open(f"/proc/{server.process.pid}/oom_score_adj") as file:
        return int(file.read())


def test_the_kernel_is_told_of_its_importance():
    with open("/proc/self/oom_score_adj") as file:
        base = int(file.read())
    with Server(oom_score_adj="yes", oom_score_adj_values=["5", "6", "7"]) as server, server.connect() as client:
        assert oom_score(server) == min(base + 5, 1000)
        assert client("CONFIG", "SET", "oom-score-adj-values", "9 9 9") == "OK"
        assert oom_score(server) == min(base + 9, 1000)
        assert client("CONFIG", "SET", "oom-score-adj-values", "999 9 9", "oom-score-adj", "absolute") == "OK"
        assert oom_score(server) == 999
        assert client("CONFIG", "SET", "oom-score-adj", "no") == "OK"
        assert oom_score(server) == base
        client("CONFIG", "SET", "oom-score-adj-values", "-1000 1 1")
        assert oom_score(server) == base
        try:
            client("CONFIG", "SET", "oom-score-adj", "absolute")
        except ReplyError as error:  # not allowed to everybody
            assert "argument 'oom-score-adj') - Failed to set current oom_score_adj. Check server logs." in str(error)
            assert client("CONFIG", "GET", "oom-score-adj") == [b"oom-score-adj", b"no"] and oom_score(server) == base
        else:
            assert oom_score(server) == -1000


def test_signals_that_mean_nothing_to_it_do_not_end_it():
    with Server() as server, server.connect() as client:
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGALRM):
            server.process.send_signal(number)
        time.sleep(0.2)
        assert client("PING") == "PONG"
        assert server.terminate() == 0


def wait_for(port):
    deadline = time.time() + 10
    while True:
        try:
            return Client(socket.create_connection(("127.0.0.1", port), 5))
        except OSError:
            assert time.time() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_it_goes_into_the_background(tmp_path, way):
    port = free_port()
    text = f"daemonize yes\nport {port}\ndir {tmp_path}\nsave ''\npidfile {tmp_path}/pid\nlogfile {tmp_path}/log\n"
    (tmp_path / "a.conf").write_text(text)
    source = "a.conf" if way == "file" else "-"
    done = subprocess.run([*program(), source], input=text if way == "stdin" else "", text=True, cwd=tmp_path, capture_output=True, timeout=10)
    assert done.returncode == 0, done
    with wait_for(port) as client:
        assert client("PING") == "PONG"
        pid = int((tmp_path / "pid").read_text())
        assert os.getsid(pid) == pid and b"process_id:%d\r\n" % pid in client("INFO", "server")
        client.send("SHUTDOWN", "NOSAVE")
    deadline = time.time() + 10
    while (tmp_path / "pid").exists():
        assert time.time() < deadline
        time.sleep(0.05)


def test_a_file_that_cannot_be_read_is_told_before_that(tmp_path):
    (tmp_path / "a.conf").write_text("daemonize yes\nnonsense 1\n")
    done = subprocess.run([*program(), "a.conf"], cwd=tmp_path, capture_output=True, text=True, timeout=10)
    assert done.returncode == 1 and "nonsense" in done.stdout + done.stderr


@pytest.mark.parametrize("peer", ["VALKEY_SERVER", "REDIS_SERVER", "REDIS8_SERVER"])
@pytest.mark.parametrize("password", ["", "secret"])
def test_files_that_others_have_rewritten_are_read(tmp_path, monkeypatch, peer, password):
    path, port = tmp_path / "a.conf", free_port()
    path.write_text(f"port {port}\nsave ''\n")
    other = subprocess.Popen([os.environ[peer], str(path)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with wait_for(port) as client:
            client("CONFIG", "SET", "requirepass", password)
            if password:
                client("AUTH", password)
            assert client("CONFIG", "REWRITE") == "OK"
    finally:
        other.kill()
        other.wait()
    assert "user default on" in path.read_text()
    ours = subprocess.Popen([*program(), str(path)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with wait_for(port) as client:
            if password:
                with pytest.raises(ReplyError, match="NOAUTH"):
                    client("DBSIZE")
                client("AUTH", password)
            assert client("DBSIZE") == 0
            # Whatever the password is from now on, the file can be read again.
            client("CONFIG", "SET", "requirepass", "another")
            assert client("CONFIG", "REWRITE") == "OK"
        assert "user default" not in path.read_text()
    finally:
        ours.terminate()
        assert ours.wait(10) == 0, ours.stderr.read()

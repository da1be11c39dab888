"""How connections are accepted, limited, paused, silenced, watched and closed."""
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest
import support
from support import ReplyError, encode, parse_info, until


def test_one_client_too_many_is_told_so(start):
    server = start(maxclients=10)
    held = [server.connect()]
    assert until(lambda: parse_info(held[0]("INFO", "clients"))["connected_clients"] == "1")
    held += [server.connect() for _ in range(9)]
    assert all(client("PING") == "PONG" for client in held)
    with server.connect() as refused:
        assert refused.all() == b"-ERR max number of clients reached\r\n"
    assert parse_info(held[0]("INFO", "stats"))["rejected_connections"] == "1"
    held.pop().close()
    assert until(lambda: _answers(server)), "a place that became free is not given away"
    for client in held:
        client.close()


def _answers(server):
    try:
        with server.connect() as client:
            return client("PING") == "PONG"
    except (ReplyError, OSError):
        return False


def test_maxclients_can_be_raised_while_running(start):
    server = start(maxclients=5)
    held = [server.connect() for _ in range(5)]
    assert held[0]("CONFIG", "SET", "maxclients", "20") == "OK"
    assert all(server.connect()("PING") == "PONG" for _ in range(3))


def test_idle_connections_are_closed_after_timeout(start):
    server = start(timeout=1)
    idle, busy = server.connect(), server.connect()
    assert idle("PING") == "PONG"
    began = time.monotonic()
    while time.monotonic() - began < 2.5:
        assert busy("PING") == "PONG"
        time.sleep(0.1)
    assert idle.closed(2) and busy("PING") == "PONG"


def test_no_connection_is_closed_without_timeout(client):
    assert client("PING") == "PONG"
    time.sleep(2.2)
    assert client("PING") == "PONG"


def test_unix_socket_with_its_permissions(start):
    server = start(unixsocket="larder.sock", unixsocketperm=700)
    path = server.path("larder.sock")
    assert stat.S_ISSOCK(os.stat(path).st_mode) and stat.S_IMODE(os.stat(path).st_mode) == 0o700
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(path)
    client = support.Client(plain)
    assert client("SET", "k", "v") == "OK" and client("GET", "k") == b"v"
    fields = dict(f.split("=", 1) for f in client("CLIENT", "INFO").decode().split())
    assert "larder.sock:0" in fields["addr"] and "U" in fields["flags"]
    with server.connect() as other:
        assert other("GET", "k") == b"v"
    assert server.terminate() == 0 and not os.path.exists(path)


def test_a_stale_unix_socket_does_not_stop_the_start(start):
    first = support.Server(unixsocket="larder.sock")
    path = first.path("larder.sock")
    first.process.kill()
    first.process.wait()
    second = start(unixsocket=path)
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(path)
    assert support.Client(plain)("PING") == "PONG"
    second.terminate()
    first.folder.cleanup()


def test_several_addresses(start):
    server = start(bind="127.0.0.1 127.0.0.2")
    for address in ("127.0.0.1", "127.0.0.2"):
        with server.connect(address=address) as client:
            assert client("PING") == "PONG"
    with pytest.raises(OSError):
        server.connect(address="127.0.0.3", timeout=1)


def test_an_optional_address_that_does_not_exist(start):
    server = start(bind="127.0.0.1 -192.0.2.77")
    with server.connect() as client:
        assert client("PING") == "PONG"


def test_an_address_that_does_not_exist_refuses_the_start(start):
    server = start(bind="192.0.2.77", wait=False)
    assert server.process.wait(10) != 0
    assert "Failed listening on port" in server.log() or "Could not create server TCP" in server.log()


def _own_address():
    """An address of this machine that is not a loopback address, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return None if probe.getsockname()[0].startswith("127.") else probe.getsockname()[0]


@pytest.mark.skipif(_own_address() is None, reason="this machine has no address but loopback")
def test_protected_mode_refuses_strangers_when_there_is_no_password(start):
    server = start(bind="*")
    with server.connect() as friend:
        assert friend("PING") == "PONG"
        stranger = server.connect(address=_own_address())
        said = stranger.all()
        assert said.startswith(b"-DENIED ") and b"protected mode" in said
        assert friend("CONFIG", "SET", "protected-mode", "no") == "OK"
        assert server.connect(address=_own_address())("PING") == "PONG"
        assert friend("CONFIG", "SET", "protected-mode", "yes") == "OK"
        assert friend("CONFIG", "SET", "requirepass", "pw") == "OK"
        with server.connect(address=_own_address()) as stranger:
            assert stranger("AUTH", "pw") == "OK"


def test_a_password(start):
    server = start(requirepass="secret")
    client = server.connect()
    assert client.error("GET", "k") == "NOAUTH Authentication required."
    assert client.error("NOSUCH") == "NOAUTH Authentication required."
    assert client.error("HELLO", "3").startswith("NOAUTH HELLO must be called with the client already authenticated")
    assert client.error("AUTH", "wrong") == "WRONGPASS invalid username-password pair or user is disabled."
    assert client.error("AUTH", "nosuch", "secret").startswith("WRONGPASS")
    assert client("AUTH", "secret") == "OK" and client("PING") == "PONG"
    assert client("RESET") == "RESET" and client.error("PING") == "NOAUTH Authentication required."
    assert client("HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me")[b"proto"] == 3 and client("CLIENT", "GETNAME") == b"me"
    assert client("CONFIG", "SET", "requirepass", "") == "OK" and server.connect()("PING") == "PONG"


def test_a_stranger_may_not_send_much_before_the_password(start):
    server = start(requirepass="secret")
    for request in (b"*11\r\n", b"*1\r\n$16385\r\n"):
        client = server.connect()
        client.raw(request)
        assert client.all().startswith(b"-ERR Protocol error: unauthenticated ")
    client = server.connect()
    client.raw(b"*10\r\n$16384\r\n")
    assert not client.closed(0.3)


def test_sigterm_answers_what_was_read_and_exits_with_0(start):
    server = start()
    client = server.connect()
    client.raw(encode("SET", "k", "v" * 100) * 5000 + encode("GET", "k"))
    assert [client.read() for _ in range(5000)] == ["OK"] * 5000 and client.read() == b"v" * 100
    assert server.terminate() == 0
    assert client.closed()


def test_sigint_ends_it_too(start):
    server = start()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0


def test_sigterm_with_many_busy_connections(start):
    server = start()
    clients = [server.connect() for _ in range(50)]
    for client in clients:
        client.raw(encode("SET", "k", "x" * 2000) * 200)
    assert server.terminate() == 0


def test_shutdown_closes_without_a_reply(start):
    server = start()
    client = server.connect()
    client.send("SHUTDOWN", "NOSAVE")
    assert client.closed() and server.process.wait(10) == 0


def test_quit_answers_and_closes(server):
    client = server.connect()
    client.raw(encode("SET", "k", "v") + encode("QUIT") + encode("SET", "k", "after"))
    assert client.all() == b"+OK\r\n+OK\r\n" and server.connect()("GET", "k") == b"v"


def test_an_abrupt_end_in_the_middle_of_a_request(server):
    request = encode("SET", "k", "value" * 100)
    for size in (1, 5, 20, 40, len(request) - 1):
        for hard in (False, True):
            client = server.connect()
            client.raw(request[:size])
            if hard:  # a reset instead of an orderly end
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            client.close()
    with server.connect() as client:
        assert client("EXISTS", "k") == 0
        assert until(lambda: client("CLIENT", "LIST").count(b"\n") == 1)


def test_replies_nobody_reads(server):
    with server.connect() as client:
        client("SET", "k", "x" * 100_000)
    for _ in range(20):
        client = server.connect()
        client.raw(encode("GET", "k") * 50)
        client.close()
    with server.connect() as client:
        assert client("STRLEN", "k") == 100_000


def test_half_closed_connections_get_their_replies(server):
    client = server.connect()
    client.raw(encode("SET", "k", "v") + encode("GET", "k") * 1000)
    client.socket.shutdown(socket.SHUT_WR)
    assert client.all() == b"+OK\r\n" + b"$1\r\nv\r\n" * 1000


def test_connections_come_and_go_quickly(server):
    for _ in range(2000):
        with server.connect() as client:
            client.send("PING")
    with server.connect() as client:
        assert client("PING") == "PONG"
        assert until(lambda: int(parse_info(client("INFO", "clients"))["connected_clients"]) == 1)
        assert int(parse_info(client("INFO", "stats"))["total_connections_received"]) >= 2000


def test_a_slow_reader_is_closed_at_its_limit(start):
    server = start(client_output_buffer_limit=["normal", "1mb", "0", "0"])
    with server.connect() as client:
        client("SET", "k", "x" * 100_000)
        slow = server.connect()
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert slow("PING") == "PONG"
        slow.raw(encode("GET", "k") * 2000)
        assert until(lambda: client("CLIENT", "LIST").count(b"\n") == 1, 15), "200 MB of replies are kept for a client that does not read"
        assert int(parse_info(client("INFO", "stats"))["client_output_buffer_limit_disconnections"]) == 1
        assert int(parse_info(client("INFO", "memory"))["used_memory"]) < 50 << 20


def test_a_slow_reader_over_the_soft_limit_too_long(start):
    server = start(client_output_buffer_limit=["normal", "100mb", "1mb", "1"])
    with server.connect() as client:
        client("SET", "k", "x" * 100_000)
        slow = server.connect()
        assert slow("PING") == "PONG"
        slow.raw(encode("GET", "k") * 250)
        assert client("CLIENT", "LIST").count(b"\n") == 2
        time.sleep(1.2)
        try:
            slow.raw(encode("GET", "k"))
        except OSError:
            pass
        assert until(lambda: client("CLIENT", "LIST").count(b"\n") == 1, 15)


def test_a_slow_reader_without_limit_gets_everything(server):
    with server.connect() as client:
        client("SET", "k", "x" * 100_000)
    slow = server.connect(timeout=60)
    slow.raw(encode("GET", "k") * 1000)
    time.sleep(1)
    for _ in range(1000):
        assert len(slow.read()) == 100_000


def test_pause_holds_back_writes_until_unpause(server):
    writer, boss = server.connect(), server.connect()
    assert boss("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
    writer.send("SET", "k", "v")
    assert boss("GET", "k") is None
    writer.socket.settimeout(0.3)
    with pytest.raises(TimeoutError):
        writer.read()
    writer.socket.settimeout(5)
    assert boss("CLIENT", "UNPAUSE") == "OK" and writer.read() == "OK" and boss("GET", "k") == b"v"


def test_pause_of_everything_ends_by_itself(server):
    client = server.connect()
    began = time.monotonic()
    assert client("CLIENT", "PAUSE", "300", "ALL") == "OK"
    assert client("PING") == "PONG" and 0.25 < time.monotonic() - began < 3


def test_replies_off_on_and_skipped(client):
    client.raw(encode("CLIENT", "REPLY", "OFF") + encode("SET", "k", "v") + encode("GET", "k") + encode("NOSUCH") + encode("CLIENT", "REPLY", "ON") + encode("GET", "k"))
    assert client.read() == "OK" and client.read() == b"v"
    client.raw(encode("CLIENT", "REPLY", "SKIP") + encode("SET", "k", "w") + encode("GET", "k"))
    assert client.read() == b"w"


def test_monitor(server):
    watcher, worker = server.connect(), server.connect()
    assert watcher("MONITOR") == "OK"
    port = worker.socket.getsockname()[1]
    worker("SET", b"a b", b'"\n\x00\xfe')
    worker("SELECT", "7")
    worker("GET", "x")
    line = watcher.read()
    assert re.fullmatch(r'\d{10}\.\d{6} \[0 127\.0\.0\.1:%d\] "SET" "a b" "\\"\\n\\x00\\xfe"' % port, line), line
    assert f'[7 127.0.0.1:{port}] "SELECT" "7"' in watcher.read() and f'[7 127.0.0.1:{port}] "GET" "x"' in watcher.read()
    assert watcher("RESET") == "RESET"
    worker("GET", "y")
    assert watcher("PING") == "PONG"


def test_monitor_hides_passwords(start):
    server = start(requirepass="secret")
    watcher, worker = server.connect(), server.connect()
    watcher("AUTH", "secret"), watcher("MONITOR"), worker("AUTH", "secret"), worker("PING")
    line = watcher.read()
    assert "secret" not in line and '"PING"' in (line if "AUTH" not in line else watcher.read())


def test_client_list_follows_a_connection(server):
    boss, other = server.connect(), server.connect()
    other("CLIENT", "SETNAME", "other"), other("SELECT", "3"), other("HELLO", "3")
    line = next(l for l in boss("CLIENT", "LIST").decode().splitlines() if " name=other " in l)
    fields = dict(f.split("=", 1) for f in line.split())
    assert fields["db"] == "3" and fields["resp"] == "3" and fields["cmd"] == "hello" and fields["addr"] == "127.0.0.1:%d" % other.socket.getsockname()[1]
    assert fields["laddr"] == f"127.0.0.1:{server.port}" and int(fields["age"]) <= 2 and fields["user"] == "default"
    assert boss("CLIENT", "KILL", "ID", fields["id"]) == 1 and other.closed()


def test_client_killing_itself_is_answered_first(server):
    client = server.connect()
    number = client("CLIENT", "ID")
    client.raw(encode("CLIENT", "KILL", "ID", number, "SKIPME", "no"))
    assert client.all() == b":1\r\n"


def test_a_query_buffer_has_a_limit(start):
    server = start(client_query_buffer_limit="1mb")
    client = server.connect()
    try:
        client.raw(b"*2\r\n$3\r\nGET\r\n$100000000\r\n" + b"x" * (8 << 20))
    except OSError:
        pass
    assert client.closed()
    with server.connect() as other:
        assert other("PING") == "PONG"


def test_a_foreign_protocol_is_cut_off(server):
    for opening in (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        client = server.connect()
        client.raw(opening)
        assert client.closed(5)


def test_an_endless_inline_request(server):
    client = server.connect()
    client.raw(b"x" * 65_600)
    try:
        assert client.all() == b"-ERR Protocol error: too big inline request\r\n"
    except ConnectionResetError:
        pass  # closed with bytes unread: the kernel may drop the error text
    with server.connect() as other:
        assert other("PING") == "PONG"
        assert until(lambda: other("CLIENT", "LIST").count(b"\n") == 1), "it is still there"


def test_command_line_and_version():
    done = subprocess.run(support.program() + ["--version"], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0 and re.search(r" v=\d+\.\d+\.\d+", done.stdout)
    done = subprocess.run(support.program() + ["--no-such-option", "1"], capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    assert done.returncode != 0 and "FATAL CONFIG FILE ERROR" in done.stderr


def test_a_configuration_file_and_arguments_over_it(tmp_path):
    page = tmp_path / "s.conf"
    port = support.free_port()
    page.write_text(f"# a comment\nport {port}\nbind 127.0.0.1\nmaxmemory 100mb\nmaxmemory-policy allkeys-lru\nsave ''\nrequirepass \"a b\"\n")
    process = subprocess.Popen(support.program() + [str(page), "--maxmemory", "200mb", "--dir", str(tmp_path)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert until(lambda: _listens(port))
        client = support.Client(socket.create_connection(("127.0.0.1", port), 5))
        assert client("AUTH", "a b") == "OK"
        assert client("CONFIG", "GET", "maxmemory") == [b"maxmemory", b"209715200"] and client("CONFIG", "GET", "maxmemory-policy")[1] == b"allkeys-lru"
    finally:
        process.terminate()
        assert process.wait(10) == 0


def _listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


PAUSE_LIBRARY = """#!lua name=pauses
redis.register_function('writes', function(keys) return redis.call('SET', keys[1], '1') end)
redis.register_function{function_name='reads', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}
"""


def test_a_pause_of_writes_holds_back_scripts_that_may_write(server):
    boss = server.connect()
    boss("FUNCTION", "LOAD", PAUSE_LIBRARY)
    reads, writes = "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])", "return redis.call('SET', KEYS[1], '1')"
    digest = boss("SCRIPT", "LOAD", reads)
    boss("SET", "k", "0")
    run = [("EVAL", reads, 1, "k"), ("EVALSHA", digest, 1, "k"), ("EVAL_RO", "return redis.call('GET', KEYS[1])", 1, "k"), ("FCALL", "reads", 1, "k"), ("FCALL_RO", "reads", 1, "k")]
    held = [("EVAL", writes, 1, "k"), ("EVAL", "return 1", 0), ("EVALSHA", "0" * 40, 0), ("FCALL", "writes", 1, "k"), ("FUNCTION", "LOAD", "REPLACE", PAUSE_LIBRARY), ("PUBLISH", "c", "m")]
    assert boss("CLIENT", "PAUSE", "60000", "WRITE") == "OK"
    for request in run:
        assert boss(*request) == b"0", request
    assert boss("MULTI") == "OK"
    assert [boss(*request) for request in run] == ["QUEUED"] * len(run)
    assert boss("EXEC") == [b"0"] * len(run)
    waiting = []
    for request in held:
        waiting.append(server.connect())
        waiting[-1].send(*request)
        assert _is_held(waiting[-1]), request
    assert boss("GET", "k") == b"0"
    queued = server.connect()
    assert queued("MULTI") == "OK"
    queued.send("FCALL", "writes", 1, "k")
    assert _is_held(queued)
    assert boss("CLIENT", "UNPAUSE") == "OK"
    for client in waiting:
        try:
            client.read()
        except ReplyError as error:
            assert str(error).startswith("NOSCRIPT")
    assert boss("GET", "k") == b"1" and queued.read() == "QUEUED" and queued("EXEC") == ["OK"]


def _is_held(client):
    client.socket.settimeout(0.2)
    try:
        client.socket.recv(1, socket.MSG_PEEK)
        return False
    except TimeoutError:
        return True
    finally:
        client.socket.settimeout(10)


@pytest.mark.skipif("valkey" in " ".join(support.program()), reason="it drops what the system has not taken yet")
@pytest.mark.parametrize("end", [b"", b"*2\r\n$3\r\nGET\r\n$100000\r\nunfin"], ids=["whole", "unfinished"])
def test_a_client_that_ends_its_half_gets_all_its_replies(server, end):
    with server.connect(timeout=30) as control:
        control("SET", "big", b"x" * (16 << 20))
        whole = 2 * (len(b"$16777216\r\n\r\n") + (16 << 20)) + len(b"+PONG\r\n")
        client = server.connect(timeout=30)
        client.raw(encode("GET", "big") + encode("GET", "big") + encode("PING") + end)
        client.socket.shutdown(socket.SHUT_WR)
        time.sleep(0.3)
        received = len(client.all())
        assert received == whole
        gone = [server.connect() for _ in range(5)]
        for other in gone:
            other.raw(encode("GET", "big") * 3)
        time.sleep(0.3)
        gone[0].socket.shutdown(socket.SHUT_WR)
        [other.close() for other in gone]
        assert until(lambda: parse_info(control("INFO", "clients"))["connected_clients"] == "1")


def test_a_listener_that_ends_its_half_is_closed(server):
    with server.connect() as control:
        listener = server.connect()
        assert listener("SUBSCRIBE", "c") == [b"subscribe", b"c", 1]
        for _ in range(300):
            control("PUBLISH", "c", b"x" * 65536)  # more than the system takes, less than the limit
        listener.socket.shutdown(socket.SHUT_WR)
        assert until(lambda: control("PUBSUB", "NUMSUB", "c") == [b"c", 0])

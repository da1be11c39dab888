"""Snapshot files at the start: those that other servers wrote, old forms, damaged ones; what clients hear meanwhile."""
import contextlib
import os
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

import fill
import support

PEERS = [name for name in ("VALKEY_SERVER", "REDIS_SERVER", "REDIS8_SERVER") if name != "REDIS8_SERVER" or os.environ.get(name)]
NO_CHECKSUM = bytes(8)


@contextlib.contextmanager
def peer(variable, **options):
    """A server of another kind."""
    program = os.environ.get(variable)
    assert program, f"{variable} does not name a server to compare with"
    own, os.environ["LARDER"] = os.environ.get("LARDER"), shlex.quote(program)
    try:
        server = support.Server(enable_debug_command="local", **options)
    finally:
        if own is None:
            del os.environ["LARDER"]
        else:
            os.environ["LARDER"] = own
    with server:
        yield server


def load(start, folder, **options):
    """A server that has loaded the snapshot in a folder, and a connection to it."""
    server = start(dir=str(folder), enable_debug_command="local", **options)
    client = server.connect(60)
    assert support.until(lambda: is_ready(client), 60), server.log()
    return server, client


def is_ready(client):
    try:
        return client("PING") == "PONG"
    except support.ReplyError as refused:
        assert str(refused).startswith("LOADING "), refused
        return False


def content(client, key):
    """What is in a key, in a form that does not depend on who tells it."""
    kind, deadline = client("TYPE", key), client("PEXPIRETIME", key)
    if kind == "string":
        value = client("GET", key)
    elif kind == "list":
        value = client("LRANGE", key, 0, -1)
    elif kind == "set":
        value = sorted(client("SMEMBERS", key))
    elif kind == "zset":
        flat = client("ZRANGE", key, 0, -1, "WITHSCORES")
        value = [(member, float(score)) for member, score in zip(flat[::2], flat[1::2])]
    elif kind == "hash":
        flat = client("HGETALL", key)
        fields = sorted(flat[::2])
        try:
            times = client("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
        except support.ReplyError:
            times = [-1] * len(fields)
        value = (sorted(zip(flat[::2], flat[1::2])), times)
    else:
        full = client("XINFO", "STREAM", key, "FULL", "COUNT", 0)
        full = dict(zip(full[::2], full[1::2]))
        figures = [full.get(name.encode()) for name in ("length", "last-generated-id", "max-deleted-entry-id", "entries-added")]
        value = (client("XRANGE", key, "-", "+"), figures, [group(each) for each in full[b"groups"]])
    return kind, deadline, value


def group(flat):
    """A group of a stream, without what only the latest versions tell of it."""
    told = dict(zip(flat[::2], flat[1::2]))
    consumers = [dict(zip(each[::2], each[1::2])) for each in told[b"consumers"]]
    pending = [(each[b"name"], each[b"seen-time"], each[b"pending"]) for each in consumers]
    return told[b"name"], told[b"last-delivered-id"], told[b"entries-read"], told[b"pending"], pending


def assert_equal_content(one, other, databases=16):
    keys = 0
    for db in range(databases):
        one("SELECT", db)
        other("SELECT", db)
        names = sorted(one("KEYS", "*"))
        assert names == sorted(other("KEYS", "*"))
        keys += len(names)
        for name in names:
            assert content(one, name) == content(other, name), name
    return keys


@pytest.mark.parametrize("options", [{}, {"maxmemory_policy": "allkeys-lfu"}, {"rdbcompression": "no", "rdbchecksum": "no"}])
@pytest.mark.parametrize("variable", PEERS)
def test_a_snapshot_of_another_server(start, tmp_path, variable, options):
    with peer(variable, **options) as server, server.connect(60) as theirs:
        fill.fill(theirs)
        theirs("SAVE")
        shutil.copy(server.path("dump.rdb"), tmp_path)
        _, ours = load(start, tmp_path, **options)
        assert assert_equal_content(theirs, ours) > 1000
        assert ours("FUNCTION", "LIST", "WITHCODE") == theirs("FUNCTION", "LIST", "WITHCODE")
        if variable == "VALKEY_SERVER":  # elsewhere the digest is taken of other things
            assert ours("DEBUG", "DIGEST") == theirs("DEBUG", "DIGEST")


@pytest.mark.parametrize("policy,word,option", [("allkeys-lfu", "FREQ", ("FREQ", 77)), ("allkeys-lru", "IDLETIME", ("IDLETIME", 1000))])
def test_how_often_or_how_long_ago_keys_were_used(start, tmp_path, policy, word, option):
    with peer("VALKEY_SERVER", maxmemory_policy=policy) as server, server.connect() as theirs:
        theirs("SET", "a", "x")
        theirs("RESTORE", "b", 0, theirs("DUMP", "a"), *option)
        theirs("SAVE")
        shutil.copy(server.path("dump.rdb"), tmp_path)
        _, ours = load(start, tmp_path, maxmemory_policy=policy)
        assert abs(ours("OBJECT", word, "b") - option[1]) <= 2


# Old forms, made by hand: what redis-server 7.0 makes of them is what they mean.


def string(data):
    length = len(data)
    return (bytes([length]) if length < 64 else b"\x80" + struct.pack(">I", length)) + data


def ziplist(*entries):
    """Entries are bytes or integers."""
    body, before, last = b"", 0, 10
    for entry in entries:
        last = 10 + len(body)
        head = bytes([before]) if before < 254 else b"\xfe" + struct.pack("<I", before)
        if isinstance(entry, int):
            if 0 <= entry <= 12:
                data = bytes([0xF1 + entry])
            elif -128 <= entry < 128:
                data = b"\xfe" + struct.pack("<b", entry)
            elif -(2**15) <= entry < 2**15:
                data = b"\xc0" + struct.pack("<h", entry)
            elif -(2**23) <= entry < 2**23:
                data = b"\xf0" + struct.pack("<i", entry << 8)[1:]
            elif -(2**31) <= entry < 2**31:
                data = b"\xd0" + struct.pack("<i", entry)
            else:
                data = b"\xe0" + struct.pack("<q", entry)
        elif len(entry) < 64:
            data = bytes([len(entry)]) + entry
        elif len(entry) < 1 << 14:
            data = struct.pack(">H", 0x4000 | len(entry)) + entry
        else:
            data = b"\x80" + struct.pack(">I", len(entry)) + entry
        body += head + data
        before = len(head + data)
    return struct.pack("<IIH", 10 + len(body) + 1, last, len(entries)) + body + b"\xff"


def zipmap(*pairs):
    body = b"".join(bytes([len(f)]) + f + bytes([len(v), free]) + v + b"#" * free for f, v, free in pairs)
    return bytes([len(pairs)]) + body + b"\xff"


def intset(width, *numbers):
    code = {2: "h", 4: "i", 8: "q"}[width]
    return struct.pack("<II", width, len(numbers)) + b"".join(struct.pack("<" + code, n) for n in numbers)


def double(score):
    text = repr(score).encode()
    return bytes([len(text)]) + text


def old_values():
    """(type, key, bytes of the value)."""
    mixed = [b"text", 0, 12, -1, 127, -129, 40_000, -(2**23), 2**30, -(2**62), b"x" * 63, b"y" * 64, b"z" * 20_000, b"", b"last"]
    yield 1, b"list of texts", b"\x03" + string(b"a") + b"\xc0\x11" + string(b"b" * 100)
    yield 2, b"set of texts", b"\x02" + string(b"a") + b"\xc1\x11\x22"
    yield 3, b"sorted set", b"\x04" + string(b"a") + double(1.5) + string(b"b") + double(-3e300) + string(b"c") + b"\xfe" + string(b"d") + b"\xff"
    yield 4, b"hash", b"\x01" + string(b"f") + string(b"v")
    yield 9, b"zipmap", string(zipmap((b"f", b"v", 0), (b"g", b"long " * 10, 3), (b"", b"", 1)))
    yield 10, b"list as ziplist", string(ziplist(*mixed))
    for width, numbers in ((2, (-5, 0, 300)), (4, (-70_000, 3)), (8, (-(2**40), 1, 2**50))):
        yield 11, b"intset %d" % width, string(intset(width, *numbers))
    yield 12, b"sorted set as ziplist", string(ziplist(b"low", b"-inf", b"m", -7, b"n", 3, 17, b"3.25", b"o", b"3.25"))
    yield 13, b"hash as ziplist", string(ziplist(b"f", 1, b"g", b"w" * 300, 12, 13))
    yield 14, b"quicklist", b"\x03" + string(ziplist(*mixed)) + string(ziplist(b"one")) + string(ziplist(1, 2, 3))


def old_file(version, values, trailer=NO_CHECKSUM):
    file = b"REDIS%04d" % version + b"\xfe\x00"
    for number, (kind, key, value) in enumerate(values):
        if number % 3 == 1:
            file += b"\xfd" + struct.pack("<i", 2_100_000_000 + number)
        elif number % 3 == 2 and version >= 3:
            file += b"\xfc" + struct.pack("<q", 2_200_000_000_123 + number)
        file += bytes([kind]) + string(key) + value
    return file + b"\xff" + (trailer if version >= 5 else b"")


@pytest.mark.parametrize("version", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_old_forms(start, tmp_path, version):
    """Files as versions 1.0 to 6.2 wrote them: redis-server 7.0, which reads all of these, tells what they mean."""
    latest = {1: 4, 2: 9, 3: 9, 4: 13, 5: 13, 6: 13}.get(version, 14)
    values = [value for value in old_values() if value[0] <= latest]
    (tmp_path / "dump.rdb").write_bytes(old_file(version, values))
    with peer("REDIS_SERVER", dir=str(tmp_path)) as server, server.connect() as theirs:
        _, ours = load(start, tmp_path)
        assert assert_equal_content(theirs, ours) == len(values)


def test_streams_of_old_versions(start, tmp_path):
    """Types 15 and 19: what redis-server 7.0 dumps as 19, without the figures that 15 lacks."""
    with peer("REDIS_SERVER") as server, server.connect() as theirs:
        for number in range(5):
            theirs("XADD", "s", f"{number + 1}-1", "f", number)
        theirs("XGROUP", "CREATE", "s", "g", "2-1")
        theirs("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "s", ">")
        new = theirs("DUMP", "s")[1:-10]
    # Length, last id; then first id, greatest deleted id, entries added, which 15 has not; one group: name, last id, entries read.
    figures = b"\x05\x05\x01" + b"\x01\x01\x00\x00\x05"
    counted = b"\x01\x01g\x03\x01\x81" + b"\xff" * 8
    assert new.count(figures + counted) == 1
    old = new.replace(figures + counted, b"\x05\x05\x01" + b"\x01\x01g\x03\x01")
    (tmp_path / "dump.rdb").write_bytes(old_file(9, [(15, b"old", old)]))
    with peer("REDIS_SERVER", dir=str(tmp_path)) as server, server.connect() as theirs:
        _, ours = load(start, tmp_path)
        assert assert_equal_content(theirs, ours) == 1


# What is wrong


def refuse(folder, *options):
    """The log of a server that must not start over the snapshot in a folder."""
    before = (folder / "dump.rdb").read_bytes()
    command = [*support.program(), "--port", str(support.free_port()), "--dir", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stdout
    assert (folder / "dump.rdb").read_bytes() == before
    assert [each.name for each in folder.iterdir()] == ["dump.rdb"]
    return done.stdout + done.stderr


def test_a_damaged_file_stops_the_server(tmp_path):
    path = tmp_path / "dump.rdb"
    good = b"REDIS0010\xfe\x00\x00\x01a\x01b\x00\x01c\x01d\xff" + NO_CHECKSUM
    for file, offset, why in [
        (good[:-9], 21, "too early"),
        (good[:14], 14, "too early"),
        (good[:-8] + b"12345678", 22, "RDB CRC error"),
        (good.replace(b"\x01c", b"\x01a"), 17, "duplicated key 'a'"),
        (good.replace(b"REDIS0010", b"REDIS0099"), 0, "version"),
        (good.replace(b"REDIS", b"RUBIS"), 0, "signature"),
        (good.replace(b"\xfe\x00", b"\xfe\x10"), 9, "more than 16 databases"),
        (good.replace(b"\x00\x01c", b"\x07\x01c"), 19, "module"),
        (b"", 0, "too early"),
    ]:
        path.write_bytes(file)
        log = refuse(tmp_path)
        assert f"{path} at byte {offset}: " in log and why in log, log


def test_options(start, tmp_path):
    path = tmp_path / "dump.rdb"
    path.write_bytes(b"REDIS0010\xfe\x00\x00\x01a\x01b\xff12345678")
    refuse(tmp_path)
    _, client = load(start, tmp_path, rdbchecksum="no")
    assert client("GET", "a") == b"b"
    path.write_bytes(b"REDIS0099\xfe\x00\x00\x01a\x01b\xff" + NO_CHECKSUM)
    refuse(tmp_path)
    _, client = load(start, tmp_path, rdb_version_check="relaxed")
    assert client("GET", "a") == b"b"


def test_expired_keys_are_dropped_and_counted(start, tmp_path):
    old = b"\xfd" + struct.pack("<i", 1_000_000) + b"\x00\x03old\x01x"
    new = b"\xfd" + struct.pack("<i", 2_100_000_000) + b"\x00\x03new\x01y"
    (tmp_path / "dump.rdb").write_bytes(b"REDIS0009\xfe\x00" + old + new + b"\x02\x05empty\x00\xff" + NO_CHECKSUM)
    _, client = load(start, tmp_path)
    info = support.parse_info(client("INFO", "persistence"))
    assert (info["rdb_last_load_keys_expired"], info["rdb_last_load_keys_loaded"], info["loading"]) == ("1", "1", "0")
    assert client("KEYS", "*") == [b"new"]


# While it loads


def slow_folder(folder, keys=100_000):
    """A snapshot that takes long under `key-load-delay`."""
    body = b"".join(b"\x00" + string(b"key:%d" % n) + string(b"value") for n in range(keys))
    (folder / "dump.rdb").write_bytes(b"REDIS0010\xfa\x08used-mem\xc2\x00\x00\x10\x00\xfe\x00" + body + b"\xff" + NO_CHECKSUM)


def test_clients_hear_that_data_is_being_loaded(start, tmp_path):
    slow_folder(tmp_path)
    server = start(dir=str(tmp_path), key_load_delay=1000)
    with server.connect() as client:
        text = "LOADING Valkey is loading the dataset in memory"
        for request in (["PING"], ["GET", "key:1"], ["SET", "a", "b"], ["EVAL", "return 1", 0], ["DBSIZE"], ["SAVE"], ["FLUSHALL"],
                        ["CONFIG", "SET", "dir", "nowhere"], ["CONFIG", "SET", "maxclients", "20", "AppendOnly", "yes"]):
            assert client.error(*request) == text, request
        # What the file says of itself is known as soon as its first bytes are.
        assert support.until(lambda: support.parse_info(client("INFO", "persistence"))["loading_rdb_used_mem"] != "0")
        info = support.parse_info(client("INFO", "persistence"))
        assert info["loading"] == "1" and info["async_loading"] == "0"
        assert int(info["loading_total_bytes"]) == os.path.getsize(tmp_path / "dump.rdb")
        assert 0 < int(info["loading_loaded_bytes"]) < int(info["loading_total_bytes"])
        assert info["loading_rdb_used_mem"] == "1048576" and abs(int(info["loading_start_time"]) - time.time()) < 10
        assert 0 < float(info["loading_loaded_perc"]) < 100 and int(info["loading_eta_seconds"]) >= 1
        assert client("CONFIG", "GET", "port") == [b"port", str(server.port).encode()]
        assert client("CONFIG", "SET", "loglevel", "debug") == "OK"
        assert client("SELECT", 1) == "OK" and client("MULTI") == "OK"
        assert client.error("GET", "a") == text
        assert client.error("EXEC") == "EXECABORT Transaction discarded because of previous errors."
        assert "Ready to accept connections" not in server.log()
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0 and time.monotonic() - started < 5
    assert [each.name for each in tmp_path.iterdir()] == ["dump.rdb"]


# larder check-rdb


def check(path):
    done = subprocess.run([*support.program(), "check-rdb", str(path)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout


def test_check_rdb(tmp_path):
    path = tmp_path / "some.rdb"
    good = b"REDIS0010\xfe\x00\xfd" + struct.pack("<i", 1_000_000) + b"\x00\x03old\x01x\x00\x01a\x01b\xff" + NO_CHECKSUM
    path.write_bytes(good)
    status, text = check(path)
    assert status == 0 and "RDB looks OK!" in text
    assert "[info] 2 keys read\n[info] 1 expires\n[info] 1 already expired\n" in text
    path.write_bytes(good[:-10])
    status, text = check(path)
    assert status == 1 and "RDB ERROR DETECTED" in text and f"[offset {len(good) - 10}]" in text
    assert check(tmp_path / "missing")[0] == 1


def test_a_configuration_file_is_no_subcommand(tmp_path, start):
    port = support.free_port()
    (tmp_path / "some.conf").write_text(f"port {port}\nsave \"\"\n")
    process = subprocess.Popen([*support.program(), "some.conf", "--dir", str(tmp_path)], cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        def answers():
            with contextlib.suppress(OSError), support.Client(socket.create_connection(("127.0.0.1", port), 1)) as client:
                return client("PING") == "PONG"
        assert support.until(answers, 10)
    finally:
        process.terminate()
        assert process.wait(10) == 0


# DEBUG RELOAD


def test_reload_gives_the_same_data(start):
    server = start(enable_debug_command="local")
    with server.connect(60) as client:
        fill.fill(client)
        before, libraries = client("DEBUG", "DIGEST"), client("FUNCTION", "LIST", "WITHCODE")
        sizes = client("INFO", "keyspace")
        assert client("DEBUG", "RELOAD") == "OK"
        assert client("DEBUG", "DIGEST") == before and client("FUNCTION", "LIST", "WITHCODE") == libraries
        assert [line.split(b",")[0] for line in client("INFO", "keyspace").splitlines()] == [line.split(b",")[0] for line in sizes.splitlines()]
        assert support.parse_info(client("INFO", "persistence"))["loading"] == "0"


def test_words_of_reload(start):
    server = start(enable_debug_command="local")
    failed = "ERR Error trying to load the RDB dump, check server logs."
    with server.connect() as client:
        client("MSET", "a", 1, "b", 2)
        assert client("DEBUG", "RELOAD", "NOSAVE") == "OK", "there is no file"
        assert client("MGET", "a", "b") == [b"1", b"2"]
        assert client("DEBUG", "RELOAD") == "OK"
        client("MSET", "b", 3, "c", 4)
        assert client.error("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH") == failed
        assert "duplicated key" in server.log()
        assert client("DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE") == "OK"
        assert client("MGET", "a", "b", "c") == [b"1", b"2", b"4"]
        client("SET", "d", 5)
        assert client("DEBUG", "RELOAD", "NOSAVE") == "OK"
        assert client("MGET", "a", "b", "c", "d") == [b"1", b"2", None, None]
        assert "only supports the MERGE, NOFLUSH and NOSAVE options" in client.error("DEBUG", "RELOAD", "NOW")
        assert client("MULTI") == "OK" and client("DEBUG", "RELOAD") == "QUEUED"
        assert "a transaction has locked already" in client.error("EXEC")


def test_watched_keys_are_touched_by_a_reload(start):
    with start(enable_debug_command="local").connect() as one, one_more(one) as other:
        one("SET", "k", 1)
        one("WATCH", "k")
        assert other("DEBUG", "RELOAD") == "OK"
        one("MULTI")
        one("GET", "k")
        assert one("EXEC") is None


def one_more(client):
    """Another connection to the same server."""
    return support.Client(socket.create_connection(client.socket.getpeername(), 10))


def test_no_acknowledged_write_is_lost_by_a_reload(start):
    """Writers go on while the data is reloaded again and again: they are refused or their writes are there."""
    server = start(enable_debug_command="local")
    stop, counts = threading.Event(), {}

    def write(number):
        with server.connect(60) as client:
            count = 0
            while not stop.is_set():
                try:
                    client("INCR", f"counter:{number}")
                    count += 1
                except support.ReplyError as refused:
                    assert str(refused).startswith("LOADING "), refused
            counts[number] = count

    writers = [threading.Thread(target=write, args=[number]) for number in range(4)]
    with server.connect(60) as client:
        client("DEBUG", "POPULATE", 20_000)
        for writer in writers:
            writer.start()
        for _ in range(10):
            assert client("DEBUG", "RELOAD") == "OK"
        stop.set()
        for writer in writers:
            writer.join()
        for number, count in counts.items():
            assert count > 0 and int(client("GET", f"counter:{number}")) == count

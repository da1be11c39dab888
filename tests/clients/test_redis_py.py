"""redis-py, synchronous: connections, strings, keys, options and errors as applications use them."""
import threading
import time

import pytest
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def r(server, request):
    """A client of each protocol version."""
    with redis.Redis(port=server.port, protocol=request.param, socket_timeout=10) as client:
        yield client


@pytest.fixture
def text(server):
    """A client that decodes replies."""
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


def test_the_handshake_names_the_client(r):
    assert r.ping() is True
    assert r.client_setname("worker-1") is True
    assert r.client_getname() in ("worker-1", b"worker-1")
    mine = r.client_info()
    assert mine["name"] == "worker-1" and mine["lib-name"].startswith("redis-py") and mine["lib-ver"] == redis.__version__
    assert mine["id"] == r.client_id()


def test_set_and_its_options(r):
    assert r.set("k", b"\x00\xff binary \r\n") is True
    assert r.get("k") == b"\x00\xff binary \r\n"
    assert r.set("k", "x", nx=True) is None
    assert r.set("k", "y", xx=True, get=True) == b"\x00\xff binary \r\n"
    assert r.set("new", "1", nx=True, ex=100) is True
    assert 98 <= r.ttl("new") <= 100
    assert r.set("new", "2", keepttl=True) is True and r.ttl("new") > 90
    assert r.set("new", "3", px=50_000) is True and 49_000 <= r.pttl("new") <= 50_000
    assert r.set("new", "4", exat=4102444800) is True and r.expiretime("new") == 4102444800
    assert r.set("new", "5", pxat=4102444800123) is True and r.pexpiretime("new") == 4102444800123
    with pytest.raises(redis.ResponseError, match="syntax error"):
        r.execute_command("SET", "k", "v", "NX", "XX")
    with pytest.raises(redis.ResponseError, match="invalid expire time in 'set' command"):
        r.set("k", "v", ex=0)


def test_strings(r):
    assert r.append("s", "Hello ") == 6 and r.append("s", "World") == 11
    assert r.getrange("s", 0, 4) == b"Hello" and r.getrange("s", -5, -1) == b"World" and r.substr("s", 0, 0) == b"H"
    assert r.setrange("s", 6, "Redis") == 11 and r.strlen("s") == 11 and r.get("s") == b"Hello Redis"
    assert r.getset("s", "new") == b"Hello Redis" and r.getdel("s") == b"new" and r.get("s") is None
    assert r.setnx("s", 1) and not r.setnx("s", 2)
    assert r.execute_command("SETEX", "e", 100, "v") and r.execute_command("PSETEX", "p", 100_000, "v") and r.ttl("e") > 90 and r.pttl("p") > 90_000
    assert r.getex("e", persist=True) == b"v" and r.ttl("e") == -1
    assert r.getex("e", px=90_000) == b"v" and r.pttl("e") > 80_000


def test_many_keys_at_once(r):
    assert r.mset({"a": 1, "b": 2, "c": b"\xff"}) is True
    assert r.mget("a", "b", "nosuch", "c") == [b"1", b"2", None, b"\xff"]
    assert r.msetnx({"c": 1, "d": 2}) in (False, 0) and r.exists("d") == 0
    assert r.msetnx({"d": 1, "e": 2}) in (True, 1)
    assert r.exists("a", "a", "b", "nosuch") == 3 and r.touch("a", "b", "nosuch") == 2
    assert r.delete("a", "b", "nosuch") == 2 and r.unlink("c", "d", "e") == 3 and r.dbsize() == 0


def test_counters(r):
    assert r.incr("n") == 1 and r.incrby("n", 41) == 42 and r.decr("n", 2) == 40 and r.decrby("n", 10) == 30
    assert r.incrbyfloat("f", 10.5) == 10.5 and r.incrbyfloat("f", -0.25) == 10.25 and r.incrbyfloat("f", "5e3") == 5010.25
    assert r.incr("n", 9223372036854775807 - 30) == 9223372036854775807
    with pytest.raises(redis.ResponseError, match="increment or decrement would overflow"):
        r.incr("n")
    r.set("t", "abc")
    with pytest.raises(redis.ResponseError, match="value is not an integer or out of range"):
        r.incr("t")
    with pytest.raises(redis.ResponseError, match="value is not a valid float"):
        r.incrbyfloat("t", 1)


def test_lcs(r):
    r.mset({"x": "ohmytext", "y": "mynewtext"})
    assert r.lcs("x", "y") == b"mytext" and r.lcs("x", "y", len=True) == 6
    found = r.lcs("x", "y", idx=True, minmatchlen=4, withmatchlen=True)
    assert b"matches" in found


def test_deadlines(r):
    r.set("k", "v")
    assert r.ttl("k") == -1 and r.ttl("nosuch") == -2 and r.pttl("k") == -1
    assert r.expire("k", 100) and r.expire("k", 200, gt=True) and not r.expire("k", 100, gt=True)
    assert r.expire("k", 50, lt=True) and not r.expire("k", 60, nx=True) and r.expire("k", 70, xx=True)
    assert r.persist("k") and not r.persist("k") and r.expire("k", 100, nx=True)
    assert r.pexpire("k", 5000) and r.expireat("k", 4102444800) and r.pexpireat("k", 4102444800001)
    assert r.expiretime("k") == 4102444800 and r.pexpiretime("k") == 4102444800001
    assert r.expire("k", -1) and r.exists("k") == 0


def test_a_key_is_gone_after_its_time(r):
    r.set("k", "v", px=60)
    assert r.get("k") == b"v"
    time.sleep(0.09)
    assert r.get("k") is None and r.exists("k") == 0 and r.ttl("k") == -2 and r.keys() == []


def test_keys_rename_copy_move(r, server):
    r.mset({"user:1": "a", "user:2": "b", "other": "c"})
    assert sorted(r.keys("user:*")) == [b"user:1", b"user:2"] and r.type("other") == b"string" and r.randomkey() in (b"user:1", b"user:2", b"other")
    assert r.rename("other", "moved") and not r.renamenx("moved", "user:1") and r.renamenx("moved", "free")
    with pytest.raises(redis.ResponseError, match="no such key"):
        r.rename("nosuch", "x")
    assert r.copy("free", "twin") and not r.copy("free", "twin") and r.copy("free", "twin", replace=True)
    assert r.copy("free", "free", destination_db=3) and r.move("twin", 5) and not r.move("twin", 5)
    with redis.Redis(port=server.port, db=5) as five:
        assert five.get("twin") == b"c" and five.dbsize() == 1
        assert r.swapdb(0, 5) and five.dbsize() == 3 and r.get("twin") == b"c"
        assert five.flushdb() and r.dbsize() == 1 and r.flushall() and r.dbsize() == 0


def test_scan_sees_every_key_once(r):
    pipe = r.pipeline(transaction=False)
    for i in range(3000):
        pipe.set(f"scan:{i}", i)
    pipe.execute()
    r.set("another", 1)
    found = list(r.scan_iter("scan:*", count=200))
    assert len(found) == len(set(found)) == 3000
    assert len(list(r.scan_iter(_type="STRING"))) == 3001 and list(r.scan_iter(match="nosuch*")) == []
    cursor, page = r.scan(0, count=10)
    assert cursor != 0 and page


def test_scan_while_keys_come_and_go(r):
    stay = {f"stay:{i}".encode() for i in range(2000)}
    pipe = r.pipeline(transaction=False)
    for key in stay:
        pipe.set(key, 1)
    pipe.execute()
    found, cursor, turn = set(), None, 0
    while cursor != 0:
        cursor, page = r.scan(cursor or 0, count=50)
        found.update(page)
        turn += 1
        r.mset({f"come:{turn}:{i}": 1 for i in range(200)})
        if turn % 2:
            r.unlink(*[f"come:{turn - 1}:{i}" for i in range(200)])
    assert stay <= found


def test_pipelines_without_transaction(r):
    with r.pipeline(transaction=False) as pipe:
        for i in range(10_000):
            pipe.set(f"p:{i}", i).get(f"p:{i}")
        replies = pipe.execute()
    assert replies[::2] == [True] * 10_000 and replies[1::2] == [b"%d" % i for i in range(10_000)]
    with r.pipeline(transaction=False) as pipe:
        pipe.set("s", "abc").incr("s").get("s").execute_command("NOSUCH")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == b"abc" and isinstance(replies[3], redis.ResponseError)


def test_objects(r):
    r.mset({"i": 5, "e": "short", "w": "x" * 500})
    assert [r.object("encoding", k) for k in ("i", "e", "w")] == [b"int", b"embstr", b"raw"] and r.object("encoding", "nosuch") is None
    assert r.object("refcount", "e") == 1 and r.object("idletime", "e") <= 1 and r.memory_usage("w") > 500


def test_configuration(r):
    before = r.config_get("maxmemory-policy")["maxmemory-policy"]
    assert r.config_set("maxmemory-policy", "allkeys-lru") and r.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    assert r.config_set("maxmemory-policy", before)
    assert r.config_get("maxmemory*", "timeout")["timeout"] == "0" and r.config_get("nosuch") == {}
    with pytest.raises(redis.ResponseError, match="Unknown option or number of arguments for CONFIG SET - 'nosuch'"):
        r.config_set("nosuch", 1)
    assert r.config_resetstat()


def test_introspection(r):
    info = r.info()
    assert info.get("redis_mode", info.get("server_mode")) == "standalone" and info["role"] == "master" and info["connected_clients"] >= 1 and info["loading"] == 0
    assert tuple(int(n) for n in info["redis_version"].split(".")) >= (7, 2, 0)
    r.set("k", 1, ex=100)
    assert r.info("keyspace")["db0"]["keys"] == 1 and r.info("keyspace")["db0"]["expires"] == 1
    assert r.time()[0] > 1_700_000_000 and r.role()[0] in (b"master", "master")
    assert r.command_count() > 50 and r.command()["get"]["arity"] == 2
    assert isinstance(r.slowlog_get(), list) and r.slowlog_len() >= 0 and r.slowlog_reset() and r.latency_latest() == []
    assert any(c["id"] == str(r.client_id()) for c in r.client_list())


def test_command_getkeys(r):
    assert r.command_getkeys("MSET", "a", 1, "b", 2) in (["a", "b"], [b"a", b"b"])


def test_two_accounts_of_memory_agree(r):
    r.eval("return 'a script that is kept'", 0)
    r.function_load("#!lua name=accounts\nserver.register_function('one', function() return 1 end)", replace=True)
    r.mset({f"key:{number}": "x" * 100 for number in range(1000)})
    # In one transaction: other connections come and go between two requests.
    stats, info = r.pipeline().memory_stats().info("memory").execute()
    for name, field in [
        ("startup.allocated", "used_memory_startup"),
        ("clients.normal", "mem_clients_normal"),
        ("lua.caches", "used_memory_scripts_eval"),
        ("functions.caches", "used_memory_functions"),
        ("overhead.total", "used_memory_overhead"),
    ]:
        assert stats[name] == info[field] > 0, name
    assert stats["overhead.total"] + stats["dataset.bytes"] == stats["total.allocated"]
    assert stats["keys.count"] == 1000


def test_statistics_count_hits_and_misses(r):
    r.config_resetstat()
    r.set("k", 1)
    r.get("k"), r.get("k"), r.get("nosuch")
    stats = r.info("stats")
    assert stats["keyspace_hits"] == 2 and stats["keyspace_misses"] == 1 and r.info("commandstats")["cmdstat_get"]["calls"] == 3


def test_decoded_replies(text):
    text.set("ключ", "значение")
    assert text.get("ключ") == "значение" and text.keys() == ["ключ"] and text.mget(["ключ", "x"]) == ["значение", None]


def test_errors_become_the_clients_exceptions(r):
    with pytest.raises(redis.ResponseError, match="unknown command 'NOSUCH', with args beginning with: 'a' 'b' "):
        r.execute_command("NOSUCH", "a", "b")
    with pytest.raises(redis.ResponseError, match="wrong number of arguments for 'get' command"):
        r.execute_command("GET")
    with pytest.raises(redis.ResponseError, match="DB index is out of range"):
        r.execute_command("SELECT", 16)


def test_a_password_is_asked_for(start):
    server = start(requirepass="secret")
    for protocol in (2, 3):
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, protocol=protocol).ping()
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port, protocol=protocol, password="wrong").ping()
        assert redis.Redis(port=server.port, protocol=protocol, password="secret").ping()
        assert redis.Redis(port=server.port, protocol=protocol, username="default", password="secret").ping()


def test_a_blocking_pool_shared_by_threads(server):
    pool = redis.BlockingConnectionPool(port=server.port, max_connections=8, timeout=20)
    r, failures = redis.Redis(connection_pool=pool), []

    def work(number):
        try:
            for i in range(200):
                key = f"t:{number}:{i}"
                r.set(key, i)
                assert r.get(key) == b"%d" % i
                r.incr("total")
        except Exception as problem:  # noqa: BLE001 - reported by the test below
            failures.append(problem)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and r.get("total") == b"4000"
    pool.disconnect()


def test_a_url_selects_database_and_protocol(server):
    with redis.from_url(f"redis://127.0.0.1:{server.port}/7?protocol=3&decode_responses=True") as seven:
        seven.set("k", "v")
        assert seven.client_info()["db"] == 7 and int(seven.client_info()["resp"]) == 3
    with redis.Redis(port=server.port) as zero:
        assert zero.get("k") is None and zero.info("keyspace")["db7"]["keys"] == 1


def test_a_killed_connection_is_retried(server):
    with redis.Redis(port=server.port, retry=Retry(ExponentialBackoff(0.1, 0.01), 3), retry_on_error=[redis.ConnectionError]) as r, redis.Redis(port=server.port) as other:
        r.set("k", "v")
        assert other.client_kill_filter(_id=r.client_id()) == 1
        assert r.get("k") == b"v"


def test_kill_by_address_and_by_id(r, server):
    with redis.Redis(port=server.port) as victim:
        victim.client_setname("victim")
        line = next(c for c in r.client_list() if c["name"] == "victim")
        assert r.client_kill(line["addr"]) is True
        assert r.client_kill_filter(_id=line["id"]) == 0
        with pytest.raises(redis.ResponseError, match="No such client"):
            r.client_kill("1.2.3.4:5")


def test_health_checks_and_reset(server):
    with redis.Redis(port=server.port, health_check_interval=1, single_connection_client=True) as r:
        r.set("k", "v")
        time.sleep(1.1)
        assert r.get("k") == b"v"
        r.execute_command("SELECT", 3)
        assert r.get("k") is None
        assert r.execute_command("RESET") in (b"RESET", "RESET") and r.get("k") == b"v"


def test_monitor_shows_commands(server):
    with redis.Redis(port=server.port) as watcher, redis.Redis(port=server.port, db=2) as worker:
        with watcher.monitor() as monitor:
            worker.set("k", 'a "quoted" \x01 value')
            seen = next(m for m in monitor.listen() if m["command"].startswith("SET"))
            assert seen["db"] == 2 and seen["client_type"] == "tcp"


def test_client_no_evict_no_touch_and_pause(r):
    assert r.client_no_evict("ON") and r.client_no_touch("ON") and r.client_no_touch("OFF")
    assert r.client_pause(1) and r.client_unpause() and r.client_unblock(r.client_id()) in (0, False)


def test_large_values(r):
    for size in (1 << 16, 1 << 20, 8 << 20):
        value = bytes(range(256)) * (size // 256)
        r.set("big", value)
        assert r.strlen("big") == size and r.get("big") == value and r.getrange("big", size - 3, -1) == value[-3:]

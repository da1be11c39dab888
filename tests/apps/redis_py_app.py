"""redis-py: pipelines, transactions, WATCH, locks, scripts."""
import threading
import time

import redis
import redis_lock
from redis.exceptions import LockError, LockNotOwnedError, NoScriptError, ResponseError, WatchError
from steps import done, equal, server, step, until

client = server(decode_responses=True)
client.flushall()


@step("a transaction is one reply for each command")
def _():
    with client.pipeline(transaction=True) as pipe:
        replies = pipe.set("a", 1).incr("a").get("a").lpush("l", "x", "y").lrange("l", 0, -1).execute()
    equal(replies, [True, 2, "2", 2, ["y", "x"]])


@step("an error in a transaction leaves the others done")
def _():
    with client.pipeline() as pipe:
        replies = pipe.set("s", "text").lpush("s", 1).set("t", 2).execute(raise_on_error=False)
    equal((replies[0], replies[2], client.get("t")), (True, True, "2"))
    assert isinstance(replies[1], ResponseError) and "WRONGTYPE" in str(replies[1])


@step("a command that cannot be queued aborts the transaction")
def _():
    client.delete("never")
    with client.pipeline() as pipe:
        pipe.set("never", 1).execute_command("GET")
        try:
            pipe.execute()
            raise AssertionError("not refused")
        except redis.ResponseError:
            pass
    equal(client.get("never"), None)


@step("a watched key that changes aborts, one that does not lets through")
def _():
    client.set("w", 1)
    with client.pipeline() as pipe:
        pipe.watch("w")
        client.set("w", 2)
        pipe.multi()
        pipe.set("w", 3)
        try:
            pipe.execute()
            raise AssertionError("not aborted")
        except WatchError:
            pass
        pipe.watch("w")
        value = int(pipe.get("w"))
        pipe.multi()
        equal(pipe.set("w", value + 1).execute(), [True])
    equal(client.get("w"), "3")


@step("400 optimistic increments by eight threads are all counted")
def _():
    client.set("n", 0)

    def add(pipe):
        value = int(pipe.get("n"))
        pipe.multi()
        pipe.set("n", value + 1)

    threads = [threading.Thread(target=lambda: [client.transaction(add, "n") for _ in range(50)]) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(client.get("n"), "400")


@step("1000 commands in a pipeline without a transaction")
def _():
    with client.pipeline(transaction=False) as pipe:
        for number in range(500):
            pipe.set(f"p:{number}", number)
            pipe.get(f"p:{number}")
        replies = pipe.execute()
    equal(replies[1::2], [str(number) for number in range(500)])


@step("a lock excludes, expires, is extended, is not released by others")
def _():
    lock = client.lock("lock", timeout=5)
    assert lock.acquire(blocking=False) and not client.lock("lock").acquire(blocking=False)
    assert lock.locked() and lock.owned() and lock.extend(5) and 5 < client.ttl("lock") <= 10
    assert lock.reacquire() and client.ttl("lock") <= 5
    lock.release()
    short = client.lock("lock", timeout=0.05)
    assert short.acquire()
    time.sleep(0.1)
    assert client.lock("lock", timeout=5).acquire(blocking=False)
    try:
        short.release()
        raise AssertionError("released another's lock")
    except LockNotOwnedError:
        pass
    client.delete("lock")
    try:
        client.lock("lock").release()
        raise AssertionError("released nothing")
    except LockError:
        pass


@step("a lock guards a counter of eight threads")
def _():
    client.set("guarded", 0)

    def work():
        for _ in range(25):
            with client.lock("guard", timeout=10, sleep=0.001):
                client.set("guarded", int(client.get("guarded")) + 1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(client.get("guarded"), "200")


@step("python-redis-lock: waits by BLPOP, is renewed, is released")
def _():
    connection = server()
    first = redis_lock.Lock(connection, "renewed", expire=2, auto_renewal=True)
    assert first.acquire()
    got = []
    waiter = threading.Thread(target=lambda: got.append(redis_lock.Lock(connection, "renewed", expire=20).acquire(timeout=10)))
    waiter.start()
    time.sleep(2.5)
    equal(got, [])
    first.release()
    waiter.join()
    equal(got, [True])


@step("a registered script is loaded when the server does not know it")
def _():
    script = client.register_script("return {KEYS[1], ARGV[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    client.script_flush()
    equal(script(keys=["counter"], args=[5]), ["counter", "5", 5])
    equal(client.script_exists(script.sha, "f" * 40), [True, False])
    with client.pipeline() as pipe:
        script(keys=["counter"], args=[1], client=pipe)
        pipe.get("counter")
        equal(pipe.execute(), [["counter", "1", 6], "6"])


@step("scripts: types of replies, errors, unknown scripts")
def _():
    equal(client.eval("return {1, 2.9, 'x', true, false, {3, {4}}}", 0), [1, 2, "x", 1, None, [3, [4]]])
    equal(client.eval("return redis.status_reply('FINE')", 0), "FINE")
    for text, wanted in [("return redis.error_reply('MY wrong')", "wrong"), ("return redis.call('LPUSH', 'a', 1)", "WRONGTYPE")]:
        try:
            client.eval(text, 0)
            raise AssertionError("no error")
        except ResponseError as error:
            assert wanted in str(error), error
    try:
        client.evalsha("0" * 40, 0)
        raise AssertionError("no error")
    except NoScriptError:
        pass
    equal(client.eval("local ok = redis.pcall('LPUSH', 'a', 1) return ok.err ~= nil and 'caught'", 0), "caught")


@step("functions are loaded, listed, called, deleted")
def _():
    code = "#!lua name=lib\nredis.register_function('add', function(keys, args) return redis.call('INCRBY', keys[1], args[1]) end)"
    equal(client.function_load(code, replace=True), "lib")
    equal([client.fcall("add", 1, "fn", 2), client.fcall("add", 1, "fn", 3)], [2, 5])
    assert "lib" in str(client.function_list())
    client.function_delete("lib")


@step("publish and subscribe, by name and by pattern")
def _():
    listener = client.pubsub()
    listener.subscribe("news")
    listener.psubscribe("ne*s")
    seen = []

    def hear(count):
        return until(lambda: (seen.extend(filter(None, [listener.get_message(timeout=0.1)])), len(seen) >= count)[1])

    # Only who has heard that it is subscribed is told everything.
    assert hear(2) and [message["type"] for message in seen] == ["subscribe", "psubscribe"], seen
    equal(client.publish("news", "hello"), 2)
    assert hear(4), seen
    equal({(message["type"], message["data"]) for message in seen[2:]}, {("message", "hello"), ("pmessage", "hello")})
    listener.close()


done()

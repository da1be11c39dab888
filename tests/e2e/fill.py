"""Data of every type and encoding, written into a server by commands, for tests of its files."""
import random

FUNCTION = b"#!lua name=%s\nserver.register_function('%s', function(keys, args) return args[1] end)"


def fill(client, seed=1, databases=16, scale=1):
    """Fills `databases` databases, with less of everything where `scale` is below 1; what the server does not know (deadlines of
    fields) is left out."""
    chance = random.Random(seed)
    for db in range(databases):
        client("SELECT", db)
        strings(client, chance, scale)
        lists(client, chance, scale)
        sets(client, chance, scale)
        sorted_sets(client, chance, scale)
        hashes(client, chance, scale)
        streams(client, chance, scale)
        deadlines(client, chance)
    client("SELECT", 0)
    for name in (b"one", b"two"):
        attempt(client, "FUNCTION", "LOAD", FUNCTION.replace(b"server.", b"redis.") % (name, name))


def attempt(client, *arguments):
    """Runs a command that the server may not know; whether it did."""
    try:
        client(*arguments)
        return True
    except Exception as error:  # both clients have error classes of their own
        if not str(error).lower().startswith(("err unknown", "unknown")):
            raise
        return False


def text(chance, longest):
    """Random bytes: noise, repetition that compresses, or a number."""
    kind, length = chance.randrange(4), chance.randrange(longest)
    if kind == 0:
        return chance.randbytes(length)
    if kind == 1:
        return bytes([chance.randrange(256)]) * length
    if kind == 2:
        return b"%d" % chance.choice([0, -1, 127, 128, -129, 32767, -32769, 2**31 - 1, -(2**31) - 1, 2**63 - 1, chance.randrange(10**6)])
    return (b"word %d " % chance.randrange(100)) * (length // 7 + 1)


def strings(client, chance, scale):
    for number in range(int(40 * scale)):
        client("SET", b"string:%d" % number, text(chance, 300))
    for number, length in enumerate([0, 1, 20, 21, 63, 64, 1024, 1025, 16383, 16384, 70_000, 300_000][: 12 if scale >= 1 else 8]):
        client("SET", b"long:%d" % number, bytes(range(256)) * (length // 256) + bytes(length % 256))
    client("SET", b"\x00\xff key of bytes \r\n", b"\xfe" * 50)
    client("SETRANGE", "sparse", 5000, "end")
    client("PFADD", "hll:small", *range(20))
    client("PFADD", "hll:large", *range(int(3000 * scale)))


def lists(client, chance, scale):
    for number, (count, longest) in enumerate([(1, 10), (5, 60), (200, 60), (3000, 20), (3, 20_000)]):
        count = max(1, int(count * min(scale, 1)))
        client("RPUSH", b"list:%d" % number, *[text(chance, longest) for _ in range(count)])


def sets(client, chance, scale):
    client("SADD", "set:ints", *range(100))
    client("SADD", "set:ints64", 2**40, -(2**40), 5)
    client("SADD", "set:manyints", *range(int(1000 * max(scale, 0.6))))
    client("SADD", "set:small", *[text(chance, 40) for _ in range(20)])
    client("SADD", "set:large", *[b"member:%d" % n for n in range(int(2000 * max(scale, 0.1)))])
    client("SADD", "set:long", text(chance, 200) + b"x" * 100, "short")


def sorted_sets(client, chance, scale):
    scores = [0, -0.0, 1.5, -1e300, 1e-300, "inf", "-inf", 3.141592653589793, 2**53]
    client("ZADD", "zset:small", *[part for n, score in enumerate(scores) for part in (score, b"m%d" % n)])
    client("ZADD", "zset:large", *[part for n in range(int(1500 * max(scale, 0.1))) for part in (chance.random() * 1e6, b"member:%d" % n)])
    client("ZADD", "zset:ints", *[part for n in range(60) for part in (n * n, n)])
    client("GEOADD", "geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania")


def hashes(client, chance, scale):
    client("HSET", "hash:small", *[text(chance, 60) for _ in range(20)])
    client("HSET", "hash:large", *[part for n in range(int(1500 * max(scale, 0.1))) for part in (b"field:%d" % n, text(chance, 30))])
    client("HSET", "hash:long", "f", text(chance, 5000) + b"y" * 100)
    for name, count in ((b"hash:timed", 10), (b"hash:timed:large", int(1200 * min(scale, 1) + 550) if scale < 1 else 1200)):
        client("HSET", name, *[part for n in range(count) for part in (b"field:%d" % n, n)])
        if attempt(client, "HEXPIRE", name, 100_000, "FIELDS", 2, "field:1", "field:2"):
            client("HPEXPIREAT", name, 4_000_000_000_000, "FIELDS", 1, "field:3")


def streams(client, chance, scale):
    for number in range(int(250 * max(scale, 0.2))):
        client("XADD", "stream", b"%d-%d" % (1000 + number // 3, 1 + number % 3), "field", text(chance, 30), b"other%d" % (number % 7), number)
    client("XDEL", "stream", "1001-1", "1003-2")
    client("XGROUP", "CREATE", "stream", "group", "0")
    client("XGROUP", "CREATE", "stream", "idle", "$")
    client("XREADGROUP", "GROUP", "group", "alice", "COUNT", 20, "STREAMS", "stream", ">")
    client("XREADGROUP", "GROUP", "group", "bob", "COUNT", 5, "STREAMS", "stream", ">")
    client("XACK", "stream", "group", "1002-1", "1002-2")
    client("XCLAIM", "stream", "group", "bob", 0, "1002-3", "JUSTID")
    client("XADD", "stream:emptied", "5-5", "a", "b")
    client("XDEL", "stream:emptied", "5-5")
    client("XGROUP", "CREATE", "stream:made", "g", "$", "MKSTREAM")


def deadlines(client, chance):
    for number in range(10):
        client("SET", b"timed:%d" % number, "x", "EX", 100_000 + number)
    client("PEXPIREAT", "list:1", 4_000_000_000_000)
    client("EXPIRE", "hash:small", 90_000)

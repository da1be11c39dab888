"""Generators of the string commands."""
from script import Composite, Group

group = Group("string")
command = group.command

group.readers["string"] = lambda key: [[b"GET", key]]
group.probes.update({
    "set-ifeq": [b"SET", b"probe", b"v", b"IFEQ", b"w"],
    "set-nx-get": [b"SET", b"probe", b"v", b"NX", b"GET"],
})


@command("append")
def _(g):
    key = g.key()
    return [b"APPEND", key, g.value(key)]


@command("decr", 6)
def _(g):
    return [b"DECR", g.number_key()]


@command("incr", 8)
def _(g):
    return [b"INCR", g.number_key()]


@command("decrby", 8)
def _(g):
    return [b"DECRBY", g.number_key(), g.integer_argument()]


@command("incrby", 10)
def _(g):
    return [b"INCRBY", g.number_key(), g.integer_argument()]


@command("incrbyfloat", 14)
def _(g):
    return [b"INCRBYFLOAT", g.number_key(), g.float_argument()]


@command("delifeq", 8)
def _(g):
    key = g.key()
    return [b"DELIFEQ", key, g.value(key)]


@command("get", 14)
def _(g):
    return [b"GET", g.key()]


@command("getdel", 6)
def _(g):
    return [b"GETDEL", g.key()]


@command("getex", 14)
def _(g):
    words = [b"GETEX", g.key()]
    if g.chance(0.6):
        words += g.time_option()
    if g.chance(0.3):
        words.append(g.opt(b"PERSIST"))
    if g.chance(0.06):
        words += g.time_option()
    return words


@command("getrange", 12)
def _(g):
    return [b"GETRANGE", g.key(), g.index(), g.index()]


@command("substr", 4)
def _(g):
    return [b"SUBSTR", g.key(), g.index(), g.index()]


@command("getset", 6)
def _(g):
    key = g.key()
    return [b"GETSET", key, g.value(key)]


@command("lcs", 14)
def _(g):
    words = [b"LCS", g.key(), g.key()]
    for word, share in ((b"LEN", 0.25), (b"IDX", 0.45), (b"WITHMATCHLEN", 0.3)):
        if g.chance(share):
            words.append(g.opt(word))
    if g.chance(0.3):
        words += [g.opt(b"MINMATCHLEN"), g.pick((b"0", b"1", b"2", b"3", b"4", b"-1", b"-5", b"abc", b"", b"9223372036854775807"))]
    if g.chance(0.1):
        g.random.shuffle(words)
    return words if words[0] == b"LCS" else [b"LCS"] + [w for w in words if w != b"LCS"]


@command("mget", 10)
def _(g):
    return [b"MGET", *g.keys(6)]


@command("mset", 10)
def _(g):
    return [b"MSET", *_pairs(g, 4)]


@command("msetnx", 6)
def _(g):
    return [b"MSETNX", *_pairs(g, 3)]


@command("msetex", 14)
def _(g):
    pairs = _pairs(g, 4)
    count = b"%d" % (len(pairs) // 2)
    if g.chance(0.12):
        count = g.pick((b"0", b"-1", b"1", b"2", b"3", b"5", b"9223372036854775807", b"4611686018427387904", b"2147483648", b"abc", b"", b" 1", b"1.0"))
    words = [b"MSETEX", count, *pairs]
    for word, share in ((b"NX", 0.2), (b"XX", 0.2), (b"KEEPTTL", 0.15)):
        if g.chance(share):
            words.append(g.opt(word))
    if g.chance(0.6):
        words += g.time_option(past=False)
    return words


def _past_msetex(connection):
    """MSETEX with a deadline in the past: no key can be seen, though Valkey counts it until its cron comes by."""
    seen = [connection.call(b"SET", b"past", b"v"), connection.call(b"MSETEX", b"2", b"past", b"w", b"past2", b"w", b"PXAT", b"1000")]
    seen += [connection.call(b"GET", b"past"), connection.call(b"EXISTS", b"past", b"past2"), connection.call(b"TTL", b"past2"), connection.call(b"KEYS", b"past*")]
    connection.call(b"DEL", b"past", b"past2")
    return seen


@command("msetex", 0.3, label="msetex in the past")
def _(g):
    return Composite("msetex", _past_msetex, [b"MSETEX", b"2", b"past"])


def _pairs(g, most):
    keys = g.keys(most)
    return [word for key in keys for word in (key, g.value(key))]


@command("psetex", 6)
def _(g):
    key = g.key()
    return [b"PSETEX", key, g.milliseconds(), g.value(key)]


@command("setex", 6)
def _(g):
    key = g.key()
    return [b"SETEX", key, g.seconds(), g.value(key)]


@command("set", 60)
def _(g):
    key = g.number_key() if g.chance(0.3) else g.key()
    words = [b"SET", key, g.value(key)]
    roll = g.random.random()
    if roll < 0.35:
        return words
    options = []
    if g.chance(0.25):
        options.append([g.opt(b"NX")])
    if g.chance(0.25):
        options.append([g.opt(b"XX")])
    if g.chance(0.35):
        options.append([g.opt(b"GET")])
    if g.chance(0.2):
        options.append([g.opt(b"KEEPTTL")])
    if g.chance(0.4):
        options.append(g.time_option())
    if g.can("set-ifeq") and g.chance(0.25):
        options.append([g.opt(b"IFEQ"), g.value(key)] if g.chance(0.95) else [g.opt(b"IFEQ")])
    if g.chance(0.03) and options:
        options.append(g.pick(options))
    g.random.shuffle(options)
    return words + [word for option in options for word in option]


@command("setnx", 6)
def _(g):
    key = g.key()
    return [b"SETNX", key, g.value(key)]


@command("setrange", 12)
def _(g):
    if g.chance(0.85):
        offset = b"%d" % g.pick((0, 0, 1, 2, 3, 5, 7, 10, 20, 43, 44, 45, 63, 64, 100, 600))
    else:
        offset = g.pick((b"-1", b"536870912", b"2147483647", b"2147483648", b"4294967296", b"9223372036854775807", b"-9223372036854775808", b"abc", b"", b"1.0", b"9223372036854775808"))
    return [b"SETRANGE", g.key(), offset, g.pick((b"", b"x", b"hello", b"\x00", b"\xff" * 20, b"7"))]


@command("strlen", 8)
def _(g):
    return [b"STRLEN", g.key()]



"""Generators of the hash commands. Replies in no particular order are compared sorted; what is drawn by chance is compared by what must hold of it.

Deadlines of fields lie far in the future or in the past, when the field goes at once: between its deadline and its removal Valkey still counts a field, larder does not.
"""
import wire
from groups.generic import scan_to_end
from script import BAD_INTEGERS, Composite, Group

group = Group("hash")
command = group.command
group.readers["hash"] = lambda key: [[b"HGETALL", key], [b"OBJECT", b"ENCODING", key]]

KEYS = [b"h%d" % i for i in range(5)]
FIELDS = [b"a", b"b", b"c", b"d", b"e", b"1", b"-7", b"007", b"", b"\x00\xff", b"field:1", b"FIELDS", b"EX", b"x" * 64, b"y" * 65]
LIMITS = [(512, 64), (512, 64), (4, 64), (2, 8), (0, 0), (512, 4), (1, 100), (128, 128)]


def key(g):
    """A key that mostly holds a hash."""
    return g.pick(KEYS) if g.chance(0.9) else g.key()


def field(g):
    """A field, mostly one of few."""
    return g.pick(FIELDS) if g.chance(0.96) else g.value()


def fields(g, most=4):
    """Some fields, seldom many."""
    return [field(g) for _ in range(1 + g.below(most))]


def value(g):
    """A value, often a number."""
    roll = g.random.random()
    return g.integer() if roll < 0.4 else g.float_argument() if roll < 0.5 else g.value()


def pairs(g, most=4):
    """Fields with values."""
    if g.chance(0.03):
        return [word for i in range(g.pick((20, 130, 520))) for word in (b"many:%d" % i, b"%d" % i)]
    return [word for _ in range(1 + g.below(most)) for word in (field(g), value(g))]


def listed(g, words, each=1):
    """FIELDS, their number and the words."""
    number = b"%d" % (len(words) // each)
    if g.chance(0.06):
        number = g.pick((b"0", b"-1", b"1", b"2", b"3", b"9223372036854775807", b"4294967297", b"2147483648", *BAD_INTEGERS))
    return [g.opt(b"FIELDS") if g.chance(0.98) else b"FIELD", number, *words]


def ordered(reply):
    """A reply with its elements sorted, when it has some."""
    kind, elements = reply
    return (kind, sorted(elements)) if isinstance(elements, (list, tuple)) and not isinstance(elements, bytes) else reply


def as_pairs(reply):
    """A reply of fields and values as sorted pairs."""
    kind, elements = reply
    if not isinstance(elements, (list, tuple)) or isinstance(elements, bytes) or len(elements) % 2 or (elements and isinstance(elements[0][1], list)):
        return ordered(reply)
    return kind, sorted(zip(elements[::2], elements[1::2]))


@group.compare("hgetall", reason="no order is promised")
def _(arguments, mine, theirs, pair):
    return as_pairs(mine) == as_pairs(theirs)


@group.compare("hkeys", "hvals", reason="no order is promised")
def _(arguments, mine, theirs, pair):
    return ordered(mine) == ordered(theirs)


@group.compare("hrandfield", reason="drawn by chance; that fields are drawn is checked by the composite")
def _(arguments, mine, theirs, pair):
    if mine[0] != theirs[0] or isinstance(mine[1], list) != isinstance(theirs[1], list):
        return mine[0] in (b"$", b"_") and theirs[0] in (b"$", b"_") and mine[0] == theirs[0]
    return not isinstance(mine[1], list) or len(mine[1]) == len(theirs[1])


@group.compare("hscan", reason="one page of an iteration in an order of its own; whole iterations are compared as sets")
def _(arguments, mine, theirs, pair):
    if mine[0] != b"*" or theirs[0] != b"*":
        return mine == theirs
    (a, found), (b, wanted) = wire.plain(mine), wire.plain(theirs)
    whole = a == b == b"0" and not arguments[2].strip(b" +-0")
    return a.isdigit() and b.isdigit() and (not whole or sorted(found) == sorted(wanted))


def near(tolerance):
    """A comparison of arrays of numbers that may lie apart a little."""
    def same(arguments, mine, theirs, pair):
        if mine[0] != theirs[0] or not isinstance(mine[1], list) or not isinstance(theirs[1], list):
            return mine == theirs
        return len(mine[1]) == len(theirs[1]) and all(
            a == b or (a[1] > 0 and b[1] > 0 and abs(a[1] - b[1]) <= tolerance(pair)) for a, b in zip(mine[1], theirs[1]))
    return same


group.compare("hpttl", "hpexpiretime", reason="a relative deadline starts when the server reads the command")(near(lambda pair: pair.tolerance_ms))
group.compare("httl", "hexpiretime", reason="the same, rounded to seconds")(near(lambda pair: 1))


@command("hset", 60)
def _(g):
    return [b"HSET", key(g), *pairs(g)]


@command("hmset", 8)
def _(g):
    return [b"HMSET", key(g), *pairs(g)]


@command("hsetnx", 12)
def _(g):
    return [b"HSETNX", key(g), field(g), value(g)]


@command("hdel", 20)
def _(g):
    return [b"HDEL", key(g), *fields(g, 6)]


@command("hget", 14)
def _(g):
    return [b"HGET", key(g), field(g)]


@command("hmget", 14)
def _(g):
    return [b"HMGET", key(g), *fields(g)]


@command("hexists", 8)
def _(g):
    return [b"HEXISTS", key(g), field(g)]


@command("hstrlen", 8)
def _(g):
    return [b"HSTRLEN", key(g), field(g)]


def _whole(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), key(g)]


for _name, _weight in (("hlen", 8), ("hgetall", 12), ("hkeys", 6), ("hvals", 6)):
    _whole(_name, _weight)


@command("hincrby", 16)
def _(g):
    return [b"HINCRBY", key(g), field(g), g.integer_argument()]


@command("hincrbyfloat", 16)
def _(g):
    return [b"HINCRBYFLOAT", key(g), field(g), g.float_argument()]


def conditions(g):
    """NX, XX, GT, LT: mostly one or none."""
    words = []
    while g.chance(0.4 if not words else 0.15):
        words.append(g.opt(g.pick((b"NX", b"XX", b"GT", b"LT"))))
    return words


def _expire(name, time):
    @command(name, 16)
    def _(g):
        return [name.upper().encode(), key(g), time(g), *conditions(g), *listed(g, fields(g))]


for _name, _time in (("hexpire", lambda g: g.seconds()), ("hpexpire", lambda g: g.milliseconds()),
                     ("hexpireat", lambda g: g.unix_seconds()), ("hpexpireat", lambda g: g.unix_milliseconds())):
    _expire(_name, _time)


def _named(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), key(g), *listed(g, fields(g))]


for _name, _weight in (("httl", 12), ("hpttl", 8), ("hexpiretime", 8), ("hpexpiretime", 8), ("hpersist", 14), ("hgetdel", 14)):
    _named(_name, _weight)


@command("hgetex", 24)
def _(g):
    words = [b"HGETEX", key(g)]
    if g.chance(0.6):
        words += g.time_option()
    if g.chance(0.25):
        words.append(g.opt(b"PERSIST"))
    if g.chance(0.05):
        words += g.time_option()
    return words + listed(g, fields(g))


@command("hsetex", 30)
def _(g):
    options = []
    if g.chance(0.6):
        options.append(g.time_option())
    for word, share in ((b"KEEPTTL", 0.2), (b"NX", 0.1), (b"XX", 0.1), (b"FNX", 0.12), (b"FXX", 0.12)):
        if g.chance(share):
            options.append([g.opt(word)])
    if g.chance(0.04) and options:
        options.append(g.pick(options))
    g.random.shuffle(options)
    return [b"HSETEX", key(g), *(word for option in options for word in option), *listed(g, pairs(g), 2)]


@command("hrandfield", 12)
def _(g):
    words = [b"HRANDFIELD", key(g)]
    if g.chance(0.8):
        words.append(g.pick((b"0", b"1", b"2", b"3", b"5", b"100", b"-1", b"-3", b"-20", b"9223372036854775807", b"-9223372036854775808", *BAD_INTEGERS)))
        if g.chance(0.5):
            words.append(g.opt(b"WITHVALUES"))
    return words


@command("hrandfield", 4, mutable=False, label="hrandfield out of range")
def _(g):
    return [b"HRANDFIELD", key(g), g.pick((b"-9223372036854775807", b"-4611686018427387904", b"9223372036854775807")), g.opt(b"WITHVALUES")]


def _drawn(size, count, values):
    """Draws from a hash of its own and says everything about it that must hold."""
    contents = {b"field:%d" % i: b"%d" % (i * i) for i in range(size)}

    def run(connection):
        connection.call(b"DEL", b"drawn")
        connection.call(b"HSET", b"drawn", *(word for item in contents.items() for word in item))
        reply = connection.call(b"HRANDFIELD", b"drawn", b"%d" % count, *([b"WITHVALUES"] if values else []))
        if not isinstance(reply, list):
            return reply
        if values and reply and not isinstance(reply[0], list):
            reply = list(zip(reply[::2], reply[1::2]))
        names = [item[0] if values else item for item in reply]
        right = all(contents.get(item[0]) == item[1] for item in reply) if values else all(name in contents for name in names)
        connection.call(b"DEL", b"drawn")
        return [len(names), right, count < 0 or len(set(names)) == len(names)]
    return run


@command("hrandfield", 8, label="hrandfield of known fields")
def _(g):
    size, count, values = g.pick((1, 3, 30, 700)), g.pick((0, 1, 2, 7, 29, 600, 1000, -1, -7, -900)), g.chance(0.5)
    return Composite("hrandfield", _drawn(size, count, values), [b"HRANDFIELD", b"of %d" % size, b"%d" % count])


@command("hscan", 10)
def _(g):
    words = [b"HSCAN", key(g), b"0" if g.chance(0.8) else g.pick((b"1", b"-1", b"9223372036854775807", *BAD_INTEGERS))]
    options = []
    if g.chance(0.4):
        options.append([g.opt(b"MATCH"), g.pick((b"*", b"a*", b"f*", b"[a-c]", b"?", b"", b"many:1*"))])
    if g.chance(0.4):
        options.append([g.opt(b"COUNT"), g.pick((b"1", b"2", b"10", b"1000", b"0", b"-1", *BAD_INTEGERS))])
    if g.chance(0.3):
        options.append([g.opt(g.pick((b"NOVALUES", b"NOVALUES", b"NOSCORES", b"TYPE")))])
    g.random.shuffle(options)
    return words + [word for option in options for word in option]


@command("hscan", 8, label="hscan to the end")
def _(g):
    name, tail = key(g), [b"COUNT", b"1000" if g.logging else g.pick((b"1", b"3", b"10", b"100")), *([b"NOVALUES"] if g.chance(0.6) else [])]
    return Composite("hscan", lambda connection: scan_to_end(connection, [b"HSCAN", name], tail), [b"HSCAN", name, *tail])


@command("config|set", 4, mutable=False, label="limits of compact hashes")
def _(g):
    entries, longest = g.pick(LIMITS)
    return [b"CONFIG", b"SET", b"hash-max-listpack-entries", b"%d" % entries, b"hash-max-listpack-value", b"%d" % longest]


@command("object|encoding", 10)
def _(g):
    return [b"OBJECT", b"ENCODING", key(g)]


def _generic(name, words):
    @command(name, 4, label=name + " of a hash")
    def _(g):
        return words(g)


_generic("del", lambda g: [b"DEL", key(g)])
_generic("exists", lambda g: [b"EXISTS", key(g)])
_generic("type", lambda g: [b"TYPE", key(g)])
_generic("copy", lambda g: [b"COPY", key(g), key(g), *([b"REPLACE"] if g.chance(0.7) else [])])
_generic("rename", lambda g: [b"RENAME", key(g), key(g)])
_generic("expire", lambda g: [b"EXPIRE", key(g), g.seconds()])
_generic("persist", lambda g: [b"PERSIST", key(g)])
_generic("set", lambda g: [b"SET", key(g), b"string"])

"""Generators of the set commands. Replies in no particular order are compared sorted; what is drawn by chance is compared by what must hold of it."""
import wire
from groups.generic import scan_to_end
from script import BAD_INTEGERS, Composite, Group, INTEGERS

group = Group("set")
command = group.command
group.readers["set"] = lambda key: [[b"SMEMBERS", key]]

WORDS = [b"a", b"b", b"c", b"d", b"e", b"aa", b"hello", b"", b"\x00\xff", b"-0", b"007", b"+5", b" 5", b"1.0", b"member:1", b"member:2", b"x" * 64]
LONG = [b"y" * 65, b"z" * 300, b"long" * 20]
# Thresholds under which the encoding of a stored result does not depend on the order in which a hash table is walked:
# an intset must not be full before a listpack is.
LIMITS = [(512, 128, 64), (4, 4, 64), (8, 4, 4), (16, 2, 64), (0, 0, 0), (512, 0, 64), (512, 8, 3), (128, 128, 8), (3, 1, 64)]


def member(g):
    """A member: integers and words from small ranges, so that sets share some."""
    roll = g.random.random()
    if roll < 0.45:
        return b"%d" % g.random.randint(-4, 12)
    if roll < 0.55:
        return g.integer()
    return g.pick(WORDS) if roll < 0.97 else g.pick(LONG)


def members(g, most=8):
    """Some members: integers alone half of the time, seldom many."""
    count = g.pick((20, 130, 520)) if g.chance(0.03) else 1 + g.below(most)
    if count > most:
        return [b"%d" % (g.below(3) * 1000 + i) for i in range(count)]
    if g.chance(0.5):
        return [b"%d" % g.random.randint(-4, 20) for _ in range(count)]
    return [member(g) for _ in range(count)]


def ordered(reply):
    """A reply with its elements sorted, when it has some."""
    kind, value = reply
    return (kind, sorted(value)) if isinstance(value, (list, tuple)) and not isinstance(value, bytes) else reply


@group.compare("smembers", "sinter", "sunion", "sdiff", reason="no order is promised")
def _(arguments, mine, theirs, pair):
    return ordered(mine) == ordered(theirs)


@group.compare("spop", reason="no order is promised; only whole sets are popped outside of composites")
def _(arguments, mine, theirs, pair):
    return ordered(mine) == ordered(theirs)


@group.compare("srandmember", reason="drawn by chance; that members are drawn is checked by the composite")
def _(arguments, mine, theirs, pair):
    if mine[0] != theirs[0] or isinstance(mine[1], list) != isinstance(theirs[1], list):
        return False
    return not isinstance(mine[1], list) or len(mine[1]) == len(theirs[1])


@group.compare("sscan", reason="one page of an iteration in an order of its own; whole iterations are compared as sets")
def _(arguments, mine, theirs, pair):
    (a, found), (b, wanted) = wire.plain(mine), wire.plain(theirs)
    whole = a == b == b"0" and not arguments[2].strip(b" +-0")
    return mine[0] == theirs[0] and a.isdigit() and b.isdigit() and (not whole or sorted(found) == sorted(wanted))


@command("sadd", 60)
def _(g):
    return [b"SADD", g.key(), *members(g)]


@command("srem", 20)
def _(g):
    return [b"SREM", g.key(), *members(g)]


@command("scard", 8)
def _(g):
    return [b"SCARD", g.key()]


@command("sismember", 10)
def _(g):
    return [b"SISMEMBER", g.key(), member(g)]


@command("smismember", 10)
def _(g):
    return [b"SMISMEMBER", g.key(), *members(g)]


@command("smembers", 12)
def _(g):
    return [b"SMEMBERS", g.key()]


@command("smove", 14)
def _(g):
    return [b"SMOVE", g.key(), g.key(), member(g)]


def _several(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), *g.keys(4)]

    @command(name + "store", weight)
    def _(g):
        return [name.upper().encode() + b"STORE", g.key(), *g.keys(4)]


for _name in ("sinter", "sunion", "sdiff"):
    _several(_name, 14)


@command("sintercard", 14)
def _(g):
    keys = g.keys(3)
    number = b"%d" % len(keys) if g.chance(0.9) else g.pick((b"0", b"-1", b"1", b"9", b"9223372036854775807", *BAD_INTEGERS))
    words = [b"SINTERCARD", number, *keys]
    while g.chance(0.4):
        words += [g.opt(b"LIMIT"), g.pick((b"0", b"1", b"2", b"100", b"-1", b"9223372036854775807", *BAD_INTEGERS))]
    return words


@command("spop", 6, mutable=False)
def _(g):
    tail = g.pick(([b"100000"], [b"9223372036854775807"], [b"0"], [b"-1"], [b"1", b"2"], [b"abc"], [b""], [b"1.5"], [b"9223372036854775808"], []))
    return [b"SPOP", g.key() if tail else b"nosuchset", *tail]


# Members of one content are alike in what decides about encodings, so that it does not matter which are drawn.
CONTENTS = {
    "integers": [b"%d" % i for i in range(40)],
    "words": [b"word:%d" % i for i in range(40)],
    "mixed": [b"%d" % i for i in range(20)] + [b"w%d" % i for i in range(20)],
    "many": [b"member:%03d" % i for i in range(700)],
    "many integers": [b"%d" % (1000 + i) for i in range(700)],
}


def _drawn(content, size, count, pop):
    """Draws from a set of its own and says everything about it that must hold."""
    wanted = sorted(CONTENTS[content][:size])

    def run(connection):
        key = b"drawn"
        connection.call(b"DEL", key)
        connection.call(b"SADD", key, *wanted)
        reply = connection.call(b"SPOP" if pop else b"SRANDMEMBER", key, *count)
        got = [reply] if isinstance(reply, bytes) else reply
        if not isinstance(got, (list, tuple, set)):
            return reply
        got = sorted(got)
        rest = sorted(connection.call(b"SMEMBERS", key))
        seen = [len(got), all(m in wanted for m in got), len(set(got)) == len(got) or not pop, len(rest), connection.call(b"OBJECT", b"ENCODING", key), connection.call(b"EXISTS", key)]
        seen.append(sorted(got + rest) == wanted if pop else rest == wanted)
        connection.call(b"DEL", key)
        return seen

    return run


@command("spop", 8, label="spop from its own set")
def _(g):
    content, size = g.pick(sorted(CONTENTS)), g.pick((1, 2, 5, 20, 40, 130, 600, 700))
    size = min(size, len(CONTENTS[content]))
    count = [] if g.chance(0.2) else [b"%d" % g.pick((1, 2, max(1, size // 2), max(1, size - size // 6), max(1, size - 2), max(1, size - 1), size, size + 1))]
    return Composite("spop", _drawn(content, size, count, True), [b"SPOP", b"drawn", *count])


@command("srandmember", 8, label="srandmember from its own set")
def _(g):
    content, size = g.pick(sorted(CONTENTS)), g.pick((1, 2, 5, 20, 40, 130, 600, 700))
    size = min(size, len(CONTENTS[content]))
    count = [] if g.chance(0.2) else [b"%d" % (g.pick((1, 2, size // 4, size // 2, size - 1, size, size + 1)) * g.pick((1, 1, -1)))]
    return Composite("srandmember", _drawn(content, size, count, False), [b"SRANDMEMBER", b"drawn", *count])


@command("srandmember", 10, mutable=False)
def _(g):
    tail = g.pick(([], [b"0"], [b"1"], [b"2"], [b"1000"], [b"-1"], [b"-7"], [b"9223372036854775807"], [b"-9223372036854775808"], [b"9223372036854775808"], [b"x"], [b""], [b"1", b"2"]))
    return [b"SRANDMEMBER", g.key(), *tail]


PATTERNS = [b"*", b"1*", b"?", b"-*", b"[ab]", b"", b"member*", b"nosuch", b"\xff", b"h[a-f]llo"]


@command("sscan", 10)
def _(g):
    tail = [b"COUNT", b"1000"] if g.logging else []
    if not g.logging and g.chance(0.5):
        tail += [g.opt(b"COUNT"), g.pick((b"1", b"2", b"10", b"100", b"1000", b"9223372036854775807"))]
    if g.chance(0.4):
        tail += [g.opt(b"MATCH"), g.pick(PATTERNS)]
    key = g.key()
    return Composite("sscan", lambda connection: scan_to_end(connection, [b"SSCAN", key], tail), [b"SSCAN", key, b"0", *tail])


@command("sscan", 5, label="sscan, wrong")
def _(g):
    return [b"SSCAN", g.key(), *g.pick((
        [b"abc"], [b"-1"], [b"18446744073709551616"], [b""], [b" 0"], [b"0", g.opt(b"COUNT"), b"0"], [b"0", g.opt(b"COUNT"), b"-1"], [b"0", g.opt(b"COUNT"), b"abc"], [b"0", g.opt(b"COUNT")],
        [b"0", g.opt(b"MATCH")], [b"0", g.opt(b"TYPE"), b"set"], [b"0", b"NOSUCH"], [b"0", b"NOSUCH", b"x"], [], [b"0", g.opt(b"NOVALUES")], [b"0", g.opt(b"NOSCORES")], [b"0", g.opt(b"COUNT"), b"99999999999999999999"]))]


@command("config|set", 5, mutable=False, label="limits of compact sets")
def _(g):
    intset, entries, value = g.pick(LIMITS)
    return [b"CONFIG", b"SET", b"set-max-intset-entries", b"%d" % intset, b"set-max-listpack-entries", b"%d" % entries, b"set-max-listpack-value", b"%d" % value]


@command("type", 8, mutable=False, label="other types for sets")
def _(g):
    return g.other_type() or [b"SET", g.key(), g.value()]


@command("set", 4, mutable=False, label="strings for sets")
def _(g):
    return [b"SET", g.key(), b"string"]


@command("object|encoding", 12, label="encodings of sets")
def _(g):
    return [b"OBJECT", b"ENCODING", g.key()]


@command("copy", 4, mutable=False, label="copies of sets")
def _(g):
    return [b"COPY", g.key(), g.key(), b"REPLACE"]


@command("del", 5, mutable=False, label="sets deleted")
def _(g):
    return [b"DEL", *g.keys(2)]


@command("expire", 2, mutable=False, label="sets that expire")
def _(g):
    return [b"EXPIREAT", g.key(), b"4102444800"]

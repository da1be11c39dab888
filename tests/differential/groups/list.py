"""Generators of the list commands. Clients that wait for others are tested end to end (tests/e2e/test_blocking.py)."""
import re

from script import Group

group = Group("list")
command = group.command

group.readers["list"] = lambda key: [[b"LRANGE", key, b"0", b"-1"], [b"OBJECT", b"ENCODING", key]]

SIDES = (b"LEFT", b"RIGHT")
COUNTS = (b"0", b"1", b"2", b"3", b"5", b"100", b"-1", b"-2", b"9223372036854775807", b"9223372036854775808", b"abc", b"", b" 1")
SOON = (b"0.01", b"0.005", b"0.0011", b"1e-2", b".01", b"0.01")
NEVER = (b"-1", b"-0.001", b"abc", b"", b" 1", b"inf", b"-inf", b"nan", b"9223372036854775807", b"9223372036854776", b"1e300", b"0.01x")


def element(g):
    """An element: few of them, so that they are found again, and some around the limits of nodes."""
    roll = g.random.random()
    if roll < 0.6:
        return g.pick((b"a", b"b", b"c", b"1", b"2", b"-3", b"100", b"a1", b"", b"70000", b"9223372036854775807", b"-0", b"01"))
    if roll < 0.93:
        return g.value()
    return g.pick((b"x", b"y")) * g.pick((4000, 4090, 8170, 8180, 8191, 8192, 8193, 16400))


def elements(g):
    """One to many elements."""
    return [element(g) for _ in range(1 + g.below(g.pick((1, 1, 3, 8, 40))))]


def side(g):
    """LEFT or RIGHT."""
    return g.opt(g.pick(SIDES)) if g.chance(0.97) else g.pick((b"UP", b"", b"L", b"LEFTX"))


def timeout(g):
    """A short wait, or one that is refused."""
    return g.pick(SOON) if g.chance(0.8) else g.pick(NEVER)


for name, weight in (("lpush", 40), ("rpush", 40), ("lpushx", 8), ("rpushx", 8)):
    def _push(g, word=name.upper().encode()):
        return [word, g.key(), *elements(g)]
    command(name, weight)(_push)

for name in ("lpop", "rpop"):
    def _pop(g, word=name.upper().encode()):
        return [word, g.key()] if g.chance(0.6) else [word, g.key(), g.pick(COUNTS)]
    command(name, 18)(_pop)


@command("llen", 6)
def _(g):
    return [b"LLEN", g.key()]


@command("lindex", 10)
def _(g):
    return [b"LINDEX", g.key(), g.index()]


@command("lrange", 14)
def _(g):
    return [b"LRANGE", g.key(), g.index(), g.index()]


@command("ltrim", 10)
def _(g):
    if g.chance(0.5):
        return [b"LTRIM", g.key(), g.pick((b"0", b"1", b"2")), g.pick((b"-1", b"-2", b"-3", b"20"))]
    return [b"LTRIM", g.key(), g.index(), g.index()]


@command("lset", 14)
def _(g):
    index = g.index()
    # Valkey takes the lowest 32 bits of an index, and so overwrites some other element; for larder it is out of range.
    if re.fullmatch(rb"-?[0-9]{10,19}", index) and not -2**31 <= int(index) < 2**31:
        index = b"2147483647"
    return [b"LSET", g.key(), index, element(g)]


@command("linsert", 20)
def _(g):
    where = g.opt(g.pick((b"BEFORE", b"AFTER"))) if g.chance(0.97) else b"AT"
    return [b"LINSERT", g.key(), where, element(g), element(g)]


@command("lrem", 14)
def _(g):
    return [b"LREM", g.key(), g.pick((b"0", b"1", b"-1", b"2", b"-2", b"0")) if g.chance(0.9) else g.pick(COUNTS), element(g)]


@command("lpos", 20)
def _(g):
    words = [b"LPOS", g.key(), element(g)]
    if g.chance(0.5):
        words += [g.opt(b"RANK"), g.pick((b"1", b"-1", b"2", b"-2", b"3", b"0", b"-9223372036854775808", b"-9223372036854775807", b"9223372036854775807", b"x"))]
    if g.chance(0.5):
        words += [g.opt(b"COUNT"), g.pick(COUNTS)]
    if g.chance(0.4):
        words += [g.opt(b"MAXLEN"), g.pick(COUNTS)]
    return words


@command("lmove", 16)
def _(g):
    return [b"LMOVE", g.key(), g.key(), side(g), side(g)]


@command("rpoplpush", 8)
def _(g):
    return [b"RPOPLPUSH", g.key(), g.key()]


def _many(g):
    keys = g.keys(4)
    count = b"%d" % len(keys) if g.chance(0.93) else g.pick(COUNTS)
    words = [count, *keys, side(g)]
    if g.chance(0.5):
        words += [g.opt(b"COUNT"), g.pick(COUNTS)]
    return words


@command("lmpop", 14)
def _(g):
    return [b"LMPOP", *_many(g)]


# What blocks is not changed at random: it could wait for ever.

@command("blmpop", 3, mutable=False)
def _(g):
    return [b"BLMPOP", timeout(g), *_many(g)]


for name in ("blpop", "brpop"):
    def _wait(g, word=name.upper().encode()):
        return [word, *g.keys(4), timeout(g)]
    command(name, 3, mutable=False)(_wait)


@command("blmove", 3, mutable=False)
def _(g):
    return [b"BLMOVE", g.key(), g.key(), side(g), side(g), timeout(g)]


@command("brpoplpush", 2, mutable=False)
def _(g):
    return [b"BRPOPLPUSH", g.key(), g.key(), timeout(g)]


@command("object|encoding", 14, mutable=False, label="encoding of a list")
def _(g):
    return [b"OBJECT", b"ENCODING", g.key()]


@command("copy", 3, label="copy of a list")
def _(g):
    return [b"COPY", g.key(), g.key(), b"REPLACE"]


@command("config|set", 4, mutable=False, label="size of list nodes")
def _(g):
    return [b"CONFIG", b"SET", b"list-max-listpack-size", g.pick((b"-2", b"-1", b"-5", b"0", b"1", b"2", b"3", b"4", b"5", b"8", b"16", b"128"))]

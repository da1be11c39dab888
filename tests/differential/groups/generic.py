"""Generators of the generic commands: what works on a key of any type."""
import time

import wire
from script import Composite, Group, ODD_KEYS

group = Group("generic")
command = group.command

PATTERNS = [b"*", b"k*", b"k?", b"?1", b"[kn]*", b"k[0-3]", b"k[3-0]", b"[^k]*", b"k[^0-3]", b"*1", b"n[13]", b"", b"k0", b"h\\[a\\]llo", b"h[a]llo", b"h?llo", b"k\\*", b"\\k0",
            b"[", b"[a", b"k[", b"k[0", b"k[0-", b"\\", b"k0\\", b"**", b"*?*", b"k[]0]", b"[]", b"[^]", b"k[\\0-3]", b"*\xff*", b"\xff", b"?" * 300, b"K*", b"[K-k]*", b"*" * 50 + b"z",
            b"{tag}*", b"a?key", b"[a-]*", b"[--z]*", b"k[0-35-9]", b"nosuch*", b"*k*0*", b"k[^]0]", b"x" * 10 + b"*"]
TYPES = [b"string", b"list", b"set", b"zset", b"hash", b"stream", b"STRING", b"String", b"nosuch", b"", b"str"]
EXPIRE_FLAGS = [b"NX", b"XX", b"GT", b"LT"]
group.probes.update({"expire-flags": [b"EXPIRE", b"probe", b"100", b"NX"], "scan-type": [b"SCAN", b"0", b"TYPE", b"string"]})


def integers_near(tolerance):
    """Equal, or both positive and within `tolerance` of each other."""
    def same(arguments, mine, theirs, pair):
        limit = tolerance(pair)
        return mine[0] == theirs[0] == b":" and mine[1] > 0 and theirs[1] > 0 and abs(mine[1] - theirs[1]) <= limit
    return same


group.compare("pttl", "pexpiretime", reason="a relative deadline starts when the server reads the command")(integers_near(lambda pair: pair.tolerance_ms))
group.compare("ttl", "expiretime", reason="the same, rounded to seconds")(integers_near(lambda pair: 1))

@group.compare("object|idletime", reason="whole seconds may pass between two servers; after a change of maxmemory-policy both read the old policy's bits as a time: minutes above a counter of 8 bits that grows by chance")
def _(arguments, mine, theirs, pair):
    limit = 512 if min(mine[1], theirs[1]) > 1_000_000 else 2
    return mine[0] == theirs[0] == b":" and mine[1] >= 0 and abs(mine[1] - theirs[1]) <= limit


@group.compare("object|freq", reason="the counter grows by chance")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b":" and 0 <= mine[1] <= 255


@group.compare("keys", reason="no order is promised")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] and sorted(mine[1]) == sorted(theirs[1])


@group.compare("scan", reason="one page of an iteration in an order of its own; whole iterations are compared as sets")
def _(arguments, mine, theirs, pair):
    (a, found), (b, wanted) = wire.plain(mine), wire.plain(theirs)
    whole = a == b == b"0" and not arguments[1].strip(b" +-0")
    return mine[0] == theirs[0] and a.isdigit() and b.isdigit() and (not whole or sorted(found) == sorted(wanted))


@group.compare("randomkey", reason="any key will do; that it exists is checked by the generator that asks for its type")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b"$" and mine[1] is not None and theirs[1] is not None


def help_shape(arguments, mine, theirs, pair):
    """HELP: an array of simple strings that opens with the container's name and ends with HELP."""
    lines = [line for _, line in mine[1]]
    return mine[0] == theirs[0] and {kind for kind, _ in mine[1]} == {b"+"} and lines[0] == theirs[1][0][1] and b"HELP" in lines[-2]


group.compare("object|help", reason="the sentences are larder's own; the shape is compared")(help_shape)


@command("copy", 14)
def _(g):
    words = [b"COPY", g.key(), g.key()]
    if g.chance(0.4):
        words += [g.opt(b"DB"), g.database()] if g.chance(0.96) else [g.opt(b"DB")]
    if g.chance(0.4):
        words.append(g.opt(b"REPLACE"))
    if g.chance(0.03):
        words += [g.opt(b"DB"), b"1"]
    return words


def _several(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), *g.keys(5)]


for _name, _weight in (("del", 6), ("exists", 8), ("touch", 5), ("unlink", 5)):
    _several(_name, _weight)


def _expire(name, time):
    @command(name, 12)
    def _(g):
        words = [name.upper().encode(), g.key(), getattr(g, time)()]
        if g.can("expire-flags"):
            if g.chance(0.45):
                words.append(g.opt(g.pick(EXPIRE_FLAGS)))
            if g.chance(0.08):
                words.append(g.opt(g.pick(EXPIRE_FLAGS)))
        if g.chance(0.02):
            words.append(g.pick((b"ZZ", b"", b"EX", b"NXX")))
        return words


for _name, _time in (("expire", "seconds"), ("pexpire", "milliseconds"), ("expireat", "unix_seconds"), ("pexpireat", "unix_milliseconds")):
    _expire(_name, _time)


def _one_key(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), g.key()]


for _name, _weight in (("expiretime", 6), ("pexpiretime", 6), ("ttl", 6), ("pttl", 6), ("persist", 6), ("type", 6)):
    _one_key(_name, _weight)


@command("keys", 6)
def _(g):
    return [b"KEYS", g.pick(PATTERNS)]


@command("move", 8)
def _(g):
    return [b"MOVE", g.key(), g.database()]


@command("object|encoding", 8)
def _(g):
    return [b"OBJECT", g.case(b"ENCODING"), g.key()]


@command("object|refcount", 3)
def _(g):
    return [b"OBJECT", g.case(b"REFCOUNT"), g.key()]


@command("object|idletime", 3)
def _(g):
    return [b"OBJECT", g.case(b"IDLETIME"), g.key()]


@command("object|freq", 3)
def _(g):
    return [b"OBJECT", g.case(b"FREQ"), g.key()]


@command("config|set", 4, mutable=False, label="policy for OBJECT FREQ")
def _(g):
    return [b"CONFIG", b"SET", b"maxmemory-policy", g.pick((b"allkeys-lfu", b"volatile-lfu", b"noeviction"))]


@command("object|help", 1)
def _(g):
    return [b"OBJECT", g.case(b"HELP")]


@command("object", 1)
def _(g):
    return [b"OBJECT", *g.pick(([b"NOSUCH", g.key()], [], [b""], [b"\xff"], [b"ENCODING"], [b"help", b"x"], [b"encodings", b"k0"]))]


def _short_lives(connection):
    """What every way to look at a key says before and after a deadline that really passes."""
    ways = [[b"GET"], [b"EXISTS"], [b"TYPE"], [b"TTL"], [b"PTTL"], [b"OBJECT", b"ENCODING"], [b"STRLEN"], [b"PERSIST"], [b"TOUCH"], [b"GETDEL"], [b"DEL"], [b"EXPIRETIME"]]
    keys = [b"short:%d" % i for i in range(len(ways) + 4)]
    setters = [lambda k: [b"SET", k, b"v", b"PX", b"40"], lambda k: [b"PSETEX", k, b"40", b"v"]]
    connection.calls([setters[i % 2](k) for i, k in enumerate(keys)])
    time.sleep(0.08)
    seen = [connection.call(*way, key) for way, key in zip(ways, keys)]
    a, b, c, d = keys[len(ways) :]
    seen += [connection.call(b"RENAME", a, b"x"), connection.call(b"COPY", b, b"x"), connection.call(b"INCR", c), connection.call(b"PTTL", c), connection.call(b"SET", d, b"w", b"KEEPTTL"), connection.call(b"PTTL", d),
             sorted(connection.call(b"KEYS", b"short:*")), connection.call(b"MGET", *keys)]
    connection.call(b"DEL", *keys)  # DBSIZE counts what has expired until it is removed, which is a matter of chance
    return seen


@command("psetex", 0.1, label="deadlines that pass")
def _(g):
    return Composite("deadlines that pass", _short_lives, [b"PSETEX", b"short", b"40"])


@command("randomkey", 4)
def _(g):
    return Composite("randomkey", _random_key, [b"RANDOMKEY"])


def _random_key(connection):
    """Whether RANDOMKEY named a key that exists (any one will do); asked in a way that a client's tracking does not remember."""
    key = connection.call(b"RANDOMKEY")
    if not isinstance(key, bytes):
        return key
    scanned = connection.call(b"SCAN", b"0", b"COUNT", b"1000000")
    return "exists" if isinstance(scanned, list) and key in scanned[1] else f"{key!r} does not exist"


@command("randomkey", 0.5, label="randomkey, arity")
def _(g):
    return [b"RANDOMKEY", b"x"]


@command("rename", 8)
def _(g):
    return [b"RENAME", g.key(), g.key()]


@command("renamenx", 8)
def _(g):
    return [b"RENAMENX", g.key(), g.key()]


def scan_to_end(connection, head, tail):
    """Every element a SCAN-like command returns until its cursor is 0 again, sorted, each once."""
    cursor, found = b"0", set()
    for _ in range(10_000):
        reply = connection.call(*head, cursor, *tail)
        if not isinstance(reply, list):
            return reply
        cursor, elements = reply
        found.update(elements)
        if not cursor.isdigit():
            return f"cursor {cursor!r} is not a decimal number"
        if cursor == b"0":
            return sorted(found)
    return "did not end"


@command("scan", 10)
def _(g):
    tail = [b"COUNT", b"1000"] if g.logging else []
    if not g.logging and g.chance(0.5):
        tail += [g.opt(b"COUNT"), g.pick((b"1", b"2", b"10", b"100", b"1000", b"9223372036854775807"))]
    if g.chance(0.4):
        tail += [g.opt(b"MATCH"), g.pick(PATTERNS)]
    if g.chance(0.4) and g.can("scan-type"):
        tail += [g.opt(b"TYPE"), g.pick(TYPES)]
    if not g.logging and g.chance(0.1):
        tail += [g.opt(b"COUNT"), b"3"]
    return Composite("scan", lambda connection: scan_to_end(connection, [b"SCAN"], tail), [b"SCAN", b"0", *tail])


@command("scan", 5, label="scan, wrong")
def _(g):
    return [b"SCAN", *g.pick((
        [b"abc"], [b"-1"], [b"18446744073709551616"], [b""], [b" 0"], [b"0", g.opt(b"COUNT"), b"0"], [b"0", g.opt(b"COUNT"), b"-1"], [b"0", g.opt(b"COUNT"), b"abc"], [b"0", g.opt(b"COUNT")],
        [b"0", g.opt(b"MATCH")], [b"0", g.opt(b"TYPE")], [b"0", b"NOSUCH"], [b"0", b"NOSUCH", b"x"], [], [b"0", g.opt(b"COUNT"), b"99999999999999999999"], [b"0", g.opt(b"NOVALUES")],
        [b"0", g.opt(b"COUNT"), b"", g.opt(b"MATCH"), b"*"], [b"0x0"], [b"1.0"], [b"+0", g.opt(b"COUNT"), b"x"], [b"\x00"], [b"0\x00"]))]


@command("type", 25, mutable=False, label="other types")
def _(g):
    return g.other_type() or [b"SET", g.key(), g.value()]


@command("set", 60, mutable=False, label="set for generic")
def _(g):
    key = g.key()
    words = [b"SET", key, g.value(key)]
    return words if g.chance(0.7) else words + [b"PXAT", b"4102444800123"]


@command("set", 2, mutable=False, label="odd keys")
def _(g):
    return [b"SET", g.pick(ODD_KEYS), b"v"]

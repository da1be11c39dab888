"""Generators of SORT and SORT_RO, on keys of their own: sorting makes Valkey hold a sorted set in another encoding, which other groups would see."""
from script import BAD_INTEGERS, Composite, Group

group = Group("sort")
command = group.command
group.readers["list"] = lambda key: [[b"LRANGE", key, b"0", b"-1"]]

KEYS = [b"sort:%d" % i for i in range(5)]
INTEGERS = [b"%d" % i for i in range(-3, 9)]
WORDS = [b"a", b"b", b"aa", b"", b"A", b"\xc3\xa9", b"1.5", b"-1e3", b"inf", b"-inf", b"5.", b".5", b"+7", b"1e400", b"nan", b" 1", b"0x1", b"z" * 70]
PATTERNS = [b"w_*", b"w_*", b"h_*->f", b"h_*->g", b"*", b"v*x", b"#", b"nosort", b"", b"w_*->f", b"h_*->", b"*->f", b"w_**", b"->*", b"h_*->f->g", b"w_#"]


def elements(g):
    """Some elements, mostly integers."""
    count = 200 if g.chance(0.03) else 1 + g.below(9)
    if g.chance(0.6):
        return [g.pick(INTEGERS) if count < 20 else b"%d" % g.below(1000) for _ in range(count)]
    return [g.pick(INTEGERS) if g.chance(0.4) else g.pick(WORDS) for _ in range(count)]


def words(arguments):
    """The option words of a request, in upper case."""
    return [a.upper() for a in arguments[2:]]


@group.compare("sort", "sort_ro", reason="elements that weigh the same in ALPHA order, and those of a set that is not sorted, come in any order")
def _(arguments, mine, theirs, pair):
    said = words(arguments)
    by = arguments[2 + said.index(b"BY") + 1] if b"BY" in said[:-1] else None
    unordered = by is not None and (b"ALPHA" in said or b"*" not in by)
    return unordered and mine[0] == theirs[0] == b"*" and len(mine[1]) == len(theirs[1])


def options(g, store):
    """Options of SORT, each of them sometimes."""
    said, by = [], None
    if g.chance(0.4):
        by = g.pick(PATTERNS)
        said.append([g.opt(b"BY"), by])
    if g.chance(0.35):
        said.append([g.opt(b"LIMIT"), *[g.pick((b"0", b"1", b"2", b"3", b"5", b"-1", b"100", b"9223372036854775807", b"-9223372036854775808")) if g.chance(0.96) else g.pick(BAD_INTEGERS) for _ in range(2)]])
    for _ in range(g.pick((0, 0, 0, 1, 1, 2, 3))):
        said.append([g.opt(b"GET"), g.pick(PATTERNS)])
    if g.chance(0.4):
        said.append([g.opt(g.pick((b"ASC", b"DESC", b"DESC")))])
    alpha = g.chance(0.45)
    if alpha:
        said.append([g.opt(b"ALPHA")])
    if store and g.chance(0.35) and not (by and alpha):
        said.append([g.opt(b"STORE"), g.pick(KEYS)])
    if g.chance(0.03):
        said.append(g.pick(([b"NOSUCH"], [b"BY"], [b"GET"], [b"LIMIT", b"1"], [b"STORE"], [b""])))
    g.random.shuffle(said)
    return [word for part in said for word in part]


@command("sort", 60)
def _(g):
    return [b"SORT", g.pick(KEYS), *options(g, True)]


@command("sort_ro", 20)
def _(g):
    return [b"SORT_RO", g.pick(KEYS), *options(g, g.chance(0.05))]


@command("rpush", 20, mutable=False, label="lists to sort")
def _(g):
    return [b"RPUSH", g.pick(KEYS), *elements(g)]


@command("sadd", 12, mutable=False, label="sets to sort")
def _(g):
    return [b"SADD", g.pick(KEYS), *elements(g)]


@command("del", 14, mutable=False, label="sorted keys deleted")
def _(g):
    return [b"DEL", g.pick(KEYS)]


@command("set", 3, mutable=False, label="strings to sort")
def _(g):
    return [b"SET", g.pick(KEYS), b"5"]


@command("mset", 25, mutable=False, label="weights")
def _(g):
    pairs = []
    for _ in range(1 + g.below(6)):
        element = g.pick(INTEGERS) if g.chance(0.7) else g.pick(WORDS)
        pairs += [g.pick((b"w_", b"w_", b"v", b"")) + element, g.pick(INTEGERS + [b"2.5", b"1e2", b"inf"]) if g.chance(0.97) else g.pick(WORDS)]
    return [b"MSET", *pairs]


@command("hset", 20, mutable=False, label="weights in hashes")
def _(g):
    return [b"HSET", b"h_" + g.pick(INTEGERS), g.pick((b"f", b"g", b"f->g")), g.pick(INTEGERS) if g.chance(0.95) else g.pick(WORDS)]


@command("del", 5, mutable=False, label="weights deleted")
def _(g):
    return [b"DEL", b"w_" + g.pick(INTEGERS), b"h_" + g.pick(INTEGERS)]


@command("config|set", 4, mutable=False, label="limits of what is sorted")
def _(g):
    return [b"CONFIG", b"SET", *g.pick(([b"list-max-listpack-size", g.pick((b"-2", b"2", b"5", b"-1"))], [b"set-max-intset-entries", b"0", b"set-max-listpack-entries", b"0"], [b"set-max-intset-entries", b"512", b"set-max-listpack-entries", b"128"]))]


def _sorted_set(pairs, tail):
    def run(connection):
        connection.call(b"DEL", b"ranked")
        connection.call(b"ZADD", b"ranked", *pairs)
        reply = connection.call(b"SORT", b"ranked", *tail)
        connection.call(b"DEL", b"ranked")
        return reply

    return run


@command("zadd", 25, label="sorted sets to sort")
def _(g):
    pairs = [word for element in elements(g) for word in (b"%d" % g.below(20), element)]
    tail = options(g, True)
    said = [word.upper() for word in tail]
    if b"BY" in said and b"ALPHA" in said:
        tail = [b"ALPHA"]
    return Composite("sort", _sorted_set(pairs, tail), [b"SORT", b"ranked", *tail])


@command("command|getkeys", 6, mutable=False)
def _(g):
    return [b"COMMAND", g.pick((b"GETKEYS", b"GETKEYSANDFLAGS")), g.pick((b"SORT", b"SORT_RO")), g.pick(KEYS), *options(g, True)]

"""Generators of the sorted set commands."""
import wire
from script import Command, Composite, Group

group = Group("sorted_set")
command = group.command

group.readers["zset"] = lambda key: [[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]]

KEYS = [b"z%d" % i for i in range(5)]
SETS = [b"t0", b"t1"]
MEMBERS = [b"a", b"b", b"c", b"d", b"e", b"aa", b"ab", b"abc", b"b1", b"1", b"2", b"10", b"-3", b"007", b"", b"\x00\xff", b"member", b"A", b"x" * 64, b"y" * 65]
SCORES = b"0 1 2 3 4 5 -1 -2 1.5 2.5 0.1 0.2 0.3 -0 1e3 3.0 10 100 1e17 1e20 123456789.123456789 -7.25 inf -inf +inf 1e-7 4611686018427387904 9007199254740993".split()
BAD_SCORES = [b"nan", b"abc", b"", b" 1", b"1 ", b"0x10", b"1e400", b"1e-400", b"--1", b"-nan", b"(1", b"1\x00"]
BAD_ENDS = [b"(", b"((1", b"abc", b"", b"nan", b"(nan", b" 1", b"1 ", b"0x1", b"1e400", b"(inf", b"infinity", b"-1e-400"]
LEX = [b"-", b"+", b"[a", b"(a", b"[b", b"(b", b"[c", b"(abc", b"[1", b"(10", b"[", b"(", b"[zzz", b"[\xff"]
BAD_LEX = [b"a", b"", b"--", b"+1", b"[-"[1:] + b"x", b"1"]


def key(g):
    """A key that mostly holds a sorted set."""
    return g.pick(KEYS) if g.chance(0.9) else g.key()


def flat(g):
    """A key whose members have one score, mostly: ranges of members mean nothing in others."""
    return g.pick((b"l0", b"l1", b"l2"))


def member(g):
    """A member, mostly one of few."""
    return g.pick(MEMBERS) if g.chance(0.95) else g.value()


def score(g):
    """A score, seldom not one."""
    return g.pick(SCORES) if g.chance(0.96) else g.pick(BAD_SCORES)


def end(g):
    """An end of a range of scores."""
    if g.chance(0.08):
        return g.pick(BAD_ENDS)
    return (b"(" if g.chance(0.3) else b"") + g.pick(SCORES)


def lex(g):
    """An end of a range of members."""
    return g.pick(LEX) if g.chance(0.95) else g.pick(BAD_LEX)


def limit(g):
    """LIMIT with its numbers."""
    number = lambda: g.pick((b"0", b"1", b"2", b"3", b"-1", b"100", b"-5", b"9223372036854775807", b"-9223372036854775808")) if g.chance(0.95) else g.pick((b"abc", b"", b"1.5"))
    return [g.opt(b"LIMIT"), number(), number()]


def sources(g, most=4):
    """A number of keys and the keys."""
    keys = [g.pick(SETS) if g.can("sadd") and g.chance(0.15) else key(g) for _ in range(1 + g.below(most))]
    count = b"%d" % len(keys) if g.chance(0.94) else g.pick((b"0", b"-1", b"1", b"2", b"7", b"abc", b"", b"9223372036854775807"))
    return [count, *keys]


def combined(g, words, most=4):
    """The words behind the keys of a union or intersection."""
    given = sources(g, most)
    words = words + given
    if g.chance(0.4):
        words += [g.opt(b"WEIGHTS")] + [g.pick(SCORES) if g.chance(0.98) else g.pick(BAD_SCORES) for _ in given[1:]]
        if g.chance(0.04):
            words = words[:-1]
    if g.chance(0.4):
        words += [g.opt(b"AGGREGATE"), g.opt(g.pick((b"SUM", b"MIN", b"MAX"))) if g.chance(0.97) else b"AVG"]
    return words


@command("zadd", 70)
def _(g):
    words = [b"ZADD", key(g)]
    if g.chance(0.45):
        options = [g.opt(word) for word, share in ((b"NX", 0.2), (b"XX", 0.2), (b"GT", 0.2), (b"LT", 0.2), (b"CH", 0.4), (b"INCR", 0.2)) if g.chance(share)]
        g.random.shuffle(options)
        words += options
    for _ in range(g.pick((1, 1, 1, 2, 3, 6))):
        words += [score(g), member(g)]
    return words


@command("zadd", 20, label="zadd one score", mutable=False)
def _(g):
    words = [b"ZADD", flat(g)]
    for _ in range(g.pick((1, 4, 8, 12))):
        words += [b"0", member(g)]
    return words


@command("zadd", 3, label="zadd many")
def _(g):
    words = [b"ZADD", key(g)]
    start = g.below(100)
    for n in range(start, start + g.pick((100, 127, 128, 129, 200, 300))):
        words += [b"%d" % (n * 7 % 50), b"m%d" % n]
    return words


@command("sadd", 8, mutable=False, label="sadd for zunion")
def _(g):
    return [b"SADD", g.pick(SETS), *(member(g) for _ in range(1 + g.below(4)))]


@command("zincrby", 14)
def _(g):
    return [b"ZINCRBY", key(g), score(g), member(g)]


@command("zcard", 6)
def _(g):
    return [b"ZCARD", key(g)]


@command("zcount", 10)
def _(g):
    return [b"ZCOUNT", key(g), end(g), end(g)]


@command("zlexcount", 8)
def _(g):
    return [b"ZLEXCOUNT", flat(g), lex(g), lex(g)]


@command("zscore", 6)
def _(g):
    return [b"ZSCORE", key(g), member(g)]


@command("zmscore", 6)
def _(g):
    return [b"ZMSCORE", key(g), *(member(g) for _ in range(1 + g.below(4)))]


@command("zrank", 8)
def _(g):
    return [b"ZRANK", key(g), member(g)] + ([g.opt(b"WITHSCORE")] if g.chance(0.4) else [])


@command("zrevrank", 8)
def _(g):
    return [b"ZREVRANK", key(g), member(g)] + ([g.opt(b"WITHSCORE")] if g.chance(0.4) else [])


def ranged(g, words, scores=True):
    """A range with the words of ZRANGE."""
    kind = g.pick((None, b"BYSCORE", b"BYLEX"))
    if kind == b"BYLEX":
        words[-1] = flat(g)
    ends = {None: g.index, b"BYSCORE": lambda: end(g), b"BYLEX": lambda: lex(g)}[kind]
    words += [ends(), ends()]
    options = [[g.opt(kind)]] if kind else []
    if g.chance(0.35):
        options.append([g.opt(b"REV")])
        if kind == b"BYLEX" and g.chance(0.6):
            words[-2:] = [b"+", b"-"]
        if kind == b"BYSCORE" and g.chance(0.6):
            words[-2:] = [b"inf", b"-inf"]
    if g.chance(0.3 if kind else 0.04):
        options.append(limit(g))
    if scores and g.chance(0.1 if kind == b"BYLEX" else 0.4):
        options.append([g.opt(b"WITHSCORES")])
    g.random.shuffle(options)
    return words + [word for option in options for word in option]


@command("zrange", 40)
def _(g):
    return ranged(g, [b"ZRANGE", key(g)])


@command("zrangestore", 16)
def _(g):
    return ranged(g, [b"ZRANGESTORE", key(g), key(g)], scores=g.chance(0.03))


@command("zrevrange", 10)
def _(g):
    return [b"ZREVRANGE", key(g), g.index(), g.index()] + ([g.opt(b"WITHSCORES")] if g.chance(0.4) else [])


def by_score(g, name):
    words = [name, key(g), end(g), end(g)]
    options = ([[g.opt(b"WITHSCORES")]] if g.chance(0.4) else []) + ([limit(g)] if g.chance(0.3) else [])
    g.random.shuffle(options)
    return words + [word for option in options for word in option]


@command("zrangebyscore", 12)
def _(g):
    return by_score(g, b"ZRANGEBYSCORE")


@command("zrevrangebyscore", 12)
def _(g):
    return by_score(g, b"ZREVRANGEBYSCORE")


@command("zrangebylex", 10)
def _(g):
    return [b"ZRANGEBYLEX", flat(g), lex(g), lex(g)] + (limit(g) if g.chance(0.3) else [])


@command("zrevrangebylex", 10)
def _(g):
    return [b"ZREVRANGEBYLEX", flat(g), lex(g), lex(g)] + (limit(g) if g.chance(0.3) else [])


@command("zrem", 14)
def _(g):
    return [b"ZREM", key(g) if g.chance(0.8) else flat(g), *(member(g) for _ in range(g.pick((1, 1, 2, 5))))]


@command("zremrangebyrank", 5)
def _(g):
    return [b"ZREMRANGEBYRANK", key(g), g.index(), g.index()]


@command("zremrangebyscore", 5)
def _(g):
    return [b"ZREMRANGEBYSCORE", key(g), end(g), end(g)]


@command("zremrangebylex", 5)
def _(g):
    return [b"ZREMRANGEBYLEX", flat(g), lex(g), lex(g)]


def count(g):
    return g.pick((b"0", b"1", b"2", b"3", b"100")) if g.chance(0.9) else g.pick((b"-1", b"abc", b"", b"9223372036854775807", b"9223372036854775808"))


@command("zpopmin", 8)
def _(g):
    return [b"ZPOPMIN", key(g)] + ([count(g)] if g.chance(0.5) else [])


@command("zpopmax", 8)
def _(g):
    return [b"ZPOPMAX", key(g)] + ([count(g)] if g.chance(0.5) else [])


def popped(g, words):
    words = words + sources(g, 3)
    words.append(g.opt(g.pick((b"MIN", b"MAX"))) if g.chance(0.96) else b"MID")
    if g.chance(0.5):
        words += [g.opt(b"COUNT"), count(g)]
    return words


@command("zmpop", 10)
def _(g):
    return popped(g, [b"ZMPOP"])


def timeout(g):
    return b"0.001" if g.chance(0.9) else g.pick((b"-1", b"abc", b"", b"nan", b"9223372036854775807", b"1e300", b"-0.5"))


@command("bzmpop", 6, mutable=False)
def _(g):
    return popped(g, [b"BZMPOP", timeout(g)])


@command("bzpopmin", 6, mutable=False)
def _(g):
    return [b"BZPOPMIN", *(key(g) for _ in range(1 + g.below(3))), timeout(g)]


@command("bzpopmax", 6, mutable=False)
def _(g):
    return [b"BZPOPMAX", *(key(g) for _ in range(1 + g.below(3))), timeout(g)]


@command("zunion", 12)
def _(g):
    return combined(g, [b"ZUNION"]) + ([g.opt(b"WITHSCORES")] if g.chance(0.5) else [])


@command("zinter", 12)
def _(g):
    return combined(g, [b"ZINTER"], 3) + ([g.opt(b"WITHSCORES")] if g.chance(0.5) else [])


@command("zdiff", 12)
def _(g):
    return [b"ZDIFF", *sources(g, 3)] + ([g.opt(b"WITHSCORES")] if g.chance(0.5) else [])


@command("zunionstore", 12)
def _(g):
    return combined(g, [b"ZUNIONSTORE", key(g)])


@command("zinterstore", 12)
def _(g):
    return combined(g, [b"ZINTERSTORE", key(g)], 3)


@command("zdiffstore", 8)
def _(g):
    return [b"ZDIFFSTORE", key(g), *sources(g, 3)]


@command("zintercard", 10)
def _(g):
    return [b"ZINTERCARD", *sources(g, 3)] + ([g.opt(b"LIMIT"), g.pick((b"0", b"1", b"2", b"100", b"-1", b"abc"))] if g.chance(0.5) else [])


@command("zrandmember", 6, mutable=False)
def _(g):
    words = [b"ZRANDMEMBER", key(g)]
    if g.chance(0.8):
        words.append(g.pick((b"0", b"1", b"-1", b"3", b"-5", b"1000", b"-9223372036854775808", b"9223372036854775807", b"abc", b"")))
        if g.chance(0.4):
            words.append(g.opt(b"WITHSCORES") if g.chance(0.9) else b"FOO")
    return words


@group.compare("zrandmember", reason="members are drawn at random; how many, and in which shape, is compared")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] != b"-" and _shape(wire.plain(mine)) == _shape(wire.plain(theirs))


def _shape(reply):
    if isinstance(reply, list):
        return [len(reply)] + [len(item) if isinstance(item, list) else 0 for item in reply]
    return reply is None


@command("zrandmember", 4, label="zrandmember of one")
def _(g):
    return Composite("zrandmember", _random_of_one, [b"ZRANDMEMBER", b"one"])


def _random_of_one(connection):
    """Where there is one member, there is no choice."""
    connection.call(b"DEL", b"one")
    seen = [connection.call(b"ZADD", b"one", b"1.5", b"m")]
    for words in ([], [b"1"], [b"-3"], [b"5", b"WITHSCORES"], [b"-2", b"WITHSCORES"]):
        seen.append(connection.call(b"ZRANDMEMBER", b"one", *words))
    connection.call(b"DEL", b"one")
    return seen


def _whole_scan(words):
    def run(connection):
        met, cursor = {}, b"0"
        for _ in range(10_000):
            reply = connection.call(*words[:2], cursor, *words[2:])
            if not isinstance(reply, list):
                return reply
            cursor, found = reply
            pairs = found if b"NOSCORES" in [w.upper() for w in words] else [tuple(found[i:i + 2]) for i in range(0, len(found), 2)]
            met.update((pair, True) for pair in pairs)
            if cursor == b"0":
                return sorted(met)
        return "does not end"
    return run


@command("zscan", 10, mutable=False)
def _(g):
    words = [b"ZSCAN", key(g)]
    if g.chance(0.5):
        words += [g.opt(b"MATCH"), g.pick((b"*", b"m*", b"?", b"[a-c]*", b"m1*", b"nosuch", b""))]
    if g.logging:
        words += [b"COUNT", b"1000"]
    elif g.chance(0.5):
        words += [g.opt(b"COUNT"), g.pick((b"1", b"5", b"100", b"1000"))]
    if g.chance(0.3):
        words.append(g.opt(b"NOSCORES"))
    return Composite("zscan", _whole_scan(words), words)


@command("zscan", 4, label="zscan errors")
def _(g):
    words = [b"ZSCAN", b"nosuch" if g.chance(0.3) else key(g), g.pick((b"abc", b"-1", b"", b"1.5", b"18446744073709551616")) if g.chance(0.5) else b"0"]
    words += g.pick(([b"FOO"], [b"COUNT", b"0"], [b"COUNT", b"-1"], [b"COUNT"], [b"MATCH"], [b"COUNT", b"abc"], [b"NOVALUES"], [b"TYPE", b"zset"]))
    return words


@command("config|set", 4, mutable=False, label="zset thresholds")
def _(g):
    name = g.pick((b"zset-max-listpack-entries", b"zset-max-ziplist-entries", b"zset-max-listpack-value"))
    value = g.pick((b"0", b"3", b"8", b"64")) if name.endswith(b"value") else g.pick((b"0", b"2", b"4", b"16", b"128"))
    return Command([b"CONFIG", b"SET", name, value])

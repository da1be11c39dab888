"""Generators of the stream commands. Ids are written out and small, so that both servers give the same ones."""
import time

import servers
import wire
from script import BAD_INTEGERS, Composite, Group

group = Group("stream")
command = group.command

group.readers["stream"] = lambda key: [[b"XRANGE", key, b"-", b"+"], [b"XINFO", b"STREAM", key], [b"XINFO", b"GROUPS", key]]
group.probes.update({
    "xdelex": [b"XDELEX", b"probe", b"IDS", b"1", b"1-1"],
    "xackdel": [b"XACKDEL", b"probe", b"g", b"IDS", b"1", b"1-1"],
})

NAMES = [b"g", b"g", b"g", b"h", b"h2", b"\x00\xff", b""]
CONSUMERS = [b"alice", b"alice", b"bob", b"carol", b"", b"a b"]
MAX = b"18446744073709551615"
ODD_IDS = [b"0-0", b"0", b"0-1", b"1-*", b"*", b"5-*", b"-", b"+", b"$", b">", b"", b"(", b"abc", b"1-", b"-1", b"1-1-1", b"01-1", b"+1-2", b" 1-3", b"1-+4", b"1--0", b"1- -5", b"2\x00-5", b"1-\x00x", b"$\x00",
           MAX, MAX + b"-" + MAX, MAX + b"-0", b"18446744073709551616", b"3-18446744073709551616", b"9223372036854775808-9223372036854775808", b"1" * 128, b"1_0", b"(1-1", b"((1-1"]


def near(path, mine, theirs, tolerance):
    """Equal, but for times, which may lie a little apart. `path` is where a value is: names of maps, indices of arrays."""
    if mine[0] != theirs[0]:
        return False
    if isinstance(mine[1], list) and isinstance(theirs[1], list):
        if len(mine[1]) != len(theirs[1]):
            return False
        named = mine[0] == b"%" or (len(mine[1]) > 1 and len(mine[1]) % 2 == 0 and mine[1][0][1] in (b"name", b"length"))
        for i, (a, b) in enumerate(zip(mine[1], theirs[1])):
            step = mine[1][i - 1][1] if named and i % 2 else (i, len(mine[1]))
            if not near((*path, step), a, b, tolerance):
                return False
        return True
    if mine[1] == theirs[1]:
        return True
    timed = path and (path[-1] in (b"idle", b"inactive", b"seen-time", b"active-time") or path[-1] == (2, 4) or (path[-1] == (1, 3) and b"consumers" in path))
    return bool(timed) and mine[0] == b":" and min(mine[1], theirs[1]) >= 0 and abs(mine[1] - theirs[1]) <= tolerance


@group.compare("xpending", "xinfo|consumers", "xinfo|stream", reason="idle times and times of deliveries are those of each server's clock")
def _(arguments, mine, theirs, pair):
    return near((), mine, theirs, pair.tolerance_ms + 1000)  # a pipeline may stall


def key(g):
    """A key that mostly holds a stream."""
    return g.pick((b"k0", b"k0", b"k0", b"k1", b"k2")) if g.chance(0.93) else g.key()


def entry_id(g, odd=0.06):
    """An id, mostly of the small range in which entries lie."""
    if g.chance(odd):
        return g.pick(ODD_IDS)
    ms = b"%d" % g.below(40)
    return ms if g.chance(0.2) else ms + b"-%d" % g.below(3)


def new_id(g):
    """An id to add: often behind what is there; never the clock's."""
    roll = g.random.random()
    if roll < 0.1:
        return g.pick([i for i in ODD_IDS if i != b"*"])
    if roll < 0.3:
        return b"%d-*" % (20 + g.below(30))
    if roll < 0.4:
        return b"%d" % g.below(50)
    if roll < 0.403:
        return MAX + b"-" + g.pick((b"*", MAX, b"1"))
    g.unique += 1
    return b"%d-%d" % (g.below(60), g.unique % 1000 if g.chance(0.3) else g.below(4))


def range_id(g):
    """An end of a range."""
    roll = g.random.random()
    return b"-" if roll < 0.2 else b"+" if roll < 0.4 else b"(" + entry_id(g) if roll < 0.55 else entry_id(g)


def count(g):
    """COUNT with a number, or nothing."""
    roll = g.random.random()
    if roll < 0.55:
        return []
    return [g.opt(b"COUNT"), g.pick((b"0", b"1", b"2", b"3", b"5", b"10", b"100", b"-1", b"9223372036854775807"))] if roll < 0.97 else [g.opt(b"COUNT"), *([g.pick(BAD_INTEGERS)] if g.chance(0.7) else [])]


def fields(g, mutable=True):
    """Fields and values; seldom an odd number of words."""
    names = g.pick(([b"f"], [b"f"], [b"f", b"g"], [b"g"], [b"1", b"2"], [b"name", b"other", b"f"]))
    if g.chance(0.15):
        names = [g.value() for _ in range(1 + g.below(4))]
    words = [w for n in names for w in (n, g.integer() if g.chance(0.3) else g.value())]
    return words[:-1] if mutable and g.chance(0.03) else words


def trimming(g):
    """MAXLEN or MINID with operator and LIMIT."""
    words = []
    if g.chance(0.65):
        words += [g.opt(b"MAXLEN"), *operator(g), g.pick((b"0", b"1", b"2", b"3", b"5", b"8", b"20", b"1000")) if g.chance(0.93) else g.pick(BAD_INTEGERS + [b"-1"])]
    else:
        words += [g.opt(b"MINID"), *operator(g), entry_id(g)]
    if g.chance(0.25):
        words += [g.opt(b"LIMIT"), g.pick((b"0", b"1", b"2", b"3", b"5", b"10", b"-1", b"abc"))]
    return words


def operator(g):
    roll = g.random.random()
    return [] if roll < 0.4 else [b"="] if roll < 0.6 else [b"~"]


@command("xadd", 60, mutable=False)
def _(g):
    words = [b"XADD", key(g)]
    if g.chance(0.1):
        words.append(g.opt(b"NOMKSTREAM"))
    if g.chance(0.2):
        words += trimming(g)
    if g.chance(0.02):
        words += trimming(g)
    if g.chance(0.05):
        words.append(g.opt(b"NOMKSTREAM"))
    if g.chance(0.02):
        words += [g.opt(b"LIMIT"), b"3"]
    words += [new_id(g), *fields(g)]
    return words[: 2 + g.below(5)] if g.chance(0.02) else words


def _clock_ids(connection):
    """Ids from the clock: near it, ascending, and behind a last id that lies in the future."""
    connection.call(b"DEL", b"clock")
    first, second = (connection.call(b"XADD", b"clock", b"*", b"f", b"v") for _ in range(2))
    ms = [int(i.split(b"-")[0]) for i in (first, second)]
    parts = [tuple(map(int, i.split(b"-"))) for i in (first, second)]
    good = abs(ms[0] / 1000 - time.time()) < 5 and parts[0] < parts[1] and parts[0][1] == 0
    seen = [good, connection.call(b"XADD", b"clock", b"99999999999999-5", b"f", b"v"), connection.call(b"XADD", b"clock", b"*", b"f", b"v"), connection.call(b"XADD", b"clock", b"*\x00", b"f", b"v")]
    connection.call(b"DEL", b"clock")
    return seen


@command("xadd", 0.7, label="xadd, clock")
def _(g):
    return Composite("xadd", _clock_ids, [b"XADD", b"clock", b"*"])


@command("xlen", 6)
def _(g):
    return [b"XLEN", key(g)]


@command("xrange", 20)
def _(g):
    return [b"XRANGE", key(g), range_id(g), range_id(g), *count(g), *(count(g) if g.chance(0.04) else [])]


@command("xrevrange", 20)
def _(g):
    return [b"XREVRANGE", key(g), range_id(g), range_id(g), *count(g)]


@command("xdel", 12)
def _(g):
    return [b"XDEL", key(g), *(entry_id(g, 0.02) for _ in range(1 + g.below(4)))]


@command("xtrim", 12)
def _(g):
    words = [b"XTRIM", key(g), *trimming(g)]
    if g.chance(0.05):
        words += trimming(g)
    return words


@command("xsetid", 8)
def _(g):
    words = [b"XSETID", key(g), entry_id(g) if g.chance(0.5) else b"%d-%d" % (40 + g.below(30), g.below(5))]
    if g.chance(0.4):
        words += [g.opt(b"ENTRIESADDED"), g.pick((b"0", b"1", b"5", b"20", b"100", b"-1", b"abc", b"9223372036854775807"))]
    if g.chance(0.4):
        words += [g.opt(b"MAXDELETEDID"), entry_id(g)]
    return words


@command("xread", 20)
def _(g):
    words = [b"XREAD", *count(g)]
    if g.chance(0.15):
        words += [g.opt(b"BLOCK"), block_time(g)]
    return words + streams(g, lambda: g.pick((b"$", b"+", b"0", b"0-0", b">", MAX + b"-" + MAX)) if g.chance(0.35) else entry_id(g))


def block_time(g):
    return b"1" if g.chance(0.9) else g.pick((b"-1", b"abc", b"1.5", b"", b"9223372036854775807", b"99999999999999999999"))


def streams(g, ident):
    keys = [key(g) for _ in range(g.pick((1, 1, 1, 2, 3)))]
    ids = [ident() for _ in keys]
    if g.chance(0.03):
        ids = ids[:-1]
    return [g.opt(b"STREAMS"), *keys, *ids]


@command("xreadgroup", 40)
def _(g):
    words = [b"XREADGROUP"]
    parts = [[g.opt(b"GROUP"), g.pick(NAMES[:5]), g.pick(CONSUMERS)] if g.chance(0.98) else [g.opt(b"GROUP"), b"g"], count(g)]
    if g.chance(0.15):
        parts.append([g.opt(b"BLOCK"), block_time(g)])
    if g.chance(0.2):
        parts.append([g.opt(b"NOACK")])
    if g.chance(0.2):
        g.random.shuffle(parts)
    words += [word for part in parts for word in part]
    return words + streams(g, lambda: b">" if g.chance(0.7) else g.pick((b"0", b"0-0", b"$", b"+", MAX + b"-" + MAX)) if g.chance(0.5) else entry_id(g))


@command("xreadgroup", 0.5, mutable=False, label="words as names")
def _(g):
    return g.pick(([b"XREADGROUP", b"NOACK", b"GROUP", b"g", b"STREAMS", b"STREAMS", b"k0", b">"], [b"XREADGROUP", b"GROUP", b"STREAMS", b"c", b"STREAMS", b"k0", b">"], [b"XREAD", b"COUNT", b"STREAMS", b"STREAMS", b"k0", b"0"],
                   [b"XREADGROUP", b"COUNT", b"1", b"GROUP", b"STREAMS", b"g", b"STREAMS", b"k0", b"k1", b">", b">"], [b"XREAD", b"STREAMS", b"STREAMS", b"k0", b"0", b"0"], [b"XREADGROUP", b"GROUP", b"g", b"NOACK", b"NOACK", b"STREAMS", b"k0", b">"]))


@command("xgroup", 16, label="xgroup create")
def _(g):
    words = [b"XGROUP", g.case(b"CREATE"), key(g), g.pick(NAMES), b"$" if g.chance(0.25) else b"0" if g.chance(0.4) else entry_id(g)]
    if g.chance(0.3):
        words.append(g.opt(b"MKSTREAM"))
    if g.chance(0.2):
        words += entries_read(g)
    return words


def entries_read(g):
    return [g.opt(b"ENTRIESREAD"), g.pick((b"0", b"1", b"3", b"10", b"-1", b"-2", b"abc", b"9223372036854775807"))]


@command("xgroup", 8, label="xgroup setid")
def _(g):
    words = [b"XGROUP", g.case(b"SETID"), key(g), g.pick(NAMES[:5]), b"$" if g.chance(0.2) else entry_id(g, 0.15)]
    if g.chance(0.35):
        words += entries_read(g)
    if g.chance(0.05):
        words.append(g.opt(b"MKSTREAM"))
    return words


@command("xgroup", 3, label="xgroup destroy")
def _(g):
    return [b"XGROUP", g.case(b"DESTROY"), key(g), g.pick(NAMES)]


@command("xgroup", 5, label="xgroup createconsumer")
def _(g):
    return [b"XGROUP", g.case(b"CREATECONSUMER"), key(g), g.pick(NAMES[:5]), g.pick(CONSUMERS)]


@command("xgroup", 4, label="xgroup delconsumer")
def _(g):
    return [b"XGROUP", g.case(b"DELCONSUMER"), key(g), g.pick(NAMES[:5]), g.pick(CONSUMERS)]


@command("xack", 12)
def _(g):
    return [b"XACK", key(g), g.pick(NAMES[:5]), *(entry_id(g, 0.03) for _ in range(1 + g.below(4)))]


# Idle times are some milliseconds, or hours where XCLAIM said so: no filter lies between.
IDLE = [b"0", b"0", b"-1", b"1000000", b"50000000"]


@command("xpending", 20)
def _(g):
    words = [b"XPENDING", key(g), g.pick(NAMES[:5])]
    if g.chance(0.3):
        return words
    if g.chance(0.3):
        words += [g.opt(b"IDLE"), g.pick(IDLE) if g.chance(0.9) else g.pick(BAD_INTEGERS)]
    words += [range_id(g), range_id(g), g.pick((b"0", b"1", b"2", b"5", b"10", b"-1", b"abc", b"9223372036854775807"))]
    if g.chance(0.35):
        words.append(g.pick(CONSUMERS))
    return words[:-1] if g.chance(0.05) else words


@command("xclaim", 20)
def _(g):
    words = [b"XCLAIM", key(g), g.pick(NAMES[:5]), g.pick(CONSUMERS), g.pick(IDLE) if g.chance(0.95) else g.pick(BAD_INTEGERS)]
    words += [entry_id(g, 0.02) for _ in range(1 + g.below(5))]
    choices = [[b"IDLE", g.pick((b"0", b"20000000", b"90000000", b"-5", b"9223372036854775807", b"abc"))], [b"TIME", g.pick((b"0", b"1000", b"1600000000000", b"-1", b"9999999999999", b"x"))],
               [b"RETRYCOUNT", g.pick((b"0", b"1", b"7", b"-1", b"abc", b"9223372036854775807"))], [b"FORCE"], [b"FORCE"], [b"JUSTID"], [b"LASTID", entry_id(g)], [b"NOSUCH"]]
    if g.chance(0.6):
        for choice in g.random.sample(choices[:7] if g.chance(0.95) else choices, 1 + g.below(3)):
            words += [g.opt(choice[0]), *choice[1:]]
    return words


@command("xautoclaim", 16)
def _(g):
    words = [b"XAUTOCLAIM", key(g), g.pick(NAMES[:5]), g.pick(CONSUMERS), g.pick(IDLE) if g.chance(0.95) else g.pick(BAD_INTEGERS), range_id(g)]
    if g.chance(0.5):
        words += [g.opt(b"COUNT"), g.pick((b"1", b"2", b"3", b"10", b"0", b"-1", b"abc", b"576460752303423487", b"576460752303423488", b"9223372036854775807"))]
        if words[-1] == b"576460752303423487":
            words[-1] = b"1000"  # Valkey reserves memory for them
    if g.chance(0.25):
        words.append(g.opt(b"JUSTID"))
    return words


@command("xinfo", 16, label="xinfo stream")
def _(g):
    words = [b"XINFO", g.case(b"STREAM"), key(g)]
    if g.chance(0.5):
        words.append(g.opt(b"FULL"))
        if g.chance(0.4):
            words += [g.opt(b"COUNT"), g.pick((b"0", b"1", b"2", b"10", b"-1", b"abc", b"9223372036854775807"))]
    return words


@command("xinfo", 10, label="xinfo groups")
def _(g):
    return [b"XINFO", g.case(b"GROUPS"), key(g)]


@command("xinfo", 10, label="xinfo consumers")
def _(g):
    return [b"XINFO", g.case(b"CONSUMERS"), key(g), g.pick(NAMES[:5])]


@command("xinfo", 2, mutable=False, label="wrong containers")
def _(g):
    return g.pick(([b"XINFO"], [b"XINFO", b"NOSUCH"], [b"XINFO", b"STREAM"], [b"XINFO", b"GROUPS", b"k0", b"x"], [b"XGROUP"], [b"XGROUP", b"nosuch", b"k0"], [b"XGROUP", b"CREATE", b"k0"], [b"XGROUP", b"DESTROY", b"k0"],
                   [b"XGROUP", b"CREATE", b"k0", b"g", b"0", b"NOSUCH"], [b"XGROUP", b"CREATE", b"none", b"g", b"$", b"ENTRIESREAD"], [b"XINFO", b"STREAM", b"k0", b"FULL", b"COUNT"], [b"XINFO", b"STREAM", b"k0", b"NOSUCH"],
                   [b"XINFO", b"STREAM", b"k0", b"FULL", b"NOSUCH", b"1"], [b"XINFO", b"STREAM", b"none", b"NOSUCH"]))


@command("config", 3, mutable=False, label="node sizes")
def _(g):
    return g.pick(([b"CONFIG", b"SET", b"stream-node-max-entries", g.pick((b"1", b"2", b"3", b"5", b"100", b"0"))], [b"CONFIG", b"SET", b"stream-node-max-bytes", g.pick((b"0", b"50", b"100", b"300", b"4096"))]))


# Redis 8.2 has these; a reference without them is not asked.

def condition(g):
    return [g.opt(g.pick((b"KEEPREF", b"DELREF", b"ACKED")))] if g.chance(0.8) else []


def numbered_ids(g):
    ids = [entry_id(g, 0.02) for _ in range(1 + g.below(4))]
    number = b"%d" % len(ids) if g.chance(0.94) else g.pick((b"0", b"-1", b"1", b"3", b"9", b"abc", b"9223372036854775807"))
    return [g.opt(b"IDS"), number, *ids]


@command("xdelex", 20)
def _(g):
    parts = [condition(g), numbered_ids(g)]
    return [b"XDELEX", key(g), *(word for part in (parts if g.chance(0.9) else parts[::-1]) for word in part)]


@command("xackdel", 20)
def _(g):
    parts = [condition(g), numbered_ids(g)]
    return [b"XACKDEL", key(g), g.pick(NAMES[:5]), *(word for part in (parts if g.chance(0.9) else parts[::-1]) for word in part)]


@command("xdelex", 10, mutable=False, label="trimming with references")
def _(g):
    words = [w for w in trimming(g) if w != b"~"]  # approximate trimming is meant to differ
    parts = [condition(g), words]
    if g.chance(0.5):
        g.random.shuffle(parts)
    words = [word for part in parts for word in part]
    return [b"XTRIM", key(g), *words] if g.chance(0.6) else [b"XADD", key(g), *words, new_id(g), *fields(g)]


def _inactive(reply):
    """The reply without the times at which consumers were last active: larder writes streams as Redis 7.0 reads them."""
    if isinstance(reply, dict):
        return {k: _inactive(v) for k, v in reply.items() if k != b"active-time"}
    if isinstance(reply, list):
        return [_inactive(v) for i, v in enumerate(reply) if not i or reply[i - 1] != b"active-time"]
    return reply


def _dumped(name):
    def run(connection):
        looks = ([b"XINFO", b"STREAM", name, b"FULL", b"COUNT", b"0"], [b"XREVRANGE", name, b"+", b"-"])
        before = [_inactive(connection.call(*words)) for words in looks]
        payload = connection.call(b"DUMP", name)
        if payload is None:
            return None
        connection.call(b"RESTORE", name, b"0", payload, b"REPLACE")
        return [_inactive(connection.call(*words)) for words in looks] == before
    return run


@command("restore", 3, mutable=False, label="dump and restore")
def _(g):
    name = key(g)
    return Composite("restore", _dumped(name), [b"DUMP", name])


@command("copy", 2)
def _(g):
    return [b"COPY", key(g), key(g), *([b"REPLACE"] if g.chance(0.6) else [])]


@command("del", 1.5)
def _(g):
    return [b"DEL", key(g)]


# Waiting: one connection waits, another does something, and what the first is told is compared.

ACTS = [
    ([b"XADD", b"wait", b"50-1", b"f", b"v"],),
    ([b"XADD", b"wait", b"50-1", b"f", b"v"], [b"XADD", b"wait", b"50-2", b"f", b"v"]),
    ([b"XADD", b"other", b"50-1", b"f", b"v"],),
    ([b"DEL", b"wait"],),
    ([b"SET", b"wait", b"x"],),
    ([b"XGROUP", b"DESTROY", b"wait", b"g"],),
    ([b"XGROUP", b"SETID", b"wait", b"g", b"0"], [b"XADD", b"wait", b"50-1", b"f", b"v"]),
    ([b"XDEL", b"wait", b"5-1"], [b"XADD", b"wait", b"50-1", b"f", b"v"]),
    ([b"MULTI"], [b"XADD", b"wait", b"50-1", b"f", b"v"], [b"XADD", b"wait", b"50-2", b"g", b"v"], [b"EXEC"]),
    ([b"RENAME", b"wait", b"moved"], [b"XADD", b"wait", b"50-1", b"f", b"v"]),
    ([b"FLUSHALL"],),
    ([b"XTRIM", b"wait", b"MAXLEN", b"0"],),
    ([b"XSETID", b"wait", b"60-1"], [b"XADD", b"wait", b"61-1", b"f", b"v"]),
]
WAITS = [
    [b"XREAD", b"BLOCK", b"0", b"STREAMS", b"wait", b"$"], [b"XREAD", b"BLOCK", b"300", b"STREAMS", b"wait", b"$"], [b"XREAD", b"BLOCK", b"300", b"COUNT", b"1", b"STREAMS", b"other", b"wait", b"$", b"$"],
    [b"XREAD", b"BLOCK", b"300", b"STREAMS", b"wait", b"50-1"], [b"XREAD", b"BLOCK", b"300", b"STREAMS", b"none", b"0"], [b"XREAD", b"BLOCK", b"300", b"STREAMS", b"wait", b"wait", b"$", b"50-1"],
    [b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"300", b"STREAMS", b"wait", b">"], [b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"300", b"NOACK", b"STREAMS", b"wait", b">"],
    [b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"300", b"COUNT", b"1", b"STREAMS", b"wait", b"other", b">", b">"], [b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"300", b"STREAMS", b"wait", b"0"],
]


def _waiting(protocol, wait, acts):
    def run(connection):
        connection.call(b"SELECT", b"0")
        connection.call(b"DEL", b"wait", b"other", b"moved", b"none")
        for words in ([b"XADD", b"wait", b"5-1", b"f", b"v"], [b"XADD", b"other", b"5-1", b"f", b"v"], [b"XGROUP", b"CREATE", b"wait", b"g", b"$"], [b"XGROUP", b"CREATE", b"other", b"g", b"$"]):
            connection.call(*words)
        waiter = servers.Connection(connection.socket.getpeername()[1], protocol)
        try:
            waiter.socket.settimeout(0.7)
            waiter.socket.sendall(wire.encode(wait))
            for _ in range(100):
                if b"flags=b" in connection.call(b"CLIENT", b"LIST", b"ID", waiter.id):
                    break
                time.sleep(0.002)
            seen = [connection.call(*words) for words in acts]
            try:
                seen.append(_one_reply(waiter.socket))
            except TimeoutError:
                seen.append("still waits")
            seen.append(connection.call(b"XPENDING", b"wait", b"g"))
        finally:
            waiter.close()
            connection.call(b"DEL", b"wait", b"other", b"moved", b"none")
        return seen
    return run


def _one_reply(sock):
    data = b""
    while wire.frame_end(data, 0) < 0:
        piece = sock.recv(1 << 16)
        if not piece:
            return "closed"
        data += piece
    return data


@command("xread", 0.8, label="waiting")
def _(g):
    wait, acts = g.pick(WAITS), g.pick([acts for acts in ACTS if acts[0] != [b"MULTI"] or g.can("multi")])
    return Composite("xread", _waiting(g.pick((2, 3)), wait, acts), [*wait, b";", *acts[0]])

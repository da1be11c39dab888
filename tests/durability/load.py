"""The load whose result can be checked: what each connection wrote is known, up to the last reply.

A `Space` is what one connection writes: two databases of its own with keys of every type. Its operation number n is a
function of n and the seed alone, so the content after any number of operations can be computed and compared with what
a server has after a crash. Operations are single commands, transactions and scripts; each is atomic, so whatever
the server has must be the content after one n. A `Bank` moves money between 64 accounts on different shards, by
transactions or by scripts, together with other banks: the sum never changes.
"""
import array
import copy
import selectors
import socket
import time

import service
from support import encode

PARTS = 8   # at most so many changes in one operation; each has a number of its own
FAR_MS = 4_000_000_000_000
ACCOUNTS, START_BALANCE = 64, 1000
FILLER = b"0123456789abcdef" * 8192
GENERIC = b"local i = 1 while i <= #ARGV do local n = tonumber(ARGV[i]) redis.call(unpack(ARGV, i + 1, i + n)) i = i + n + 1 end return 'moved'"
MOVE = (
    b"local function balance(k) if redis.call('TYPE', k).ok == 'hash' then return tonumber(redis.call('HGET', k, 'balance')) end "
    b"return tonumber(redis.call('GET', k)) end "
    b"local function add(k, x) if redis.call('TYPE', k).ok == 'hash' then redis.call('HINCRBY', k, 'balance', x) else redis.call('INCRBY', k, x) end end "
    b"local x = math.min(tonumber(ARGV[1]), balance(KEYS[1])) add(KEYS[1], -x) add(KEYS[2], x) redis.call('SET', KEYS[3], ARGV[2]) return x"
)


def mix(*numbers):
    """A hash of numbers, the same everywhere (splitmix64)."""
    state = 0
    for number in numbers:
        state = (state ^ number) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state


class Dice:
    """Numbers that follow from a hash; cheaper to begin than `random.Random`."""

    def __init__(self, *numbers):
        self.state = mix(*numbers)

    def below(self, end):
        self.state = self.state * 6364136223846793005 + 1442695040888963407 & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % end


class Content:
    """What two databases hold: `dbs[0]` is the one the connection is in."""

    def __init__(self):
        self.dbs = [{}, {}]
        self.deadlines = [{}, {}]

    def get(self, key, db=0):
        return self.dbs[db].get(key), self.deadlines[db].get(key)

    def put(self, key, value, keep_deadline=True):
        if value is None or (not value and not isinstance(value, (bytes, Stream))):
            self.dbs[0].pop(key, None)
            self.deadlines[0].pop(key, None)
            return
        self.dbs[0][key] = value
        if not keep_deadline:
            self.deadlines[0].pop(key, None)

    def expect(self):
        """Every key with value and deadline."""
        return {(db, key): (value, self.deadlines[db].get(key)) for db in (0, 1) for key, value in self.dbs[db].items()}


class Stream:
    """A stream with one group."""

    def __init__(self):
        self.entries, self.group, self.pending = {}, None, {}

    def __eq__(self, other):
        return isinstance(other, Stream) and (self.entries, self.group, self.pending) == (other.entries, other.group, other.pending)

    def __repr__(self):
        return f"Stream(entries={list(self.entries)}, group={self.group}, pending={self.pending})"


# Each change: how it is said, and what it does to the content. A key's first letter is its type.

def text(dice, n):
    size = dice.below(40) if dice.below(200) else 20_000 + dice.below(100_000)
    return b"%d:" % n + FILLER[:size]


def change_string(d, n, c):
    key = b"s%d" % d.below(4)
    kind = d.below(9)
    if kind < 3:
        value = text(d, n)
        c.put(key, value, False)
        return key, (b"SET", key, value)
    if kind == 3:
        value = text(d, n)
        c.put(key, value, False)
        c.deadlines[0][key] = FAR_MS + n
        return key, (b"SET", key, value, b"PXAT", b"%d" % (FAR_MS + n))
    if kind == 4:
        c.put(key, c.dbs[0].get(key, b"") + b"+%d" % n)
        return key, (b"APPEND", key, b"+%d" % n)
    if kind == 5:
        at, piece = d.below(60), b"%d" % n
        old = c.dbs[0].get(key, b"").ljust(at, b"\0")
        c.put(key, old[:at] + piece + old[at + len(piece) :])
        return key, (b"SETRANGE", key, b"%d" % at, piece)
    if kind == 6:
        at, bit = d.below(300), d.below(2)
        old = bytearray(c.dbs[0].get(key, b"").ljust(at // 8 + 1, b"\0"))
        old[at // 8] = old[at // 8] & ~(0x80 >> at % 8) | (0x80 >> at % 8) * bit
        c.put(key, bytes(old))
        return key, (b"SETBIT", key, b"%d" % at, b"%d" % bit)
    if kind == 7:
        value = text(d, n)
        c.put(b"s0", value, False), c.put(b"s1", value, False)
        return (b"s0", b"s1"), (b"MSET", b"s0", value, b"s1", value)
    value = b"%d" % n
    c.put(key, value, False)
    return key, (b"GETSET", key, value)


def change_number(d, n, c):
    key, by = b"n%d" % d.below(2), d.below(2000) - 1000
    c.put(key, b"%d" % (int(c.dbs[0].get(key, b"0")) + by))
    return key, (b"INCRBY", key, b"%d" % by)


def change_list(d, n, c):
    key = b"l%d" % d.below(3)
    old, kind = c.dbs[0].get(key, []), d.below(8)
    some = [b"%d.%d" % (n, i) + FILLER[: d.below(60)] for i in range(1 + d.below(5))]
    if kind < 2:
        c.put(key, old + some)
        return key, (b"RPUSH", key, *some)
    if kind == 2:
        c.put(key, some[::-1] + old)
        return key, (b"LPUSH", key, *some)
    if kind == 3:
        c.put(key, old[2:])
        return key, (b"LPOP", key, b"2")
    if kind == 4:
        c.put(key, old[:-3])
        return key, (b"RPOP", key, b"3")
    if kind == 5:
        c.put(key, old[:40])
        return key, (b"LTRIM", key, b"0", b"39")
    if kind == 6:
        gone, left = d.below(10), list(old)
        if gone < len(old):
            left.remove(old[gone])
        c.put(key, left)
        return key, (b"EVAL", b"local e = redis.call('LINDEX', KEYS[1], ARGV[1]) if e then redis.call('LREM', KEYS[1], 1, e) end", b"1", key, b"%d" % gone)
    other = b"l%d" % ((int(key[1:]) + 1) % 3)
    if old:
        moved = old[0]
        c.put(key, old[1:])
        c.put(other, c.dbs[0].get(other, []) + [moved])
    return (key, other), (b"LMOVE", key, other, b"LEFT", b"RIGHT")


def change_set(d, n, c):
    key, kind = [b"m0", b"m1", b"i0"][d.below(3)], d.below(6)
    name = (lambda: b"%d" % (d.below(400) * 1000)) if key == b"i0" else (lambda: b"member-%d" % d.below(300))
    old, some = c.dbs[0].get(key, set()), [name() for _ in range(1 + d.below(5))]
    if kind < 3:
        c.put(key, old | set(some))
        return key, (b"SADD", key, *some)
    if kind < 5:
        c.put(key, old - set(some))
        return key, (b"SREM", key, *some)
    # One member is taken at random out of one: the log must say which.
    c.put(b"m2", None)
    return b"m2", (b"EVAL", b"redis.call('SADD', KEYS[1], ARGV[1]) return redis.call('SPOP', KEYS[1])", b"1", b"m2", b"%d" % n)


def change_hash(d, n, c):
    """Values are pairs: text and deadline of the field."""
    key, kind = b"h%d" % d.below(3), d.below(9)
    old = dict(c.dbs[0].get(key, {}))
    fields = [b"field-%d" % d.below(150 if key == b"h2" else 12) for _ in range(1 + d.below(4))]
    if kind < 3:
        for field in fields:
            old[field] = (b"%d" % n, None)
        c.put(key, old)
        return key, (b"HSET", key, *[w for f in fields for w in (f, b"%d" % n)])
    if kind == 3:
        for field in fields:
            old.pop(field, None)
        c.put(key, old)
        return key, (b"HDEL", key, *fields)
    if kind == 4:
        old.setdefault(fields[0], (b"%d" % n, None))
        c.put(key, old)
        return key, (b"HSETNX", key, fields[0], b"%d" % n)
    if kind < 7:
        at = FAR_MS + n if kind == 5 else None
        for field in fields:
            if field in old:
                old[field] = (old[field][0], at)
        c.put(key, old)
        named = (b"FIELDS", b"%d" % len(fields), *fields)
        return key, (b"HPEXPIREAT", key, b"%d" % at, *named) if at else (b"HPERSIST", key, *named)
    count, at = old.get(b"count", (b"0", None))
    old[b"count"] = (b"%d" % (int(count) + n), at)
    c.put(key, old)
    return key, (b"HINCRBY", key, b"count", b"%d" % n)


def change_sorted_set(d, n, c):
    key, kind = b"z%d" % d.below(2), d.below(6)
    old = dict(c.dbs[0].get(key, {}))
    member = b"member-%d" % d.below(250 if key == b"z1" else 20)
    if kind < 3:
        old[member] = n + 0.5
        c.put(key, old)
        return key, (b"ZADD", key, b"%d.5" % n, member)
    if kind == 3:
        old[member] = old.get(member, 0.0) + 0.25
        c.put(key, old)
        return key, (b"ZINCRBY", key, b"0.25", member)
    if kind == 4:
        old.pop(member, None)
        c.put(key, old)
        return key, (b"ZREM", key, member)
    for gone in sorted(old, key=lambda m: (old[m], m))[:2]:
        del old[gone]
    c.put(key, old)
    return key, (b"ZPOPMIN", key, b"2")


def change_stream(d, n, c):
    key, kind = b"x0", d.below(8)
    stream = copy.deepcopy(c.dbs[0].get(key)) or Stream()
    there = key in c.dbs[0]
    if kind < 4:
        stream.entries[n] = (b"f", b"%d" % n, b"g", FILLER[: d.below(50)])
        words = (b"XADD", key, b"MAXLEN", b"30", b"%d-1" % n, *stream.entries[n])
        for old in sorted(stream.entries)[:-30]:
            del stream.entries[old]
    elif kind == 4:
        gone = n - d.below(800)
        stream.entries.pop(gone, None)
        words = (b"XDEL", key, b"%d-1" % max(gone, 1))
    elif kind == 5:
        if there:
            stream.group, stream.pending = (0, {}) if stream.group is None else (None, {})
        # What may fail is said in a script that bears it.
        turn = b"if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end if #redis.call('XINFO', 'GROUPS', KEYS[1]) == 0 then " \
            b"redis.call('XGROUP', 'CREATE', KEYS[1], 'workers', '0') else redis.call('XGROUP', 'DESTROY', KEYS[1], 'workers') end return 1"
        words = (b"EVAL", turn, b"1", key)
    elif kind == 6:
        consumer = b"c%d" % d.below(2)
        if stream.group is not None:
            following = [i for i in sorted(stream.entries) if i > stream.group][:2]
            stream.pending.update({i: consumer for i in following})
            stream.group = max([stream.group, *following])
        take = b"local r = redis.pcall('XREADGROUP', 'GROUP', 'workers', ARGV[1], 'COUNT', '2', 'STREAMS', KEYS[1], '>') " \
            b"if type(r) == 'table' and r.err and not string.find(r.err, 'NOGROUP') then return r end return 1"
        words = (b"EVAL", take, b"1", key, consumer)
    else:
        stream.pending.pop(min(stream.pending, default=0), None)
        done = b"local p = redis.pcall('XPENDING', KEYS[1], 'workers', '-', '+', 1) if p[1] then redis.call('XACK', KEYS[1], 'workers', p[1][1]) end return 1"
        words = (b"EVAL", done, b"1", key)
    if there or kind < 4:
        c.put(key, stream)
    return key, words


def change_key(d, n, c):
    kind = d.below(8)
    key = [b"s1", b"l1", b"m1", b"h1", b"z1", b"s2"][d.below(6)]
    if kind < 2:
        if key in c.dbs[0]:
            c.deadlines[0][key] = FAR_MS + n
        return key, (b"PEXPIREAT", key, b"%d" % (FAR_MS + n))
    if kind == 2:
        c.deadlines[0].pop(key, None)
        return key, (b"PERSIST", key)
    if kind == 3:
        c.put(key, None)
        return key, (b"DEL" if d.below(2) else b"UNLINK", key)
    if kind == 4:
        value, deadline = c.get(key)
        if value is not None:
            c.put(key[:1] + b"0", copy.deepcopy(value), False)
            if deadline:
                c.deadlines[0][key[:1] + b"0"] = deadline
        return key[:1] + b"0", (b"COPY", key, key[:1] + b"0", b"REPLACE")
    if kind == 5:
        # RENAME of a missing key is an error; a script asks first.
        value, deadline = c.get(key)
        if value is not None:
            c.put(key, None)
            c.put(key[:1] + b"0", value, False)
            if deadline:
                c.deadlines[0][key[:1] + b"0"] = deadline
        ask = b"if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('RENAME', KEYS[1], KEYS[2]) end"
        return (key, key[:1] + b"0"), (b"EVAL", ask, b"2", key, key[:1] + b"0")
    if kind == 6:
        value, deadline = c.get(key)
        if value is not None and key not in c.dbs[1]:
            c.put(key, None)
            c.dbs[1][key] = value
            if deadline:
                c.deadlines[1][key] = deadline
        return (key, (1, key)), (b"MOVE", key, b"%d" % c.other)
    if d.below(12) == 0:
        c.dbs.reverse(), c.deadlines.reverse()
        return None, (b"SWAPDB", b"%d" % c.own, b"%d" % c.other)
    if d.below(12) == 0:
        c.dbs[0], c.deadlines[0] = {}, {}
        return None, (b"FLUSHDB",)
    return key, (b"PERSIST", b"nothing")


CHANGES = [change_string] * 4 + [change_number] + [change_list] * 3 + [change_set] * 2 + [change_hash] * 3 + [change_sorted_set] * 3 + [change_stream] * 3 + [change_key] * 3


class Writer:
    """What one connection sends, and how far it was answered. Operations are counted from 1."""

    def __init__(self, seed, number, depth):
        self.seed, self.number, self.depth = seed, number, depth
        self.sent = self.acked = self.base = 0
        self.refused = {}
        self.begin()

    def begin(self):
        """A new life of the server begins: operations up to `base` are there, those up to `sent` are over."""
        self.sent_at, self.acked_at = array.array("d"), array.array("d")
        self.base = self.acked = self.sent

    def acked_before(self, moment):
        """The last operation that was answered before this moment."""
        low, high = 0, len(self.acked_at)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.acked_at[middle] < moment else (low, middle)
        return self.base + low


class Space(Writer):
    """Two databases of one connection, with keys of every type."""

    def __init__(self, seed, number, depth):
        self.content = Content()
        self.content.own, self.content.other = 2 * number - 1, 2 * number
        super().__init__(seed, number, depth)
        self.greeting = [(b"SELECT", b"%d" % self.content.own)]

    def operation(self, n, content):
        """Requests of operation n, number of their replies, keys it touches (None: all). Applies it to `content`."""
        dice = Dice(self.seed, self.number, n)
        shape = dice.below(12)
        if shape > 2:
            touched, words = CHANGES[dice.below(len(CHANGES))](dice, n * PARTS, content)
            return [words], touched if touched is None or isinstance(touched, tuple) else (touched,)
        parts, touched = [], ()
        for part in range(2 + dice.below(3)):
            keys, words = CHANGES[dice.below(len(CHANGES))](dice, n * PARTS + part, content)
            if shape == 0 and words[0] in (b"EVAL", b"SWAPDB", b"FLUSHDB"):
                shape = 1  # a script runs no script, and keeps to its keys
            parts.append(words)
            touched = None if touched is None or keys is None else touched + (keys if isinstance(keys, tuple) else (keys,))
        if shape == 0:
            names = sorted({name if isinstance(name, bytes) else name[1] for name in touched})
            flat = [w for words in parts for w in (b"%d" % len(words), *words)]
            return [(b"EVAL", GENERIC, b"%d" % len(names), *names, *flat)], touched
        return [(b"MULTI",), *parts, (b"EXEC",)], touched

    def next(self):
        """The next operation, as requests. Its effect is known from `operation` alone."""
        self.sent += 1
        return self.operation(self.sent, self.scratch)[0]

    def begin(self):
        super().begin()
        self.scratch = copy.deepcopy(self.content)   # the requests do not depend on what it holds

    def read(self, client):
        """What the server has in the two databases."""
        found = {}
        for db, number in ((0, self.content.own), (1, self.content.other)):
            client("SELECT", number)
            for key in sorted(client("KEYS", "*")):
                found[(db, key)] = (read_value(client, key), deadline_of(client, key))
        return found

    def settle(self, client, faulty=False):
        """Finds the numbers of operations after which the content was what the server has; the content becomes that.

        Returns (first, last) of them; None when the server has what it never had. Operations that were refused had no effect. On a
        `faulty` disk some of those that nobody answered may have been refused too, one behind the other: a connection that sends
        several at once can be closed before the refusals leave, behind a later one that was taken and could not be synced.
        """
        found = self.read(client)
        settled = self.match(found, self.refused)
        for first in range(self.acked + 1, self.sent + 1) if faulty else ():
            for last in range(first, self.sent + 1):
                settled = settled or self.match(found, {*self.refused, *range(first, last + 1)})
        return settled

    def match(self, found, refused):
        """As `settle`, for what the server was found to have, when these operations were refused."""
        content, matches = copy.deepcopy(self.content), []
        wrong = differing(content.expect(), found)
        if not wrong:
            matches.append(self.base)
            settled = copy.deepcopy(content)
        self.nearest = (len(wrong), self.base, sorted(wrong, key=repr)[:3])
        for n in range(self.base + 1, self.sent + 1):
            if n in refused:
                if not wrong:
                    matches.append(n)
                continue
            touched = self.operation(n, content)[1]
            if touched is None:
                wrong = differing(content.expect(), found)
            else:
                for name in touched:
                    db, key = name if isinstance(name, tuple) else (0, name)
                    expected = (content.dbs[db][key], content.deadlines[db].get(key)) if key in content.dbs[db] else None
                    (wrong.discard if expected == found.get((db, key)) else wrong.add)((db, key))
            if not wrong:
                matches.append(n)
                settled = copy.deepcopy(content)
            elif len(wrong) <= self.nearest[0]:
                self.nearest = (len(wrong), n, [(k, content.expect().get(k), found.get(k)) for k in sorted(wrong, key=repr)[:2]])
        if not matches:
            return None
        self.content = settled
        return matches[0], matches[-1]


def differing(expected, found):
    return {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}


def deadline_of(client, key):
    at = client("PEXPIRETIME", key)
    return None if at < 0 else at


def read_value(client, key):
    """A value in the form that `Content` has it in."""
    kind = key[:1]
    if kind in b"sn":
        return client("GET", key)
    if kind == b"l":
        return client("LRANGE", key, 0, -1)
    if kind in b"mi":
        return set(client("SMEMBERS", key))
    if kind == b"h":
        flat = client("HGETALL", key)
        at = client("HPEXPIRETIME", key, "FIELDS", len(flat) // 2, *flat[::2]) if flat else []
        return {field: (value, when if when > 0 else None) for field, value, when in zip(flat[::2], flat[1::2], at)}
    if kind == b"z":
        flat = client("ZRANGE", key, 0, -1, "WITHSCORES")
        return {member: float(score) for member, score in zip(flat[::2], flat[1::2])}
    stream = Stream()
    for name, fields in client("XRANGE", key, "-", "+"):
        stream.entries[int(name.split(b"-")[0])] = tuple(fields)
    for group in client("XINFO", "GROUPS", key):
        about = dict(zip(group[::2], group[1::2]))
        stream.group = int(about[b"last-delivered-id"].split(b"-")[0])
        for name, consumer, *_ in client("XPENDING", key, "workers", "-", "+", 1000):
            stream.pending[int(name.split(b"-")[0])] = consumer
    return stream


class Bank(Writer):
    """Moves money in database 0, by transactions (`scripts` false) or scripts."""

    def __init__(self, seed, number, depth, scripts):
        self.scripts, self.greeting = scripts, []
        self.mark, self.settled = b"bank:last:%d" % number, 0
        super().__init__(seed, number, depth)

    def next(self):
        self.sent += 1
        n = self.sent
        dice = Dice(self.seed, self.number, n)
        a = dice.below(ACCOUNTS)
        b = (a + 1 + dice.below(ACCOUNTS - 1)) % ACCOUNTS
        x = 1 + dice.below(50)
        if self.scripts:
            return [(b"EVAL", MOVE, b"3", account(a), account(b), self.mark, b"%d" % x, b"%d" % n)]
        return [(b"MULTI",), add(a, -x), add(b, x), (b"SET", self.mark, b"%d" % n), (b"EXEC",)]

    def settle(self, client, faulty=False):
        """The last transfer that the server has, twice, as `Space.settle`; which ones before it were refused makes no difference."""
        client("SELECT", 0)
        last = int(client("GET", self.mark) or 0)
        self.nearest = (1, last, "the mark of a transfer that was not sent in this life")
        if last == self.settled:
            return self.base, self.base
        self.settled = last
        return (last, last) if self.base < last <= self.sent else None


def account(i):
    return b"account:%d" % i


def add(i, x):
    return (b"HINCRBY", account(i), b"balance", b"%d" % x) if i % 4 == 3 else (b"INCRBY", account(i), b"%d" % x)


def open_bank(client):
    """Fills the accounts, in one transaction."""
    client("SELECT", 0)
    client("MULTI")
    for i in range(ACCOUNTS):
        client(*add(i, START_BALANCE))
    client("EXEC")


def bank_sum(client):
    """The money in all accounts."""
    client("SELECT", 0)
    return sum(int((client("HGET", account(i), "balance") if i % 4 == 3 else client("GET", account(i))) or 0) for i in range(ACCOUNTS))


def preload(client, keys):
    """Keys that never change, so that snapshots and rewrites last a while."""
    client("SELECT", 15)
    for start in range(0, keys, 500):
        numbers = range(start, min(start + 500, keys))
        client.raw(b"".join(encode(b"SET", b"still:%d" % i, b"%d:" % i + FILLER[:100]) for i in numbers))
        for _ in numbers:
            client.read()
    client("RPUSH", "still:list", *[b"%d" % i + FILLER[:50] for i in range(300)])


def check_preload(client, keys, seed):
    """Raises unless the keys that never change are there."""
    client("SELECT", 15)
    found = client("DBSIZE")
    if keys and found != keys + 1:
        raise service.Failure(f"of {keys + 1} keys that never change {found} are left")
    for i in range(min(50, keys)):
        i = mix(seed, i) % keys
        if client("GET", b"still:%d" % i) != b"%d:" % i + FILLER[:100]:
            raise service.Failure(f"still:{i} has changed")


def replies(buffer):
    """Splits what was received into replies; returns (first line of each, bytes used). Errors inside count as themselves."""
    found, position = [], 0
    while (end := reply_end(buffer, position)) > 0:
        line = buffer[position : buffer.index(b"\r\n", position)]
        if line[:1] == b"*" and b"-" in buffer[position:end] and (inner := inner_error(buffer, position, end)):
            line = inner
        found.append(bytes(line))
        position = end
    return found, position


def inner_error(buffer, position, end):
    """An error among the replies of EXEC."""
    for line in bytes(buffer[position:end]).split(b"\r\n")[1:]:
        if line[:1] == b"-" and line[1:2].isalpha():
            return line
    return None


def reply_end(buffer, position):
    """Where the reply at `position` ends; 0 when it is not all there."""
    todo = 1
    while todo:
        end = buffer.find(b"\r\n", position)
        if end < 0:
            return 0
        kind, head = buffer[position], buffer[position + 1 : end]
        position = end + 2
        todo -= 1
        if kind == 36 and head != b"-1":
            position += int(head) + 2
            if position > len(buffer):
                return 0
        elif kind == 42 and head != b"-1":
            todo += int(head)
    return position


class Driver:
    """Keeps all writers busy over their connections until the server is gone or time is up."""

    def __init__(self, port, writers, refusals=()):
        self.writers, self.refusals, self.errors = writers, refusals, []
        self.selector = selectors.DefaultSelector()
        self.open = 0
        for writer in writers:
            sock = socket.create_connection(("127.0.0.1", port), 20)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for words in writer.greeting:
                sock.sendall(encode(*words))
                sock.recv(64)
            sock.setblocking(False)
            writer.line, writer.out, writer.waiting = bytearray(), b"", []
            self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, writer)
            self.open += 1

    def run(self, seconds, every=None):
        """Drives the load; `every` is called between two steps. Returns when no connection is left, or after `seconds`."""
        end = time.monotonic() + seconds
        while self.open and time.monotonic() < end:
            if every:
                every()
            for key, events in self.selector.select(0.01):
                try:
                    self._step(key.fileobj, key.data, events)
                except (ConnectionError, BrokenPipeError):
                    self._drop(key.fileobj)

    def finish(self, seconds=10):
        """Sends nothing more and takes the replies that are still to come."""
        end = time.monotonic() + seconds
        while self.open and time.monotonic() < end and any(w.waiting or w.out for w in self.writers):
            for key, events in self.selector.select(0.01):
                try:
                    self._step(key.fileobj, key.data, events, more=False)
                except (ConnectionError, BrokenPipeError):
                    self._drop(key.fileobj)

    def close(self):
        """Closes all connections."""
        for key in list(self.selector.get_map().values()):
            self._drop(key.fileobj)
        self.selector.close()

    def _drop(self, sock):
        self.selector.unregister(sock)
        sock.close()
        self.open -= 1

    def _step(self, sock, writer, events, more=True):
        if events & selectors.EVENT_READ:
            piece = sock.recv(1 << 18)
            if not piece:
                raise ConnectionError
            writer.line += piece
            lines, used = replies(writer.line)
            del writer.line[:used]
            self._take(writer, lines)
        if not writer.waiting and not writer.out and more:
            self._fill(writer)
        if writer.out:
            try:
                count = sock.send(writer.out)
            except BlockingIOError:
                count = 0
            writer.out = writer.out[count:]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if writer.out else 0)
        if self.selector.get_key(sock).events != wanted:
            self.selector.modify(sock, wanted, writer)

    def _fill(self, writer):
        depth = 1 + mix(writer.seed, writer.number, writer.sent) % writer.depth
        pieces, now = [], time.monotonic()
        for _ in range(depth):
            requests = writer.next()
            pieces += [encode(*words) for words in requests]
            writer.waiting.append([len(requests), None])
            writer.sent_at.append(now)
        writer.out = b"".join(pieces)

    def _take(self, writer, lines):
        now = time.monotonic()
        for line in lines:
            if not writer.waiting:
                self.errors.append((writer, writer.acked, b"a reply to nothing: " + line))
                return
            first = writer.waiting[0]
            if line[:1] == b"-":
                first[1] = first[1] or line
                # The last error of a transaction says no more than the first: it was given up.
            first[0] -= 1
            if first[0] == 0:
                writer.waiting.pop(0)
                writer.acked += 1
                writer.acked_at.append(now)
                if first[1]:
                    self._refuse(writer, first[1])

    def _refuse(self, writer, line):
        if any(line.startswith(prefix) for prefix in self.refusals):
            writer.refused[writer.acked] = line
        else:
            self.errors.append((writer, writer.acked, line))


def writers_of(seed, spaces=5, banks=2):
    """The usual load: some connections send one request at a time, some pipelines."""
    depths = [1, 4, 16, 1, 32, 8, 2]
    made = [Space(seed, 1 + i, depths[i % len(depths)]) for i in range(spaces)]
    return made + [Bank(seed, 100 + i, depths[(i + 1) % len(depths)], scripts=i % 2 == 1) for i in range(banks)]

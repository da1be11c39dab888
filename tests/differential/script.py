"""What a random script is made of, and the random choices all groups share.

A script is a list of `Chunk`s: commands sent as one pipeline on one connection. Times are chosen so that two servers
cannot honestly disagree: deadlines lie in the past or far in the future, and no relative time is used twice, because
`EXPIRE k 100` after `EXPIRE k 100 GT` depends on whether a millisecond passed in between.
"""
import random


class Opt(bytes):
    """An option word: counted in the coverage table."""


class Ref:
    """An argument that each server knows under another value: the id or address of a connection of the script."""

    def __init__(self, kind, connection):
        self.kind, self.connection = kind, connection

    def resolve(self, session):
        """The bytes for this server."""
        connection = session.connection(self.connection)
        return connection.id if self.kind == "id" else connection.address

    def __repr__(self):
        return f"<{self.kind} of connection {self.connection}>"


class Command:
    """One request: its arguments; `raw` instead sends bytes as they are."""

    def __init__(self, arguments, raw=None):
        self.arguments, self.raw = arguments, raw

    @property
    def name(self):
        """`set`, `client|kill`: lower case, with the subcommand of a container."""
        if self.raw is not None:
            return "raw"
        first = text(self.arguments[0]).lower() if self.arguments else ""
        if first in CONTAINERS and len(self.arguments) > 1:
            return f"{first}|{text(self.arguments[1]).lower()}"
        return first

    def __str__(self):
        if self.raw is not None:
            return f"raw {self.raw!r}"
        return " ".join(quote(a) for a in self.arguments)


class Composite:
    """Several requests whose replies only mean something together, such as a whole SCAN.

    `run(connection)` returns a value that must be equal on both servers.
    """

    def __init__(self, name, run, words=()):
        self.name, self.run, self.arguments = name, run, list(words)

    def __str__(self):
        return " ".join(quote(a) for a in self.arguments) + "   (to the end of its iteration)"


class Chunk:
    """Commands sent as one pipeline on connection `connection`."""

    def __init__(self, connection, commands):
        self.connection, self.commands = connection, commands


class Script:
    """A list of chunks, and the protocol version each connection starts with."""

    def __init__(self, seed, chunks, protocols):
        self.seed, self.chunks, self.protocols = seed, chunks, protocols

    def __len__(self):
        return sum(len(chunk.commands) for chunk in self.chunks)


CONTAINERS = set("client command config object debug slowlog commandlog latency memory acl cluster function module pubsub script xgroup xinfo".split())


def text(argument):
    """An argument as text, losslessly for ASCII."""
    return argument.decode("latin1") if isinstance(argument, bytes) else repr(argument)


def quote(argument):
    """An argument as redis-cli would accept it."""
    shown = text(argument)
    if shown and all(33 <= ord(c) < 127 and c not in "\"'\\" for c in shown):
        return shown
    return '"' + "".join(c if 32 <= ord(c) < 127 and c not in '"\\' else f"\\x{ord(c):02x}" for c in shown) + '"'


KEYS = [b"k%d" % i for i in range(8)] + [b"n%d" % i for i in range(4)]
ODD_KEYS = [b"", b"\x00\xff\r\n", b"a key", b"{tag}a", b"K0", b"h[a]llo", b"hello", b"k*", b"\xc3\xa9", b"x" * 300]
INTEGERS = b"0 1 -1 2 5 7 10 42 100 255 256 9999 10000 -10000 32767 32768 65536 2147483647 2147483648 -2147483649 4294967295 4294967296".split()
EDGE_INTEGERS = b"9223372036854775807 -9223372036854775808 9223372036854775806 -9223372036854775807 4611686018427387904".split()
BAD_INTEGERS = [b"9223372036854775808", b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616", b" 1", b"1 ", b"+1", b"-0", b"01",
                b"1.0", b"1e3", b"", b"abc", b"0x10", b"1\x00", b"-", b"9" * 40, b"--1", b"1_0", b"\xd9\xa1"]
FLOATS = b"0 1 -1 0.5 -0.5 3.14 1e3 5.0e3 1e-5 1e17 1e18 1e20 123456789.123456789 0.1 0.2 0.3 -0.0 1e300 1e-300 2.5 10.10 3.0 1E2 .5 5. 0x1p3 1e400 17179869184.5".split()
BAD_FLOATS = [b"inf", b"-inf", b"+inf", b"nan", b"infinity", b" 1.5", b"1.5 ", b"", b"abc", b"1.5x", b"0x", b"1e", b"e5", b"1,5", b"1e5000", b"-nan", b"1\x00"]
# No small positive integer: as a time to live it would run out during the script.
JUNK = BAD_INTEGERS + [b"0", b"-1", b"-100", b"9223372036854775807", b"-9223372036854775808", b"nosuch", b"\xff\xfe", b"NX", b"xx", b"EX", b"GET", b"*", b"x" * 200]
PAST_S, PAST_MS = [b"1", b"1000", b"1600000000"], [b"1", b"1000", b"1600000000000"]
FUTURE_S = [b"4102444800", b"4102444801", b"2524608000", b"9000000000", b"253402300799"]
BAD_S = [b"9223372036854775807", b"9223372036854775", b"9223372036854776", b"-9223372036854775808", b"99999999999999999999", b"abc", b"1.5", b"", b" 5", b"-9223372036854776"]
BAD_MS = [b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"99999999999999999999", b"abc", b"1.5", b"", b"5 "]
TYPE_MAKERS = {
    "lpush": lambda g: [b"LPUSH", b"a", b"b", b"3"],
    "sadd": lambda g: [b"SADD", b"1", b"2", b"3"],
    "hset": lambda g: [b"HSET", b"f", b"v", b"g", b"w"],
    "zadd": lambda g: [b"ZADD", b"1", b"a", b"2.5", b"b"],
    "xadd": lambda g: [b"XADD", b"1-1", b"f", b"v"],
}


class Gen:
    """Random choices for one script; `can(name)` says what both servers have."""

    def __init__(self, seed, connections, common):
        self.random = random.Random(seed)
        self.connections = connections
        self.lacking, self.config_names, self.arities = common.lacking, common.config_names, common.arities
        self.all_commands = [name for name, _ in common.arities]
        self.missing_commands = common.missing_commands
        self.unique = self.random.randrange(1000)
        self.logging = self.chance(0.2)  # the script may log every command, so each must be sent the same number of times to both

    def can(self, name):
        """Whether candidate and reference both have this command, subcommand or feature."""
        return name not in self.lacking

    def chance(self, share):
        """True with this probability."""
        return self.random.random() < share

    def pick(self, choices):
        """One of a sequence."""
        return choices[int(self.random.random() * len(choices))]

    def below(self, bound):
        """A number in 0..bound."""
        return int(self.random.random() * bound)

    def key(self):
        """A key, mostly from a small set so that commands meet."""
        return self.pick(ODD_KEYS) if self.chance(0.06) else self.pick(KEYS)

    def number_key(self):
        """A key that often holds a number."""
        return self.pick(KEYS[8:]) if self.chance(0.8) else self.key()

    def keys(self, most):
        """One to `most` keys, repeats included."""
        return [self.key() for _ in range(1 + self.below(most))]

    def value(self, key=b""):
        """A value: a number for the number keys, else text around the limits of the encodings."""
        roll = self.random.random()
        if key[:1] == b"n" and roll < 0.75:
            return self.integer() if roll < 0.5 else self.pick(FLOATS)
        if roll < 0.45:
            return bytes(self.random.choices(b"abcdxyz0", k=self.below(12)))
        if roll < 0.55:
            return self.integer()
        if roll < 0.7:
            return b"v" * self.pick((0, 1, 19, 20, 21, 43, 44, 45, 64, 127, 128, 250))
        if roll < 0.8:
            return self.random.randbytes(self.below(60))
        if roll < 0.83:
            return self.random.randbytes(self.pick((1024, 1500, 4000)))
        return self.pick((b"", b"hello", b"hello world", b"-0", b"007", b"+5", b" 5", b"1.50", b"nan", b"\r\n", b"$-1\r\n", b"ohmytext", b"mynewtext"))

    def integer(self):
        """A valid integer, small or at an edge."""
        return self.pick(INTEGERS) if self.chance(0.85) else self.pick(EDGE_INTEGERS)

    def integer_argument(self):
        """An integer, sometimes not a valid one."""
        return self.integer() if self.chance(0.88) else self.pick(BAD_INTEGERS)

    def float_argument(self):
        """A float, sometimes not a valid one."""
        return self.pick(FLOATS) if self.chance(0.88) else self.pick(BAD_FLOATS)

    def index(self):
        """An offset into a value, from either end, seldom far outside."""
        if self.chance(0.85):
            return b"%d" % self.random.randint(-14, 14)
        return self.pick((b"100", b"-100", b"4294967296", b"-4294967297", b"9223372036854775807", b"-9223372036854775808", *BAD_INTEGERS))

    def database(self):
        """A database number, sometimes out of range."""
        if self.chance(0.85):
            return b"%d" % self.below(4)
        return self.pick((b"15", b"16", b"-1", b"9223372036854775807", b"99999999999999999999", b"abc", b"", b" 1", b"01", b"2147483648", b"4294967296"))

    def seconds(self):
        """A relative time in seconds: unique and far, or refused, or already over."""
        if self.chance(0.85):
            self.unique += 1
            return b"%d" % (10_000 + 10 * self.unique)
        return self.pick(BAD_S + [b"0", b"-1", b"-1000"])

    def milliseconds(self):
        """A relative time in milliseconds, as `seconds`."""
        if self.chance(0.85):
            self.unique += 1
            return b"%d" % (10_000_000 + 10_000 * self.unique)
        return self.pick(BAD_MS + [b"0", b"-1", b"-1000"])

    def unix_seconds(self, past=True):
        """A point in time in seconds: past (unless unwanted), far future, or refused."""
        roll = self.random.random() * (1 if past else 0.75)
        return self.pick(FUTURE_S) if roll < 0.75 else self.pick(PAST_S) if roll < 0.85 else self.pick(BAD_S + [b"0", b"-1"])

    def unix_milliseconds(self, past=True):
        """A point in time in milliseconds, as `unix_seconds`."""
        roll = self.random.random() * (1 if past else 0.75)
        if roll < 0.75:
            return self.pick(FUTURE_S) + self.pick((b"000", b"001", b"999", b"500"))
        return self.pick(PAST_MS) if roll < 0.85 else self.pick(BAD_MS + [b"0", b"-1"])

    def time_option(self, past=True):
        """EX, PX, EXAT or PXAT with its time; seldom without. `past` allows points in time that are over."""
        word, time = self.pick(((b"EX", self.seconds), (b"PX", self.milliseconds), (b"EXAT", lambda: self.unix_seconds(past)), (b"PXAT", lambda: self.unix_milliseconds(past))))
        return [self.opt(word)] if self.chance(0.02) else [self.opt(word), time()]

    def opt(self, word):
        """An option word in a random letter case."""
        return Opt(self.case(word))

    def case(self, word):
        """A word in upper, lower or mixed case."""
        roll = self.random.random()
        if roll < 0.6:
            return word
        return word.lower() if roll < 0.85 else bytes(self.random.choice((c, c ^ 32)) if 65 <= c & 0xDF <= 90 else c for c in word)

    def connection(self):
        """The index of one of the script's connections."""
        return self.below(self.connections)

    def other_type(self):
        """A command that makes a key of another type than string, or None if nothing but strings is there yet."""
        makers = [maker for name, maker in TYPE_MAKERS.items() if self.can(name)]
        if not makers:
            return None
        words = self.pick(makers)(self)
        return Command([words[0], self.key(), *words[1:]])

    def mutate(self, arguments):
        """The command with one thing wrong: an argument missing, added, repeated or replaced."""
        changed, roll = list(arguments), self.random.random()
        at = 1 + self.below(len(changed) - 1) if len(changed) > 1 else 1
        if roll < 0.25 and len(changed) > 1:
            del changed[at]
        elif roll < 0.45:
            changed.insert(at, self.pick(JUNK))
        elif roll < 0.6:
            changed.append(self.pick(JUNK))
        elif roll < 0.7 and len(changed) > 1:
            changed.insert(at, changed[at])
        elif roll < 0.8:
            del changed[at:]
        elif len(changed) > 1:
            changed[at] = self.pick(JUNK)
        return changed


class Group:
    """The commands of one Redis group: generators by command name, with what is special about comparing them."""

    def __init__(self, name):
        self.name = name
        self.generators = {}  # label -> (weight, function(g) -> arguments | Command | Composite, may it be mutated, command it needs)
        self.probes = {}      # feature -> command that a server without it refuses
        self.same = {}        # command -> (function(arguments, candidate, reference, sessions) -> bool, reason)
        self.views = {}       # command -> function(parsed reply) -> the values that are compared, to show which of them differ
        self.resets = []      # commands that undo what FLUSHALL leaves
        self.readers = {}     # type -> function(key) -> commands that show the whole value

    def command(self, name, weight=10, mutable=True, label=None):
        """Registers a generator; a second one for the same command takes a label of its own."""
        def register(function):
            self.generators[label or name] = (weight, function, mutable, name)
            return function
        return register

    def compare(self, *names, reason):
        """Registers a comparison for replies that cannot be equal byte for byte, with the reason."""
        def register(function):
            for name in names:
                self.same[name] = (function, reason)
            return function
        return register

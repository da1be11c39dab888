"""Generators of the pub/sub commands. Messages to other connections come with the replies of their next pipeline."""
import wire
from script import Composite, Group

group = Group("pubsub")
command = group.command
CHANNELS = [b"a1", b"a2", b"b1", b"c", b"d", b"", b"\x00\xff\r\n", b"x" * 300]
# No channel matches two of them: the order of their messages is each server's own.
PATTERNS = [b"a?", b"b*", b"[cd]", b"", b"x*x", b"\\*"]


def _channels(g, most=3):
    return [g.pick(CHANNELS) for _ in range(1 + g.below(most))]


def _listening(name, weight, names):
    @command(name, weight, mutable=False)
    def _(g):
        return [name.upper().encode(), *(g.pick(names) for _ in range(g.below(4)))]


_listening("subscribe", 8, CHANNELS)
_listening("psubscribe", 6, PATTERNS)
_listening("ssubscribe", 4, CHANNELS)


def _ignoring(name, names):
    @command(name, 8, mutable=False)
    def _(g):
        words = [name.upper().encode()]
        if g.chance(0.3):
            return Composite(name, lambda connection: _unordered(connection, words), words)
        return words + [g.pick(names) for _ in range(1 + g.below(3))]


def _unordered(connection, words):
    """The confirmations with the names, whose order is each server's own, apart from the counts."""
    frames = [wire.plain(wire.parse(frame)) for frame in wire.split(connection.exchange([wire.encode(words)]))]
    told = [frame for frame in frames if isinstance(frame, list) and frame[0] == words[0].lower()]
    return sorted(repr(frame[1]) for frame in told), [frame[2] for frame in told], [frame for frame in frames if frame not in told]


_ignoring("unsubscribe", CHANNELS)
_ignoring("punsubscribe", PATTERNS)
_ignoring("sunsubscribe", CHANNELS)


@command("publish", 40)
def _(g):
    return [b"PUBLISH", g.pick(CHANNELS), g.value()]


@command("spublish", 10)
def _(g):
    return [b"SPUBLISH", g.pick(CHANNELS), g.value()]


@command("reset", 3)
def _(g):
    return [b"RESET"]


def _listed(name, words):
    @command(f"pubsub|{name}", 5, mutable=False)
    def _(g):
        arguments = [b"PUBSUB", words, *(g.pick(PATTERNS + [b"*"]) for _ in range(g.below(2) + g.chance(0.05)))]
        return Composite(f"pubsub|{name}", lambda connection: _sorted(connection, arguments), arguments)


def _sorted(connection, words):
    frames = [wire.parse(frame) for frame in wire.split(connection.exchange([wire.encode(words)]))]
    return [(kind, sorted(value, key=repr)) if kind == b"*" else (kind, value) for kind, value in frames]


_listed("channels", b"CHANNELS")
_listed("shardchannels", b"SHARDCHANNELS")


@command("pubsub|numsub", 5)
def _(g):
    return [b"PUBSUB", g.case(b"NUMSUB"), *_channels(g)]


@command("pubsub|shardnumsub", 3)
def _(g):
    return [b"PUBSUB", g.case(b"SHARDNUMSUB"), *_channels(g)]


@command("pubsub|numpat", 4)
def _(g):
    return [b"PUBSUB", g.case(b"NUMPAT")]


@command("pubsub|help", 1, mutable=False)
def _(g):
    # Alone, because a confirmation of several names before it would shift which reply is taken for whose.
    return Composite("pubsub|help", _help, [b"PUBSUB", b"HELP"])


def _help(connection):
    frames = wire.split(connection.exchange([wire.encode([b"PUBSUB", b"HELP"])]))
    return [len(wire.parse(frame)[1]) if frame[:1] == b"*" else frame for frame in frames]

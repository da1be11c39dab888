"""Generators of the HyperLogLog commands: values are compared to the byte.

Left out are PFSELFTEST, which takes Valkey seconds and fails where `hll-sparse-max-bytes` is low, and PFDEBUG SIMD, which
Redis 7.0 lacks and to whose wrong arguments Valkey answers twice.
"""
from script import Command, Group

group = Group("hyperloglog")
command = group.command

group.readers["string"] = lambda key: [[b"GET", key]]

HEADER = {"dense": b"HYLL\x00\x00\x00\x00", "sparse": b"HYLL\x01\x00\x00\x00"}
KEPT = (b"\x00" * 8, b"\x05" + b"\x00" * 7, b"\x00" * 7 + b"\x80")


def _element(g):
    roll = g.random.random()
    if roll < 0.5:
        return b"%d" % g.below(50)
    if roll < 0.9:
        return b"e%d" % g.below(100_000)
    return g.pick((b"", b"\x00", b"x" * 7, b"x" * 8, b"x" * 9, b"y" * 300, g.random.randbytes(g.below(30))))


def _elements(g):
    """Few elements, or so many that a value turns dense."""
    if g.chance(0.04):
        start = g.below(100_000)
        return [b"e%d" % n for n in range(start, start + g.pick((200, 700, 1500, 3000)))]
    return [_element(g) for _ in range(g.pick((0, 1, 1, 1, 2, 3, 10, 40)))]


def _runs(g):
    """Opcodes that often add up to all registers, or nearly."""
    runs, left = b"", 16384
    while left > 0 and not g.chance(0.15):
        roll = g.random.random()
        if roll < 0.5:
            count = min(left, 1 + g.below(4))
            runs += bytes([0x80 | g.below(4 if g.chance(0.8) else 32) << 2 | count - 1])
        elif roll < 0.8:
            count = min(left, 1 + g.below(64))
            runs += bytes([count - 1])
        else:
            count = min(left, 1 + g.below(16384))
            runs += bytes([0x40 | count - 1 >> 8, count - 1 & 255])
        left -= count
    while left > 0 and g.chance(0.97):
        count = min(left, 16384)
        runs += bytes([0x40 | count - 1 >> 8, count - 1 & 255])
        left -= count
    # No long zero run cut off at the end: Valkey reads one byte behind it.
    return runs + bytes(g.pick((0x00, 0x3F, 0x80, 0xFF)) for _ in range(g.pick((0,) * 12 + (1, 2))))


def _value(g):
    """A HyperLogLog made by hand, seldom a sound one with a wrong estimate kept, or not one at all."""
    roll = g.random.random()
    if roll < 0.6:
        return HEADER["sparse"] + g.pick(KEPT) + _runs(g)
    if roll < 0.85:
        registers = g.pick((b"\x00", b"\xff", b"\x41\x10\x04", b"\x33\xcf\x3c")) * 12288
        noise = g.random.randbytes(64)
        return HEADER["dense"] + g.pick(KEPT) + (noise[: g.below(64)] + registers)[: 12288 - 64] + noise
    return g.pick((b"", b"HYLL", HEADER["dense"] + b"\x00" * 8, b"HYLL\x02\x00\x00\x00" + b"\x00" * 8 + b"\x7f\xff", b"hyll\x01\x00\x00\x00" + b"\x00" * 8 + b"\x7f\xff", b"17", b"text"))


@command("pfadd", 50)
def _(g):
    return [b"PFADD", g.key(), *_elements(g)]


@command("pfcount", 20)
def _(g):
    return [b"PFCOUNT", *(g.keys(1) if g.chance(0.6) else g.keys(5))]


@command("pfmerge", 16)
def _(g):
    return [b"PFMERGE", *g.keys(4)]


@command("pfdebug", 8)
def _(g):
    name = g.pick((b"DECODE", b"ENCODING", b"ENCODING", b"TODENSE", b"GETREG")) if g.chance(0.9) else g.pick((b"FOO", b"", b"a\r\nb"))
    return [b"PFDEBUG", g.case(name), g.key()]


@command("set", 8, label="set hyperloglog")
def _(g):
    return [b"SET", g.key(), _value(g)]


@command("get", 10, label="get hyperloglog")
def _(g):
    return [b"GET", g.key()]


@command("object", 4, label="encoding of hyperloglog")
def _(g):
    return [b"OBJECT", b"ENCODING", g.key()]


@command("config", 1, mutable=False, label="hyperloglog limit")
def _(g):
    return [b"CONFIG", b"SET", b"hll-sparse-max-bytes", g.pick((b"3000", b"3000", b"0", b"40", b"200", b"16000"))]


@command("del", 1, label="other type than hyperloglog")
def _(g):
    return g.other_type() or Command([b"DEL", g.key()])

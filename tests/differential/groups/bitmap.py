"""Generators of the bitmap commands. The operations of BITOP that only Redis 8.2 has are tested in process."""
from script import Command, Group

group = Group("bitmap")
command = group.command

group.readers["string"] = lambda key: [[b"GET", key], [b"BITCOUNT", key]]
group.probes.update({
    "bitcount-bit": [b"BITCOUNT", b"probe", b"0", b"1", b"BIT"],
    "bitcount-open": [b"BITCOUNT", b"probe", b"0"],
})

BAD_OFFSETS = (b"-1", b"4294967296", b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"abc", b"", b" 1", b"1.0", b"+1", b"#1", b"01")
BAD_TYPES = (b"u64", b"i65", b"u0", b"i0", b"u-1", b"i+1", b"u08", b"U8", b"I8", b"x8", b"u", b"i", b"", b"8", b"u8 ", b"u99999999999999999999", b"i1.0")
BAD_HASH_OFFSETS = (b"#-1", b"#", b"##1", b"#abc", b"#1152921504606846976", b"#2305843009213693952", b"#4611686018427387904", b"#9223372036854775807", b"#536870912", b"# 1")


def _offset(g):
    """An offset in bits: mostly inside small strings, some beyond the length up to which they are held in their entry."""
    roll = g.random.random()
    if roll < 0.75:
        return b"%d" % g.below(100)
    return b"%d" % g.pick((127, 128, 400, 1023, 1024, 8191, 8192, 8193, 9000, 12000)) if roll < 0.93 else g.pick(BAD_OFFSETS)


def _place(g):
    """An offset of BITFIELD, perhaps as the number of a field."""
    if g.chance(0.6):
        return _offset(g)
    return b"#%d" % g.pick((0, 1, 2, 3, 7, 20, 130)) if g.chance(0.9) else g.pick(BAD_HASH_OFFSETS)


def _type(g):
    if g.chance(0.06):
        return g.pick(BAD_TYPES)
    bits = g.pick((1, 2, 3, 4, 5, 7, 8, 8, 9, 15, 16, 16, 17, 31, 32, 33, 63, 64, 1 + g.below(63)))
    return b"i%d" % bits if bits == 64 or g.chance(0.5) else b"u%d" % bits


def _number(g):
    """A value or an increment, often near the limits of small fields."""
    if g.chance(0.7):
        return b"%d" % (g.pick((0, 1, -1, 3, 7, 8, 15, 16, 100, 127, 128, 255, 256, 32767, 65535, 65536, 2147483647, 4294967295)) * g.pick((1, 1, -1)))
    return g.integer_argument()


def _part(g):
    """The range of BITCOUNT and BITPOS."""
    words = []
    if g.chance(0.75):
        words.append(_index(g))
        if g.chance(0.85 if g.can("bitcount-open") else 1):
            words.append(_index(g))
            if g.can("bitcount-bit") and g.chance(0.5):
                words.append(g.opt(g.pick((b"BIT", b"BYTE"))) if g.chance(0.95) else g.pick((b"BITS", b"", b"0")))
    return words


def _index(g):
    return g.index() if g.chance(0.8) else b"%d" % g.pick((15, 40, 47, 48, 63, 64, 100, 8191, 8192, -40, -48, -100, -8192))


@command("getbit", 14)
def _(g):
    return [b"GETBIT", g.key(), _offset(g)]


@command("setbit", 30)
def _(g):
    return [b"SETBIT", g.key(), _offset(g), g.pick((b"0", b"1")) if g.chance(0.93) else g.pick((b"2", b"-1", b"", b"abc", b"01", b" 1", b"1.0", b"9223372036854775808"))]


@command("set", 12, label="set bits")
def _(g):
    bits = g.pick((b"\x00", b"\xff", b"\x0f", b"\x80\x00", b"\xff\xfe", b"foobar")) * g.pick((1, 2, 3, 8, 9, 64, 65, 600, 1025))
    return [b"SET", g.key(), bits + g.random.randbytes(g.below(4))]


@command("bitcount", 20)
def _(g):
    return [b"BITCOUNT", g.key(), *_part(g)]


@command("bitpos", 24)
def _(g):
    return [b"BITPOS", g.key(), g.pick((b"0", b"1")) if g.chance(0.95) else g.pick((b"2", b"-1", b"abc", b"", b"01")), *_part(g)]


@command("bitop", 24)
def _(g):
    name = g.opt(g.pick((b"AND", b"OR", b"XOR", b"NOT"))) if g.chance(0.97) else g.pick((b"NAND", b"", b"AND ", b"0"))
    single = name.upper() == b"NOT" and g.chance(0.9)
    return [b"BITOP", name, g.key(), *(g.keys(1) if single else g.keys(4))]


def _reading(g):
    return [g.opt(b"GET"), _type(g), _place(g)]


def _step(g):
    roll = g.random.random()
    if roll < 0.3:
        return _reading(g)
    words = [g.opt(g.pick((b"SET", b"INCRBY"))), _type(g), _place(g), _number(g)]
    if g.chance(0.45):
        words = [g.opt(b"OVERFLOW"), g.opt(g.pick((b"WRAP", b"SAT", b"FAIL"))) if g.chance(0.96) else g.pick((b"", b"SATURATE", b"0")), *words]
    return words


@command("bitfield", 50)
def _(g):
    return [b"BITFIELD", g.key(), *(word for _ in range(g.pick((0, 1, 1, 1, 2, 2, 3, 6))) for word in _step(g))]


@command("bitfield", 10, label="bitfield that reads")
def _(g):
    return [b"BITFIELD", g.key(), *(word for _ in range(1 + g.below(4)) for word in _reading(g))]


@command("bitfield_ro", 14)
def _(g):
    words = [word for _ in range(g.below(5)) for word in _reading(g)]
    return [b"BITFIELD_RO", g.key(), *(words if g.chance(0.9) else words + _step(g))]


@command("object", 6, label="encoding of bits")
def _(g):
    return [b"OBJECT", b"ENCODING", g.key()]


@command("command", 3, mutable=False, label="keys of bits")
def _(g):
    made = g.pick(([b"BITFIELD", b"k", *_step(g)], [b"BITFIELD", b"k", *_reading(g), g.pick((b"OVERFLOW", b"SET", b"foo"))], [b"BITOP", b"AND", b"a", b"b", b"c"]))
    return [b"COMMAND", b"GETKEYSANDFLAGS", *made]


@command("del", 2, label="other type under bits")
def _(g):
    return g.other_type() or Command([b"DEL", g.key()])

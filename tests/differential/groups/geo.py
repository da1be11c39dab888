"""Generators of the geospatial commands."""
import itertools
import math

from script import Group

group = Group("geo")
command = group.command

KEYS = [b"g%d" % i for i in range(4)]
PLACES = [b"Palermo", b"Catania", b"Edge", b"Pole", b"1", b"", b"far", b"\x00\xff"] + [b"p%d" % i for i in range(16)]
BAD_NUMBERS = [b"abc", b"", b"nan", b"1e400", b" 1", b"0x10"]
UNITS = (b"m", b"km", b"ft", b"mi", b"M", b"Km", b"FT", b"mI")


def key(g):
    """A key that mostly holds places."""
    return g.pick(KEYS) if g.chance(0.9) else g.key()


def member(g):
    """The name of a place."""
    return g.pick(PLACES) if g.chance(0.96) else g.value()


def point(g):
    """A longitude and a latitude: mostly around one place, sometimes anywhere, at an edge, or off the map."""
    roll = g.random.random()
    if roll < 0.6:
        return [b"%.6f" % g.random.uniform(12, 17), b"%.6f" % g.random.uniform(36, 40)]
    if roll < 0.85:
        return [b"%.4f" % g.random.uniform(-180, 180), b"%.4f" % g.random.uniform(-85, 85)]
    if roll < 0.95:
        return [g.pick((b"180", b"-180", b"0", b"179.9999", b"-179.9999", b"1e-7")), g.pick((b"85.05112878", b"-85.05112878", b"0", b"85", b"-85", b"66.5", b"-80.5"))]
    return [g.pick((b"181", b"-180.5", b"inf", *BAD_NUMBERS)), g.pick((b"86", b"-90", b"1", *BAD_NUMBERS))]


def length(g):
    """A number of units of length, and the unit."""
    number = g.pick((b"0", b"1", b"10", b"100", b"200", b"500.5", b"1000", b"5000", b"20000", b"3000000", b"0.5", b"1e7")) if g.chance(0.96) else g.pick((b"-1", b"inf", *BAD_NUMBERS))
    return number


def unit(g):
    return g.pick(UNITS) if g.chance(0.97) else g.pick((b"x", b"", b"miles"))


def extras(g, order=True):
    """What is replied of each member, how many and in which order."""
    options = [[g.opt(word)] for word in (b"WITHDIST", b"WITHHASH", b"WITHCOORD") if g.chance(0.3)]
    if g.chance(0.4):
        count = g.pick((b"1", b"2", b"3", b"100")) if g.chance(0.95) else g.pick((b"0", b"-1", b"abc", b"", b"9223372036854775807"))
        options.append([g.opt(b"COUNT"), count] + ([g.opt(b"ANY")] if g.chance(0.3) else []))
    if g.chance(0.5):
        options.append([g.opt(g.pick((b"ASC", b"DESC")))])
    if g.chance(0.02):
        options.append([g.opt(b"ANY")])
    g.random.shuffle(options)
    return options


def flat(options):
    return [word for option in options for word in option]


@command("geoadd", 60)
def _(g):
    words = [b"GEOADD", key(g)]
    words += [g.opt(word) for word, share in ((b"NX", 0.1), (b"XX", 0.1), (b"CH", 0.2)) if g.chance(share)]
    for _ in range(g.pick((1, 1, 2, 5))):
        words += [*point(g), member(g)]
    return words


@command("geoadd", 2, label="geoadd many")
def _(g):
    words = [b"GEOADD", key(g)]
    for n in range(g.pick((100, 150))):
        words += [b"%.5f" % g.random.uniform(10, 20), b"%.5f" % g.random.uniform(30, 42), b"m%d" % n]
    return words


@command("geodist", 16)
def _(g):
    return [b"GEODIST", key(g), member(g), member(g)] + ([unit(g)] if g.chance(0.6) else [])


@command("geohash", 10)
def _(g):
    return [b"GEOHASH", key(g), *(member(g) for _ in range(g.below(4)))]


@command("geopos", 10)
def _(g):
    return [b"GEOPOS", key(g), *(member(g) for _ in range(g.below(4)))]


def stored(g, options):
    if g.chance(0.25):
        options = [option for option in options if not option[0].upper().startswith(b"WITH") or g.chance(0.05)]
        options.insert(g.below(len(options) + 1), [g.opt(g.pick((b"STORE", b"STOREDIST"))), key(g)])
    return options


@command("georadius", 24)
def _(g):
    return [b"GEORADIUS", key(g), *point(g), length(g), unit(g), *flat(stored(g, extras(g)))]


@command("georadius_ro", 8)
def _(g):
    return [b"GEORADIUS_RO", key(g), *point(g), length(g), unit(g), *flat(extras(g))]


@command("georadiusbymember", 20)
def _(g):
    return [b"GEORADIUSBYMEMBER", key(g), member(g), length(g), unit(g), *flat(stored(g, extras(g)))]


@command("georadiusbymember_ro", 8)
def _(g):
    return [b"GEORADIUSBYMEMBER_RO", key(g), member(g), length(g), unit(g), *flat(extras(g))]


def _corners(g, count):
    """The corners of a polygon whose middle is on the map: for one that is not, at a pole, Valkey 9.1.2 looks at no member at all."""
    while True:
        corners = [point(g) for _ in range(count)]
        if not _is_at_pole(corners):
            return flat(corners)


def _is_at_pole(corners):
    try:
        places = [(math.radians(float(longitude)), math.radians(float(latitude))) for longitude, latitude in corners]
    except ValueError:
        return False  # refused
    if not all(map(math.isfinite, itertools.chain(*places))):
        return False  # refused, too
    x = sum(math.cos(latitude) * math.cos(longitude) for longitude, latitude in places)
    y = sum(math.cos(latitude) * math.sin(longitude) for longitude, latitude in places)
    z = sum(math.sin(latitude) for _, latitude in places)
    return abs(math.degrees(math.atan2(z, math.hypot(x, y)))) > 85.05


def shape(g):
    """A centre and an outline."""
    roll = g.random.random()
    if roll < 0.25:
        corners = g.pick((3, 3, 4, 5, 8))
        count = b"%d" % corners if g.chance(0.95) else g.pick((b"0", b"2", b"-1", b"9", b"abc", b"", b"9223372036854775807"))
        options = [[g.opt(b"BYPOLYGON"), count, *_corners(g, corners)]]
        if g.chance(0.05):
            options.append([g.opt(b"FROMLONLAT"), *point(g)])
        return options
    options = [[g.opt(b"FROMMEMBER"), member(g)] if g.chance(0.5) else [g.opt(b"FROMLONLAT"), *point(g)]]
    options.append([g.opt(b"BYRADIUS"), length(g), unit(g)] if g.chance(0.5) else [g.opt(b"BYBOX"), length(g), length(g), unit(g)])
    if g.chance(0.04):
        options.append(g.pick(options))
    if g.chance(0.04):
        options.pop(g.below(len(options)))
    return options


@command("geosearch", 50)
def _(g):
    options = shape(g) + extras(g)
    g.random.shuffle(options)
    return [b"GEOSEARCH", key(g), *flat(options)]


@command("geosearchstore", 20)
def _(g):
    options = shape(g) + [option for option in extras(g) if not option[0].upper().startswith(b"WITH") or g.chance(0.05)]
    if g.chance(0.3):
        options.append([g.opt(b"STOREDIST")])
    g.random.shuffle(options)
    return [b"GEOSEARCHSTORE", key(g), key(g), *flat(options)]

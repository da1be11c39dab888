"""Client-side caching: connections that are told of changes to what they read, while other groups' commands make them."""
from script import Group, Ref

group = Group("tracking")
command = group.command


@group.compare("client|trackinginfo", "client|getredir", reason="ids are counted by each server")
def _(arguments, mine, theirs, pair):
    return _labelled(mine, pair.sessions[0]) == _labelled(theirs, pair.sessions[1])


def _labelled(reply, session):
    """The reply with the connections of the script in place of their ids."""
    kind, value = reply
    if isinstance(value, list):
        return kind, [_labelled(item, session) for item in value]
    return (kind, session.label(b"%d" % value) if kind == b":" and value > 0 else value)


@command("client|getredir", 2)
def _(g):
    return [b"CLIENT", b"GETREDIR"]


@command("client|tracking", 14)
def _(g):
    words = [b"CLIENT", g.case(b"TRACKING"), g.opt(b"ON") if g.chance(0.85) else g.opt(b"OFF")]
    if g.chance(0.2):
        words += [g.opt(b"REDIRECT"), Ref("id", g.connection()) if g.chance(0.9) else g.pick((b"0", b"-1", b"99999999", b"x"))]
    for word, share in ((b"OPTIN", 0.12), (b"OPTOUT", 0.12), (b"NOLOOP", 0.2)):
        if g.chance(share):
            words.append(g.opt(word))
    if g.chance(0.04):
        words += [g.opt(b"PREFIX"), g.pick((b"", b"k", b"k1"))]
    return words


@command("client|caching", 6)
def _(g):
    return [b"CLIENT", b"CACHING", g.opt(g.pick((b"YES", b"NO", b"yes", b"maybe")))]


@command("client|trackinginfo", 5)
def _(g):
    return [b"CLIENT", b"TRACKINGINFO"]


@command("subscribe", 2, mutable=False)
def _(g):
    return [b"SUBSCRIBE", b"__redis__:invalidate"]


@command("unsubscribe", 1, mutable=False)
def _(g):
    return [b"UNSUBSCRIBE", b"__redis__:invalidate"]


@command("reset", 2, mutable=False)
def _(g):
    return [b"RESET"]


@command("flushdb", 1)
def _(g):
    return [b"FLUSHDB"]


@command("get", 10)
def _(g):
    return [b"GET", g.key()]


@command("mget", 6)
def _(g):
    return [b"MGET", *g.keys(4)]


@command("set", 10)
def _(g):
    return [b"SET", g.key(), g.value()]

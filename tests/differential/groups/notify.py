"""Keyspace notifications: one connection or several listen to every event, while other groups' commands make them."""
from script import Group

group = Group("notify")
command = group.command
CLASSES = [b"KEA", b"KEAn", b"KEAmn", b"EA", b"KA", b"KEg", b"KE$lshztx", b"KEgx", b"Kxeg", b"E$", b"KEn", b"KEm", b"Eh", b"K", b"A", b""]


@command("config|set", 6, mutable=False)
def _(g):
    return [b"CONFIG", b"SET", b"notify-keyspace-events", g.pick(CLASSES[:3]) if g.chance(0.6) else g.pick(CLASSES)]


@command("psubscribe", 5, mutable=False)
def _(g):
    return [b"PSUBSCRIBE", b"__key*__:*"]


@command("punsubscribe", 1, mutable=False)
def _(g):
    return [b"PUNSUBSCRIBE", b"__key*__:*"]


@command("reset", 2, mutable=False)
def _(g):
    return [b"RESET"]

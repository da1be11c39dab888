"""Keyspace notifications: a connection beside the script's own listens to every event that other groups' commands make.

Announcements of misses are left out: which of several missing keys is looked at first is each server's own.
"""
import wire
from script import Composite, Group
from servers import Connection

group = Group("notify")
command = group.command
CLASSES = [b"KEA", b"KEAn", b"EA", b"KA", b"KEg", b"KE$lshztx", b"KEgx", b"Kxeg", b"E$", b"KEn", b"Eh", b"K", b"A", b""]


@command("config|set", 4, mutable=False)
def _(g):
    return [b"CONFIG", b"SET", b"notify-keyspace-events", g.pick(CLASSES[:2]) if g.chance(0.7) else g.pick(CLASSES)]


@command("psubscribe", 12, mutable=False)
def _(g):
    return Composite("psubscribe", _heard, [b"PSUBSCRIBE", b"__key*__:*"])


def _heard(connection):
    """What was published since this was last asked on this connection; at first it begins to listen."""
    listener = connection.listener
    if listener is None or listener.closed:
        listener = connection.listener = Connection(connection.socket.getpeername()[1], 3)
        return wire.split(listener.exchange([wire.encode([b"PSUBSCRIBE", b"__key*__:*"])]))
    return wire.split(listener.exchange([]))

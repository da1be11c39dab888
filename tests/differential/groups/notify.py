"""Keyspace notifications: a connection beside the script's own listens to every event that other groups' commands make.

Announcements of misses are left out: which of several missing keys is looked at first is each server's own.
"""
import re

import wire
from script import Composite, Group
from servers import Connection

group = Group("notify")
command = group.command
ANNOUNCED = re.compile(rb"__key(space|event)@\d+__:(.*)\r\n\$\d+\r\n(.*)\r\n\Z", re.S)
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
    return _settled(wire.split(listener.exchange([])))


def _settled(events):
    """The announcements, those about keys whose time came behind the others, by key: in which order keys expire is each server's own."""
    gone = {key for key, event in map(_subject, events) if event == b"expired"}

    def place(message):
        key = _subject(message)[0]
        return (True, key) if key in gone else (False, b"")

    return sorted(events, key=place)


def _subject(message):
    """The key of an announcement and what became of it."""
    at = ANNOUNCED.search(message)
    if not at:
        return b"", b""
    return (at[2], at[3]) if at[1] == b"space" else (at[3], at[2])

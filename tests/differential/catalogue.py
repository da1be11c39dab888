"""What each server has: commands, options of CONFIG, features; and the full COMMAND INFO and COMMAND DOCS side by side."""
import wire
from script import CONTAINERS, Command
from servers import Connection


class Catalogue:
    """What the candidate and one reference lack of what the groups generate."""

    def __init__(self, pair, groups):
        self.missing = {}   # "candidate" | "reference" -> names of commands and features that it lacks
        wanted = sorted({needs for group in groups for _, _, _, needs in group.generators.values()} | set(_extra_names()))
        probes = {name: probe for group in groups for name, probe in group.probes.items()}
        for server in (pair.candidate, pair.reference):
            self.missing[server.role] = {n for n in wanted if _lacks(server, n)} | {n for n, p in probes.items() if _refuses(server, p)}
        self.lacking = self.missing["candidate"] | self.missing["reference"]
        names = [set(_listed(server)) for server in (pair.candidate, pair.reference)]
        pair.command_names = names[0] & names[1]
        self.missing_commands = {n.lower() for n in names[1] - names[0]}
        self.config_names = pair.config_names
        self.arities = _arities(pair.reference, sorted(pair.command_names)) or [(b"get", 2)]
        self.missing_config = sorted(set(pair.defaults["reference"]) - set(pair.defaults["candidate"]))


def _extra_names():
    """Commands that generators use only when they are there."""
    return "lpush sadd hset zadd xadd eval zunionstore sort xread migrate georadius bitop lmpop sintercard blpop zmpop xreadgroup fcall xgroup msetex delifeq multi hello".split()


def _lacks(server, name):
    connection = Connection(server.port)
    words = [w.upper().encode() for w in name.split("|")]
    reply = connection.exchange([wire.encode(words)])
    connection.close()
    return reply.startswith((b"-ERR unknown command", b"-ERR unknown subcommand", b"-ERR Unknown subcommand"))


def _refuses(server, probe):
    connection = Connection(server.port)
    reply = connection.exchange([wire.encode(probe)])
    connection.close()
    return reply.startswith((b"-ERR syntax", b"-ERR unknown", b"-ERR wrong number", b"-ERR DEBUG"))


def _arities(server, names):
    """(name, arity) of these commands, as COMMAND INFO tells."""
    connection = Connection(server.port)
    entries = connection.call(b"COMMAND", b"INFO", *names) if names else []
    connection.close()
    return [(entry[0], entry[1]) for entry in entries if entry]


def _listed(server):
    connection = Connection(server.port)
    names = connection.call(b"COMMAND", b"LIST")
    if isinstance(names, list):
        subcommands = connection.calls([[b"COMMAND", b"LIST", b"FILTERBY", b"PATTERN", n + b"|*"] for n in names if n.decode("latin1") in CONTAINERS])
        for reply in subcommands:
            if isinstance(reply[1], list):
                names += wire.plain(reply)
    connection.close()
    return names if isinstance(names, list) else []


def full_commands(pair, has_resp3):
    """Every command both servers have, INFO and DOCS in RESP2 and RESP3, as (label, equal, candidate entry, reference entry)."""
    from groups.server import docs_entry, info_entry
    for protocol in (2, 3) if has_resp3 else (2,):
        replies = []
        for server in (pair.candidate, pair.reference):
            connection = Connection(server.port, protocol)
            replies.append(connection.calls([[b"COMMAND"], [b"COMMAND", b"DOCS"]]))
            connection.close()
        for label, read, entry in (("INFO", _by_name, info_entry), ("DOCS", wire.pairs, docs_entry)):
            mine, theirs = (read(reply[label == "DOCS"]) if isinstance(reply[label == "DOCS"][1], list) else {} for reply in replies)
            for name in sorted(set(mine) & set(theirs)):
                a, b = (entry(side[name][1] if label == "INFO" else side[name], pair) for side in (mine, theirs))
                yield Command([b"COMMAND", label.encode(), name]), protocol, a == b, a, b


def _by_name(reply):
    return {entry[1][0][1]: entry for entry in reply[1]}

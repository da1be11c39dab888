"""Runs one script on two servers and finds the first reply that differs.

Both servers get a pipeline at the same moment and are then read one after the other. Equal bytes end the matter; only
unequal replies are parsed and shown to the comparison their command registered, if any. After the last command the
whole keyspaces are compared.
"""
import collections
import os
import re
import time

import wire
from script import Command, Composite, text
from servers import Connection, Session

DATABASES = 16
LOGS = (b"slow", b"large-request", b"large-reply")
# Commands that leave keys, options and connections as they are: after a signed difference in one the script goes on.
READING = {"object", "command", "scan", "lolwut", "client|list", "client|info", "config|get", "keyspace"}


# A message with the id of a client, which is another on each server.
BROKEN = re.compile(rb"(tracking-redir-broken\r\n):\d+")
CONFIRMATION = re.compile(rb"[>*]3\r\n\$\d+\r\n[ps]?(un)?subscribe\r\n")


class Difference:
    """The first reply that differed: the command, its place, and what both servers said."""

    def __init__(self, command, place, candidate, reference, protocol, arguments=None):
        self.command, self.place, self.candidate, self.reference, self.protocol = command, place, candidate, reference, protocol
        self.line = str(command) if arguments is None else arguments
        self.aspect = ""  # for keyspaces: which part of the entry differs

    @property
    def name(self):
        """The command's name, `keyspace` for the comparison after the script."""
        return getattr(self.command, "name", "keyspace")

    def kind(self):
        """What makes two differences the same finding: the command and the shape of both replies."""
        if self.aspect:
            return self.name, self.aspect
        return self.name, _shape(self.candidate), _shape(self.reference)

    def replies(self):
        """Both replies as one line, for the signed list."""
        return f"{_show(self.candidate)} => {_show(self.reference)}"

    def may_change_state(self):
        """Whether the servers may be in different states after this: a write that one of them did not refuse."""
        both_refused = _is_error(self.candidate) and _is_error(self.reference) and not self.name.startswith(("eval", "fcall"))  # which may have run half
        if self.name == "raw":
            return True  # one of them may have closed the connection
        return not both_refused and self.name.split("|")[0] not in READING and self.name not in READING


def _is_error(reply):
    return isinstance(reply, bytes) and reply.startswith(b"-")


def _shape(reply):
    shown = _show(reply)
    return "".join("0" if c.isdigit() else c for c in shown)[:12 if shown[:1] in "*%~$=(" else 40]


def _show(reply):
    return reply.decode("latin1").replace("\r\n", "\\r\\n") if isinstance(reply, bytes) else repr(reply)


class Tally:
    """Counts over a run: commands compared, and for each command its options and outcomes."""

    def __init__(self):
        self.compared, self.not_compared, self.repeated = 0, 0, 0
        self.commands = collections.defaultdict(collections.Counter)
        self.signed, self.unconfirmed = collections.Counter(), collections.Counter()

    def count(self, command, reply):
        """Counts one command under its name, its option words and the outcome on the reference."""
        self.compared += 1
        row = self.commands[command.name]
        row["="] += 1
        outcome = "silent" if reply is None else "error" if _is_error(reply) else "null" if reply[:3] in (b"$-1", b"*-1", b"_\r\n") else "ok"
        row[outcome] += 1
        for argument in command.arguments or ():
            if type(argument).__name__ == "Opt":
                row[argument.upper().decode("latin1")] += 1


class Pair:
    """A candidate and a reference server, reset together and compared script by script."""

    def __init__(self, candidate, reference, groups, tolerance_ms, signed):
        self.candidate, self.reference, self.groups = candidate, reference, groups
        self.tolerance_ms = self.usual_tolerance_ms = tolerance_ms
        self.same = {name: entry for group in groups for name, entry in group.same.items()}
        self.readers = {kind: reader for group in groups for kind, reader in group.readers.items()}
        self.signed = signed
        self.controls, self.defaults, self.sessions, self.changed_config = {}, {}, (), set()
        self.last, self.errors_agree, self.commands = "", True, []
        self.config_names = self._common_config_names()
        self.databases = DATABASES if all(self.control(s).call(b"SELECT", b"0") == b"OK" for s in (candidate, reference)) else 1

    def control(self, server):
        """The connection that resets and inspects a server."""
        found = self.controls.get(server.role)
        if found is None or found.closed:
            found = self.controls[server.role] = Connection(server.port)
        return found

    def _common_config_names(self):
        for server in (self.candidate, self.reference):
            values = self.control(server).call(b"CONFIG", b"GET", b"*")
            values = values if isinstance(values, list) else []
            self.defaults[server.role] = dict(zip(values[::2], values[1::2]))
        return set(self.defaults["candidate"]) & set(self.defaults["reference"])

    def reset(self):
        """Empties both servers, restores their options and waits until the last script's connections are gone."""
        for server in (self.candidate, self.reference):
            control, commands = self.control(server), [[b"CLIENT", b"UNPAUSE"], [b"SELECT", b"0"], [b"FLUSHALL"]]
            values = self.defaults[server.role]
            commands += [[b"CONFIG", b"SET", name, values[name]] for name in sorted(self.changed_config) if name in values]
            if b"slowlog-log-slower-than" in values:
                commands.append([b"CONFIG", b"SET", b"slowlog-log-slower-than", b"-1"])
            commands += [reset for group in self.groups for reset in group.resets]
            commands += [[b"SLOWLOG", b"RESET"], *([b"COMMANDLOG", b"RESET", kind] for kind in LOGS), [b"LATENCY", b"RESET"]]
            control.exchange([wire.encode(c) for c in commands])
            for _ in range(100):
                clients = control.exchange([wire.encode([b"CLIENT", b"LIST"])])
                if not clients.startswith((b"$", b"=")) or clients.count(b" addr=") <= 1:
                    break
                time.sleep(0.001)
            control.exchange([wire.encode([b"CONFIG", b"RESETSTAT"])])
        self.changed_config = set()

    def run(self, script, tally=None):
        """Runs a script on both servers; the first difference that nobody signed, or None."""
        self.reset()
        self.changed_config, self.errors_agree = self._config_changes(script), True
        paused = any(getattr(c, "name", "") == "client|pause" for chunk in script.chunks for c in chunk.commands)
        self.tolerance_ms = self.usual_tolerance_ms + 2000 * paused  # grows with slow pipelines; a pause ends when each server's timer notices
        self.commands = [str(command) for chunk in script.chunks for command in chunk.commands]
        self.sessions = [Session(server, script.protocols) for server in (self.candidate, self.reference)]
        try:
            found = self._run_chunks(script, tally or Tally()) or self._compare_keyspaces(script)
        except StopScript:
            found = None
        except (OSError, ValueError, IndexError) as problem:
            if not self._dead(wait=1):
                raise
            found = self._death(problem)
        finally:
            for session in self.sessions:
                session.close()
        return self._death("it exited") if self._dead(wait=0) else found

    def _dead(self, wait):
        """The server that has exited, if any; waits a moment for a process that is about to."""
        for _ in range(1 + 20 * wait):
            for server in (self.candidate, self.reference):
                if not server.alive():
                    return server
            time.sleep(0.05 * wait)
        return None

    def _death(self, problem):
        """Reports a server that died as a difference, and starts it again so that the script can be shrunk."""
        server = self._dead(wait=0)
        found = Difference(Command([b"server-death"]), 0, f"{server.role} died: {problem}", server.log_tail(), 2, f"somewhere in the script; last sent: {self.last}"[:900])
        server.restart()
        self.controls.pop(server.role, None)
        return found

    def _config_changes(self, script):
        names = set()
        for chunk in script.chunks:
            for command in chunk.commands:
                if getattr(command, "name", "") == "config|set":
                    names.update(a.lower() for a in command.arguments[2:] if isinstance(a, bytes))
        # An alias may have been set under its other name: restore everything that is known to be harmless.
        return names and set(self.settable(names))

    def settable(self, names):
        """The options to restore after `names` were set: those, and every option generators may reach by an alias."""
        aliases = (b"listpack", b"ziplist", b"slave", b"replica", b"time-limit", b"busy-reply")
        extra = {n for n in self.config_names if any(a in n for a in aliases) and n not in (b"replicaof", b"slaveof")}
        return {n for n in names | extra if n in self.config_names}

    def _run_chunks(self, script, tally):
        place = 0
        for chunk in script.chunks:
            for part in _parts(chunk.commands):
                found = self._run_part(chunk.connection, part, place, tally)
                if found:
                    return found
                place += len(part)
        return None

    def _run_part(self, connection, commands, place, tally):
        if isinstance(commands[0], Composite):
            return self._run_composite(connection, commands[0], place, tally)
        raws, self.last = [], "; ".join(map(str, commands))
        for session in self.sessions:
            session.connection(connection).send([_encode(c, session) for c in _ended(commands)])
        began = time.monotonic()
        for session in self.sessions:
            raws.append(session.open[connection].receive())
        # What follows a slow command in a pipeline starts its clock later on the slower server.
        self.tolerance_ms += 1000 * max(0, time.monotonic() - began - 0.01)
        tally_frames = wire.split(raws[1])
        if any(c.name == "client|kill" for c in commands):
            self._let_kills_happen()
        answered = _answered(commands)
        for i, command in enumerate(commands):
            at = answered.index(i) if i in answered else len(tally_frames)
            tally.count(command, tally_frames[at] if at < len(tally_frames) else None)
        if raws[0] == raws[1]:
            return None
        return self._compare_frames(connection, commands, answered, place, raws, tally)

    def _let_kills_happen(self):
        """Waits until both servers have closed the same connections: a killed client may live on another thread."""
        for _ in range(100):
            if self.sessions[0].ended() == self.sessions[1].ended():
                return
            time.sleep(0.002)

    def _compare_frames(self, connection, commands, answered, place, raws, tally):
        frames, protocol = [wire.split(raw) for raw in raws], self.sessions[0].protocols[connection]
        if commands[0].raw is not None:
            if BROKEN.sub(rb"\1:id", raws[0]) == BROKEN.sub(rb"\1:id", raws[1]):
                return None
            return self._judge(Difference(commands[0], place, raws[0], raws[1], protocol), tally)
        owners = _owners(commands, answered, frames[1])
        for i in range(max(map(len, frames))):
            mine, theirs = (f[i] if i < len(f) else b"<nothing>" for f in frames)
            at = owners[i] if i < len(owners) else len(commands) - 1
            # CLIENT REPLY may have been refused, to a client that listens: then nobody can say whose reply a frame is.
            owning = commands if any(c.name == "client|reply" for c in commands) else [commands[at]]
            if mine != theirs and not any(self._equal_enough(command, mine, theirs) for command in owning):
                found = self._judge(Difference(commands[at], place + at, mine, theirs, protocol), tally)
                if found:
                    return found
        return None

    def _equal_enough(self, command, mine, theirs):
        compare = self.same.get(command.name) or self.same.get(command.name.split("|")[0])
        if not compare:
            return False
        try:
            return compare[0](command.arguments, wire.parse(mine), wire.parse(theirs), self)
        except (ValueError, IndexError, TypeError, KeyError, AttributeError):
            return False

    def _run_composite(self, connection, composite, place, tally):
        values = []
        for session in self.sessions:
            try:
                values.append(composite.run(session.connection(connection)))
            except (ValueError, IndexError, TypeError, OSError) as problem:
                values.append(f"<{type(problem).__name__}: {problem}>")
        tally.count(Command(composite.arguments), b"+")
        if values[0] == values[1]:
            return None
        return self._judge(Difference(composite, place, values[0], values[1], self.sessions[0].protocols[connection]), tally)

    def _judge(self, difference, tally):
        entry = self.signed.find(self.reference.name, difference, self.commands)
        if not entry:
            return difference
        tally.signed[entry.slug] += 1
        # What only one of them refused only one of them counts.
        self.errors_agree = self.errors_agree and _is_error(difference.candidate) == _is_error(difference.reference)
        if difference.may_change_state():
            raise StopScript
        return None

    def _compare_keyspaces(self, script):
        dumps = [self._keyspace(self.control(server)) for server in (self.candidate, self.reference)]
        for key in sorted(set(dumps[0]) | set(dumps[1])):
            mine, theirs = dumps[0].get(key), dumps[1].get(key)
            if mine != theirs and not self._entries_equal(mine, theirs):
                line = f"after the script: db {key[0]} key {text(key[1])!r} (type, deadline, encoding, value)"
                difference = Difference(None, len(script), *_visible(mine, theirs), 2, line)
                difference.aspect = _aspect(mine, theirs)
                found = self._judge(difference, Tally())
                if found:
                    return found
        return None

    def _entries_equal(self, mine, theirs):
        if mine is None or theirs is None:
            return False
        near = abs(mine[1] - theirs[1]) <= self.tolerance_ms if isinstance(mine[1], int) and isinstance(theirs[1], int) else mine[1] == theirs[1]
        return near and mine[0] == theirs[0] and mine[2:] == theirs[2:]

    def _keyspace(self, control):
        sizes = control.calls([c for n in range(self.databases) for c in ([b"SELECT", b"%d" % n], [b"DBSIZE"])])
        found = {}
        for n, size in enumerate(wire.plain(s) for s in sizes[1::2]):
            if size:
                found.update(self._database(control, n))
        control.exchange([wire.encode([b"SELECT", b"0"])])
        return found

    def _database(self, control, number):
        keys = wire.plain(control.calls([[b"SELECT", b"%d" % number], [b"KEYS", b"*"]])[1])
        if not isinstance(keys, list):
            return {}
        heads = control.calls([c for k in keys for c in ([b"TYPE", k], [b"PEXPIRETIME", k], [b"OBJECT", b"ENCODING", k])])
        heads = [wire.plain(h) for h in heads]
        kinds = dict(zip(keys, heads[::3]))
        readers = {k: self.readers[kinds[k].decode()](k) for k in keys if kinds[k].decode() in self.readers}
        values = iter(control.calls([c for k in readers for c in readers[k]]))
        shown = {k: _unordered(kinds[k], [wire.plain(next(values)) for _ in readers[k]]) for k in readers}
        return {(number, k): (kinds[k], heads[3 * i + 1], heads[3 * i + 2], shown.get(k)) for i, k in enumerate(keys)}


class StopScript(Exception):
    """A signed difference left the servers in different states: the rest of the script proves nothing."""


def _unordered(kind, replies):
    """The value with the order taken away where the type has none."""
    if kind == b"set" and isinstance(replies[0], list):
        return [sorted(replies[0])]
    if kind == b"hash" and isinstance(replies[0], list):
        return [sorted(zip(replies[0][::2], replies[0][1::2]))]
    return replies


def _aspect(mine, theirs):
    """What two entries of a keyspace do not share, with the encodings because each pair of them is its own finding."""
    if mine is None or theirs is None:
        return "only one has the key"
    names = [n for n, a, b in zip(("type", "deadline", "encoding", "value"), mine, theirs) if a != b]
    return f"{names} {mine[2]} {theirs[2]}"


def _visible(*entries):
    """The entries as text, of long ones the part where they differ."""
    shown = [repr(entry) for entry in entries]
    same = len(os.path.commonprefix(shown))
    return [text[same - 100 : same + 500] if same > 500 else text[:600] for text in shown]


def _parts(commands):
    """The chunk cut so that composites and raw bytes stand alone."""
    part = []
    for command in commands:
        if isinstance(command, Composite) or command.raw is not None:
            if part:
                yield part
            yield [command]
            part = []
        else:
            part.append(command)
    if part:
        yield part


def _answered(commands):
    """The places of the commands that get a reply, as CLIENT REPLY decides."""
    if not any(c.name == "client|reply" for c in commands):
        return list(range(len(commands)))
    places, off, skip = [], False, False
    for i, command in enumerate(commands):
        skipped, skip = skip, False
        mode = command.arguments[2].upper() if command.name == "client|reply" and len(command.arguments) == 3 else None
        if mode == b"ON":
            off = skipped = False
        elif command.name == "reset" and len(command.arguments) == 1:
            off = False
        elif mode == b"OFF":
            off = True
        elif mode == b"SKIP" and not off:
            skip = skipped = True
        if not off and not skipped:
            places.append(i)
    return places


def _owners(commands, answered, frames):
    """For each frame the place of its command: a message belongs to none, and a subscription has a frame for each name."""
    owners, reply, left = [], 0, 0
    for frame in frames:
        at = answered[reply] if reply < len(answered) else len(commands) - 1
        owners.append(at)
        if wire.MESSAGE.match(frame):
            continue
        if CONFIRMATION.match(frame):
            if "subscribe" not in commands[at].name:
                continue  # its command was to have no reply
            left = (left or max(1, len(commands[at].arguments) - 1)) - 1
            if left:
                continue
        reply += 1
    return owners


def _ended(commands):
    """The commands, and CLIENT REPLY ON where they may have switched replies off."""
    if any(c.name == "client|reply" for c in commands):
        return commands + [Command([b"CLIENT", b"REPLY", b"ON"])]
    return commands


def _encode(command, session):
    if command.raw is not None:
        return command.raw
    return wire.encode([a if isinstance(a, bytes) else a.resolve(session) for a in command.arguments])

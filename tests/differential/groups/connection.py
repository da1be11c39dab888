"""Generators of the connection commands."""
import wire
from groups.generic import help_shape
from script import Command, Group, Ref

group = Group("connection")
command = group.command
group.probes.update({
    "client-list-id": [b"CLIENT", b"LIST", b"ID", b"1"],
    "client-list-name": [b"CLIENT", b"LIST", b"NAME", b"x"],
    "client-kill-maxage": [b"CLIENT", b"KILL", b"MAXAGE", b"999999"],
})
NAMES = [b"worker", b"a", b"", b"with space", b"new\nline", b"\xc3\xa9", b"x" * 60, b"tab\t", b"a-b_c.d:e", b"\x7f", b"!~"]
# Fields of CLIENT LIST whose values two servers must agree on; the rest are sizes, times and descriptors.
CLIENT_FIELDS = [b"name", b"flags", b"db", b"sub", b"psub", b"ssub", b"multi", b"watch", b"resp", b"user", b"redir", b"cmd", b"lib-name", b"lib-ver", b"capa"]


@group.compare("client|id", reason="ids are counted by each server")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b":" and _labels(pair, [b"%d" % mine[1]], [b"%d" % theirs[1]])


def _labels(pair, mine, theirs):
    return [pair.sessions[0].label(i) for i in mine] == [pair.sessions[1].label(i) for i in theirs]


@group.compare("client|list", "client|info", reason="addresses, ages, sizes and ids differ; names of fields, order and states are compared")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] and _clients(mine[1], pair.sessions[0]) == _clients(theirs[1], pair.sessions[1])


def _clients(page, session):
    """For each connection of the script: the field names in order and the comparable values."""
    shown = []
    for line in page.removeprefix(b"txt:").split(b"\n")[:-1]:
        fields = [field.split(b"=", 1) for field in line.split(b" ")]
        values = dict(f for f in fields if len(f) == 2)
        if session.label(values[b"id"]) is not None:
            shown.append((session.label(values[b"id"]), [f[0] for f in fields], [_field(session, f, values) for f in CLIENT_FIELDS]))
    return sorted(shown, key=lambda row: row[0])


def _field(session, name, values):
    """A redirection names a client by its id, which is each server's own. Who has been in a transaction once has, in Valkey 9.1.2, no
    request in the queue ever after; elsewhere there is no queue then."""
    value = values.get(name)
    if name == b"multi" and value == b"0" and b"x" not in values.get(b"flags", b"x"):
        return b"-1"
    return session.label(value) if name == b"redir" and value not in (None, b"-1", b"0") else value


def _client_view(reply):
    """The comparable fields of each line, without knowing whose line it is."""
    lines = reply[1].removeprefix(b"txt:").split(b"\n")[:-1]
    return [[field for field in line.split(b" ") if field.split(b"=")[0] in CLIENT_FIELDS] for line in lines]


group.views.update({"client|list": _client_view, "client|info": _client_view})


@group.compare("hello", reason="server, version, id and modules are each server's own")
def _(arguments, mine, theirs, pair):
    def stable(reply):
        return [(k, v[0], None if k in (b"server", b"version", b"id", b"modules") else wire.plain(v)) for k, v in wire.pairs(reply).items()]
    return mine[0] == theirs[0] and stable(mine) == stable(theirs)


group.compare("client|help", reason="the sentences are larder's own; the shape is compared")(help_shape)


@command("auth", 5)
def _(g):
    return [b"AUTH", *g.pick(([b"password"], [b"default", b"password"], [b"default", b""], [b"nosuch", b"x"], [b""], [], [b"a", b"b", b"c"], [b"DEFAULT", b"x"], [b"x" * 600]))]


@command("echo", 6)
def _(g):
    return [b"ECHO", g.value()]


@command("ping", 8)
def _(g):
    return [b"PING"] if g.chance(0.4) else [b"PING", g.value()] if g.chance(0.8) else [b"PING", b"a", b"b"]


@command("quit", 1, mutable=False)
def _(g):
    return [g.case(b"QUIT")] if g.chance(0.8) else [b"QUIT", b"now"]


@command("reset", 3)
def _(g):
    return [b"RESET"]


@command("select", 10)
def _(g):
    return [b"SELECT", g.database()]


@command("hello", 8)
def _(g):
    words = [b"HELLO"]
    if g.chance(0.8):
        words.append(g.pick((b"2", b"3", b"2", b"3", b"4", b"1", b"0", b"-1", b"abc", b"", b"3.0", b"99999999999999999999")))
    if g.chance(0.25):
        words += [g.opt(b"SETNAME"), g.pick(NAMES)]
    if g.chance(0.25):
        words += [g.opt(b"AUTH"), g.pick((b"default", b"nosuch")), g.pick((b"", b"pw"))]
    if g.chance(0.04):
        words.append(g.pick((b"AUTH", b"SETNAME", b"NOSUCH")))
    return words


def _client(name, weight, mutable=True):
    """Registers a generator whose function returns what follows the subcommand."""
    def register(function):
        @command(f"client|{name}", weight, mutable)
        def _(g):
            return [b"CLIENT", g.case(name.upper().encode()), *function(g)]
        return function
    return register


@_client("id", 3)
def _(g):
    return [b"x"] if g.chance(0.1) else []


@_client("getname", 5)
def _(g):
    return [b"x"] if g.chance(0.05) else []


@_client("setname", 6)
def _(g):
    return [g.pick(NAMES)]


@_client("setinfo", 8)
def _(g):
    return [g.opt(g.pick((b"LIB-NAME", b"LIB-VER"))) if g.chance(0.9) else g.pick((b"LIB", b"", b"NOSUCH")), g.pick(NAMES + [b"redis-py(x)", b"1.2.3"])]


@_client("info", 5)
def _(g):
    return [b"x"] if g.chance(0.1) else []


@_client("list", 8)
def _(g):
    roll = g.random.random()
    if roll < 0.35:
        return []
    if roll < 0.55:
        return [g.opt(b"TYPE"), g.pick((b"normal", b"NORMAL", b"master", b"primary", b"replica", b"slave", b"pubsub", b"nosuch", b""))]
    if roll < 0.8 and g.can("client-list-id"):
        return [g.opt(b"ID"), *(Ref("id", g.connection()) if g.chance(0.8) else g.pick((b"0", b"-1", b"999999999", b"abc", b"")) for _ in range(1 + g.below(3)))]
    if roll < 0.93 and g.can("client-list-name"):
        return _filters(g)
    return g.pick(([b"NOSUCH"], [b"TYPE"], [b"ID"], [b"TYPE", b"normal", b"x"], [b"x", b"y"]))


def _filters(g):
    """One or two of the filters that CLIENT LIST and CLIENT KILL share since Valkey 8.1 and 9.0."""
    words = []
    for _ in range(1 + g.chance(0.3)):
        name = g.pick((b"ID", b"NOT-ID", b"TYPE", b"NOT-TYPE", b"ADDR", b"NOT-ADDR", b"LADDR", b"NOT-LADDR", b"USER", b"NOT-USER", b"SKIPME", b"MAXAGE", b"NAME", b"NOT-NAME", b"IDLE",
                       b"FLAGS", b"NOT-FLAGS", b"LIB-NAME", b"NOT-LIB-NAME", b"LIB-VER", b"NOT-LIB-VER", b"DB", b"NOT-DB", b"CAPA", b"NOT-CAPA", b"IP", b"NOT-IP"))
        words += [g.opt(name), _filter_value(g, name.removeprefix(b"NOT-"))]
    return words


def _filter_value(g, name):
    wrong = (b"", b"nosuch", b"abc", b"-1", b"0")
    values = {
        b"ID": (Ref("id", g.connection()), b"999999"), b"TYPE": (b"normal", b"replica", b"pubsub", b"primary"), b"ADDR": (Ref("addr", g.connection()), b"1.2.3.4:5"), b"LADDR": (b"127.0.0.1:1",),
        b"USER": (b"default", b"nosuchuser"), b"SKIPME": (b"yes", b"no", b"YES"), b"MAXAGE": (b"100000", b"9999999"), b"NAME": NAMES[:4], b"IDLE": (b"100000", b"9999999"),
        b"FLAGS": (b"N", b"x", b"P", b"Z", b"NN"), b"LIB-NAME": (b"redis-py(x)", b"a"), b"LIB-VER": (b"1.2.3", b"a"), b"DB": (b"0", b"1", b"15", b"16"), b"CAPA": (b"r", b"x", b"rr"),
        b"IP": (b"127.0.0.1", b"1.2.3.4", b"::1"),
    }
    return g.pick(values[name]) if g.chance(0.88) else g.pick(wrong)


@_client("kill", 8, mutable=False)
def _(g):
    roll = g.random.random()
    if roll < 0.15:
        return [Ref("addr", g.connection()) if g.chance(0.5) else g.pick((b"1.2.3.4:5", b"127.0.0.1:1", b"", b"x", b"[::1]:5"))]
    if roll < 0.4:
        words = [g.opt(b"ID"), Ref("id", g.connection()) if g.chance(0.8) else g.pick((b"0", b"-1", b"abc", b"", b"999999999"))]
        return words + ([g.opt(b"SKIPME"), g.pick((b"yes", b"no", b"YES", b"maybe", b""))] if g.chance(0.5) else [])
    if roll < 0.5:
        return [g.opt(b"ADDR"), Ref("addr", g.connection())] if g.chance(0.7) else [g.opt(b"ADDR"), b"1.2.3.4:5"]
    if roll < 0.58:
        return [g.opt(b"LADDR"), g.pick((b"127.0.0.1:1", b"", b"x"))]
    if roll < 0.66:
        return [g.opt(b"TYPE"), g.pick((b"replica", b"slave", b"master", b"primary", b"pubsub", b"nosuch", b""))]
    if roll < 0.74:
        return [g.opt(b"USER"), g.pick((b"nosuch", b"")), *([g.opt(b"SKIPME"), b"yes"] if g.chance(0.3) else [])]
    if roll < 0.84 and g.can("client-kill-maxage"):
        return [g.opt(b"MAXAGE"), g.pick((b"100000", b"0x", b"abc", b"-1", b"0", b""))]
    if roll < 0.93 and g.can("client-list-name"):
        return [*_filters(g), g.opt(b"ID"), Ref("id", g.connection())]
    return g.pick(([], [b"ID"], [b"NOSUCH", b"x"], [b"ID", b"1", b"TYPE"], [b"SKIPME", b"no", b"ID", b"99999"], [b"TYPE", b"normal", b"ID", b"99999"], [b"a", b"b", b"c"]))


@_client("no-evict", 5)
def _(g):
    return [g.opt(g.pick((b"ON", b"OFF")))] if g.chance(0.85) else [g.pick((b"", b"maybe", b"yes"))]


@_client("no-touch", 5)
def _(g):
    return [g.opt(g.pick((b"ON", b"OFF")))] if g.chance(0.85) else [g.pick((b"", b"maybe", b"yes"))]


@_client("pause", 0.3, mutable=False)
def _(g):
    time = g.pick((b"1", b"2", b"0", b"-1", b"abc", b"", b"1.5", b"99999999999999999999"))
    return [time, *([g.opt(g.pick((b"WRITE", b"ALL")))] if g.chance(0.5) else [b"nosuch"] if g.chance(0.1) else [])]


@_client("unpause", 4)
def _(g):
    return [b"x"] if g.chance(0.1) else []


@_client("reply", 5, mutable=False)
def _(g):
    return [g.opt(g.pick((b"ON", b"OFF", b"SKIP")))] if g.chance(0.9) else g.pick(([], [b"maybe"], [b"ON", b"x"], [b""]))


@_client("unblock", 4)
def _(g):
    who = Ref("id", g.connection()) if g.chance(0.7) else g.pick((b"0", b"-1", b"abc", b"", b"999999999"))
    return [who, *([g.opt(g.pick((b"TIMEOUT", b"ERROR")))] if g.chance(0.5) else [b"nosuch"] if g.chance(0.1) else [])]


@_client("help", 1)
def _(g):
    return [b"x"] if g.chance(0.1) else []


@command("client", 2)
def _(g):
    return [b"CLIENT", *g.pick(([], [b"NOSUCH"], [b""], [b"nosuch\r\nx"], [b"\xff\x00"], [b"x" * 300, b"y"], [b"GETNAMES"], [b"ID", b"ID"]))]


@command("get", 6, label="data between")
def _(g):
    return [b"GET", g.key()] if g.chance(0.5) else [b"SET", g.key(), g.value()]

"""Generators of the server commands, and of commands that do not exist."""
import wire
from groups.generic import PATTERNS, help_shape, integers_near
from script import Group, Ref

group = Group("server")
command = group.command
group.probes.update({
    "flush-sync": [b"FLUSHDB", b"SYNC"],
    "debug": [b"DEBUG", b"SLEEP", b"0"],
    "command-list-filterby": [b"COMMAND", b"LIST", b"FILTERBY", b"ACLCAT", b"string"],
})

# Options that a script may set: value choices, good and bad. What is set is restored before the next script.
SETTABLE = {
    "maxmemory": ["0", "100mb", "1gb", "200m", "300M", "1000000000", "1gB", "100 mb", "-1", "abc", "", "1.5gb", "99999999999999999999", "1tb", "200mib"],
    "maxmemory-policy": ["noeviction", "allkeys-lru", "allkeys-lfu", "allkeys-random", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl", "ALLKEYS-LRU", "nosuch", ""],
    "maxmemory-samples": ["5", "1", "10", "64", "0", "-1", "65", "abc"],
    "maxmemory-eviction-tenacity": ["10", "0", "100", "101", "-1"],
    "timeout": ["0", "1000", "-1", "abc", "2147483648"],
    "tcp-keepalive": ["300", "0", "60", "-1"],
    "slowlog-log-slower-than": ["100000000", "-1", "-2", "abc"],
    "slowlog-max-len": ["128", "0", "4", "-1", "abc"],
    "latency-monitor-threshold": ["0", "100000", "-1", "abc"],
    "notify-keyspace-events": ["", "KEA", "Egx", "Ex", "AKE", "K$", "gxE$lshzxentdmoK", "nosuch", "Q", "KEA$", "Kn"],
    "lazyfree-lazy-eviction": ["yes", "no", "YES", "maybe", "", "1"],
    "lazyfree-lazy-expire": ["yes", "no", "on"],
    "lazyfree-lazy-server-del": ["yes", "no", "true"],
    "lazyfree-lazy-user-del": ["yes", "no", "No"],
    "lazyfree-lazy-user-flush": ["yes", "no"],
    "list-max-listpack-size": ["-2", "128", "-5", "0", "abc"],
    "list-max-ziplist-size": ["-2", "64", "-1"],
    "list-compress-depth": ["0", "1", "-1"],
    "hash-max-listpack-entries": ["512", "4", "128", "-1", "abc"],
    "hash-max-ziplist-entries": ["512", "8"],
    "hash-max-listpack-value": ["64", "8"],
    "hash-max-ziplist-value": ["64", "16"],
    "set-max-intset-entries": ["512", "2"],
    "set-max-listpack-entries": ["128", "2"],
    "set-max-listpack-value": ["64", "2"],
    "zset-max-listpack-entries": ["128", "2"],
    "zset-max-ziplist-entries": ["128", "4"],
    "zset-max-listpack-value": ["64", "4"],
    "stream-node-max-bytes": ["4096", "4kb", "0"],
    "stream-node-max-entries": ["100", "0", "-1"],
    "hll-sparse-max-bytes": ["3000", "0", "3kb"],
    "proto-max-bulk-len": ["536870912", "512mb", "1mb", "1", "abc"],
    "client-query-buffer-limit": ["1gb", "1mb", "1"],
    "client-output-buffer-limit": ["normal 0 0 0", "pubsub 32mb 8mb 60", "replica 256mb 64mb 60", "slave 256mb 64mb 60", "normal 0 0", "nosuch 0 0 0", "normal 1gb 0 0 pubsub 32mb 8mb 60", "", "normal a b c", "master 0 0 0"],
    "hz": ["10", "1", "100", "500", "501", "0", "abc"],
    "dynamic-hz": ["yes", "no"],
    "save": ["", "3600 1", "3600 1 300 100", "3600 1 300 100 60 10000", "3600", "abc", "0 1", "-1 5", "3600 -1", "3600 x"],
    "loglevel": ["notice", "verbose", "warning", "debug", "NOTICE", "nosuch", "nothing"],
    "lfu-log-factor": ["10", "0", "-1"],
    "lfu-decay-time": ["1", "0", "-1"],
    "active-expire-effort": ["1", "10", "0", "11"],
    "activerehashing": ["yes", "no"],
    "lua-time-limit": ["5000", "0", "-1"],
    "busy-reply-threshold": ["5000", "100"],
    "tracking-table-max-keys": ["1000000", "0", "-1"],
    "replica-read-only": ["yes", "no"],
    "slave-read-only": ["yes", "no"],
    "replica-serve-stale-data": ["yes", "no"],
    "replica-priority": ["100", "0", "-1"],
    "slave-priority": ["100", "50"],
    "repl-backlog-size": ["1mb", "10mb", "10mib"],
    "repl-timeout": ["60", "0", "10"],
    "repl-ping-replica-period": ["10", "0"],
    "min-replicas-to-write": ["0", "-1"],
    "min-slaves-max-lag": ["10", "5"],
    "appendfsync": ["always", "everysec", "no", "nosuch", "EVERYSEC"],
    "no-appendfsync-on-rewrite": ["yes", "no"],
    "auto-aof-rewrite-percentage": ["100", "0", "-1"],
    "auto-aof-rewrite-min-size": ["64mb", "1mb"],
    "stop-writes-on-bgsave-error": ["yes", "no"],
    "rdbcompression": ["yes", "no"],
    "latency-tracking": ["yes", "no"],
    "latency-tracking-info-percentiles": ["50 99 99.9", "", "50", "101", "abc", "50 50"],
    "maxmemory-clients": ["0", "100mb", "5%", "101%", "-1%"],
    "maxclients": ["10000", "5000", "0", "-1", "abc"],
    "close-on-oom": ["yes"],
    "jemalloc-bg-thread": ["yes", "no"],
    "proc-title-template": ["{title} {listen-addr} {server-mode}", "{nosuch}"],
    "protected-mode": ["yes", "no"],
    "io-threads": ["2"],
    "databases": ["32", "16"],
    "port": ["abc", "-1", "70000"],
    "daemonize": ["yes"],
    "supervised": ["no"],
    "dir": ["/nosuch"],
    "dbfilename": ["x.rdb"],
    "enable-debug-command": ["no"],
    "enable-protected-configs": ["yes"],
    "enable-module-command": ["yes"],
    "rename-command": ["x"],
    "unixsocket": ["/tmp/x"],
    "include": ["/tmp/x"],
    "always-show-logo": ["yes"],
    "nosuch": ["x", ""],
}
# Values that name a machine, a path or a build.
OWN_VALUES = {b"port", b"dir", b"pidfile", b"logfile", b"maxclients", b"bind", b"server-cpulist", b"bio-cpulist", b"io-threads", b"dbfilename", b"jemalloc-bg-thread", b"syslog-ident", b"locale-collate",
              b"proc-title-template", b"oom-score-adj-values", b"disable-thp", b"unixsocket", b"cluster-config-file", b"tls-port"}
GLOBS = [b"max*", b"*-max-*", b"hash-*", b"*listpack*", b"*ziplist*", b"slave-*", b"replica-*", b"lazyfree*", b"*", b"nosuch*", b"[st]*", b"client-*", b"s?ve", b"timeout*", b"MAXMEMORY*", b"*memory"]


@group.compare("time", reason="the clock goes on; the shape is compared")
def _(arguments, mine, theirs, pair):
    a, b = wire.plain(mine), wire.plain(theirs)
    return mine[0] == theirs[0] and mine[1][0][0] == theirs[1][0][0] and abs(int(a[0]) - int(b[0])) <= 2 and all(x.isdigit() for x in a) and int(a[1]) < 1_000_000


group.compare("command|help", "config|help", "debug|help", "slowlog|help", "commandlog|help", "latency|help", "memory|help", reason="the sentences are larder's own; the shape is compared")(help_shape)


@group.compare("lolwut", "latency|doctor", "latency|graph", "memory|doctor", "memory|malloc-stats", reason="free text for humans")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] and mine[0] in (b"$", b"=")


@group.compare("memory|usage", reason="each server's own layout in memory")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b":" and mine[1] > 0


@group.compare("memory|stats", reason="amounts are each server's own; that it is a map is compared")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0]


@group.compare("slowlog|get", "commandlog|get", reason="ids, times and sizes are each server's own; commands, addresses' shape and names are compared")
def _(arguments, mine, theirs, pair):
    def stable(reply):
        return [([kind for kind, _ in entry], entry[3], entry[5][1]) for _, entry in reply[1]]
    return mine[0] == theirs[0] and _without_refs(stable(mine)) == _without_refs(stable(theirs))


def _without_refs(entries):
    """Arguments that are client ids, addresses or the random key that was looked at differ by right; dumps, in which each server writes its own
    version; and passwords that Valkey shows when it refuses HELLO before it comes to them."""
    def kept(words):
        names = [w[1].upper() for w in words[:2]]
        if names[:1] == [b"RESTORE"] or names == [b"FUNCTION", b"RESTORE"]:
            words = [w for at, w in enumerate(words) if at != (3 if names[0] == b"RESTORE" else 2)]
        if words[0][1].upper() == b"HELLO":
            return words[: [w[1].upper() for w in words].index(b"AUTH") + 1] if b"AUTH" in [w[1].upper() for w in words] else words
        return words[:1] if words[0][1] == b"TYPE" else [w for w in words if not w[1].replace(b":", b"").replace(b".", b"").isdigit()]
    return [(kinds, kept(words[1]), name) for kinds, words, name in entries]


@group.compare("commandlog|len", reason="request and reply sizes hold ids and addresses of several lengths")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b":" and arguments[-1].lower() != b"slow" and abs(mine[1] - theirs[1]) <= 3


@group.compare("latency|histogram", reason="durations differ; commands and their calls are compared")
def _(arguments, mine, theirs, pair):
    def calls(reply):
        return {k: wire.pairs(v)[b"calls"] for k, v in wire.pairs(reply).items() if not k.startswith((b"client|", b"scan", b"type"))}
    return mine[0] == theirs[0] and calls(mine) == calls(theirs)


@group.compare("config|get", reason="the order is not promised, and some values name this machine; options the candidate lacks are listed once at the start")
def _(arguments, mine, theirs, pair):
    a, b = wire.pairs(mine), wire.pairs(theirs)
    globs = any(c in word for word in arguments[2:] for c in b"*?[")
    missing = set(b) - set(a) - (set(pair.defaults["reference"]) - set(pair.defaults["candidate"]) if globs else set())
    extra = set(a) - set(b) - (set(pair.defaults["candidate"]) - set(pair.defaults["reference"]))
    return mine[0] == theirs[0] and not missing and not extra and all(a[k] == b[k] for k in a if k in b and k.lower() not in OWN_VALUES)


@group.compare("debug|object", reason="addresses, sizes and clocks are each server's own")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b"+" and mine[1].startswith(b"Value at:") and b"encoding:" in mine[1]


@group.compare("debug|digest", "debug|digest-value", reason="the algorithm is each server's own")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0]


@group.compare("command|list", reason="no order is promised; commands the candidate lacks are listed once at the start")
def _(arguments, mine, theirs, pair):
    known = pair.command_names
    return mine[0] == theirs[0] and sorted(n for n in wire.plain(mine) if n in known) == sorted(n for n in wire.plain(theirs) if n in known)


@group.compare("command|count", reason="the candidate may have more or fewer commands")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] == b":" and mine[1] > 0


@group.compare("command|info", "command", reason="sets have no order; notes on keys are larder's own words; commands the candidate lacks are listed once")
def _(arguments, mine, theirs, pair):
    lookup = isinstance(mine[1], list) and len(mine[1]) == len(theirs[1]) and len(arguments) > 2
    if lookup:
        return mine[0] == theirs[0] and all(_same_info(a, b, pair) for a, b in zip(mine[1], theirs[1]))
    a, b = ({wire.plain(entry)[0]: entry for entry in reply[1]} for reply in (mine, theirs))
    return mine[0] == theirs[0] and all(_same_info(a[name], b[name], pair) for name in a if name in b)


def _same_info(mine, theirs, pair):
    if mine[1] is None or theirs[1] is None or mine[0] != theirs[0]:
        return mine == theirs or theirs[1] is not None and mine[1] is None and wire.plain(theirs)[0] not in pair.command_names
    return info_entry(mine[1], pair) == info_entry(theirs[1], pair)


def info_entry(fields, pair):
    """An entry of COMMAND INFO as a value that is equal where the servers agree."""
    name, arity, flags, first, last, step, categories, tips, specs, subcommands = fields
    return (name, arity, flags[0], sorted(flags[1]), first, last, step, categories[0], sorted(categories[1]), sorted(tips[1]), [_key_spec(s) for s in specs[1]],
            sorted(repr(info_entry(s[1], pair)) for s in subcommands[1] if s[1][0][1] in pair.command_names))


def _key_spec(spec):
    fields = wire.pairs(spec)
    flags = fields.get(b"flags", (b"~", []))
    return spec[0], flags[0], sorted(flags[1]), [(k, v) for k, v in fields.items() if k not in (b"flags", b"notes")]


@group.compare("command|docs", reason="summaries, complexities, histories and advice are sentences of larder's own")
def _(arguments, mine, theirs, pair):
    a, b = wire.pairs(mine), wire.pairs(theirs)
    return mine[0] == theirs[0] and all(docs_entry(a[k], pair) == docs_entry(b[k], pair) for k in a if k in b) and not [k for k in b if k not in a and k in pair.command_names]


def docs_entry(entry, pair):
    """An entry of COMMAND DOCS without its prose."""
    shown = []
    for key, value in sorted(wire.pairs(entry).items()):
        if key in (b"summary", b"complexity", b"history", b"replaced_by"):
            shown.append((key, value[0]))
        elif key == b"subcommands":
            shown.append((key, sorted((n, repr(docs_entry(v, pair))) for n, v in wire.pairs(value).items() if n in pair.command_names)))
        elif key == b"doc_flags":
            shown.append((key, value[0], sorted(value[1])))
        elif key == b"arguments":
            shown.append((key, value[0], [docs_entry(v, pair) for v in value[1]]))
        else:
            shown.append((key, _without_prose(value)))
    return entry[0], shown


def _without_prose(value):
    """An argument tree without the summaries that some arguments carry."""
    kind, items = value
    if not isinstance(items, list):
        return value
    pairs = list(zip(items[::2], items[1::2]))
    if items and len(items) % 2 == 0 and any(k == (b"$", b"summary") for k, _ in pairs):
        items = [x for k, v in pairs if k != (b"$", b"summary") for x in (k, v)]
    return kind, [_without_prose(item) for item in items]


SAMPLE = [b"get", b"set", b"mget", b"mset", b"msetnx", b"msetex", b"del", b"unlink", b"exists", b"copy", b"rename", b"move", b"getex", b"append", b"object|encoding", b"object", b"client|kill", b"client",
          b"config|get", b"config|set", b"memory|usage", b"lcs", b"expire", b"incr", b"ping", b"select", b"scan", b"keys", b"swapdb", b"sort", b"zunionstore", b"eval", b"xread", b"migrate", b"bitop", b"georadius",
          b"GET", b"nosuch", b"", b"config|nosuch", b"get|x", b"blpop", b"zadd", b"hset", b"sadd", b"lpush", b"substr", b"hello", b"debug", b"command|docs", b"slowlog|get", b"latency|histogram", b"setex"]


@command("command|count", 2)
def _(g):
    return [b"COMMAND", g.case(b"COUNT")]


@command("command|info", 8)
def _(g):
    return [b"COMMAND", g.case(b"INFO"), *(g.pick(SAMPLE) for _ in range(1 + g.below(4)))]


@command("command|docs", 8)
def _(g):
    return [b"COMMAND", g.case(b"DOCS"), *(g.pick(SAMPLE) for _ in range(1 + g.below(3)))]


@command("command|list", 5)
def _(g):
    if not g.can("command-list-filterby") or g.chance(0.2):
        return [b"COMMAND", g.case(b"LIST")]
    kind, values = g.pick(((b"MODULE", (b"nosuch", b"json")), (b"ACLCAT", (b"string", b"fast", b"read", b"connection", b"nosuch", b"dangerous", b"STRING", b"", b"@string")), (b"PATTERN", (b"get*", b"*", b"c*|*", b"[", b"", b"SET*", b"nosuch*"))))
    words = [g.opt(b"FILTERBY"), g.opt(kind), g.pick(values)]
    return [b"COMMAND", b"LIST", *g.pick((words, words, words, words, words[:2], words[:1], [b"FILTERBY", b"NOSUCH", b"x"], [b"x"], words + [b"x"]))]


def _sample_call(g):
    """A command with keys, as an argument of GETKEYS."""
    key = g.key
    choices = [
        [b"GET", key()], [b"SET", key(), b"v", b"NX"], [b"SET", key(), b"v", b"GET"], [b"MGET", key(), key(), key()], [b"MSET", key(), b"1", key(), b"2"], [b"MSET", key(), b"1", key()], [b"MSETNX", key(), b"1"],
        [b"DEL", key(), key()], [b"COPY", key(), key(), b"REPLACE"], [b"RENAME", key(), key()], [b"LCS", key(), key()], [b"OBJECT", b"ENCODING", key()], [b"PING"], [b"GET"], [b"NOSUCH", b"x"], [b"CONFIG", b"GET", b"x"],
        [b"APPEND", key(), b"v"], [b"GETEX", key(), b"EX", b"5"], [b"MOVE", key(), b"1"], [b"MEMORY", b"USAGE", key()], [b"CLIENT"], [b"SELECT", b"1"], [b"EXISTS", key()], [b"TOUCH", key(), key()], [b"get", key(), b"extra"],
        [b"KEYS", b"*"], [b"SCAN", b"0"], [b"SWAPDB", b"0", b"1"], [b"OBJECT", b"NOSUCH", key()], [b"UNLINK", key()], [b""], [b"GETRANGE", key(), b"0", b"1"], [b"RANDOMKEY"]]
    optional = {
        "msetex": [b"MSETEX", b"2", key(), b"1", key(), b"2", b"EX", b"5"], "delifeq": [b"DELIFEQ", key(), b"v"], "eval": [b"EVAL", b"x", b"2", key(), key(), b"a"], "zunionstore": [b"ZUNIONSTORE", key(), b"2", key(), key()],
        "sort": [b"SORT", key(), b"STORE", key()], "xread": [b"XREAD", b"STREAMS", key(), key(), b"0", b"0"], "migrate": [b"MIGRATE", b"h", b"1", key(), b"0", b"5"], "georadius": [b"GEORADIUS", key(), b"1", b"1", b"1", b"m", b"STORE", key()],
        "bitop": [b"BITOP", b"AND", key(), key()], "lmpop": [b"LMPOP", b"2", key(), key(), b"LEFT"], "sintercard": [b"SINTERCARD", b"9", key()], "blpop": [b"BLPOP", key(), key(), b"1"], "zmpop": [b"ZMPOP", b"abc", key()],
        "xreadgroup": [b"XREADGROUP", b"GROUP", b"g", b"c", b"STREAMS", key(), b">"], "fcall": [b"FCALL", b"f", b"1", key()], "xgroup": [b"XGROUP", b"CREATE", key(), b"g", b"0"]}
    choices += [words for name, words in optional.items() if g.can(name)]
    return g.pick([words for words in choices if words[0].lower() not in g.missing_commands])


@group.compare("command|getkeysandflags", reason="flags are a set")
def _(arguments, mine, theirs, pair):
    def stable(reply):
        return [(entry[1][0], entry[1][1][0], sorted(entry[1][1][1])) for entry in reply[1]]
    return mine[0] == theirs[0] and stable(mine) == stable(theirs)


@command("command|getkeys", 12)
def _(g):
    return [b"COMMAND", g.case(b"GETKEYS"), *_sample_call(g)]


@command("command|getkeysandflags", 8)
def _(g):
    return [b"COMMAND", g.case(b"GETKEYSANDFLAGS"), *_sample_call(g)]


@command("command|getkeys", 10, label="keys of any command")
def _(g):
    """Any command both servers have, with arguments that are keys, counts and words in turn."""
    name = g.pick(g.all_commands)
    words = [g.pick((b"1", b"2", b"0", b"k0", b"k1", b"n0", b"STREAMS", b"STORE", b"KEYS", b"LIMIT", b"abc", b"", b"3", b"-1")) for _ in range(g.below(8))]
    return [b"COMMAND", g.pick((b"GETKEYS", b"GETKEYSANDFLAGS")), *name.split(b"|"), *words]


@command("command|info", 3, label="info of any command")
def _(g):
    return [b"COMMAND", b"INFO", g.case(g.pick(g.all_commands))]


@command("command", 12, mutable=False, label="too few arguments of any command")
def _(g):
    """Any command both servers have, with fewer arguments than it needs: refused before it runs."""
    name, arity = g.pick(g.arities)
    words = name.split(b"|")
    if abs(arity) <= len(words):
        return [b"COMMAND", b"INFO", name]
    return [g.case(words[0]), *words[1:], *[b"1"] * g.below(abs(arity) - len(words))]


@command("command|help", 1)
def _(g):
    return [b"COMMAND", b"HELP"]


@command("command", 1)
def _(g):
    return [b"COMMAND", *g.pick(([b"NOSUCH"], [b""], [b"INFOS", b"get"], [b"COUNT", b"x"], [b"\xff"], [b"GETKEYS"], [b"DOCS", b"nosuch"]))]


def _name_case(g, name):
    return g.case(name.encode())


@command("config|get", 12)
def _(g):
    names = [n for n in SETTABLE if n.encode() in g.config_names] + ["nosuch"]
    words = [g.pick(GLOBS) if g.chance(0.2) else _name_case(g, g.pick(names)) for _ in range(1 + g.below(3))]
    return [b"CONFIG", g.case(b"GET"), *words]


@command("config|set", 25, mutable=False)
def _(g):
    names = [n for n in SETTABLE if n.encode() in g.config_names] + ["nosuch"]
    words = []
    for _ in range(1 + (g.below(3) if g.chance(0.35) else 0)):
        name = g.pick(names)
        words += [_name_case(g, name), g.pick(SETTABLE[name]).encode()]
    if g.chance(0.04):
        words += words[:2]
    if g.chance(0.04):
        words.pop()
    return [b"CONFIG", g.case(b"SET"), *words]


@command("config|resetstat", 1)
def _(g):
    return [b"CONFIG", b"RESETSTAT"]


@command("config|rewrite", 1)
def _(g):
    return [b"CONFIG", b"REWRITE"]


@command("config|help", 1)
def _(g):
    return [b"CONFIG", b"HELP"]


@command("config", 1)
def _(g):
    return [b"CONFIG", *g.pick(([], [b"NOSUCH"], [b"NOSUCH", b"a"], [b""], [b"GETS", b"x"], [b"GET"], [b"SET"], [b"SET", b"timeout"], [b"RESETSTAT", b"x"], [b"set", b"timeout", b"1", b"x"]))]


@command("dbsize", 6)
def _(g):
    return [b"DBSIZE"]


@command("debug", 8, mutable=False)
def _(g):
    if not g.can("debug"):
        return [b"DEBUG", b"SLEEP", b"0"]
    protocol = [b"DEBUG", g.opt(b"PROTOCOL"), g.opt(g.pick((b"string", b"integer", b"double", b"null", b"array", b"set", b"map", b"attrib", b"verbatim", b"true", b"false", b"bignum", b"nosuch")))]
    return g.pick((protocol, protocol, protocol, [b"DEBUG", g.opt(b"SLEEP"), b"0"], [b"DEBUG", g.opt(b"OBJECT"), g.key()], [b"DEBUG", g.opt(b"SET-ACTIVE-EXPIRE"), b"1"], [b"DEBUG", g.opt(b"STRINGMATCH-LEN"), b"100", b"*a"],
                   [b"DEBUG", g.opt(b"DIGEST")], [b"DEBUG", g.opt(b"DIGEST-VALUE"), g.key()], [b"DEBUG", g.opt(b"LOG"), b"text"], [b"DEBUG"], [b"DEBUG", b"NOSUCH"], [b"DEBUG", b"OBJECT"], [b"DEBUG", g.opt(b"CHANGE-REPL-ID")],
                   [b"DEBUG", g.opt(b"POPULATE"), b"3", b"p", b"4"], [b"DEBUG", g.opt(b"HELP")]))


def _flush(name, weight):
    @command(name, weight)
    def _(g):
        mode = [] if g.chance(0.5) else [g.opt(g.pick((b"ASYNC", b"SYNC")))] if g.chance(0.85) else g.pick(([b"NOW"], [b""], [b"SYNC", b"ASYNC"]))
        return [name.upper().encode(), *mode]


_flush("flushall", 1)
_flush("flushdb", 2)


@command("latency", 6)
def _(g):
    return [b"LATENCY", *g.pick(([g.opt(b"LATEST")], [g.opt(b"HISTORY"), b"command"], [g.opt(b"HISTORY"), b"nosuch"], [g.opt(b"RESET")], [g.opt(b"RESET"), b"command", b"fork"], [g.opt(b"GRAPH"), b"nosuch"], [g.opt(b"DOCTOR")],
                                 [g.opt(b"HELP")], [g.opt(b"HISTOGRAM"), b"nosuch"], [g.opt(b"HISTOGRAM"), b"get", b"set"], [g.opt(b"HISTOGRAM"), b"del"], [b"NOSUCH"], [g.opt(b"HISTORY")], []))]


STATISTICS = [b"keyspace_hits", b"keyspace_misses", b"total_error_replies", b"unexpected_error_replies"]


@group.compare("info", reason="most fields are amounts and times; counts of keys, hits, misses, errors and calls are compared")
def _(arguments, mine, theirs, pair):
    return mine[0] == theirs[0] and _info(mine[1], pair.errors_agree) == _info(theirs[1], pair.errors_agree)


def _info(page, errors_agree=True):
    """The fields two servers must agree on: sections, keys per database, hits and misses, errors and calls."""
    shown = []
    for line in page.removeprefix(b"txt:").split(b"\r\n"):
        name, _, value = line.partition(b":")
        if not errors_agree and (b"error" in name or b"cmdstat_command|getkeys" in name):
            continue
        if name in STATISTICS or name.startswith(b"errorstat_") or name == b"role":
            shown.append(line)
        elif name.startswith(b"db") and value.startswith(b"keys="):
            shown.append((name, value.split(b",")[:2]))
        # Valkey asks itself CONFIG GET whenever it flushes scripts or functions.
        elif name.startswith(b"cmdstat_") and not name.startswith((b"cmdstat_client|", b"cmdstat_scan", b"cmdstat_type", b"cmdstat_config|get")):
            shown.append((name, [f for f in value.split(b",") if f.startswith((b"calls=", b"rejected_calls=", b"failed_calls="))]))
    return sorted(map(repr, shown))


group.views["info"] = lambda reply: _info(reply[1])


@command("info", 8)
def _(g):
    sections = [b"keyspace", b"errorstats", b"replication", b"server", b"clients", b"memory", b"nosuch", b"KEYSPACE", b""]
    if not g.logging:  # a scan to its end takes each server a number of calls of its own, and counts them
        return [b"INFO", g.pick(sections)]
    sections += [b"stats", b"commandstats", b"all", b"everything", b"default"]
    return [b"INFO", *(g.pick(sections) for _ in range(g.pick((0, 1, 1, 1, 2))))]


@command("lolwut", 2)
def _(g):
    return [b"LOLWUT", *g.pick(([], [g.opt(b"VERSION"), b"5"], [g.opt(b"VERSION"), b"5", b"10", b"2", b"2"], [g.opt(b"VERSION"), b"6"], [b"VERSION"], [g.opt(b"VERSION"), b"abc"], [g.opt(b"VERSION"), b"7"]))]


@command("memory|usage", 8)
def _(g):
    words = [b"MEMORY", g.case(b"USAGE"), g.key()]
    if g.chance(0.4):
        words += [g.opt(b"SAMPLES"), g.pick((b"0", b"5", b"-1", b"abc", b"", b"9223372036854775807"))]
    return words


@command("memory", 3)
def _(g):
    return [b"MEMORY", *g.pick(([b"HELP"], [b"NOSUCH"], [], [b"USAGE"], [b"USAGE", b"k0", b"SAMPLES"], [b"USAGE", b"k0", b"NOSUCH", b"5"], [b"DOCTOR"], [b"PURGE"], [b"STATS", b"x"], [b"usage", b"a", b"b", b"c", b"d"]))]


@command("role", 2)
def _(g):
    return [b"ROLE"]


@command("slowlog", 8)
def _(g):
    return [b"SLOWLOG", *g.pick(([g.opt(b"LEN")], [g.opt(b"LEN")], [g.opt(b"GET")], [g.opt(b"GET"), g.pick((b"3", b"-1", b"0", b"-2", b"abc", b"", b"9223372036854775807"))], [g.opt(b"GET"), b"5"], [g.opt(b"RESET")], [g.opt(b"HELP")],
                                 [b"NOSUCH"], [], [b"LEN", b"x"], [b"RESET", b"x"], [b"GET", b"1", b"2"]))]


@command("commandlog", 8)
def _(g):
    kind = g.opt(g.pick((b"slow", b"large-request", b"large-reply"))) if g.chance(0.9) else g.pick((b"nosuch", b""))
    return [b"COMMANDLOG", *g.pick(([g.opt(b"LEN"), kind], [g.opt(b"GET"), g.pick((b"3", b"-1", b"0", b"-2", b"abc")), kind], [g.opt(b"RESET"), kind], [b"HELP"], [b"NOSUCH"], [], [b"GET", b"1"], [b"LEN"], [b"RESET"], [b"GET", b"10", kind, b"x"]))]


@command("config|set", 2, mutable=False, label="log every command")
def _(g):
    return [b"CONFIG", b"SET", b"slowlog-log-slower-than", b"0"] if g.logging and b"slowlog-log-slower-than" in g.config_names else [b"DBSIZE"]


@command("swapdb", 5)
def _(g):
    return [b"SWAPDB", g.database(), g.database()]


@command("time", 3)
def _(g):
    return [b"TIME"]


@command("set", 20, label="data between")
def _(g):
    return [b"SET", g.key(), g.value()]


@command("del", 5, label="data between, del")
def _(g):
    return [b"DEL", g.key()]


@command("get", 8, mutable=False, label="no such command")
def _(g):
    names = (b"NOSUCH", b"nosuch", b"", b"GETX", b"get ", b" get", b"\xff\x00", b"x" * 200, b"a\r\nb", b"foo|bar", b"config|get", b"'", b"G\x00ET", b"-ERR", b"get|x", b"z" * 5000)
    return [g.pick(names), *(g.pick((b"a", b"", b"x" * 100, b"y" * 130, b"\r\n", b"'", b"\xff", b"%s", b"z" * 3000)) for _ in range(g.below(6)))]

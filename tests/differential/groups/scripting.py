"""Generators of scripts and functions: small Lua programs over what a script can ask of the server and give back.

No table has two text keys, because the order of `pairs` is each server's own; nothing asks for the time or for chance,
no library calls `redis.log` while it loads, and none has names that differ in letter case alone: either ends Valkey 9.1.2.
Nor is an error an empty table, which ends Redis 7.0.
"""
import hashlib
import re

import wire
from script import Composite, Group

group = Group("scripting")
command = group.command
group.resets += [[b"FUNCTION", b"FLUSH", b"SYNC"], [b"SCRIPT", b"FLUSH", b"SYNC"]]
group.readers["string"] = lambda key: [[b"GET", key]]
group.readers["list"] = lambda key: [[b"LRANGE", key, b"0", b"-1"]]
group.readers["set"] = lambda key: [[b"SMEMBERS", key]]
group.readers["hash"] = lambda key: [[b"HGETALL", key]]
group.readers["zset"] = lambda key: [[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]]

KEYS = ["k0", "k1", "k2", "{t}a"]
NUMBERS = "0 1 -1 7 3.0 1.9 -1.9 0.1 1e3 1e15 1e16 1e17 1e100 2^31 2^53 2^53+1 2^62 2^63 -2^63 0/0 1/0 -1/0 -0 0x1F 5e-324 123456.789".split()
TEXTS = ["''", "'a'", "'text'", "'5'", "'-7'", "'3.5'", "' 5'", "'0x10'", "'1e2'", "'a b'", "'OK'", "'ERR x'", r"'a\0b'", r"'a\r\nb'", r"'\255\254'", "'%d'", "string.rep('x', 70)", "'{\"a\":1}'", "'[1,2,[3]]'", "'nil'"]
STATUSES = ["'OK'", "'fine'", "'ERR what'", "'-ERR what'", "'lower'", "'two words'", "''", r"'a\r\nb'", "'-'", "'MY'", "'MY error'", "5", "nil", "{}", "'- x'"]
JSON = ["'1'", "'[]'", "'{}'", "'[1,null,2]'", "'{\"a\":[1.5,true]}'", "'nope'", "'[1,'", "'\"\\\\u00e9\"'", "'1e400'", "'[[[[1]]]]'", "''", "'nan'", "'[1] x'"]
STRUCTS = ["'>I2'", "'<i4'", "'b'", "'>I8'", "'s'", "'d'", "'>f'", "'I3'", "'c3'", "'c0'", "'!4 i'", "'z'", "'I40'", "'>h'", "'xB'"]
COMMANDS = [
    "'SET', KEY, VALUE", "'set', KEY, VALUE, 'NX'", "'SET', KEY, VALUE, 'GET'", "'GET', KEY", "'GETDEL', KEY", "'INCR', KEY", "'INCRBY', KEY, VALUE", "'INCRBYFLOAT', KEY, VALUE",
    "'APPEND', KEY, VALUE", "'STRLEN', KEY", "'MGET', KEY, KEY", "'MSET', KEY, VALUE, KEY, VALUE", "'DEL', KEY", "'UNLINK', KEY, KEY", "'EXISTS', KEY", "'TYPE', KEY", "'RENAME', KEY, KEY",
    "'EXPIRE', KEY, '5000000'", "'PERSIST', KEY", "'TTL', 'nosuch'", "'LPUSH', KEY, VALUE, VALUE", "'RPUSH', KEY, VALUE", "'LRANGE', KEY, 0, -1", "'LPOP', KEY", "'LPOP', KEY, 2", "'LLEN', KEY",
    "'LINDEX', KEY, 0", "'LPOS', KEY, VALUE", "'SADD', KEY, VALUE", "'SISMEMBER', KEY, VALUE", "'SMISMEMBER', KEY, VALUE, VALUE", "'SCARD', KEY", "'SREM', KEY, VALUE", "'HSET', KEY, 'f', VALUE",
    "'HGET', KEY, 'f'", "'HGETALL', KEY", "'HMGET', KEY, 'f', 'g'", "'HINCRBYFLOAT', KEY, 'f', VALUE", "'HDEL', KEY, 'f'", "'HEXISTS', KEY, 'f'", "'ZADD', KEY, VALUE, 'm'", "'ZADD', KEY, 1.5, 'm', 2, 'n'",
    "'ZSCORE', KEY, 'm'", "'ZMSCORE', KEY, 'm', 'x'", "'ZINCRBY', KEY, VALUE, 'm'", "'ZRANGE', KEY, 0, -1, 'WITHSCORES'", "'ZRANK', KEY, 'm', 'WITHSCORE'", "'ZPOPMIN', KEY", "'XADD', KEY, '5-1', 'f', VALUE",
    "'XRANGE', KEY, '-', '+'", "'XLEN', KEY", "'SETBIT', KEY, 7, 1", "'BITCOUNT', KEY", "'PFADD', KEY, VALUE", "'PFCOUNT', KEY", "'GEOADD', KEY, 13.4, 52.5, 'm'", "'GEOPOS', KEY, 'm', 'x'",
    "'PING'", "'ECHO', VALUE", "'DBSIZE'", "'PUBLISH', 'c', VALUE", "'OBJECT', 'ENCODING', KEY", "'COPY', KEY, KEY", "'BLPOP', KEY, 0", "'BLMOVE', KEY, KEY, 'LEFT', 'LEFT', 0", "'BZPOPMIN', KEY, 0", 
    "'XREAD', 'BLOCK', 0, 'STREAMS', KEY, 0", "'SELECT', 1", "'SELECT', 99", "'HELLO', 3", "'COMMAND', 'COUNT', 1", "'CONFIG', 'GET', 'maxmemory'",
]
REFUSED = [
    "", "'NOSUCH', KEY", "''", "'GET'", "'GET', KEY, KEY", "'SET', KEY", "'SUBSCRIBE', 'c'", "'MULTI'", "'EXEC'", "'WATCH', KEY", "'EVAL', 'return 1', 0", "'EVALSHA', 'x', 0", "'SCRIPT', 'FLUSH'", "'FCALL', 'f1', 0",
    "'CLIENT', 'SETNAME', 'x'", "'AUTH', 'x'", "'MONITOR'", "'SHUTDOWN'", "'DEBUG', 'SLEEP', 0", "'RESET'", "'QUIT'", "'SAVE'", "'GET', true", "'GET', nil", "'GET', {}", "true", "nil", "{}", "5", "'SET', KEY, 1.5", "'CLIENT', 'NOSUCH'",
    "'OBJECT'", "'FUNCTION', 'LIST'", "'SET', KEY, function() end", "'LPUSH', KEY, unpack({})", "'config', 'set', 'nosuch', 1", "'XREADGROUP', 'GROUP', 'g'",
]


def key(g):
    roll = g.random.random()
    return g.pick(("KEYS[1]", "KEYS[2]", "KEYS[1]")) if roll < 0.6 else f"'{g.pick(KEYS)}'" if roll < 0.95 else g.pick(("KEYS[9]", "ARGV[1]", "#KEYS"))


def argument(g):
    return g.pick((g.pick(NUMBERS), g.pick(TEXTS), "ARGV[1]", "ARGV[2]", "#ARGV"))


def call(g):
    """A call of a command, mostly one that is well formed."""
    words = g.pick(COMMANDS) if g.chance(0.87) else g.pick(REFUSED)
    while "KEY" in words.replace("KEYS[", ""):
        words = words.replace("KEYS[", "\1").replace("KEY", key(g).replace("KEYS[", "\1"), 1).replace("\1", "KEYS[")
    while "VALUE" in words:
        words = words.replace("VALUE", argument(g), 1)
    return f"redis.{g.pick(('call', 'call', 'pcall'))}({words})"


def library(g, depth):
    """A call into the libraries."""
    return g.pick((
        lambda: f"cjson.encode({plain(g, depth)})", lambda: f"cjson.decode({g.pick(JSON)})", lambda: f"cmsgpack.pack({plain(g, depth)})", lambda: f"cmsgpack.unpack(cmsgpack.pack({plain(g, depth)}, {plain(g, 3)}))",
        lambda: rf"cmsgpack.unpack({g.pick(TEXTS)})", lambda: f"struct.pack({g.pick(STRUCTS)}, {argument(g)})", lambda: f"{{struct.unpack({g.pick(STRUCTS)}, {g.pick(TEXTS)})}}", lambda: f"struct.size({g.pick(STRUCTS)})",
        lambda: f"bit.{g.pick(('band', 'bor', 'bxor', 'lshift', 'rshift', 'arshift', 'rol', 'ror'))}({argument(g)}, {g.pick(NUMBERS)})", lambda: f"bit.{g.pick(('tohex', 'tobit', 'bnot', 'bswap'))}({argument(g)})",
        lambda: f"redis.sha1hex({argument(g)})", lambda: f"string.format({g.pick(TEXTS)}, {argument(g)})", lambda: f"string.format('{g.pick(('%d', '%s', '%5.2f', '%x', '%q', '%g', '%c', '%i', '%10s|', '%%', '%y'))}', {argument(g)})",
        lambda: f"string.{g.pick(('upper', 'len', 'reverse', 'byte', 'rep'))}({argument(g)}, {g.pick(('0', '1', '2', '3'))})", lambda: f"{{string.find({argument(g)}, {g.pick(TEXTS)})}}", lambda: f"string.gsub({argument(g)}, {g.pick(TEXTS)}, 'z')",
        lambda: f"math.{g.pick(('floor', 'ceil', 'abs', 'sqrt'))}({argument(g)})", lambda: f"math.max({argument(g)}, {argument(g)})", lambda: f"table.concat({plain(g, depth)}, ',')", lambda: f"{{unpack({plain(g, depth)}, 1, {g.below(5)})}}",
        lambda: f"select({g.pick(('1', '2', '-1', '0', chr(39) + '#' + chr(39)))}, {argument(g)}, {argument(g)})", lambda: f"{{pcall({g.pick(('error', 'tostring', 'redis.call', 'cjson.decode', 'nosuch'))}, {argument(g)})}}",
        lambda: f"redis.acl_check_cmd('{g.pick(('get', 'set', 'nosuch'))}', 'k')", lambda: "redis.replicate_commands()", lambda: f"redis.set_repl({g.pick(('redis.REPL_ALL', 'redis.REPL_NONE', '99', 'nil'))})",
        lambda: f"redis.log({g.pick(('redis.LOG_DEBUG', '9', 'nil'))}, {argument(g)})", lambda: "redis.breakpoint()", lambda: f"redis.debug({argument(g)})",
    ))()


def plain(g, depth):
    """A value without functions: scalars and lists."""
    if depth > 2 or g.chance(0.5):
        return g.pick((g.pick(NUMBERS[:12]), g.pick(TEXTS[:12]), "true", "false", "nil"))
    items = [plain(g, depth + 1) for _ in range(g.below(4))]
    return "{" + ", ".join(items) + "}" if g.chance(0.8) else "{a = " + plain(g, depth + 1) + "}"


def special(g, depth):
    """A table that stands for a reply of another kind."""
    return g.pick((
        lambda: f"{{ok = {g.pick(STATUSES)}}}", lambda: f"{{err = {g.pick(STATUSES)}}}", lambda: f"{{double = {g.pick(NUMBERS + TEXTS)}}}", lambda: f"{{map = {{a = {expression(g, depth + 1)}}}}}", lambda: f"{{map = {g.pick(TEXTS)}}}",
        lambda: f"{{set = {{{g.pick(('a', 'b'))} = true}}}}", lambda: f"{{set = {{{expression(g, depth + 1)}}}}}", lambda: f"{{big_number = {g.pick(TEXTS + NUMBERS)}}}", lambda: f"{{verbatim_string = {{format = 'txt', string = {g.pick(TEXTS)}}}}}",
        lambda: f"redis.status_reply({g.pick(STATUSES)})", lambda: f"redis.error_reply({g.pick(STATUSES)})", lambda: "redis.status_reply()", lambda: "redis.error_reply('a', 'b')", lambda: f"{{err = 'E x', {plain(g, 2)}}}",
    ))()


def expression(g, depth=0):
    """A value a script may return."""
    roll = g.random.random()
    if roll < 0.32:
        return call(g)
    if roll < 0.44:
        return library(g, depth)
    if roll < 0.55:
        return special(g, depth)
    if roll < 0.75 and depth < 3:
        return "{" + ", ".join(expression(g, depth + 1) for _ in range(g.below(4))) + "}"
    if roll < 0.80:
        return g.pick(("#KEYS", "#ARGV", "KEYS", "ARGV", "KEYS[1]", "ARGV[2]", "tonumber(ARGV[1])", "type(KEYS)", "tostring(nil)", "KEYS[0]", "ARGV['x']", "redis.LOG_NOTICE", "redis.nosuch", "_VERSION", "next", "type(print)", "#_G.KEYS", "type(os.clock())", "os.exit", "nosuch"))
    return g.pick((g.pick(NUMBERS), g.pick(TEXTS), "true", "false", "nil"))


def statement(g):
    """Something before the last line."""
    return g.pick((
        lambda: call(g), lambda: call(g), lambda: f"local x = {expression(g)}", lambda: "redis.setresp(3)", lambda: f"redis.setresp({g.pick(('2', '3', '4', 'nil', chr(39) + '3' + chr(39)))})",
        lambda: f"for i = 1, {g.below(4)} do {call(g)} end", lambda: f"if {expression(g, 2)} then return {expression(g, 2)} end", lambda: f"error({g.pick(TEXTS + ['{err = ' + repr(chr(77)) + '}', 'nil', '5'])})",
        lambda: f"local ok, why = pcall(function() return {expression(g, 1)} end) if not ok then return why end", lambda: "x = 5", lambda: "local y = nosuch", lambda: "KEYS[1] = 'k2'", lambda: "redis.call = nil", lambda: "string.rep = 1",
        lambda: "local t = {} t[nil] = 1", lambda: f"local z = {g.pick(NUMBERS)} .. {g.pick(TEXTS)}", lambda: "local q = nil + 1", lambda: f"table.insert(ARGV, {argument(g)})", lambda: "assert(false, 'no')", lambda: f"assert({expression(g, 2)})",
        lambda: "for _, v in ipairs(KEYS) do redis.call('DEL', v) end", lambda: f"local r = {call(g)} if type(r) == 'table' and r.err then return r.err end", lambda: "return redis.pcall('INCR', KEYS[1]).err", lambda: "goto",
    ))()


def program(g):
    """A script, seldom with a head of flags."""
    lines = [statement(g) for _ in range(g.pick((0, 0, 0, 1, 1, 2, 3)))]
    if not (lines and lines[-1].startswith("return")):
        lines.append(f"return {expression(g)}" if g.chance(0.93) else expression(g) if g.chance(0.3) else call(g))
    text = g.pick(("\n", " ", "\n")).join(lines)
    return head(g) + text if g.chance(0.25) else text


def head(g):
    flags = g.pick(("no-writes", "no-writes", "allow-oom", "allow-stale", "no-cluster", "allow-cross-slot-keys", "no-writes,allow-oom", "nosuch", "", "no-writes, allow-oom"))
    return g.pick(("#!lua\n", f"#!lua flags={flags}\n", f"#!lua flags={flags}\n", f"#!lua flags={flags}\n", "#!nosuch\n", "#!\n", "#!lua name=x\n", "#!lua nosuch=1\n", "#!lua", f"#!LUA flags={flags}\n", f"#! lua flags={flags}\n", f"#!lua flags={flags} flags={flags}\n"))


def operands(g):
    """The number of keys, the keys and the arguments; seldom not in agreement."""
    keys = [k.encode() for k in (g.random.choices(KEYS, k=g.below(3)))]
    values = [g.value() if g.chance(0.6) else g.integer() for _ in range(g.below(3))]
    number = b"%d" % len(keys) if g.chance(0.94) else g.pick((b"-1", b"99", b"abc", b"", b"1.0", b" 1", b"9223372036854775807", b"2"))
    return [number, *keys, *values]


def _eval(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), program(g).encode("latin1"), *operands(g)]


_eval("eval", 100)
_eval("eval_ro", 25)
KNOWN = ["return 1", "return KEYS[1]", "return redis.call('INCR', KEYS[1])", "return redis.call('GET', 'k0')", "#!lua flags=no-writes\nreturn redis.call('GET', KEYS[1])", "return {KEYS, ARGV}", "nosuch syntax", "return nosuch"]


def sha(g):
    digest = hashlib.sha1(g.pick(KNOWN).encode()).hexdigest()
    return (digest if g.chance(0.8) else g.pick((digest.upper(), digest[:39], "x", "", "f" * 40))).encode()


def _evalsha(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), sha(g), *operands(g)]


_evalsha("evalsha", 25)
_evalsha("evalsha_ro", 8)


@command("script|load", 20)
def _(g):
    return [b"SCRIPT", b"LOAD", (g.pick(KNOWN) if g.chance(0.8) else program(g)).encode("latin1")]


@command("script|exists", 8)
def _(g):
    return [b"SCRIPT", b"EXISTS", *(sha(g) for _ in range(1 + g.below(3)))]


@command("script|flush", 4)
def _(g):
    return [b"SCRIPT", b"FLUSH", *([] if g.chance(0.5) else [g.opt(g.pick((b"ASYNC", b"SYNC", b"nosuch")))])]


@command("script|kill", 2)
def _(g):
    return [b"SCRIPT", b"KILL"]


@command("script|show", 4)
def _(g):
    return [b"SCRIPT", b"SHOW", sha(g)]


@command("script|help", 1, mutable=False)
def _(g):
    return Composite("script|help", _first, [b"SCRIPT", b"HELP"])


@command("function|help", 1, mutable=False)
def _(g):
    return Composite("function|help", _first, [b"FUNCTION", b"HELP"])


def _first(connection):
    return type(connection.call(b"FUNCTION", b"HELP")).__name__


def register(g):
    """One call in a library."""
    name = g.pick(("f1", "f2", "f3", "f3", "bad name", "", "x" * 70, "f_4"))
    body = f"function(KEYS, ARGV) {g.pick(('', statement(g)))} return {expression(g)} end"
    flags = ", ".join(repr(f) for f in g.random.choices(("no-writes", "no-writes", "allow-oom", "allow-stale", "no-cluster", "nosuch"), k=g.below(3)))
    return g.pick((
        lambda: f"redis.register_function('{name}', {body})", lambda: f"redis.register_function('{name}', {body})", lambda: f"redis.register_function{{function_name='{name}', callback={body}, flags={{{flags}}}}}",
        lambda: f"redis.register_function{{function_name='{name}', callback={body}, description='what it does'}}", lambda: "redis.register_function('f1')", lambda: "redis.register_function{function_name='f1'}", lambda: "redis.register_function('f1', 5)",
        lambda: "redis.register_function{function_name='f1', callback=function() end, nosuch=1}", lambda: f"local function helper(a) return {expression(g, 2)} end redis.register_function('{name}', helper)", lambda: "redis.register_function{function_name='f1', callback=function() end, flags='x'}",
    ) if g.chance(0.4) else (lambda: f"redis.register_function('f{1 + g.below(4)}', {body})", lambda: f"redis.register_function{{function_name='f{1 + g.below(4)}', callback={body}, flags={{'no-writes'}}}}"))()


def source(g):
    """A library."""
    first = f"#!lua name=lib{g.below(3)}\n" if g.chance(0.9) else g.pick(("", "#!lua\n", "#!lua name=\n", "#!lua name=bad name\n", "#!lua name=a-b\n", "#!nosuch name=lib1\n", "#!lua name=lib1", "#!lua name=a name=b\n", "#!lua nosuch=1 name=lib1\n", "#! name=lib1\n"))
    lines = [register(g) for _ in range(g.pick((1, 1, 1, 2, 2, 0)))]
    if g.chance(0.1):
        lines.insert(0, g.pick(("local v = 5", "error('no')", "redis.call('GET', 'k0')", "x = 5", "return 5", "local a = nosuch", "local t = redis.log", "redis.pcall('PING')", "this is not lua", "local t = redis.setresp")))
    return (first + "\n".join(lines)).encode("latin1")


@command("function|load", 60)
def _(g):
    return [b"FUNCTION", b"LOAD", *([g.opt(b"REPLACE")] if g.chance(0.7) else []), source(g)]


def _fcall(name, weight):
    @command(name, weight)
    def _(g):
        return [name.upper().encode(), b"f%d" % (1 + g.below(4)) if g.chance(0.95) else g.pick((b"F1", b"nosuch", b"")), *operands(g)]


_fcall("fcall", 60)
_fcall("fcall_ro", 20)


@command("function|delete", 6)
def _(g):
    return [b"FUNCTION", b"DELETE", b"lib%d" % g.below(4)]


@command("function|flush", 3)
def _(g):
    return [b"FUNCTION", b"FLUSH", *([] if g.chance(0.5) else [g.opt(g.pick((b"ASYNC", b"SYNC", b"nosuch")))])]


@command("function|kill", 2)
def _(g):
    return [b"FUNCTION", b"KILL"]


@command("function|stats", 4, mutable=False)
def _(g):
    return [b"FUNCTION", b"STATS"]


@command("function|list", 8)
def _(g):
    """One library at a time: the order of several is each server's own."""
    return [b"FUNCTION", b"LIST", g.opt(b"LIBRARYNAME"), b"lib%d" % g.below(3), *([g.opt(b"WITHCODE")] if g.chance(0.4) else [])]


@group.compare("function|load", reason="which of several names that are taken is told of is each server's own")
def _(arguments, mine, theirs, pair):
    taken = [kind == b"-" and text.startswith(b"ERR Function ") and text.endswith(b" already exists") for kind, text in (mine, theirs)]
    return all(taken)


@group.compare("function|list", reason="the functions of a library come in any order")
def _(arguments, mine, theirs, pair):
    return _sorted(mine) == _sorted(theirs)


def _sorted(value):
    kind, content = value if isinstance(value, tuple) and len(value) == 2 else (None, value)
    return (repr(kind), sorted((repr(_sorted(item)) for item in content))) if isinstance(content, list) else repr(value)


@command("function|dump", 3, mutable=False)
def _(g):
    return Composite("function|dump", _dumped, [b"FUNCTION", b"DUMP"])


def _dumped(connection):
    """What FUNCTION RESTORE says to the server's own dump, in each of its ways."""
    dump = connection.call(b"FUNCTION", b"DUMP")
    if not isinstance(dump, bytes):
        return dump
    replies = [connection.call(b"FUNCTION", b"RESTORE", dump, *policy) for policy in ([b"REPLACE"], [], [b"FLUSH"], [b"APPEND"], [b"nosuch"])]
    replies = [re.sub(rb"lib\d", b"lib", reply) if isinstance(reply, bytes) else reply for reply in replies]  # the first of them
    return replies + [connection.call(b"FUNCTION", b"RESTORE", dump[:-1]), connection.call(b"FUNCTION", b"RESTORE", b"")]


def _without_memory(words):
    """A request at the limit of memory: alone with it, because what is evicted when is each server's own."""
    def run(connection):
        policy = connection.call(b"CONFIG", b"GET", b"maxmemory-policy")
        if not isinstance(policy, list) or len(policy) != 2:
            return policy
        limits = [[b"CONFIG", b"SET", b"maxmemory-policy", b"noeviction", b"maxmemory", b"1"], [b"CONFIG", b"SET", b"maxmemory", b"0", b"maxmemory-policy", policy[1]]]
        return connection.exchange([wire.encode(w) for w in (limits[0], words, limits[1])])

    return run


@command("config|set", 15, mutable=False, label="no memory left")
def _(g):
    label = g.pick(("eval", "eval", "eval_ro", "evalsha", "fcall", "fcall_ro", "function|load", "script|load"))
    words = group.generators[label][1](g)
    return Composite(label, _without_memory(words), words)


@command("set", 20, mutable=False, label="values for scripts")
def _(g):
    return [b"SET", g.pick(KEYS).encode(), g.value()]


@command("del", 8, mutable=False, label="keys of scripts deleted")
def _(g):
    return [b"DEL", g.pick(KEYS).encode(), g.pick(KEYS).encode()]

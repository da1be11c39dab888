"""Requests that are not well-formed arrays of bulk strings: inline commands and protocol errors.

Each fragment is complete: a server answers it or closes, and never waits for more.
"""
from script import Command, Group

group = Group("protocol")
command = group.command

INLINE = [b'SET %s "b c"', b"SET %s 'b c'", b'SET %s "\\x41\\n\\r\\t\\a\\b\\"\\\\"', b"SET %s 'it\\'s'", b"GET %s", b"  GET   %s  ", b"get\t%s", b"INCR %s", b'GET "%s"', b'SET %s ""', b"SET %s ''",
          b"MGET %s %s", b'SET %s "\\xzz"', b"SET %s \\x41", b"EXISTS %s\x0b", b'SET %s "a"  ', b"DEL %s", b"APPEND %s \xfe"]
BAD_INLINE = [b'GET "k0', b"GET 'k0", b'GET "k0"x', b"GET 'k0'x", b'"', b"'", b'SET k0 "a" "', b'GET "k0"\'']
# Protocol errors close the connection: nothing after them is read.
BROKEN = [b"*abc\r\n", b"*-\r\n", b"*1048577\r\n", b"*2147483648\r\n", b"*99999999999999999999\r\n", b"*1\r\nPING\r\n", b"*1\r\n:4\r\nPING\r\n", b"*1\r\n$abc\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$-2\r\n",
          b"*1\r\n$536870913\r\n", b"*1\r\n$99999999999999999999\r\n", b"*2\r\n$3\r\nGET\r\n+k0\r\n", b"*1\r\n\r\n", b"*1\r\n$ 4\r\nPING\r\n", b"* 1\r\n", b"*1 \r\n", b"*+1\r\n", b"*01\r\n$4\r\nPING\r\n",
          b"*1\r\n$04\r\nPING\r\n", b"*1\r\n$+4\r\nPING\r\n", b"*\r\n", b"*1\r\n$\r\n", b"*1\r\n$4\r\nPING\r\n*x\r\n", b"*-99999999999999999999\r\n", b"*9223372036854775807\r\n"]
# What a browser tricked into talking to the server would send: closed at once.
CROSS_PROTOCOL = [b"POST / HTTP/1.1\r\n", b"Host: x\r\n", b"host: localhost:6379\r\n", b"*1\r\n$5\r\nhost:\r\n", b"*1\r\n$4\r\npost\r\n"]
EMPTY = [b"\r\n", b"\n", b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"\r\n\r\n\n", b"   \r\n", b"\t\r\n", b"*0\r\n*0\r\n", b'""\r\n', b"''\r\n"]


@command("get", 12, mutable=False, label="inline")
def _(g):
    fragment = g.pick(INLINE)
    line = fragment.replace(b"%s", g.pick((b"k0", b"k1", b"n0", b"n1")))
    return Command([], raw=line + g.pick((b"\r\n", b"\n")))


@command("get", 2, mutable=False, label="inline, wrong")
def _(g):
    return Command([], raw=g.pick(BAD_INLINE) + b"\r\n")


@command("get", 4, mutable=False, label="broken")
def _(g):
    return Command([], raw=g.pick(BROKEN))


@command("get", 1, mutable=False, label="cross protocol")
def _(g):
    return Command([], raw=g.pick(CROSS_PROTOCOL))


@command("get", 4, mutable=False, label="empty")
def _(g):
    return Command([], raw=g.pick(EMPTY) + b"PING\r\n")


@command("get", 3, mutable=False, label="null arguments")
def _(g):
    return Command([], raw=g.pick((b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", b"*1\r\n$0\r\n\r\n", b"*2\r\n$0\r\n\r\n$1\r\nx\r\n", b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n")))


@command("set", 6, label="data between")
def _(g):
    return [b"SET", g.key(), g.value()]

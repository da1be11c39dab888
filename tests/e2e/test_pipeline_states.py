"""Commands that change what holds for their connection, in the middle of a pipeline: every reply is the one that Valkey gives, byte for byte.

What holds for a connection is looked up once for the requests that came together, so each of these commands has to make itself felt by the next.
"""
import random

import pytest
import support
from support import encode
from test_exchange import peer

DATA = [
    ("SET", "k", "1"), ("GET", "k"), ("INCR", "k"), ("APPEND", "k", "0"), ("DEL", "k"), ("EXISTS", "k", "l"), ("MSET", "k", "5", "m", "6"), ("MGET", "k", "m", "l"),
    ("LPUSH", "l", "a", "b"), ("LRANGE", "l", "0", "-1"), ("LPOP", "l"), ("BLPOP", "l", "0.01"), ("HSET", "h", "f", "v"), ("HGET", "h", "f"), ("GET", "l"), ("INCR", "l"),
    ("SADD", "s", "x"), ("SCARD", "s"), ("ZADD", "z", "1", "a"), ("ZSCORE", "z", "a"), ("OBJECT", "ENCODING", "k"), ("GET",), ("SET", "k"), ("NONSENSE", "k"),
    ("GETEX", "k", "EX"), ("EVAL", "return redis.call('incrby', KEYS[1], 2)", "1", "n"), ("EVAL", "return redis.call('get', KEYS[1])", "1", "k"), ("PUBLISH", "c", "said"),
]
STATES = [
    ("MULTI",), ("MULTI",), ("EXEC",), ("EXEC",), ("DISCARD",), ("WATCH", "k"), ("UNWATCH",), ("CLIENT", "REPLY", "OFF"), ("CLIENT", "REPLY", "ON"), ("CLIENT", "REPLY", "SKIP"),
    ("SELECT", "1"), ("SELECT", "0"), ("SELECT", "99"), ("SUBSCRIBE", "c"), ("UNSUBSCRIBE", "c"), ("CLIENT", "TRACKING", "ON"), ("CLIENT", "TRACKING", "ON", "OPTIN"),
    ("CLIENT", "TRACKING", "ON", "NOLOOP"), ("CLIENT", "TRACKING", "OFF"), ("CLIENT", "CACHING", "YES"), ("CLIENT", "NO-TOUCH", "ON"), ("CLIENT", "NO-EVICT", "ON"), ("RESET",),
    ("AUTH", "wrong"), ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), ("CONFIG", "SET", "slowlog-log-slower-than", "0"),
    ("CONFIG", "SET", "commandlog-request-larger-than", "1"), ("CONFIG", "RESETSTAT"), ("PING",), ("ECHO", "heard"), ("CLIENT", "GETNAME"), ("SWAPDB", "0", "1"),
]
END = b"$3\r\nend\r\n"


def answers(connection, requests):
    """What comes for these requests, sent in one piece, up to the reply of the last."""
    connection.raw(b"".join(encode(*request) for request in requests))
    got = b""
    while not got.endswith(END):
        piece = connection.socket.recv(1 << 16)
        assert piece, got[-300:]
        got += piece
    return got


def pipeline(chance, length):
    """Random requests with a few that change the state of the connection, and at the end what makes it as it was."""
    share = chance.choice((0.1, 0.3, 0.6))
    requests = [chance.choice(STATES if chance.random() < share else DATA) for _ in range(length)]
    return requests + [("RESET",), ("CONFIG", "SET", "maxmemory", "0"), ("FLUSHALL",), ("ECHO", "end")]


@pytest.mark.parametrize("resp", [2, 3])
@pytest.mark.parametrize("length", [3, 30, 300])
def test_states_change_in_the_middle_of_a_pipeline(resp, length):
    chance = random.Random(1000 * resp + length)
    with support.Server() as server, peer("VALKEY_SERVER") as port:
        theirs = support.Client(support.socket.create_connection(("127.0.0.1", port), 10))
        with server.connect() as ours, theirs:
            for number in range(1200 // length + 30):
                requests = pipeline(chance, length)
                for connection in (ours, theirs):
                    connection("HELLO", str(resp))
                mine, expected = answers(ours, requests), answers(theirs, requests)
                assert mine == expected, (number, requests, first_difference(mine, expected))


def first_difference(one, other):
    """The bytes around the first place where two replies differ."""
    at = next((at for at, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other)))
    return one[max(0, at - 120) : at + 80], other[max(0, at - 120) : at + 80]

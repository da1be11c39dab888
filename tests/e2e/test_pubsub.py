"""Pub/sub over sockets, with two workers: order, those who do not read, the ends of connections.

The same tests pass against Valkey (`LARDER=$VALKEY_SERVER`).
"""
import random
import threading
import time

import pytest
import support
from support import encode, parse_info, until


@pytest.fixture(scope="module")
def module_server():
    """A server with two workers: connections are dealt out to both in turn."""
    options = {} if "valkey" in " ".join(support.program()) else {"threads": 2}
    with support.Server(**options) as server:
        yield server
        assert server.process.poll() is None, "the server died:\n" + server.log()[-3000:]


@pytest.fixture
def server(module_server):
    """The module's server without listeners from earlier tests."""
    with module_server.connect() as control:
        control("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")
        assert until(lambda: control("PUBSUB", "CHANNELS") == [] and control("PUBSUB", "NUMPAT") == 0)
    return module_server


def listener(server, *channels, hello=False):
    """A connection that listens to channels, and has been told so."""
    client = server.connect()
    if hello:
        client("HELLO", "3")
    client.send("SUBSCRIBE", *channels)
    for count, channel in enumerate(channels, 1):
        assert client.read() == [b"subscribe", channel.encode(), count]
    return client


def test_every_listener_sees_the_messages_of_a_channel_in_one_order(server):
    listeners = [listener(server, "c", hello=i % 2 == 0) for i in range(6)]
    count, publishers = 400, 4

    def publish(number):
        with server.connect() as client:
            client.raw(b"".join(encode("PUBLISH", "c", f"{number}:{i}") for i in range(count)))
            assert [client.read() for _ in range(count)] == [len(listeners)] * count

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(publishers)]
    [thread.start() for thread in threads]
    seen = [[client.read()[2] for _ in range(count * publishers)] for client in listeners]
    [thread.join() for thread in threads]
    assert all(other == seen[0] for other in seen)
    for number in range(publishers):
        own = [int(text.split(b":")[1]) for text in seen[0] if text.startswith(b"%d:" % number)]
        assert own == list(range(count))
    [client.close() for client in listeners]


def test_nothing_is_lost_after_subscribe_and_nothing_comes_after_unsubscribe(server):
    stop, sent = threading.Event(), [0]

    def publish():
        with server.connect() as client:
            while not stop.is_set():
                client("PUBLISH", "c", str(sent[0]))
                sent[0] += 1

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        for round_ in range(60):
            client = listener(server, "c", hello=round_ % 2 == 0)
            told = sent[0]
            time.sleep(random.random() * 0.01)
            client.raw(encode("UNSUBSCRIBE", "c") + encode("PING"))
            numbers = []
            while (reply := client.read())[0] == b"message":
                numbers.append(int(reply[2]))
            assert reply == [b"unsubscribe", b"c", 0]
            assert client.read() == "PONG"
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
            assert not numbers or numbers[0] <= told + 1
            client.close()
    finally:
        stop.set()
        thread.join()


def test_large_and_small_messages_pass_a_reader_that_is_slow_at_times(server):
    client, random_ = listener(server, "c"), random.Random(5)
    texts = [bytes([i % 251]) * random_.choice((1, 30, 255, 256, 5000, 70_000)) for i in range(3000)]

    def publish():
        with server.connect() as publisher:
            for text in texts:
                assert publisher("PUBLISH", "c", text) == 1

    thread = threading.Thread(target=publish)
    thread.start()
    for i, text in enumerate(texts):
        assert client.read() == [b"message", b"c", text]
        if i % 700 == 0:
            time.sleep(0.05)
    thread.join()
    client.close()


def test_those_who_stop_reading_for_a_while_miss_nothing(server):
    count, text = 4000, b"x" * 2000
    slow = [listener(server, "c", hello=i % 2 == 0) for i in range(40)]
    with server.connect() as control:
        for i in range(count):
            assert control("PUBLISH", "c", b"%d:" % i + text) == len(slow)
        waiting = [dict(f.split("=", 1) for f in line.split()) for line in control("CLIENT", "LIST", "TYPE", "PUBSUB").decode().splitlines()]
        assert sum(int(client["omem"]) > 100_000 for client in waiting) == len(slow), "more was sent than the system holds"

        def read_on():
            for i in range(count, count + 1000):
                control("PUBLISH", "c", b"%d:" % i + text)

        thread = threading.Thread(target=read_on)
        thread.start()
        for client in slow:
            for i in range(count + 1000):
                assert client.read() == [b"message", b"c", b"%d:" % i + text]
        thread.join()
    [client.close() for client in slow]


def test_who_stays_above_the_soft_limit_is_closed_though_nothing_more_is_sent(server):
    with server.connect() as control:
        control("CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 1mb 1")
        client = listener(server, "c")
        for _ in range(1000):
            control("PUBLISH", "c", b"x" * 10_000)
        assert control("PUBSUB", "NUMSUB", "c") == [b"c", 1]
        assert until(lambda: control("PUBSUB", "NUMSUB", "c") == [b"c", 0], 6), "it has been above for longer than a second"
        assert client.closed()


def test_who_does_not_read_is_closed_beyond_its_limit_and_delays_nobody(server):
    with server.connect() as control:
        control("CONFIG", "SET", "client-output-buffer-limit", "pubsub 4mb 0 0")
        stalled, reading = [listener(server, "c") for _ in range(4)], listener(server, "c")
        text, received = b"x" * 10_000, [0]

        def read():
            while received[0] < 3000:
                assert reading.read()[2] == text
                received[0] += 1

        thread = threading.Thread(target=read)
        thread.start()
        for i in range(3000):
            control("PUBLISH", "c", text)
            if i - received[0] > 100:
                until(lambda: i - received[0] < 50)
        thread.join()
        assert until(lambda: control("PUBSUB", "NUMSUB", "c")[1] == 1), "the readers that stalled are gone"
        assert int(parse_info(control("INFO", "stats"))["client_output_buffer_limit_disconnections"]) >= 4
        assert all(client.closed() for client in stalled)
        reading.close()


def test_the_soft_limit_counts_while_nothing_is_published(server):
    if "valkey" in " ".join(support.program()):
        pytest.skip("it looks at the limit when it sends the next message")
    with server.connect() as control:
        control("CONFIG", "SET", "client-output-buffer-limit", "pubsub 64mb 4mb 1")
        stalled = listener(server, "c")
        for _ in range(150):
            control("PUBLISH", "c", b"x" * 100_000)
        assert control("PUBSUB", "NUMSUB", "c")[1] == 1
        assert until(lambda: control("PUBSUB", "NUMSUB", "c")[1] == 0, timeout=8), "closed by the clock"
        stalled.close()


def test_a_thousand_stalled_listeners_hold_no_copies(server):
    if "valkey" in " ".join(support.program()):
        pytest.skip("each listener has its own copies there")
    stalled = [listener(server, "c") for _ in range(1000)]
    before, text = server.resident_bytes(), b"x" * 4096
    with server.connect() as control:
        for _ in range(3000):
            assert control("PUBLISH", "c", text) == 1000
        # 12 MB of messages for each of them: 12 GB, were they not shared. The kernel's buffers are not the server's.
        assert server.resident_bytes() - before < 400_000_000
        [client.close() for client in stalled]
        assert until(lambda: control("PUBSUB", "NUMSUB", "c")[1] == 0)


def test_connections_that_end_listen_no_more(server):
    clients = [listener(server, "c", f"d{i}") for i in range(50)]
    with server.connect() as control:
        control("CLIENT", "KILL", "TYPE", "pubsub", "ID", control("CLIENT", "ID"))
        for client in clients[:25]:
            client.close()
        clients[25].send("RESET")
        clients[26].send("QUIT")
        assert until(lambda: control("PUBSUB", "NUMSUB", "c")[1] == 23)
        assert control("CLIENT", "KILL", "TYPE", "pubsub") == 23
        assert control("PUBSUB", "NUMSUB", "c")[1] == 0 and control("PUBSUB", "CHANNELS") == []
        assert control("PUBLISH", "c", "x") == 0
        assert all(client.closed() for client in clients[27:])


def test_an_idle_listener_is_not_closed(server):
    with server.connect() as control:
        control("CONFIG", "SET", "timeout", "1")
        client = listener(server, "c")
    time.sleep(2.5)
    with server.connect() as control:
        control("CONFIG", "SET", "timeout", "0")
        assert control("PUBLISH", "c", "x") == 1
        assert client.read() == [b"message", b"c", b"x"]
        client.close()

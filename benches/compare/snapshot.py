#!/usr/bin/env python3
"""What a snapshot costs whoever is served meanwhile: longest reply, memory, duration.

usage: snapshot.py [--keys 1000000] [--bytes 64] [--writes 20000] [--rounds 3] [--large 0] [--kind hash] [--disk DIRECTORY]
                   --server NAME='CMD --port {port}' [--server ..]

Each server gets KEYS strings of BYTES bytes. A writer overwrites random ones, WRITES a second, a probe asks for one key a thousand times a
second. Prints, ROUNDS times, for five seconds without a snapshot and then for a snapshot (BGSAVE), the longest reply of the probe, that which
one in a thousand exceeds, how many took more than 2 ms, and how long the host gave this machine's processors to others: what the machine itself
makes a probe wait differs from minute to minute, and is in both; `machine` says it too: for how many milliseconds at most a process that did
nothing but run was kept from it, in a second before and in one behind, in which nobody wrote. For the snapshots also how long they took, and the memory that the server and
its children had at most, in proportion to what they had before. At the end how many of all replies took more than 2 ms, without and with a
snapshot. With --large N there is a collection of N elements too (--kind: hash, set, zset, list or stream): one in 16 writes, and every other
request of the probe, changes it. Server and probe run with a higher priority than others where that is allowed. Loopback only; ends by itself.
"""
import argparse, multiprocessing, os, random, shutil, socket, subprocess, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from servers import Connection, encode, longest_gap_ms, stolen_ms  # noqa: E402


def urgent():
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass


def family(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            return [pid] + [int(child) for child in children.read().split()]
    except OSError:
        return [pid]


def memory_mb(pid):
    """What a process and its children take, shared pages in parts; for one without children what is resident."""
    pids, total = family(pid), 0
    for one in pids:
        try:
            path, word = (f"/proc/{one}/smaps_rollup", "Pss:") if len(pids) > 1 else (f"/proc/{one}/status", "VmRSS:")
            with open(path) as lines:
                total += sum(int(line.split()[1]) for line in lines if line.startswith(word))
        except OSError:
            pass
    return total / 1024


def one(kind, n, value):
    """What adds or changes element n of the large collection."""
    return {"hash": ("HSET", "large", "field:%d" % n, value), "set": ("SADD", "large", "member:%d" % n), "zset": ("ZADD", "large", value, "member:%d" % n),
            "list": ("LSET", "large", n, value), "stream": ("XADD", "large", "*", "field", value)}[kind]


def fill_large(connection, large, kind):
    for first in range(0, large, 1000):
        numbers = range(first, min(first + 1000, large))
        if kind == "stream":
            connection.socket.sendall(b"".join(encode(*one(kind, n, "some-value")) for n in numbers))
            for _ in numbers:
                connection.reply()
            continue
        name, words = {"hash": ("HSET", lambda n: ("field:%d" % n, "value:%d" % n)), "set": ("SADD", lambda n: ("member:%d" % n,)),
                       "zset": ("ZADD", lambda n: (n, "member:%d" % n)), "list": ("RPUSH", lambda n: ("element:%d" % n,))}[kind]
        connection.call(name, "large", *[word for n in numbers for word in words(n)])


def fill(port, keys, size, large, kind):
    connection, value = Connection(port), b"x" * size
    for first in range(0, keys, 1000):
        connection.socket.sendall(b"".join(encode("SET", "key:%d" % n, b"%d-" % n + value[: size - 8]) for n in range(first, min(first + 1000, keys))))
        for _ in range(first, min(first + 1000, keys)):
            connection.reply()
    fill_large(connection, large, kind)


def write(port, keys, size, rate, large, kind, stop, may_write):
    urgent()
    connection, chance, due = Connection(port), random.Random(1), time.monotonic()
    while not stop.is_set():
        may_write.wait()
        batch = [encode("SET", "key:%d" % chance.randrange(keys), os.urandom(size // 2).hex()) for _ in range(16)]
        if large:
            batch[0] = encode(*one(kind, near(kind, large, chance), chance.randrange(1000)))
        connection.socket.sendall(b"".join(batch))
        for _ in batch:
            connection.reply()
        due = max(due + 16 / rate, time.monotonic() - 0.1)
        time.sleep(max(0.0, due - time.monotonic()))


def near(kind, large, chance):
    """An element; of a list one near an end, because LSET goes from node to node."""
    return chance.randrange(min(large, 10_000)) * chance.choice((1, -1)) if kind == "list" else chance.randrange(large)


def probe(port, keys, large, kind, stop, results):
    urgent()
    connection, chance, times = Connection(port), random.Random(2), []
    request = [encode("GET", "key:%d" % chance.randrange(keys)) for _ in range(1000)]
    if large:
        request[::2] = [encode(*one(kind, near(kind, large, chance), n)) for n in range(500)]
    due = time.monotonic()
    while not stop.is_set():
        at = time.monotonic()
        connection.socket.sendall(request[len(times) % 1000])
        connection.reply()
        times.append(time.monotonic() - at)
        due = max(due + 0.001, at)
        time.sleep(max(0.0, due - time.monotonic()))
    results.put(times)


def probed(port, keys, large, kind, work):
    """Runs `work`; returns what it returns, the longest reply and the 99.9th percentile in milliseconds, how many took more than 2 ms, of how many, and the milliseconds stolen from this machine meanwhile."""
    stop, results, stolen = multiprocessing.Event(), multiprocessing.Queue(), stolen_ms()
    process = multiprocessing.Process(target=probe, args=(port, keys, large, kind, stop, results))
    process.start()
    result = work()
    stop.set()
    times = sorted(results.get())
    process.join()
    stolen = stolen_ms() - stolen
    late = sum(1 for time in times if time > 0.002)
    return result, times[-1] * 1000, times[min(len(times) - 1, len(times) * 999 // 1000)] * 1000, late, len(times), stolen


def machine(may_write):
    """How long the machine itself keeps a process from running, in milliseconds, while nobody writes."""
    may_write.clear()
    time.sleep(0.3)
    gap = longest_gap_ms()
    may_write.set()
    time.sleep(0.3)
    return gap


def snapshot(connection, pid):
    before, began, most = memory_mb(pid), time.monotonic(), 0.0
    connection.call("BGSAVE")
    while b"rdb_bgsave_in_progress:1" in connection.call("INFO", "persistence"):
        most = max(most, memory_mb(pid))
        time.sleep(0.02)
    status = connection.call("INFO", "persistence")
    assert b"rdb_last_bgsave_status:ok" in status, status
    return time.monotonic() - began, max(most, before) / before


def measure(name, command, a):
    directory = tempfile.mkdtemp(prefix="larder-snapshot-", dir=a.disk)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    log = open(os.path.join(directory, "log"), "wb")
    server = subprocess.Popen(command.format(port=port).split(), cwd=directory, stdout=log, stderr=log, preexec_fn=urgent)
    stop, may_write = multiprocessing.Event(), multiprocessing.Event()
    may_write.set()
    writer = None
    try:
        for _ in range(100):
            try:
                connection = Connection(port)
                break
            except OSError:
                time.sleep(0.1)
        fill(port, a.keys, a.bytes, a.large, a.kind)
        writer = multiprocessing.Process(target=write, args=(port, a.keys, a.bytes, a.writes, a.large, a.kind, stop, may_write))
        writer.start()
        time.sleep(1)
        late = {"without": [0, 0], "snapshot": [0, 0]}
        for _ in range(a.rounds):
            for kind, work in (("without", lambda: time.sleep(5)), ("snapshot", lambda: snapshot(connection, server.pid))):
                before = machine(may_write)
                result, longest, most, over, asked, stolen = probed(port, a.keys, a.large, a.kind, work)
                late[kind] = [late[kind][0] + over, late[kind][1] + asked]
                gaps = f"{before:.2f} {machine(may_write):.2f}"
                took = "   took %5.2f s   memory x %.3f" % result if result else ""
                print(f"{name:12} {kind:11} longest {longest:7.2f} ms   p99.9 {most:6.2f} ms   over 2 ms {over:4}   stolen {stolen:5.0f} ms   machine {gaps}{took}", flush=True)
            time.sleep(1)
        for kind, (over, asked) in late.items():
            print(f"{name:12} {kind:11} over 2 ms {over} of {asked}: {over / asked * 1e6:.0f} in a million", flush=True)
    finally:
        stop.set()
        may_write.set()
        if writer:
            writer.join()
        server.kill()
        server.wait()
        shutil.rmtree(directory)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--keys", type=int, default=1_000_000)
    p.add_argument("--bytes", type=int, default=64)
    p.add_argument("--writes", type=int, default=20_000)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--large", type=int, default=0)
    p.add_argument("--kind", default="hash", choices=("hash", "set", "zset", "list", "stream"))
    p.add_argument("--disk")
    p.add_argument("--server", action="append", required=True)
    a = p.parse_args()
    for server in a.server:
        name, command = server.split("=", 1)
        measure(name, command, a)


if __name__ == "__main__":
    main()

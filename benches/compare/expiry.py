#!/usr/bin/env python3
"""How soon expired keys are gone, and what a bystander feels of it.

usage: expiry.py [--keys 5000000] [--fields 2000000] [--rate 2000] --server NAME='CMD --port {port} ..' ..

Stores KEYS strings with one deadline, and then hashes of 50 fields, FIELDS in all, with one deadline for every field. A
probe sends RATE GETs a second meanwhile. Prints, for each server: how long after the deadline 99 % and all were gone (looked
at every 20 ms), the processor time that took, and the probe's replies from the deadline until all was gone; and for how many
milliseconds at most the machine itself kept a process that did nothing but run from it, in a second before and in one behind
(`machine_ms`). Gives up after 60 seconds. Needs about 1 GB of memory for 5,000,000 keys.
"""
import argparse
import time

from servers import SUMMARY, Connection, Probe, Server, longest_gap_ms

PATIENCE_S = 60
FIELDS = 50


def keys(connection, count):
    """Fills, and returns the deadline in seconds and what counts the keys left."""
    deadline = fill_time(connection, count)
    text = b"*5\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$8\r\nvalue-01\r\n$4\r\nPXAT\r\n$13\r\n" + b"%d\r\n" % int(deadline * 1000)
    connection.fill((text % number for number in range(count)), b"+OK\r\n")
    others = connection.call("DBSIZE") - count
    return deadline, lambda look: look.call("DBSIZE") - others


def fill_time(connection, count):
    """When filling will be over, with some seconds to spare: judged by a tenth of a second of it."""
    sample = 20000
    started = time.time()
    connection.fill((b"*3\r\n$3\r\nSET\r\n$16\r\nkey:%012d\r\n$1\r\n1\r\n" % n for n in range(sample)), b"+OK\r\n")
    return time.time() + (time.time() - started) / sample * count * 4 + 20


def hash_fields(connection, count):
    """As `keys`, for fields."""
    hashes = count // FIELDS
    names = b"".join(b"$8\r\nfield-%02d\r\n" % number for number in range(FIELDS))
    pairs = b"".join(b"$8\r\nfield-%02d\r\n$8\r\nvalue-01\r\n" % number for number in range(FIELDS))
    fill = b"*%d\r\n$4\r\nHSET\r\n$16\r\nset:%%012d\r\n" % (2 + 2 * FIELDS) + pairs
    started = time.time()
    connection.fill((fill % number for number in range(hashes)), b":%d\r\n" % FIELDS, 200)
    deadline = time.time() + (time.time() - started) * 4 + 8
    expire = (
        b"*%d\r\n$10\r\nHPEXPIREAT\r\n$16\r\nset:%%012d\r\n$13\r\n%d\r\n$6\r\nFIELDS\r\n$2\r\n%d\r\n"
        % (5 + FIELDS, int(deadline * 1000), FIELDS)
        + names
    )
    connection.fill((expire % number for number in range(hashes)), b"*%d\r\n" % FIELDS + b":1\r\n" * FIELDS, 200)
    before = int(connection.info("stats").get("expired_fields", 0))
    return deadline, lambda look: count - int(look.info("stats").get("expired_fields", 0)) + before


def measure(server, name, fill, count, rate):
    deadline, left = fill(server.connection, count)
    look = Connection(server.port)
    if time.time() > deadline:
        raise RuntimeError("filling took longer than expected")
    time.sleep(max(0.0, deadline - time.time() - 3.5))
    before_ms = longest_gap_ms()
    time.sleep(max(0.0, deadline - time.time() - 1.5))
    probe = Probe(server, rate)
    time.sleep(max(0.0, deadline - time.time()))
    cpu, most, all_gone, now = server.cpu_s(), None, None, deadline
    while all_gone is None and now < deadline + PATIENCE_S:
        rest = left(look)
        now = time.time()
        if most is None and rest <= count // 100:
            most = now - deadline
        if rest <= 0:
            all_gone = now - deadline
        time.sleep(0.02)
    cpu = server.cpu_s() - cpu
    probe.stop()
    gaps = f"{before_ms:.2f} {longest_gap_ms():.2f}"
    show = lambda seconds: "never" if seconds is None else f"{seconds:.2f}"
    print(f"{server.label}\t{name}, before\t\t\t\t{probe.summary(end=deadline)}", flush=True)
    busy = probe.summary(deadline, deadline + (all_gone or PATIENCE_S))
    print(f"{server.label}\t{name}\t{show(most)}\t{show(all_gone)}\t{cpu:.2f}\t{busy}\t{gaps}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--fields", type=int, default=2_000_000)
    parser.add_argument("--rate", type=float, default=2000)
    parser.add_argument("--server", action="append", required=True)
    options = parser.parse_args()
    print(f"server\twhat\t99%_gone_s\tall_gone_s\tcpu_s\t{SUMMARY}\tmachine_ms", flush=True)
    for spec in options.server:
        with Server(spec) as server:
            server.connection.call("SET", "probe", "1")
            if options.keys:
                measure(server, f"{options.keys} keys", keys, options.keys, options.rate)
            if options.fields:
                measure(server, f"{options.fields} fields", hash_fields, options.fields // FIELDS * FIELDS, options.rate)


if __name__ == "__main__":
    main()

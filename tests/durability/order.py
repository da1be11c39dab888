#!/usr/bin/env python3
"""What leaves before what is on the disk, seen by strace; and what becomes of the server when system calls fail.

usage: order.py [--server COMMAND] [--policy always|everysec|no|all] [--rounds N] [--seed S] [--no-faults | --no-order]

Order: connections write values that are never written twice, others read them. In the trace no reply that carries or
follows such a value may leave before the write of the log that contains it has returned, and under `always` before
an fdatasync of the log that began after that write has returned 0.

Faults: in each round one system call of the log, of a rewrite or of a snapshot fails: once, a few times, or until the
fault is taken away. What may follow stands in `Round.judge`. Ends with a table; exit status 1 if a promise was broken.
"""
import collections
import glob
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import load
import service
import verdict

CALLS = "write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync,sync_file_range"
MARK = re.compile(r"mk:(\d+):(\d+):")
LINE = re.compile(r"^(\d+)\s+(?:<\.\.\. (\w+) resumed>(.*)|(\w+)\((.*))$")
PEER = re.compile(r"^\d+<TCP:\[127\.0\.0\.1:(\d+)->127\.0\.0\.1:(\d+)\]>")


class Trace:
    """Reads a trace line by line and keeps the order of beginnings and ends of calls."""

    def __init__(self, port, peers, always):
        self.port, self.peers, self.always = port, peers, always
        self.written, self.durable = {}, {}     # mark -> line where the call that did it returned
        self.open_calls = {}
        self.replies = self.syncs = 0
        self.wrong = []

    def feed(self, number, line):
        found = LINE.match(line)
        if not found:
            return
        thread, resumed, rest, call, arguments = found.groups()
        if resumed:
            begun = self.open_calls.pop(thread, None)
            if begun:
                self.ended(number, *begun, rest)
            return
        self.began(number, call, arguments)
        if arguments.endswith("<unfinished ...>"):
            self.open_calls[thread] = (number, call, arguments)
        else:
            self.ended(number, number, call, arguments, arguments)

    def began(self, number, call, arguments):
        peer = PEER.match(arguments)
        if not peer or int(peer.group(1)) != self.port:
            return
        own = self.peers.get(int(peer.group(2)))
        for connection, n in MARK.findall(arguments):
            # What a writer is answered is the value before, so its own is the next one.
            mark = (int(connection), int(n) + (own == int(connection)))
            self.replies += 1
            state = self.durable if self.always else self.written
            if mark[1] and mark not in state:
                self.wrong.append(f"line {number}: a reply about {mark} leaves and its log is not {'synced' if self.always else 'written'}")

    def ended(self, number, begun, call, arguments, rest):
        if ".incr.aof" not in arguments.split(",")[0] or "= -1" in rest:
            return
        if call in ("fsync", "fdatasync"):
            self.syncs += 1
            for mark, line in self.written.items():
                if line < begun and mark not in self.durable:
                    self.durable[mark] = number
        elif "write" in call:
            for connection, n in MARK.findall(arguments):
                self.written.setdefault((int(connection), int(n)), number)


def drive(server, operations):
    """Writers with and without pipelines, scripts, transactions, waiting clients and readers; returns which port is whose."""
    peers, threads = {}, []

    def client_of(number):
        client = server.connect()
        peers[client.socket.getsockname()[1]] = number
        return client

    def write(number, client, depth, form):
        key = f"key:{number}"
        client("SET", key, f"mk:{number}:0:")
        for start in range(1, operations, depth):
            numbers = range(start, start + depth)
            client.raw(b"".join(form(key, f"mk:{number}:{n}:") for n in numbers))
            for _ in numbers:
                client.read()

    def read(client):
        for i in range(operations):
            client("MGET", *[f"key:{n}" for n in range(1, 6)])

    def serve(client, waiting):
        for n in range(1, operations // 4):
            waiting.send("BLPOP", "queue:{q}", 5)
            time.sleep(0.0005)
            client("RPUSH", "queue:{q}", f"mk:90:{n}:")
            waiting.read()

    swap = b"local old = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return old"
    plain = lambda key, value: support_encode("SET", key, value, "GET")
    script = lambda key, value: support_encode("EVAL", swap, 1, key, value)
    forms = [(1, plain), (8, plain), (1, script), (16, plain), (4, script)]
    for number, (depth, form) in enumerate(forms, 1):
        threads.append(threading.Thread(target=write, args=(number, client_of(number), depth, form)))
    threads += [threading.Thread(target=read, args=(server.connect(),)) for _ in range(2)]
    threads.append(threading.Thread(target=serve, args=(server.connect(), server.connect())))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return peers


support_encode = service.support.encode


def check_order(args, policy):
    """One traced run; returns (a line of what was seen, what was wrong)."""
    top = tempfile.mkdtemp(prefix="larder-order-")
    folder, trace = os.path.join(top, "data"), os.path.join(top, "trace")
    os.mkdir(folder)
    server = service.Service(args.server, folder, appendonly="yes", appendfsync=policy)
    try:
        server.start()
        with Strace(server, trace, "-yy", "-s", "1000000", "-e", "trace=" + CALLS):
            peers = drive(server, args.operations)
        reader = Trace(server.port, peers, policy == "always")
        with open(trace, errors="replace") as lines:
            for number, line in enumerate(lines):
                reader.feed(number, line.rstrip("\n"))
    finally:
        server.close()
        if args.keep:
            shutil.copytree(top, os.path.join(args.keep, f"order-{policy}"), dirs_exist_ok=True)
        shutil.rmtree(top, ignore_errors=True)
    wrong = reader.wrong[:3]
    if reader.replies < args.operations or len(reader.written) < args.operations or policy == "always" and not reader.syncs:
        wrong.append(f"the trace shows too little: {reader.replies} replies, {len(reader.written)} values, {reader.syncs} syncs")
    return f"{policy:9} {len(reader.written)} values in the log, {reader.syncs} syncs of it, {reader.replies} replies about them, {len(reader.wrong)} too early", wrong


class Strace:
    """strace attached to a running server, for as long as the block lasts."""

    def __init__(self, server, output, *options):
        self.pid, self.output = server.process.pid, output
        self.command = ["strace", "-f", "-qq", "-o", output, *options, "-p", str(self.pid)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            if self._attached():
                return self
            if self.process.poll() is not None:
                raise OSError("strace: " + self.process.stdout.read().decode(errors="replace"))
            time.sleep(0.005)
        raise OSError("strace does not attach")

    def _attached(self):
        """Whether every thread is traced."""
        try:
            for status in glob.glob(f"/proc/{self.pid}/task/*/status"):
                if "TracerPid:\t0\n" in open(status).read():
                    return False
        except OSError:
            return False
        return True

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=20)

    def hits(self):
        """How many calls were made to fail."""
        with open(self.output, errors="replace") as lines:
            return sum("(INJECTED)" in line for line in lines)


# name: (calls, errors, files, what is begun while they fail)
FAULTS = {
    "write": ("write,writev,pwrite64", ("EIO", "ENOSPC"), ["appendonlydir/*incr*"], None),
    "sync": ("fsync,fdatasync", ("EIO", "ENOSPC"), ["appendonlydir/*incr*"], None),
    "rewrite-write": ("write,writev,pwrite64", ("EIO", "ENOSPC"), ["appendonlydir/*base*", "temp-rewriteaof*", "appendonlydir/temp-rewriteaof*"], "BGREWRITEAOF"),
    "rewrite-sync": ("fsync,fdatasync", ("EIO", "ENOSPC"), ["appendonlydir/*base*", "temp-rewriteaof*", "appendonlydir", "appendonlydir/*manifest*"], "BGREWRITEAOF"),
    "rewrite-open": ("openat", ("EIO", "ENOSPC", "EMFILE"), ["appendonlydir/*incr*", "appendonlydir/*base*", "temp-rewriteaof*", "appendonlydir/*manifest*", "appendonlydir"], "BGREWRITEAOF"),
    "rewrite-rename": ("rename,renameat,renameat2", ("EIO", "ENOSPC"), None, "BGREWRITEAOF"),
    "rewrite-unlink": ("unlink,unlinkat", ("EIO",), None, "BGREWRITEAOF"),
    "snapshot-write": ("write,writev,pwrite64", ("EIO", "ENOSPC"), ["temp-*.rdb"], "BGSAVE"),
    "snapshot-sync": ("fsync,fdatasync", ("EIO",), ["temp-*.rdb", "dump.rdb", "."], "BGSAVE"),
    "snapshot-rename": ("rename,renameat,renameat2", ("EIO", "ENOSPC"), None, "BGSAVE"),
}
REFUSALS = (b"-MISCONF", b"-EXECABORT")


class Round:
    """A server, one fault, and what came of it."""

    def __init__(self, args, policy, rng, number):
        self.args, self.policy, self.rng, self.number = args, policy, rng, number
        self.name = rng.choice(list(FAULTS))
        calls, errors, self.files, self.begin = FAULTS[self.name]
        self.first = 1 + int(rng.random() ** 2 * self.reach())
        self.times = rng.choice(["", "", f"..{self.first + 3}", "+"])
        self.inject = f"{calls}:error={rng.choice(errors)}:when={self.first}{self.times}"
        self.calls, self.seen, self.hits = calls, collections.Counter(), 0
        self.top = tempfile.mkdtemp(prefix="larder-faults-")
        self.server = None

    def reach(self):
        """About how many of these calls a round makes."""
        if self.name == "sync":
            return 60 if self.policy == "always" else 2
        return {"write": 60, "rewrite-write": 5, "rewrite-sync": 6, "rewrite-open": 6, "rewrite-rename": 3, "rewrite-unlink": 2, "snapshot-write": 4}.get(self.name, 1)

    def paths(self):
        """The files whose calls fail, those that are there and those that will be: strace takes no patterns."""
        if self.files is None:
            return []
        named = []
        for pattern in self.files:
            kinds = {"*incr*": ".incr.aof", "*base*": ".base.rdb"}
            for part, end in kinds.items():
                if pattern.endswith(part):
                    named += [f"appendonlydir/appendonly.aof.{n}{end}" for n in range(1, 15)]
            if pattern.endswith("*manifest*"):
                named += ["appendonlydir/appendonly.aof.manifest", "appendonlydir/temp-appendonly.aof.manifest"]
            elif "temp-" in pattern:
                named.append(pattern.replace("rewriteaof*", f"rewriteaof-bg-{self.server.process.pid}.aof").replace("temp-*", f"temp-{self.server.process.pid}"))
            elif "*" not in pattern:
                named.append(pattern)
        return [word for name in named for word in ("-P", os.path.normpath(os.path.join(self.server.folder, name)))]

    def run(self):
        folder = os.path.join(self.top, "data")
        os.mkdir(folder)
        self.server = service.Service(self.args.server, folder, appendonly="yes", appendfsync=self.policy)
        self.server.start()
        with self.server.connect() as client:
            load.open_bank(client)
            load.preload(client, self.args.keys)
        self.writers = load.writers_of(self.rng.randrange(1 << 30), spaces=3)
        self.suffer()
        if self.server.runs() and self.rng.random() < 0.6:
            self.recover()
        self.server.kill()
        self.restart()

    def suffer(self):
        """Load while the call fails."""
        driver = load.Driver(self.server.port, self.writers, REFUSALS)
        driver.run(0.1)
        self.before = self.manifest()
        with Strace(self.server, os.path.join(self.top, "trace"), "-e", "trace=" + self.calls, *self.paths(), "-e", "inject=" + self.inject) as strace:
            if self.begin:
                with self.server.connect() as client:
                    self.say(client, self.begin)
            driver.run(0.25 + self.rng.random() * (1.5 if self.name == "sync" else 0.4))
        self.hits = strace.hits()
        driver.finish(5)
        self.judge(driver)
        driver.close()

    def manifest(self):
        """The parts of the log that the manifest names."""
        text = open(os.path.join(self.server.folder, "appendonlydir", "appendonly.aof.manifest")).read()
        return set(re.findall(r"file (\S+incr\.aof) ", text))

    def say(self, client, *words):
        try:
            client(*words)
        except (service.support.ReplyError, ConnectionError) as refused:
            self.seen["begin refused"] += 1
            self.refused = str(refused)

    def judge(self, driver):
        """While a call fails: writes are refused with MISCONF, or connections are closed without an answer, or the server ends with a reason."""
        if driver.errors:
            raise service.Failure(f"operation {driver.errors[0][1]} of connection {driver.errors[0][0].number} was answered {driver.errors[0][2]!r}")
        refused = sum(len(w.refused) for w in self.writers)
        self.seen["misconf"] += refused > 0
        ended = not self.server.runs()
        closed = len(self.writers) - driver.open
        if any(w.waiting for w in self.writers) and not closed and not ended:
            raise service.Failure("a request was neither answered nor given up within 5 s after the fault was over")
        if ended:
            self.seen["ended"] += 1
            status = self.server.process.returncode
            if status <= 0 or status == 101 or "panicked" in self.server.log(20000):
                raise service.Failure(f"the server ended with status {status} and no reason:\n{self.server.log()}")
        elif closed:
            self.seen["closed"] += 1
            if self.policy != "always" or self.name not in ("write", "sync", "rewrite-open"):
                raise service.Failure(f"{closed} connections were closed")
        if not (refused or ended or closed):
            self.seen["went on"] += 1

    def recover(self):
        """The fault is over: writes must be taken again, and what follows a failed sync must be in new files."""
        end, writes = time.monotonic() + 10, None
        while writes != "OK":
            if not self.server.runs():
                return self.judge_end()
            if time.monotonic() > end:
                raise service.Failure(f"10 s after the fault writes are still refused: {writes}")
            time.sleep(0.02)
            try:
                with self.server.connect() as client:
                    writes = client("SET", "probe", "1")
            except (service.support.ReplyError, ConnectionError) as refused:
                writes = str(refused)
        self.seen["recovered"] += 1
        if self.name == "sync" and self.hits:
            self.expect_new_files(end)
        with self.server.connect() as client:
            for writer in self.writers:
                if writer.settle(client) is None:
                    told = f"acknowledged {writer.acked}, sent {writer.sent}, refused {sorted(writer.refused)[:20]}, nearest {writer.nearest}"
                    if writer.settle(client, faulty=True) is None:
                        raise service.Failure(f"the running server has what it never had: {told}")
                    self.seen["refused unanswered"] += 1
                writer.begin()
                writer.refused.clear()
        driver = load.Driver(self.server.port, self.writers)
        driver.run(0.15)
        driver.finish(5)
        driver.close()
        if driver.errors:
            raise service.Failure(f"after the fault an operation was answered {driver.errors[0][2]!r}")

    def expect_new_files(self, end):
        """Linux forgets what a failed sync was to write: the file is never to be trusted again."""
        while kept := self.before & self.manifest():
            if time.monotonic() > end:
                raise service.Failure(f"the sync of {kept} failed and the manifest still names it")
            time.sleep(0.02)

    def judge_end(self):
        self.seen["ended"] += 1
        if self.server.process.returncode <= 0 or self.server.process.returncode == 101:
            raise service.Failure(f"the server ended with status {self.server.process.returncode}:\n{self.server.log()}")

    def restart(self):
        self.server.start()
        with self.server.connect() as client:
            load.check_preload(client, self.args.keys, 1)
            seen = verdict.examine(client, self.writers, time.monotonic(), faulty=True)
        if seen.lost:
            raise service.Failure(f"{seen.lost} of {seen.acked} acknowledged operations are gone: {seen.first}")

    def close(self, failed):
        if self.server:
            self.server.close()
        if failed and self.args.keep:
            shutil.copytree(self.top, os.path.join(self.args.keep, f"fault-{self.policy}-{self.number}"), dirs_exist_ok=True)
        shutil.rmtree(self.top, ignore_errors=True)


def check_faults(args, policy):
    """All rounds of a policy; returns (a line, what was wrong)."""
    rng, seen, wrong = random.Random(f"{args.seed}-{policy}"), collections.Counter(), []
    hit = tried = calls = 0
    while hit < args.rounds and tried < 3 * args.rounds + 10 and len(wrong) < 5:
        tried += 1
        attempt, failed = Round(args, policy, rng, tried), None
        try:
            attempt.run()
        except (service.Failure, OSError, service.support.ReplyError) as failure:
            failed = f"{policy}, seed {args.seed}, fault {tried} ({attempt.name} {attempt.inject}, {attempt.hits} calls failed): {type(failure).__name__}: {failure}"
            wrong.append(failed + f"\n    {service.tail_of_log(os.path.join(attempt.top, 'data'))}")
        finally:
            attempt.close(failed)
        hit, calls = hit + (attempt.hits > 0), calls + attempt.hits
        seen.update(attempt.seen if attempt.hits else {})
    outcomes = ", ".join(f"{name} {count}" for name, count in sorted(seen.items()))
    if hit < args.rounds and not wrong:
        wrong.append(f"{policy}: only {hit} faults of {tried} were met by a call")
    return f"{policy:9} {hit} faults ({calls} calls failed): {outcomes}; {len(wrong)} wrong", wrong


def main():
    parser = service.arguments(__doc__, 10)
    parser.add_argument("--policy", choices=[*service.POLICIES, "all"], default="all")
    parser.add_argument("--operations", type=int, default=400, help="values that each writer of the order check writes")
    parser.add_argument("--keys", type=int, default=2000, help="keys that never change, in the rounds of faults")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--no-order", action="store_true")
    args = parser.parse_args()
    if not shutil.which("strace"):
        print("strace is missing: order cannot be seen")
        sys.exit(2)
    print(f"{service.name_of(args.server)}, seed {args.seed}")
    broken = 0
    for policy in service.POLICIES if args.policy == "all" else [args.policy]:
        for check in [check_order] * (not args.no_order) + [check_faults] * (not args.no_faults):
            line, wrong = check(args, policy)
            print(f"{'order' if check is check_order else 'faults':7}{line}", flush=True)
            for each in wrong:
                broken += 1
                print(f"BROKEN {each}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

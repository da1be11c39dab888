#!/usr/bin/env python3
"""A full disk: during writes of the log, a snapshot, a rewrite; then there is room again.

usage: full.py [--server COMMAND] [--rounds N] [--seed S]      (needs root: it mounts small file systems in memory)

A file fills the file system up to a few pages, so that the server's writes fall short in the middle of a request and then
fail. While it is full: writes are refused with MISCONF (or, under `always`, given up), reads are served, snapshots and
rewrites fail and leave the old files as they were. With room again everything must be as before within seconds, without
a restart; after a restart nothing that was acknowledged may be missing. Ends with a table; exit status 1 if not so.
"""
import errno
import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import load
import service
import verdict

SIZE_MB = 24
HEAL_S = 10


class Campaign(service.Rounds):
    """Rounds of one policy: each begins with a fresh file system."""

    FRESH_EVERY = 1

    def __init__(self, args, policy):
        self.args, self.policy, self.rng = args, policy, random.Random(f"{args.seed}-{policy}")
        self.server, self.top = None, ""
        self.done = {"log": 0, "snapshot": 0, "rewrite": 0}
        self.refused = self.acked = self.gave_up = 0
        self.longest_heal_s = 0.0

    def fresh(self):
        self.close()
        self.top = tempfile.mkdtemp(prefix="larder-full-")
        self.disk = os.path.join(self.top, "disk")
        os.mkdir(self.disk)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", self.disk], capture_output=True, text=True)
        if mounted.returncode:
            print("file systems cannot be mounted here: " + mounted.stderr.strip())
            sys.exit(2)
        folder = os.path.join(self.disk, "data")
        os.mkdir(folder)
        self.server = service.Service(self.args.server, folder, self.top, appendonly="yes", appendfsync=self.policy, auto_aof_rewrite_percentage=0)
        self.server.start()
        with self.server.connect() as client:
            load.open_bank(client)
            load.preload(client, self.args.keys)
            client("SAVE")
        self.writers = load.writers_of(self.rng.randrange(1 << 30), spaces=3)

    def fill(self, leave):
        """Fills the file system but for so many bytes."""
        with open(os.path.join(self.disk, "filler"), "wb", buffering=0) as filler:
            while True:
                free = os.statvfs(self.disk)
                try:
                    return os.posix_fallocate(filler.fileno(), 0, max(free.f_bavail * free.f_bsize - leave, 1))
                except OSError as problem:
                    if problem.errno != errno.ENOSPC:
                        raise
                    if not free.f_bavail:
                        return None
                    # The server took its part of what was free meanwhile.

    def empty(self):
        os.remove(os.path.join(self.disk, "filler"))

    def round(self, number):
        kind = ["log", "snapshot", "rewrite"][number % 3]
        driver = load.Driver(self.server.port, self.writers, (b"-MISCONF", b"-EXECABORT"))
        driver.run(0.1)
        if kind == "log":
            self.fill(self.rng.randrange(0, 60_000))
            driver.run(0.4)
            if self.policy == "always" and not self.server.runs():
                return self.ended(driver)
            self.expect_misconf(driver)
        else:
            driver.finish(5)
            self.fail_in_background("BGSAVE" if kind == "snapshot" else "BGREWRITEAOF")
        self.reads_are_served()
        self.empty()
        driver.finish(5)
        driver.close()
        self.check(driver)
        self.heal(kind)
        self.end()
        self.done[kind] += 1

    def ended(self, driver):
        """Under `always` a server may give up: then with a status that says so, and a restart has everything."""
        driver.close()
        if self.server.process.returncode in (0, 101) or self.server.process.returncode < 0:
            raise service.Failure(f"the server ended with status {self.server.process.returncode}:\n{self.server.log()}")
        self.empty()
        self.restart()
        self.done["log"] += 1
        self.gave_up += 1

    def expect_misconf(self, driver):
        refused = sum(len(w.refused) for w in self.writers)
        self.refused += refused
        closed = len(self.writers) - driver.open
        if not self.server.runs():
            raise service.Failure(f"the server ended when the disk was full (status {self.server.process.returncode}):\n{self.server.log()}")
        if not refused and not (closed and self.policy == "always"):
            raise service.Failure("the disk was full and no write was refused")
        status = self.server.info("persistence")["aof_last_write_status"]
        if status != "err":
            raise service.Failure(f"the disk was full and aof_last_write_status is {status}")

    def fail_in_background(self, name):
        """A snapshot or rewrite on a full disk: fails, says so, and changes nothing that a restart needs."""
        field = {"BGSAVE": "rdb_last_bgsave_status", "BGREWRITEAOF": "aof_last_bgrewrite_status"}[name]
        before = self.files()
        self.fill(0 if self.rng.random() < 0.3 else self.rng.randrange(4096, 40_000))
        try:
            with self.server.connect() as client:
                client(name)
        except service.support.ReplyError:
            pass   # that it cannot even begin may be said at once
        end = time.monotonic() + 15
        while (info := self.server.info("persistence"))[field] != "err" or info["aof_rewrite_in_progress"] == "1":
            if time.monotonic() > end:
                raise service.Failure(f"{name} on a full disk: {field} is {info[field]}")
            time.sleep(0.02)
        for path, digest in before.items():
            if self.files().get(path, digest) != digest and ".incr." not in path and "manifest" not in path or path not in self.files():
                raise service.Failure(f"{name} on a full disk has changed {path}")
        left = [path for path in self.files() if os.path.basename(path).startswith("temp-") and path.endswith((".rdb", ".aof"))]
        if left:
            raise service.Failure(f"{name} on a full disk has left {left}")

    def files(self):
        """Digests of the files that are there."""
        found = {}
        for folder, _, names in os.walk(self.server.folder):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    found[path] = hashlib.sha1(open(path, "rb").read()).hexdigest()
                except FileNotFoundError:
                    pass
        return found

    def reads_are_served(self):
        with self.server.connect(5) as client:
            client("SELECT", 15)
            if client("GET", "still:1") is None:
                raise service.Failure("a key that never changes cannot be read while the disk is full")

    def check(self, driver):
        if driver.errors:
            raise service.Failure(f"operation {driver.errors[0][1]} of connection {driver.errors[0][0].number} was answered {driver.errors[0][2]!r}")
        if any(w.waiting for w in self.writers) and driver.open == len(self.writers) and self.policy != "always":
            raise service.Failure("requests were neither answered nor given up")

    def heal(self, kind):
        """With room again: writes, snapshots and rewrites work."""
        began, said = time.monotonic(), None
        while said != "OK":
            if not self.server.runs():
                raise service.Failure(f"the server ended:\n{self.server.log()}")
            if time.monotonic() - began > HEAL_S:
                raise service.Failure(f"{HEAL_S} s after there was room writes are still refused: {said}")
            try:
                with self.server.connect() as client:
                    said = client("SET", "probe", "1")
            except (service.support.ReplyError, ConnectionError) as refused:
                said = str(refused)
                time.sleep(0.02)
        self.longest_heal_s = max(self.longest_heal_s, time.monotonic() - began)
        with self.server.connect() as client:
            for writer in self.writers:
                if writer.settle(client) is None:
                    raise service.Failure(f"the running server has what it never had: {writer.nearest}")
                self.acked += writer.acked - writer.base
                writer.begin()
                writer.refused.clear()
        for name, field in (("BGSAVE", "rdb_last_bgsave_status"), ("BGREWRITEAOF", "aof_last_bgrewrite_status")):
            self.works(name, field)

    def works(self, name, field):
        said, end = "", time.monotonic() + HEAL_S
        with self.server.connect() as client:
            while not str(said).startswith("Background") and time.monotonic() < end:
                said = self.try_say(client, name)
                time.sleep(0.02)
        while (info := self.server.info("persistence"))[field] != "ok" or info["rdb_bgsave_in_progress"] == "1" or info["aof_rewrite_in_progress"] == "1":
            if time.monotonic() > end:
                raise service.Failure(f"{name} with room again: {field} is {info[field]}, it was answered {said}")
            time.sleep(0.02)

    def try_say(self, client, name):
        try:
            return client(name)
        except service.support.ReplyError as refused:
            return str(refused)

    def end(self):
        """A little more load, kill -9, restart: everything is there."""
        driver = load.Driver(self.server.port, self.writers)
        driver.run(0.1)
        self.server.kill()
        driver.finish(5)
        driver.close()
        self.restart()

    def restart(self):
        self.server.start()
        with self.server.connect() as client:
            load.check_preload(client, self.args.keys, 1)
            seen = verdict.examine(client, self.writers, time.monotonic())
        self.acked += seen.acked
        if seen.lost:
            raise service.Failure(f"{seen.lost} of {seen.acked} acknowledged operations are gone: {seen.first}")

    def close(self):
        if self.server:
            self.server.close()
            for _ in range(20):
                if subprocess.run(["umount", self.disk], capture_output=True).returncode == 0:
                    break
                time.sleep(0.02)
        shutil.rmtree(self.top, ignore_errors=True)
        self.server = None


def main():
    parser = service.arguments(__doc__, 3)
    parser.add_argument("--policy", choices=[*service.POLICIES, "all"], default="all")
    parser.add_argument("--keys", type=int, default=3000, help="keys that never change")
    args = parser.parse_args()
    print(f"{service.name_of(args.server)}, {args.rounds} full disks a policy, seed {args.seed}")
    broken = 0
    for policy in service.POLICIES if args.policy == "all" else [args.policy]:
        campaign = Campaign(args, policy)
        failures = campaign.run()
        counts = ", ".join(f"{name} {count}" for name, count in campaign.done.items())
        print(f"{policy:9} full during: {counts}; {campaign.refused} writes refused, {campaign.acked} acknowledged, gave up {campaign.gave_up} times, writes taken again after {campaign.longest_heal_s:.2f} s", flush=True)
        for failure in failures:
            broken += 1
            print(f"BROKEN {failure}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Power cuts under load: what was not synced is gone, what the policy promises is there.

usage: power.py [--server COMMAND] [--policy always|everysec|no|all] [--rounds N] [--seed S]      (needs root: it mounts images)

The server's folder is on an ext4 image mounted over a loop device. A cut is either: kill the server and copy the image
before the page cache above it is written back, or: kill it and shut the file system down (EXT4_IOC_SHUTDOWN without
flushing its log, what the file system tests of Linux use). The copy or the image is mounted again and the server
started in it. `always` may lose nothing that was acknowledged, `everysec` nothing that was
acknowledged more than two seconds before the cut, and whatever is there must be what the server once had. What `no`
loses is counted. Ends with a table; exit status 1 if a promise was broken, 2 if images cannot be mounted.
"""
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import kill
import load
import service
import verdict

EXT4_IOC_SHUTDOWN, WITHOUT_LOG = 0x8004587D, 2
IMAGE_MB = 192
EVERYSEC_S = 2.0


class Image:
    """An ext4 file system in a file, in memory where that is possible."""

    def __init__(self, options):
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.top = tempfile.mkdtemp(prefix="larder-power-", dir=memory)
        self.file, self.mounted, self.options = os.path.join(self.top, "image"), os.path.join(self.top, "disk"), options
        os.mkdir(self.mounted)
        with open(self.file, "wb") as image:
            image.truncate(IMAGE_MB << 20)
        run("mkfs.ext4", "-q", "-F", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.file)
        self.mount()

    def mount(self):
        run("mount", "-o", "loop," + self.options, self.file, self.mounted)

    def unmount(self):
        for _ in range(50):
            if subprocess.run(["umount", self.mounted], capture_output=True).returncode == 0:
                return
            time.sleep(0.02)
        run("umount", "-l", self.mounted)

    def cut_by_copy(self, server):
        """The machine stops: the copy has what was on the disk, the page cache above it is lost."""
        moment = time.monotonic()
        server.kill()
        copy = self.file + ".copy"
        run("cp", "--sparse=always", self.file, copy)
        took = time.monotonic() - moment
        self.unmount()
        os.replace(copy, self.file)
        return moment, took

    def cut_by_shutdown(self, server):
        """The machine stops: the file system forgets at one stroke what is not on the disk."""
        # The server goes first: on Linux 6.18 one fdatasync that runs during the shutdown may return 0 although its
        # journal commit was given up (4 of 40 tries of a bare write-and-sync loop), which no power cut would do.
        moment = time.monotonic()
        server.kill()
        handle = os.open(self.mounted, os.O_RDONLY)
        fcntl.ioctl(handle, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_LOG))
        os.close(handle)
        took = time.monotonic() - moment
        self.unmount()
        return moment, took

    def close(self):
        if os.path.ismount(self.mounted):
            self.unmount()
        shutil.rmtree(self.top, ignore_errors=True)


def run(*command):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"   # where mkfs is, which not every user's path names
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")


class Campaign(service.Rounds):
    """Rounds of one policy."""

    FRESH_EVERY = 10

    def __init__(self, args, policy):
        self.args, self.policy, self.rng = args, policy, random.Random(f"{args.seed}-{policy}")
        self.image = self.server = None
        self.cuts = self.acked = self.lost = self.most_lost = 0
        self.oldest_s = 0.0

    def fresh(self):
        """A new image, and a server in it whose first data are synced."""
        self.close()
        commit = self.rng.choice([1, 5, 60])
        self.image = Image(f"commit={commit}" + self.rng.choice(["", ",nodelalloc"]))
        folder = os.path.join(self.image.mounted, "data")
        os.mkdir(folder)
        # Rewrites sync; without them a log grows for as long as the policy lets it.
        self.quiet = self.rng.random() < 0.5
        sizes = {"auto_aof_rewrite_percentage": 0 if self.quiet else 60, "auto_aof_rewrite_min_size": "1mb"}
        self.server = service.Service(self.args.server, folder, self.image.top, appendonly="yes", appendfsync=self.policy, **sizes)
        self.server.start()
        with self.server.connect() as client:
            load.open_bank(client)
            load.preload(client, self.args.keys)
        run("sync", "-f", folder)
        self.writers = load.writers_of(self.rng.randrange(1 << 30))

    def round(self, number):
        for writer in self.writers:
            writer.begin()
        driver = load.Driver(self.server.port, self.writers)
        care = kill.Maintenance(self.server, self.rng, self.writers, self.policy)
        driver.run(0.1 + self.rng.random() * self.args.seconds, None if self.quiet else care)
        ways = [self.image.cut_by_copy, self.image.cut_by_shutdown]
        cut = ways[self.rng.randrange(2)] if self.args.how == "both" else ways[self.args.how == "shutdown"]
        stopped = self.rng.random() < 0.1   # an orderly end syncs, whatever the policy: then nothing may be lost
        if stopped:
            driver.finish(10)
            self.stop()
        moment, took = cut(self.server)
        driver.finish(5)
        driver.close()
        care.client.close()
        if driver.errors:
            raise service.Failure(f"operation {driver.errors[0][1]} of connection {driver.errors[0][0].number} was answered {driver.errors[0][2]!r}")
        self.restart(moment, took, cut.__name__ + (" after SIGTERM" if stopped else ""), stopped)

    def stop(self):
        self.server.process.terminate()
        try:
            self.server.process.wait(20)
        except subprocess.TimeoutExpired:
            raise service.Failure("the server does not end within 20 s after SIGTERM") from None

    def restart(self, moment, took, how, stopped):
        self.image.mount()
        try:
            self.server.start()
        except service.Failure as failure:
            raise service.Failure(f"{how}: {failure}") from None
        self.cuts += 1
        with self.server.connect() as client:
            load.check_preload(client, self.args.keys, self.cuts)
            seen = verdict.examine(client, self.writers, moment)
        self.acked, self.lost = self.acked + seen.acked, self.lost + seen.lost
        self.most_lost, self.oldest_s = max(self.most_lost, seen.lost), max(self.oldest_s, seen.oldest_lost_s)
        if (self.policy == "always" or stopped) and seen.lost:
            raise service.Failure(f"{how}: {seen.lost} of {seen.acked} acknowledged operations are gone: {seen.first}")
        if self.policy == "everysec" and seen.oldest_lost_s > EVERYSEC_S:
            raise service.Failure(f"{how}: an operation is gone that was acknowledged {seen.oldest_lost_s:.2f} s before the cut (which took {took:.2f} s)")

    def close(self):
        if self.server:
            self.server.close()
        if self.image:
            self.image.close()
        self.server = self.image = None


def main():
    parser = service.arguments(__doc__, 5)
    parser.add_argument("--policy", choices=[*service.POLICIES, "all"], default="all")
    parser.add_argument("--how", choices=["copy", "shutdown", "both"], default="both")
    parser.add_argument("--seconds", type=float, default=2.5, help="longest life of a server")
    parser.add_argument("--keys", type=int, default=2000, help="keys that never change")
    args = parser.parse_args()
    try:
        Image("commit=5").close()
    except OSError as error:
        print(f"images cannot be mounted here: {error}")
        sys.exit(2)
    print(f"{service.name_of(args.server)}, {args.rounds} power cuts a policy, seed {args.seed}")
    broken = 0
    for policy in service.POLICIES if args.policy == "all" else [args.policy]:
        campaign = Campaign(args, policy)
        failures = campaign.run()
        print(
            f"{policy:9} {campaign.cuts} cuts, {campaign.acked} acknowledged operations, {campaign.lost} lost, at most {campaign.most_lost} in one cut, "
            f"the oldest of them acknowledged {campaign.oldest_s:.2f} s before its cut", flush=True
        )
        for failure in failures:
            broken += 1
            print(f"BROKEN {failure}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

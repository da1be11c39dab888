#!/usr/bin/env python3
"""kill -9 under load, again and again: what was acknowledged must be there after the restart.

usage: kill.py [--server COMMAND] [--policy always|everysec|no|rdb|all] [--rounds N] [--seed S]

Seven connections write every type by commands, transactions and scripts, and move money between 64 accounts, while
snapshots and rewrites are begun. At a random moment the server is killed. Started again it must have exactly what each
connection had written after some number of its operations, at least as many as were acknowledged. With policy `rdb`
there is no log: what a finished snapshot had must be there. Ends with a table; exit status 1 if a promise was broken.
"""
import os
import random
import shutil
import sys
import tempfile
import threading
import time

import load
import service
import verdict

class Tally:
    """What all rounds have shown."""

    def __init__(self):
        self.kills = self.restarts = self.acked = self.lost = 0
        self.rewrites = self.snapshots = 0
        self.longest_start_s = 0.0


class Maintenance:
    """Begins snapshots and rewrites now and then; notes what a finished snapshot must contain."""

    def __init__(self, server, rng, writers, policy):
        self.client, self.rng, self.writers, self.policy = server.connect(), rng, writers, policy
        self.due = time.monotonic() + rng.random() * 0.1
        self.begun = self.safe = None   # operations that were acknowledged when the last snapshot began, and the last finished one
        self.saves = int(self._info("rdb_saves") or 0)
        self.count = {"BGSAVE": 0, "BGREWRITEAOF": 0}

    def _info(self, name):
        return service.support.parse_info(self.client("INFO", "persistence")).get(name)

    def __call__(self):
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + 0.02 + self.rng.random() * 0.2
        try:
            self._act()
        except ConnectionError:
            self.due = float("inf")

    def _act(self):
        if self.begun and self._info("rdb_bgsave_in_progress") == "0":
            if int(self._info("rdb_saves") or 0) > self.saves:
                self.safe = self.begun
                self.saves = int(self._info("rdb_saves"))
            self.begun = None
        name = "BGSAVE" if self.policy == "rdb" or self.rng.random() < 0.4 else "BGREWRITEAOF"
        if name == "BGSAVE" and self.begun:
            return
        before = {writer: writer.acked for writer in self.writers}
        try:
            self.client(name)
            self.count[name] += 1
            if name == "BGSAVE":
                self.begun = before
        except service.support.ReplyError as refused:
            if not str(refused).startswith(("ERR Background", "ERR Another child")):
                raise service.Failure(f"{name} was answered {refused}") from None


class Campaign(service.Rounds):
    """Rounds of one policy, in a folder that is emptied now and then, so that it does not grow without end."""

    FRESH_EVERY = 25

    def __init__(self, args, policy):
        self.args, self.policy, self.tally = args, policy, Tally()
        self.rng = random.Random(f"{args.seed}-{policy}")
        self.top, self.server = "", None

    def options(self):
        if self.policy == "rdb":
            return {"appendonly": "no"}
        sizes = {"auto_aof_rewrite_percentage": 60, "auto_aof_rewrite_min_size": "400kb"}
        forms = {"aof_use_rdb_preamble": self.rng.choice(["yes", "yes", "no"]), "aof_timestamp_enabled": self.rng.choice(["no", "no", "yes"])}
        return {"appendonly": "yes", "appendfsync": self.policy, **sizes, **forms}

    def fresh(self):
        """An empty folder, a server in it, accounts and keys that never change."""
        self.close()
        self.top = tempfile.mkdtemp(prefix="larder-kill-")
        folder = os.path.join(self.top, "data")
        os.mkdir(folder)
        self.server = service.Service(self.args.server, folder, **self.options())
        self.server.start()
        with self.server.connect() as client:
            load.open_bank(client)
            load.preload(client, self.args.keys)
            if self.policy == "rdb":
                client("SAVE")
        self.writers = load.writers_of(self.rng.randrange(1 << 30))

    def round(self, number):
        for writer in self.writers:
            writer.begin()
        driver = load.Driver(self.server.port, self.writers)
        care = Maintenance(self.server, self.rng, self.writers, self.policy)
        life_s = 0.02 + self.rng.random() ** 2 * self.args.seconds
        timer = threading.Timer(life_s, self.server.kill)
        timer.start()
        driver.run(life_s + 30, care)
        timer.join()
        cut_at = time.monotonic()
        driver.close()
        care.client.close()
        if driver.errors:
            raise service.Failure(f"operation {driver.errors[0][1]} of connection {driver.errors[0][0].number} was answered {driver.errors[0][2]!r}")
        self.tally.kills += 1
        self.tally.rewrites += care.count["BGREWRITEAOF"]
        self.tally.snapshots += care.count["BGSAVE"]
        self.restart(cut_at, care)

    def restart(self, cut_at, care):
        self.server.start()
        self.tally.restarts += 1
        self.tally.longest_start_s = max(self.tally.longest_start_s, self.server.started_s)
        with self.server.connect() as client:
            load.check_preload(client, self.args.keys, self.tally.kills)
            seen = verdict.examine(client, self.writers, cut_at)
        self.tally.acked += seen.acked
        if self.policy != "rdb":
            self.tally.lost += seen.lost
            if seen.lost:
                raise service.Failure(f"{seen.lost} of {seen.acked} acknowledged operations are gone: {seen.first}")
        elif care.safe and any(seen.survived[w][1] < care.safe[w] for w in self.writers):
            raise service.Failure("what a finished snapshot had is gone")

    def close(self):
        if self.server:
            self.server.close()
        shutil.rmtree(self.top, ignore_errors=True)


def main():
    parser = service.arguments(__doc__, 10)
    parser.add_argument("--policy", choices=[*service.POLICIES, "rdb", "all"], default="all")
    parser.add_argument("--seconds", type=float, default=1.2, help="longest life of a server")
    parser.add_argument("--keys", type=int, default=5000, help="keys that never change")
    args = parser.parse_args()
    broken = 0
    print(f"{service.name_of(args.server)}, {args.rounds} kills a policy, seed {args.seed}")
    for policy in [*service.POLICIES, "rdb"] if args.policy == "all" else [args.policy]:
        campaign = Campaign(args, policy)
        failures, t = campaign.run(), campaign.tally
        print(
            f"{policy:9} {t.kills} kills, {t.restarts} restarts, {t.acked} acknowledged operations, {t.lost} lost, "
            f"{t.snapshots} snapshots and {t.rewrites} rewrites begun, longest start {t.longest_start_s:.2f} s", flush=True
        )
        for failure in failures:
            broken += 1
            print(f"BROKEN {failure}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

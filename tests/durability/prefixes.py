#!/usr/bin/env python3
"""Every prefix of an append-only file loads to a state that the server had; every flipped bit is an error or harmless.

usage: prefixes.py [--server COMMAND] [--reference COMMAND] [--rounds N] [--seed S]

A mixed log is written by the server under test: commands of every type, transactions, scripts, several databases; or,
with --written-by, by another server. A reference server applies it unit by unit and gives the digest after each. Then the
server under test is started on N prefixes of the log, of one file or of the last of several, and must have exactly the
digest after the last whole unit (money in the bank included); and on N copies with one flipped bit, where it must name
file and offset and end, or come up with a state that is legal. A NUL tail is a truncation. No start may hang or crash.
"""
import os
import random
import re
import shutil
import sys
import tempfile
import time

import load
import planted
import service

MANIFEST = "appendonly.aof.manifest"


def write_log(command, folder, seed, operations, rewrites):
    """Lets a server write a log; returns its folder's appendonlydir."""
    server = service.Service(command, folder, appendonly="yes", appendfsync="no", auto_aof_rewrite_percentage=0)
    try:
        server.start()
        with server.connect() as client:
            load.open_bank(client)
            writers = load.writers_of(seed, spaces=3)
            for part in range(rewrites + 1):
                for writer in writers:
                    for words in writer.greeting or [("SELECT", 0)]:
                        client(*words)
                    for _ in range(operations // len(writers)):
                        for words in writer.next():
                            if words[0] == b"APPEND" or sum(map(len, words)) < 5000:   # small values: every prefix counts
                                client(*words)
                            else:
                                client(*[w[:100] for w in words])
                if part < rewrites:
                    client("BGREWRITEAOF")
                    while service.support.parse_info(client("INFO", "persistence"))["aof_rewrite_in_progress"] == "1":
                        time.sleep(0.01)
            client("DEBUG", "DIGEST")
    finally:
        server.close()
    return os.path.join(folder, "appendonlydir")


def parts_of(folder):
    """The files of a manifest in order: (name, kind)."""
    text = open(os.path.join(folder, MANIFEST)).read()
    return re.findall(r"file (\S+) seq \d+ type (\w)", text)


def units(data):
    """Ends of the units of a log: a command, or a transaction from MULTI to EXEC."""
    ends, start = [], None
    position = 0
    while position < len(data):
        if data[position : position + 1] == b"#":
            position = data.index(b"\n", position) + 1
            if start is None:
                ends.append(position)
            continue
        (_, size), = planted.requests(data[position:])[:1] or [(0, None)]
        if size is None:
            raise service.Failure(f"the server's own log ends inside a request, at {position}")
        request = data[position : position + size].upper()
        position += size
        if request == b"*1\r\n$5\r\nMULTI\r\n":
            start = position
        elif request == b"*1\r\n$4\r\nEXEC\r\n":
            start = None
        if start is None:
            ends.append(position)
    return ends


def digests(reference, base_folder, data, ends, top):
    """Digest and bank of the reference after each unit, beginning with those after none."""
    folder = os.path.join(top, "reference")
    shutil.copytree(base_folder, os.path.join(folder, "appendonlydir"))
    server = service.Service(reference, folder, top, appendonly="yes")
    found = []
    try:
        server.start()
        with server.connect(60) as client:
            position = 0
            for end in [0, *ends]:
                piece = data[position:end]
                client.raw(b"".join(piece[a:b] for a, b in planted.requests(piece)))
                for _ in planted.requests(piece):
                    client.read()
                found.append((state_of(client), end))
                position = end
    finally:
        server.close()
        shutil.rmtree(folder)
    return found


def split(folder, data):
    """Makes two files of the last one, in the middle, as a rewrite that failed leaves them; returns name and bytes of the second."""
    name = parts_of(folder)[-1][0]
    middle = next(end for end in units(data) if end > len(data) // 2)
    database = [r.rsplit(b"\r\n", 2)[1] for r in (data[a:b] for a, b in planted.requests(data[:middle])) if r.upper().startswith(b"*2\r\n$6\r\nSELECT")]
    second = service.support.encode("SELECT", database[-1] if database else 0) + data[middle:]
    number = int(name.split(".")[-3]) + 1
    following = f"appendonly.aof.{number}.incr.aof"
    planted.rewrite(os.path.join(folder, name), data[:middle])
    with open(os.path.join(folder, MANIFEST), "a") as manifest:
        manifest.write(f"file {following} seq {number} type i\n")
    return following, second


def state_of(client):
    return client("DEBUG", "DIGEST")


class Trial:
    """Starts of the server under test on changed copies of a log."""

    def __init__(self, args, source, last, top):
        self.args, self.source, self.last, self.top = args, source, last, top
        self.starts, self.longest_s = 0, 0.0

    def start(self, data, **options):
        """Starts on a copy whose last file has these bytes; (digest, bank) or (None, what the server said)."""
        folder = os.path.join(self.top, f"trial-{self.starts}")
        log = os.path.join(folder, "appendonlydir")
        shutil.copytree(self.source, log)
        with open(os.path.join(log, self.last), "wb") as file:
            file.write(data)
        server = service.Service(self.args.server, folder, self.top, appendonly="yes", appendfsync="no", **options)
        self.starts += 1
        try:
            server.start()
            with server.connect(60) as client:
                state = state_of(client)
                bank = load.bank_sum(client)
            self.longest_s = max(self.longest_s, server.started_s)
            return state, bank
        except service.Failure:
            if server.runs():
                raise
            return None, (server.process.returncode, server.log(4000))
        finally:
            server.close()
            shutil.rmtree(folder)


def check_prefixes(trial, data, states, rng, count):
    """Random prefixes and those around the ends of units."""
    ends = [end for _, end in states]
    near = [max(0, min(len(data), rng.choice(ends) + d)) for d in (-3, -2, -1, 0, 1, 2) for _ in range(count // 12 + 1)]
    chosen = sorted({rng.randrange(len(data) + 1) for _ in range(count - min(count // 2, len(near)))} | set(rng.sample(near, min(count // 2, len(near)))))
    for size in chosen:
        tail = b"\0" * rng.choice([0, 0, 1, 512 - size % 512, 4096 - size % 4096]) if trial.args.nul else b""
        expected = [state for state, end in states if end <= size][-1]
        state, bank = trial.start(data[:size] + tail)
        what = f"a prefix of {size} of {len(data)} bytes with {len(tail)} NUL bytes behind it"
        if state is None:
            raise service.Failure(f"{what} does not load (status {bank[0]}): {bank[1][-600:]}")
        if state != expected:
            known = [end for s, end in states if s == state]
            raise service.Failure(f"{what} loads to {state} instead of {expected}, which is " + (f"the state after {known[0]} bytes" if known else "no state the server had"))
        if bank not in (0, load.ACCOUNTS * load.START_BALANCE):
            raise service.Failure(f"{what}: the accounts hold {bank}")
    return len(chosen)


def check_refused(trial, data, states, rng, count):
    """Without aof-load-truncated a cut file is refused, by file and offset."""
    ends = {end for _, end in states}
    for size in rng.sample([s for s in range(len(data)) if s not in ends], count):
        state, said = trial.start(data[:size], aof_load_truncated="no")
        if state is not None:
            raise service.Failure(f"a prefix of {size} bytes loads although aof-load-truncated is no")
        check_said(trial, said, f"a prefix of {size} bytes")


def check_said(trial, said, what):
    status, log = said
    if status in (0, 101) or status < 0 or "panicked" in log:
        raise service.Failure(f"{what}: the server ended with status {status}: {log[-600:]}")
    if trial.last not in log and not trial.args.any_words:
        raise service.Failure(f"{what}: the server does not name the file: {log[-600:]}")


def check_flips(trial, data, rng, count):
    """A flipped bit: an error that names the file, or a start."""
    refused = 0
    for _ in range(count):
        position, bit = rng.randrange(len(data)), 1 << rng.randrange(8)
        flipped = data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]
        state, said = trial.start(flipped)
        if state is None:
            check_said(trial, said, f"bit {bit} of byte {position} flipped")
            refused += 1
    return refused


def check_holes(trial, data, states, rng, count):
    """After a power cut the block that was half full at the last sync may end in NUL bytes, and later blocks be there."""
    tried = 0
    for state, end in rng.sample(states, min(count, len(states))):
        until = -end % 4096 + end
        if not 16 < until - end or until >= len(data):
            continue
        tried += 1
        found, said = trial.start(data[:end] + b"\0" * (until - end) + data[until:])
        if found is None:
            raise service.Failure(f"NUL bytes from {end} to {until}, then more: does not load: {said[1][-600:]}")
        if found != state:
            raise service.Failure(f"NUL bytes from {end} to {until}, then more: loads to another state than that before them")
    return tried


def check_middle(trial, data, rng, count, parts):
    """A file that is not the last may not be cut: nothing behind it may follow."""
    if len(parts) < 2 or parts[-2][1] != "i":
        return 0
    name = parts[-2][0]
    path = os.path.join(trial.source, name)
    whole = open(path, "rb").read()
    try:
        for size in rng.sample(range(1, len(whole)), count):
            with open(path, "wb") as file:
                file.write(whole[:size])
            state, said = trial.start(data)
            if state is not None and size not in units(whole):
                raise service.Failure(f"{name} is cut at {size} of {len(whole)} bytes and the files behind it are loaded")
    finally:
        with open(path, "wb") as file:
            file.write(whole)
    return count


def run(args, rewrites, seed):
    top = tempfile.mkdtemp(prefix="larder-prefixes-")
    try:
        folder = os.path.join(top, "data")
        os.mkdir(folder)
        source = write_log(args.written_by or args.server, folder, seed, args.operations, rewrites)
        parts = parts_of(source)
        last = parts[-1][0]
        path = os.path.join(source, last)
        data = open(path, "rb").read()
        if rewrites:
            last, data = split(source, data)
            parts = parts_of(source)
            path = os.path.join(source, last)
        ends = units(data)
        if len(ends) < args.operations // 5:
            raise service.Failure(f"the log has {len(ends)} units only")
        open(path, "wb").close()
        states = digests(args.reference, source, data, ends, top)
        rng, trial = random.Random(seed), Trial(args, source, last, top)
        prefixes = check_prefixes(trial, data, states, rng, args.rounds)
        check_refused(trial, data, states, rng, max(2, args.rounds // 20))
        middles = check_middle(trial, data, rng, max(3, args.rounds // 10), parts)
        holes = check_holes(trial, data, states, rng, args.rounds // 4) if args.nul else 0
        flips = max(4, args.rounds // 2)
        refused = check_flips(trial, data, rng, flips)
        return f"{len(parts)} files, the last of {len(data)} bytes and {len(ends)} units: {prefixes} prefixes, {holes} holes, {middles} cuts of the file before, {flips} flipped bits ({refused} refused), {trial.starts} starts, longest {trial.longest_s:.2f} s"
    finally:
        shutil.rmtree(top, ignore_errors=True)


def main():
    parser = service.arguments(__doc__, 60)
    reference = os.environ.get("VALKEY_SERVER")
    parser.add_argument("--reference", default=reference, required=not reference, help="server that gives the digests (default: $VALKEY_SERVER)")
    parser.add_argument("--written-by", help="server that writes the log (default: the one under test)")
    parser.add_argument("--operations", type=int, default=600)
    parser.add_argument("--no-nul", dest="nul", action="store_false", help="no NUL tails: Valkey and Redis refuse them")
    parser.add_argument("--any-words", action="store_true", help="an error need not name its file")
    args = parser.parse_args()
    print(f"{service.name_of(args.server)}, seed {args.seed}")
    broken = 0
    for rewrites in (0, 1):
        try:
            print(run(args, rewrites, args.seed + rewrites), flush=True)
        except service.Failure as failure:
            broken += 1
            print(f"BROKEN seed {args.seed + rewrites}, {rewrites} rewrites: {failure}", flush=True)
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()

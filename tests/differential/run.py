#!/usr/bin/env python3
"""Sends the same random commands to a candidate and to reference servers and compares what they answer, byte for byte.

    run.py --candidate target/release/larder --reference "$VALKEY_SERVER" --reference "$REDIS_SERVER" --commands 200000

A server is a command line; without `{port}` in it the usual arguments are added. `--candidate-port N` compares a server
that runs already (it is emptied!). Each reference gets its own share of scripts, restricted to what it has.
On a difference the script is reduced to the shortest that still shows it, and both replies are printed. Exit status: 0
when every difference is signed (signed_differences.txt), else 1.
"""
import argparse
import collections
import importlib
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import catalogue  # noqa: E402
import engine  # noqa: E402
import signed  # noqa: E402
import wire  # noqa: E402
from script import CONTAINERS, Chunk, Command, Composite, Gen, Ref, Script  # noqa: E402
from servers import Server, Stops  # noqa: E402
from shrink import shrink  # noqa: E402

# Replies that depend on a clock or on what ran in the background: a difference counts when it is seen three times.
TIMED = {"ttl", "pttl", "object|idletime", "keyspace", "info", "slowlog", "commandlog", "latency"}
GROUPS = sorted(path.stem for path in (Path(__file__).parent / "groups").glob("[a-z]*.py"))


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter, description=__doc__)
    parser.add_argument("--candidate", help="command line of the server under test")
    parser.add_argument("--candidate-port", type=int, help="port of a running server under test")
    parser.add_argument("--reference", action="append", default=[], help="command line of a reference server; may be repeated")
    parser.add_argument("--reference-port", type=int, action="append", default=[], help="port of a running reference server")
    parser.add_argument("--commands", type=int, default=20_000, help="commands per reference")
    parser.add_argument("--seed", type=int, help="the same seed gives the same scripts; default: a random one, printed")
    parser.add_argument("--script", help="run only this script of the seed (the name a difference was printed with)")
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--only", help="only these commands, comma separated, such as set,getex,client|kill")
    parser.add_argument("--tolerance-ms", type=int, default=50, help="how far relative deadlines may lie apart")
    parser.add_argument("--most", type=int, default=8, help="stop after this many distinct differences per reference")
    parser.add_argument("--no-shrink", action="store_true")
    parser.add_argument("--brief", action="store_true", help="one line a difference, no shrinking")
    parser.add_argument("--coverage", action="store_true", help="print the table of commands, options and outcomes")
    parser.add_argument("--no-catalogue", action="store_true", help="do not compare the whole COMMAND INFO and COMMAND DOCS")
    parser.add_argument("--allow-undocumented", action="store_true", help="signed differences need not be in docs/differences.md (for development)")
    parser.add_argument("--check-signed", action="store_true", help="only check that docs/differences.md names every signed difference")
    parser.add_argument("--print-signed", action="store_true", help="print the signed list as the table for docs/differences.md and exit")
    return parser.parse_args()


class Weights:
    """The generators both servers can follow, with their weights."""

    def __init__(self, groups, lacking, only):
        self.entries = {}
        for group in groups:
            usable = [(label, *entry) for label, entry in group.generators.items() if entry[3] not in lacking]
            if only:
                usable = [entry for entry in usable if entry[4] in only or entry[0] in only]
            if usable:
                self.entries[group.name] = (usable, [entry[1] for entry in usable])

    def choose(self, random_, names):
        """One generator of the named groups: its function and whether its command may be mutated."""
        usable, weights = self.entries[names[int(random_.random() * len(names))]]
        return random_.choices(usable, weights)[0][2:4]


def make_script(seed, weights, common):
    """The script of this seed."""
    chooser = random.Random(seed)
    connections = chooser.randint(1, 4)
    g = Gen(seed + ":values", connections, common)
    names = chooser.sample(sorted(weights.entries), min(len(weights.entries), chooser.choice((1, 1, 2, 3))))
    chunks = []
    for _ in range(chooser.randint(3, 30)):
        commands = [_one(g, chooser, weights, names) for _ in range(chooser.choice((1, 1, 2, 5, 16, 40)))]
        chunks.append(Chunk(g.connection(), _quit_last(commands)))
    protocols = [chooser.choice((2, 2, 3)) for _ in range(connections)]
    return Script(seed, chunks, protocols if "hello" not in common.lacking else [2] * connections)


def _quit_last(commands):
    """QUIT ends its pipeline, but for one more request that must not be answered: closing on unread data would reset the
    connection and lose replies. And no QUIT nor CLIENT KILL where CLIENT REPLY may
    suppress its reply: Valkey closes after that reply, so it would never close."""
    if any(c.name == "client|reply" for c in commands):
        return [c for c in commands if c.name not in ("quit", "client|kill")]
    at = next((i for i, c in enumerate(commands) if c.name == "quit"), None)
    return commands if at is None else commands[: at + 1] + [Command([b"PING"])]


def _one(g, chooser, weights, names):
    function, mutable = weights.choose(chooser, names)
    made = function(g)
    if isinstance(made, (Command, Composite)):
        return made
    if mutable and chooser.random() < 0.07:
        changed = g.mutate(made)
        # An id where a subcommand belongs would be printed in the error, and ids differ.
        made = made if isinstance(changed[min(1, len(changed) - 1)], Ref) else changed
    if chooser.random() < 0.15:
        made[0] = g.case(made[0])
    return Command(made)


class Run:
    """One candidate against one reference."""

    def __init__(self, options, candidate, reference, groups, signed_list):
        self.options, self.groups = options, groups
        self.pair = engine.Pair(candidate, reference, groups, options.tolerance_ms, signed_list)
        self.catalogue = catalogue.Catalogue(self.pair, groups)
        only = set(options.only.split(",")) if options.only else None
        self.weights = Weights(groups, self.catalogue.lacking, only)
        self.tally, self.kinds, self.differences = engine.Tally(), {}, 0

    def report_missing(self):
        """Prints what is not compared, and counts commands the candidate lacks as differences."""
        mine, theirs = self.catalogue.missing["candidate"], self.catalogue.missing["reference"]
        if theirs:
            print(f"   {self.pair.reference.name} lacks, so not compared: {' '.join(sorted(theirs))}")
        lost = mine - theirs
        own = {needs for group in self.groups for _, _, _, needs in group.generators.values()} | {p for group in self.groups for p in group.probes}
        if lost - own:
            print(f"   the candidate lacks, used only as material: {' '.join(sorted(lost - own))}")
        if lost & own:
            print(f"   DIFFERENCE: the candidate lacks: {' '.join(sorted(lost & own))}")
            self.differences += len(lost & own)
        if self.catalogue.missing_config:
            names = " ".join(n.decode() for n in self.catalogue.missing_config)
            print(f"   options of {self.pair.reference.name} that the candidate lacks (not counted): {names}")

    def compare_catalogue(self):
        """Compares the whole COMMAND INFO and COMMAND DOCS once."""
        reported = set()
        for command, protocol, equal, mine, theirs in catalogue.full_commands(self.pair, "hello" not in self.catalogue.lacking):
            self.tally.compared += 1
            if equal or str(command) in reported:
                continue
            reported.add(str(command))
            path, a, b = first_difference(mine, theirs)
            difference = engine.Difference(command, 0, f"{path} {a!r}"[:300], f"{path} {b!r}"[:300], protocol)
            entry = self.pair.signed.find(self.pair.reference.name, difference)
            if entry:
                self.tally.signed[entry.slug] += 1
            else:
                self._report(difference, None)

    def run_scripts(self, seed):
        """Runs scripts until enough commands were compared or enough differences found."""
        number, end = 0, self.tally.compared + self.options.commands
        while self.tally.compared < end and len(self.kinds) < self.options.most and self.weights.entries:
            name = self.options.script or f"{seed}.{number}"
            script = make_script(name, self.weights, self.catalogue)
            number += 1
            stops = Stops.count
            found = self.pair.run(script, self.tally)
            if found and stops != Stops.count:
                self.tally.repeated += 1
                found = self.pair.run(script)
            if found:
                self._judge(found, script)
            if self.options.script:
                return

    def finish(self):
        """Leaves both servers as they were, for the next reference."""
        self.pair.reset()

    def _judge(self, found, script):
        kind = found.kind()
        if kind in self.kinds:
            self.kinds[kind] += 1
            self.differences += 1
            if self.options.brief:
                self._report_briefly(found, script)
            return
        again = [self.pair.run(script) for _ in range(2)]
        timed = found.name in TIMED or found.name.split("|")[0] in TIMED or "expire" in found.name
        if timed and not all(again):
            self.tally.unconfirmed[found.name] += 1
            return
        self._report(found, script, confirmed=all(again))

    def _views(self, found):
        """Both replies, or what differs between them where a group says how to look at them."""
        view = next((g.views[found.name] for g in self.groups if found.name in g.views), None)
        if not view:
            return _shown(found.candidate), _shown(found.reference)
        try:
            mine, theirs = (view(wire.parse(reply)) for reply in (found.candidate, found.reference))
        except (ValueError, IndexError, TypeError, AttributeError):
            return _shown(found.candidate), _shown(found.reference)
        return _shown([x for x in mine if x not in theirs]), _shown([x for x in theirs if x not in mine])

    def _report_briefly(self, found, script):
        views = "  |  ".join(shown[:130] for shown in self._views(found))
        print(f"   {script.seed if script else 'catalogue'}: {found.line[:100]}  |  {views}", flush=True)

    def _report(self, found, script, confirmed=True):
        self.kinds[found.kind()] = 1
        self.differences += 1
        small = script
        if self.options.brief:
            self._report_briefly(found, script)
            return
        if script and confirmed and not self.options.no_shrink:
            small = shrink(script, lambda s: (lambda d: d is not None and d.name == found.name)(self.pair.run(s)))
            found = self.pair.run(small) or found
        where = f"script {script.seed}" if script else "catalogue"
        print(f"\nDIFFERENCE from {self.pair.reference.name} in {where}{'' if confirmed else ' (not seen again when the script was repeated)'}, RESP{found.protocol}:")
        if small and len(small) <= 60:
            _print_script(small)
        print("   at          {}\n   candidate   {}\n   reference   {}".format(found.line[:700], *self._views(found)), flush=True)


def first_difference(mine, theirs, path=""):
    """Where two nested values part: the path, and what each holds there."""
    if type(mine) is type(theirs) and isinstance(mine, (list, tuple)) and len(mine) == len(theirs):
        for i, (a, b) in enumerate(zip(mine, theirs)):
            if a != b:
                return first_difference(a, b, f"{path}[{i}]")
    if isinstance(mine, (list, tuple)) and isinstance(theirs, (list, tuple)):
        lost, more = [x for x in theirs if x not in mine], [x for x in mine if x not in theirs]
        return path, f"has {more!r}"[:300], f"has {lost!r}"[:300]
    return path, mine, theirs


def _shown(reply):
    return (repr(reply)[2:-1] if isinstance(reply, bytes) else str(reply))[:1200]


def _print_script(script):
    for chunk in script.chunks:
        for number, command in enumerate(chunk.commands):
            pipeline = "" if len(chunk.commands) == 1 else " (one pipeline)" if number == 0 else " \""
            print(f"   connection {chunk.connection} RESP{script.protocols[chunk.connection]}{pipeline}   {str(command)[:500]}")


OUTCOMES = ("=", "ok", "error", "null", "silent")


def print_coverage(tally, known):
    """One line a command: how often, with which outcomes, with which options; names that are no commands in one line."""
    rows = collections.defaultdict(collections.Counter)
    for name, row in tally.commands.items():
        rows[name if name in known or name == "raw" or name.startswith("debug|") and row["ok"] else "(no such command)"] += row
    print("\ncommand                       count     ok  error   null  options")
    for name, row in sorted(rows.items()):
        options = " ".join(f"{k}:{v}" for k, v in sorted(row.items()) if k not in OUTCOMES) if name in known else ""
        print(f"{name[:28]:28} {row['=']:6} {row['ok']:6} {row['error']:6} {row['null']:6}  {options}")


def never_answered(tally, groups, lacking):
    """Commands of these groups that a run tried and that never got anything but an error: too little was compared."""
    names = {needs for group in groups for _, _, _, needs in group.generators.values()} - lacking - {"config|rewrite"}  # no file to rewrite
    return sorted(n for n in names if tally.commands[n]["="] and tally.commands[n]["="] == tally.commands[n]["error"] and n not in CONTAINERS)


def load_groups(names):
    """The named groups."""
    return [importlib.import_module(f"groups.{name}").group for name in names.split(",")]


def main():
    options = arguments()
    paths = signed.default_paths()
    signed_list = signed.Signed(paths[0])
    if options.print_signed:
        print("| name | compared with | what larder does |\n|---|---|---|")
        for entry in signed_list.entries:
            print(f"| `{entry.slug}` | {entry.references.strip('^')} | {entry.reason} |")
        return 0
    failures = 0
    undocumented = signed_list.undocumented(paths[1])
    if undocumented and not options.allow_undocumented:
        print(f"signed but not in docs/differences.md: {' '.join(undocumented)}")
        failures += len(undocumented)
    if options.check_signed:
        return 1 if failures else 0
    groups = load_groups(options.groups)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    servers, tally, references = [], engine.Tally(), []
    Stops.watch()
    try:
        candidate = Server("candidate", options.candidate, options.candidate_port)
        servers.append(candidate)
        if not options.reference and not options.reference_port:
            raise SystemExit("no --reference: nothing to compare with")
        for command, port in [(c, None) for c in options.reference] + [(None, p) for p in options.reference_port]:
            reference = Server("reference", command, port)
            servers.append(reference)
            references.append(reference.name)
            start = time.monotonic()
            run = Run(options, candidate, reference, groups, signed_list)
            run.tally = tally
            before = tally.compared
            print(f"{candidate.name} against {reference.name}, seed {options.script or seed}", flush=True)
            run.report_missing()
            if not options.no_catalogue and not options.script and not options.only:
                run.compare_catalogue()
            run.run_scripts(seed)
            run.finish()
            failures += run.differences
            print(f"   {tally.compared - before} commands in {time.monotonic() - start:.1f} s, {run.differences} differences ({len(run.kinds)} distinct)", flush=True)
    finally:
        for server in servers:
            server.stop()
    if options.coverage:
        print_coverage(tally, {n.decode() for n in run.pair.command_names})
    if tally.compared > 50_000 and (idle := never_answered(tally, groups, run.catalogue.lacking)):
        print(f"never answered without an error: {' '.join(idle)}")
    for slug, count in sorted(tally.signed.items()):
        print(f"signed: {slug} occurred {count} times")
    for slug in signed_list.silent(references, tally.signed):
        print(f"signed: {slug} did not occur in this run")
    for name, count in sorted(tally.unconfirmed.items()):
        print(f"seen once and not again when repeated, in replies that depend on time: {name} {count} times")
    if tally.repeated:
        print(f"scripts repeated because a difference was seen while everything was stopped: {tally.repeated}")
    print(f"{tally.compared} commands compared, {failures} differences")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

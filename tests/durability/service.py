"""Starting the server under test again and again in one folder, killing it, and talking to it.

A server is a command: a program with options, or a template with `{port}` and `{dir}`. Options that a tool needs are
appended, in the form that Redis, Valkey and larder share (`--appendonly yes`).
"""
import argparse
import glob
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
import support  # noqa: E402

STANDARD = "--port {port} --bind 127.0.0.1 --dir {dir} --enable-debug-command local"
START_S = 60.0
POLICIES = ("always", "everysec", "no")


class Failure(Exception):
    """What a tool is there to find: the server broke a promise."""


def arguments(description, rounds):
    """The command line that all tools share."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))   # so that what was started and mounted is ended and unmounted
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    ours = os.environ.get("LARDER", os.path.join(ROOT, "target", "release", "larder"))
    parser.add_argument("--server", default=ours, help="program or command with {port} and {dir} (default: $LARDER)")
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", metavar="FOLDER", help="where a folder that broke a promise is copied to")
    return parser


class Rounds:
    """What every campaign of rounds does when one fails: tell, keep the folder, and go on in a fresh one."""

    MOST = 3

    def run(self):
        """All rounds, or as many as it takes to fail `MOST` times; returns what broke."""
        broken, fresh = [], True
        try:
            for number in range(self.args.rounds):
                try:
                    if fresh or number % self.FRESH_EVERY == 0:
                        self.fresh()
                    fresh = False
                    self.round(number)
                except (Failure, ConnectionError, TimeoutError, support.ReplyError) as failure:
                    broken.append(self._broken(number, failure))
                    fresh = True
                    if len(broken) == self.MOST:
                        break
        finally:
            self.close()
        return broken

    def _broken(self, number, failure):
        name = f"{os.path.basename(sys.argv[0])[:-3]}-{self.policy}-{self.args.seed}-{number}"
        if self.args.keep:
            shutil.copytree(self.server.folder, os.path.join(self.args.keep, name), dirs_exist_ok=True)
        ends = "" if isinstance(failure, Failure) else "\n" + self.server.log()
        return f"{name}: {type(failure).__name__}: {failure}{ends}\n    {tail_of_log(self.server.folder)}"


class Service:
    """A server that can be started, killed and started again in one folder."""

    def __init__(self, command, folder, logs=None, **options):
        self.command, self.folder, self.port = command, folder, support.free_port()
        self.options = {"save": "", **options}
        self.process, self.log_path, self.wrapper = None, os.path.join(logs or os.path.dirname(folder), f"log-{self.port}"), []
        self.started_s = 0.0

    def arguments(self, **options):
        """The command line with these options in place of the usual ones of the same name."""
        command = os.path.abspath(self.command) if os.path.exists(self.command) else self.command
        text = command if "{port}" in command else f"{command} {STANDARD}"
        words = shlex.split(text.replace("{port}", str(self.port)).replace("{dir}", self.folder))
        for name, value in {**self.options, **options}.items():
            words += ["--" + name.replace("_", "-"), *(value if isinstance(value, list) else [str(value)])]
        return words

    def start(self, wait=True, **options):
        """Starts the server; returns once it serves. Raises `Failure` when it does not."""
        began = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + self.arguments(**options), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        if wait:
            self.wait_until_ready()
        self.started_s = time.monotonic() - began

    def wait_until_ready(self):
        """Returns once PING is answered by PONG."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(5)
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            if self.process.poll() is not None:
                raise Failure(f"the server does not start (status {self.process.returncode}):\n{self.log()}")
            time.sleep(0.003)
        raise Failure(f"the server does not answer within {START_S:.0f} s:\n{self.log()}")

    def runs(self):
        """Whether the process is alive."""
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9, of its whole process group: a child that writes a snapshot dies too."""
        if self.process is not None:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.process.wait()

    def connect(self, timeout=20):
        """A new connection."""
        return support.Client(socket.create_connection(("127.0.0.1", self.port), timeout))

    def info(self, section="everything"):
        """INFO as a dictionary."""
        with self.connect() as client:
            return support.parse_info(client("INFO", section))

    def log(self, most=900):
        """The end of what the server printed."""
        with open(self.log_path, errors="replace") as log:
            return log.read()[-most:]

    def close(self):
        """Ends the process and removes its log."""
        self.kill()
        if os.path.exists(self.log_path):
            os.remove(self.log_path)


def tail_of_log(folder):
    """What the last part of the append-only file ends with: to tell a torn tail from other damage."""
    parts = sorted(glob.glob(os.path.join(folder, "appendonlydir", "*.incr.aof")), key=os.path.getmtime)
    if not parts:
        return "no log"
    data = open(parts[-1], "rb").read()
    kept = data.rstrip(b"\0")
    return f"{os.path.basename(parts[-1])}: {len(data)} bytes, of them {len(data) - len(kept)} NUL at the end, before them {kept[-60:]!r}"


def name_of(command):
    """What a server calls itself, with its version."""
    words = shlex.split(command)
    said = subprocess.run([words[0], "--version"], capture_output=True, text=True, timeout=20).stdout.strip()
    return said.splitlines()[0][:60] if said else os.path.basename(words[0])

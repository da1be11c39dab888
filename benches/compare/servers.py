"""What the comparisons share: a server started for one measurement, a connection, a probe that plays the bystander.

Servers listen on loopback, in a temporary directory, and are stopped by their process id; where that is allowed they and the
probe go before other processes of the machine. A probe is a process of its own, so that what the loader does never delays it; it sends one GET at a time at a fixed rate and notes how long each took. A
reply that comes late does not hide those that should have been sent meanwhile: the next ones leave at once. It notes too how long the host gave
this machine's processors to others (`steal` of /proc/stat): what was late while much was stolen says little of the server.
"""
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time


FIRST = ["nice", "-n", "-15"] if os.geteuid() == 0 else []


def encode(*words):
    """One request."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Connection:
    """A client that waits for each reply, or for the known bytes of many."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=120)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"*%":
            return [self.reply() for _ in range(int(rest) * (2 if kind == b"%" else 1))]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest

    def call(self, *words):
        self.socket.sendall(encode(*words))
        return self.reply()

    def info(self, section):
        lines = self.call("INFO", section).decode().split("\r\n")
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def fill(self, requests, reply, step=2000):
        """Sends requests (bytes) that are each answered by exactly `reply`."""
        batch = []
        for request in requests:
            batch.append(request)
            if len(batch) == step:
                self._send(batch, reply)
                batch = []
        self._send(batch, reply)

    def _send(self, batch, reply):
        self.socket.sendall(b"".join(batch))
        answer = self.file.read(len(reply) * len(batch))
        if answer != reply * len(batch):
            raise RuntimeError("unexpected reply: %r" % answer[:80])


class Server:
    """`NAME=COMMAND`, with `{port}` in the command; a context that runs it."""

    def __init__(self, spec):
        self.label, self.command = spec.split("=", 1)

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="larder-compare-")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        words = self.command.format(port=self.port).replace("''", "").split(" ")
        words = FIRST + words
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = subprocess.Popen(words, cwd=self.folder, **quiet)
        for _ in range(200):
            try:
                self.connection = Connection(self.port)
                return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise RuntimeError(f"{self.label} does not answer")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_s(self):
        """Processor seconds that it has used."""
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            line = next(line for line in file if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024


class Probe:
    """Sends `rate` GETs a second, from a process that goes first where that is allowed."""

    def __init__(self, server, rate):
        self.log = os.path.join(server.folder, f"probe-{time.monotonic_ns()}")
        words = [sys.executable, os.path.abspath(__file__), str(server.port), str(rate), self.log]
        self.process = subprocess.Popen(FIRST + words)
        time.sleep(0.3)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def between(self, start=0.0, end=float("inf")):
        """Milliseconds of each reply whose request was due in that time (time.time), in ascending order."""
        return sorted(took for took, _ in self._lines(start, end))

    def summary(self, start=0.0, end=float("inf")):
        """Probes, p50, p99, p99.9 and the longest of that time, and the milliseconds stolen in it, as columns."""
        lines = list(self._lines(start, end))
        times = sorted(took for took, _ in lines)
        figures = [quantile(times, part) for part in (0.5, 0.99, 0.999)] + [times[-1] if times else 0.0]
        stolen = lines[-1][1] - lines[0][1] if lines else 0
        return "\t".join([str(len(times))] + [f"{figure:.2f}" for figure in figures] + [f"{stolen:.0f}"])

    def _lines(self, start, end):
        with open(self.log) as file:
            for line in file:
                at, _, rest = line.rstrip("\n").partition(" ")
                if line.endswith("\n") and start <= float(at) < end:
                    yield tuple(float(word) for word in rest.split())


def longest_gap_ms(seconds=1.0):
    """How long this machine itself keeps a process from running at most, whatever a server does: processes that do nothing but look at the clock,
    one on each processor, ahead of others where that is allowed. To be asked while nothing else runs."""
    words = [sys.executable, os.path.abspath(__file__), "gap", str(seconds)]
    watchers = [subprocess.Popen(FIRST + words + [str(cpu)], stdout=subprocess.PIPE) for cpu in os.sched_getaffinity(0)]
    return max(float(watcher.communicate()[0]) for watcher in watchers)


def watch_for_gaps(seconds, cpu):
    os.sched_setaffinity(0, {cpu})
    longest, last = 0.0, time.monotonic()
    end = last + seconds
    while last < end:
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    print(longest * 1000)


def stolen_ms():
    """Milliseconds of processor time that the host gave to others while this machine wanted it, since it started, in steps of ten (Linux; 0 where the host does not tell)."""
    with open("/proc/stat") as file:
        return int(file.readline().split()[8]) * 1000 / os.sysconf("SC_CLK_TCK")


def quantile(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))] if sorted_values else 0.0


SUMMARY = "probes\tp50_ms\tp99_ms\tp99.9_ms\tmax_ms\tstolen_ms"


def probe(port, rate, path):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request, due, looked = encode("GET", "probe"), time.time(), 0.0
    with open(path, "w", buffering=1) as log:
        while True:
            if due - looked > 0.05:
                looked, stolen = due, stolen_ms()
            wait = due - time.time()
            if wait > 0:
                time.sleep(wait)
            started = time.time()
            connection.sendall(request)
            if not connection.recv(256):
                return
            took = time.time() - (max(due, started) if wait > 0 else due)
            log.write("%f %f %d\n" % (due, took * 1000, stolen))
            due += 1 / rate


if __name__ == "__main__" and sys.argv[1] == "gap":
    watch_for_gaps(float(sys.argv[2]), int(sys.argv[3]))
elif __name__ == "__main__":
    probe(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3])

"""Starting a server for the Python suites, and talking RESP to it over a bare socket.

The program is the environment variable LARDER, else target/release/larder of this checkout. The same suites pass
against Valkey (`LARDER=$VALKEY_SERVER`), which is how the suites themselves are checked.
"""
import contextlib
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def program():
    """The server program as an argument list."""
    return shlex.split(os.environ.get("LARDER", os.path.join(ROOT, "target", "release", "larder")))


def free_port(count=1):
    """A TCP port that nothing listens on at this moment, nor on the `count` - 1 behind it."""
    while True:
        with contextlib.ExitStack() as probes:
            port = 0
            try:
                for number in range(count):
                    probe = probes.enter_context(socket.socket())
                    probe.bind(("127.0.0.1", port + number if port else 0))
                    port = port or probe.getsockname()[1]
                return port
            except (OSError, OverflowError):
                continue


class Server:
    """One server process in a folder of its own; options are given as keywords, `_` for `-`."""

    def __init__(self, bind="127.0.0.1", wait=True, **options):
        self.port = options.pop("port", None) or free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="larder-test-")
        arguments = program() + ["--port", str(self.port), "--dir", self.folder.name, "--save", ""]
        if bind:
            arguments += ["--bind", *shlex.split(bind)]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), *(value if isinstance(value, list) else [str(value)])]
        self.log_path = os.path.join(self.folder.name, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder.name)
        if wait:
            self.wait_until_ready()

    def path(self, name):
        """A path in the server's folder."""
        return os.path.join(self.folder.name, name)

    def log(self):
        """Everything the server printed so far."""
        with open(self.log_path, errors="replace") as log:
            return log.read()

    def wait_until_ready(self):
        """Returns when the server answers; fails with its log when it does not."""
        for _ in range(400):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64):
                        return
            except OSError:
                pass
            if self.process.poll() is not None:
                break
            time.sleep(0.025)
        raise AssertionError("the server does not answer:\n" + self.log()[-2000:])

    def connect(self, timeout=10, address="127.0.0.1"):
        """A new connection."""
        return Client(socket.create_connection((address, self.port), timeout))

    def resident_bytes(self):
        """Bytes the server holds, as the system counts them."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))

    def terminate(self, timeout=10):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def close(self):
        """Stops the process and removes its folder."""
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class ReplyError(Exception):
    """An error reply, with its text."""


class Client:
    """A socket that speaks RESP: bulk strings are bytes, simple strings `str`, errors are raised."""

    def __init__(self, sock):
        self.socket, self.buffer = sock, b""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Closes the socket."""
        self.socket.close()

    def send(self, *arguments):
        """Sends one command."""
        self.socket.sendall(encode(*arguments))

    def raw(self, data):
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def __call__(self, *arguments):
        self.send(*arguments)
        return self.read()

    def error(self, *arguments):
        """The error text of a command that must be refused."""
        try:
            reply = self(*arguments)
        except ReplyError as refused:
            return str(refused)
        raise AssertionError(f"{arguments} was not refused but answered {reply!r}")

    def read(self):
        """The next reply."""
        kind, head = self._line()
        if kind == b"+":
            return head.decode()
        if kind == b"-":
            raise ReplyError(head.decode(errors="replace"))
        if kind == b":":
            return int(head)
        if kind in (b"$", b"="):
            return None if head == b"-1" else self._exactly(int(head))
        if kind in (b"*", b"~", b">"):
            return None if head == b"-1" else [self.read() for _ in range(int(head))]
        if kind == b"%":
            return {_hashable(self.read()): self.read() for _ in range(int(head))}
        return {b"_": None, b"#": head == b"t", b",": head, b"(": head}[kind]

    def closed(self, timeout=5):
        """Whether the server closes the connection within `timeout` seconds (what it still sends is dropped)."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True

    def all(self):
        """Every byte until the server closes the connection."""
        data, self.buffer = self.buffer, b""
        while piece := self.socket.recv(65536):
            data += piece
        return data

    def _line(self):
        while (end := self.buffer.find(b"\r\n")) < 0:
            self._more()
        line, self.buffer = self.buffer[:end], self.buffer[end + 2 :]
        return line[:1], line[1:]

    def _exactly(self, size):
        parts, have = [self.buffer], len(self.buffer)
        while have < size + 2:
            piece = self.socket.recv(1 << 20)
            if not piece:
                raise ConnectionError("closed in a reply")
            parts.append(piece)
            have += len(piece)
        data = b"".join(parts)
        self.buffer = data[size + 2 :]
        return data[:size]

    def _more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        self.buffer += piece


def _hashable(value):
    return tuple(value) if isinstance(value, list) else value


def encode(*arguments):
    """One request as RESP."""
    parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def until(condition, timeout=5, pause=0.02):
    """Waits for a condition; returns its last value."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(pause)
    return condition()


def parse_info(text):
    """INFO as a dictionary."""
    lines = (text.decode() if isinstance(text, bytes) else text).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))

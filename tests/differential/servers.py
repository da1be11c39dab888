"""Starting the servers under comparison and talking to them.

A `Server` is one process (or a port somebody else serves); a `Session` holds the connections of one script on one
server. A pipeline is ended by a request for a command that cannot exist: every server answers it with an error that
names it, whatever protocol version and database the connection is in, so the end of a pipeline's replies is found
without counting them.
"""
import os
import select
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import wire

STANDARD_ARGUMENTS = '--port {port} --bind 127.0.0.1 --save "" --dir {dir} --enable-debug-command yes'
REPLY_TIMEOUT_S = 30.0  # some scripts need a second of processor time, which a busy machine gives in twenty


class Stops:
    """How often this process was stopped and went on again, its servers with it: what takes time means nothing then."""

    count = 0

    @classmethod
    def watch(cls):
        """Counts from now on."""
        signal.signal(signal.SIGCONT, lambda *_: setattr(cls, "count", cls.count + 1))


def free_port():
    """A TCP port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server process, started by `command` (with `{port}` and `{dir}`), or an already listening `port`."""

    def __init__(self, role, command=None, port=None):
        self.role, self.process, self.folder, self.command = role, None, None, command
        self.port = port or free_port()
        self.name = role
        if command:
            self._start(command)
        self._wait_until_ready()
        self.identify()

    def _start(self, command):
        self.folder = tempfile.mkdtemp(prefix="differential-")
        if "{port}" not in command:
            command = f"{command} {STANDARD_ARGUMENTS}"
        arguments = shlex.split(command.replace("{port}", str(self.port)).replace("{dir}", self.folder))
        log = open(os.path.join(self.folder, "log"), "wb")
        self.process = subprocess.Popen(arguments, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_until_ready(self):
        for _ in range(400):
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                    probe.settimeout(1)
                    probe.sendall(b"PING\r\n")
                    if probe.recv(64):
                        return
            except OSError:
                pass
            if self.process and self.process.poll() is not None:
                break
            time.sleep(0.025)
        raise SystemExit(f"{self.role} does not answer on port {self.port}\n{self.log_tail()}")

    def log_tail(self):
        """The end of what the server printed."""
        if not self.folder:
            return ""
        with open(os.path.join(self.folder, "log"), errors="replace") as log:
            return log.read()[-3000:]

    def identify(self):
        """Names the server by what INFO says it is: `valkey-9.1.2`, `redis-7.0.15`, `larder-0.1.0`."""
        connection = Connection(self.port)
        text = connection.call(b"INFO", b"server")
        connection.close()
        fields = dict(line.split(b":", 1) for line in text.split(b"\r\n") if b":" in line)
        for kind in (b"larder", b"valkey", b"redis"):
            if kind + b"_version" in fields:
                self.name = f"{kind.decode()}-{fields[kind + b'_version'].decode()}"
                return

    def restart(self):
        """Starts a server that has died again, on the same port."""
        if self.process:
            shutil.rmtree(self.folder, ignore_errors=True)
            self._start(self.command)
        self._wait_until_ready()

    def alive(self):
        """Whether the process still runs (always true for a port that somebody else serves)."""
        return self.process is None or self.process.poll() is None

    def stop(self):
        """Ends the process, by its pid."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Connection:
    """One socket; knows its id on the server and its own address."""

    _tags = 0

    def __init__(self, port, protocol=2):
        self.socket = socket.create_connection(("127.0.0.1", port), REPLY_TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = b"127.0.0.1:%d" % self.socket.getsockname()[1]
        self.closed = False
        self.tag, self.listener = b"", None
        if protocol == 3:
            self.exchange([wire.encode([b"HELLO", b"3"])])
        reply = self.exchange([wire.encode([b"CLIENT", b"ID"])])
        self.id = reply[1:-2] if reply.startswith(b":") else b"0"

    def send(self, requests):
        """Sends encoded requests as one pipeline, and the request that marks its end."""
        Connection._tags += 1
        self.tag = b"zz-end-%d" % Connection._tags
        try:
            self.socket.sendall(b"".join(requests) + wire.encode([self.tag]))
        except OSError:
            pass  # closed by the server: the replies that were sent are still to be read

    def receive(self):
        """The raw replies to the pipeline, up to its end mark or to the end of the stream."""
        data = bytearray()
        mark, stops = self.tag + b"'", Stops.count
        while True:
            try:
                piece = self.socket.recv(1 << 18)
            except TimeoutError:
                if stops != Stops.count:
                    stops = Stops.count
                    continue
                self.close()
                return bytes(data) + b"<no reply within %d s>" % REPLY_TIMEOUT_S
            except OSError:
                piece = b""
            if not piece:
                self.close()
                return bytes(data)
            data += piece
            if data.endswith(b"\r\n") and data.find(mark, max(0, len(data) - 200)) >= 0:
                return bytes(data[: data.rindex(b"-ERR", 0, data.rindex(mark))])

    def exchange(self, requests):
        """Sends a pipeline of encoded requests and returns the raw replies."""
        self.send(requests)
        return self.receive()

    def call(self, *arguments):
        """One command, without an end mark; the reply without type bytes (errors as their bytes). Messages before it are passed over."""
        self.socket.sendall(wire.encode(arguments))
        data = b""
        while (end := wire.frame_end(data, 0)) < 0 or data[:1] == b">" or wire.MESSAGE.match(data):
            if end >= 0:
                data = data[end:]
                continue
            piece = self.socket.recv(1 << 18)
            if not piece:
                raise OSError("closed")
            data += piece
        return wire.plain(wire.parse(data[:end]))

    def calls(self, commands):
        """A pipeline of commands; parsed replies with their type bytes."""
        return [wire.parse(frame) for frame in wire.split(self.exchange([wire.encode(c) for c in commands]))]

    def close(self):
        """Closes the socket; a later use of the same script connection opens another."""
        if self.listener:
            self.listener.close()
        if not self.closed:
            self.closed = True
            self.socket.close()


def _at_end(sock):
    try:
        return not sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


class Session:
    """The connections of one script on one server, opened when first used."""

    def __init__(self, server, protocols):
        self.server, self.protocols, self.open = server, protocols, {}

    def connection(self, index):
        """The connection with this index, opened again if the server closed it."""
        found = self.open.get(index)
        if found is None or found.closed:
            found = self.open[index] = Connection(self.server.port, self.protocols[index])
        return found

    def label(self, client_id):
        """Which connection of the script a client id of this server belongs to."""
        return next((i for i, c in self.open.items() if c.id == client_id and not c.closed), None)

    def ended(self):
        """The connections whose stream the server has ended, so far as can be seen without waiting."""
        sockets = {c.socket: i for i, c in self.open.items() if not c.closed}
        ready = select.select(list(sockets), [], [], 0)[0] if sockets else []
        return {sockets[s] for s in ready if _at_end(s)}

    def close(self):
        """Closes every connection."""
        for connection in self.open.values():
            connection.close()

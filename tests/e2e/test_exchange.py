"""Dumps of every type, exchanged both ways with other servers: what one dumps the other restores, with equal content."""
import contextlib
import os
import shlex
import subprocess
import sys

import pytest
import support

PEERS = {"valkey": "VALKEY_SERVER", "redis7": "REDIS_SERVER"}
SCRIPT = os.path.join(support.ROOT, "tests", "exchange", "dump.py")


@contextlib.contextmanager
def peer(variable):
    """A server of another kind; yields its port."""
    program = os.environ.get(variable)
    assert program, f"{variable} does not name a server to compare with"
    own, os.environ["LARDER"] = os.environ.get("LARDER"), shlex.quote(program)
    try:
        server = support.Server(enable_debug_command="local")
    finally:
        if own is None:
            del os.environ["LARDER"]
        else:
            os.environ["LARDER"] = own
    with server:
        yield server.port


@pytest.mark.parametrize("name", PEERS)
def test_dumps_are_exchanged(name):
    with support.Server(enable_debug_command="local") as server, peer(PEERS[name]) as port:
        command = [sys.executable, SCRIPT, "--larder", str(server.port), "--peer", f"{name}={port}", "--rounds", "300"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        assert " values exchanged, 0 differences" in done.stdout

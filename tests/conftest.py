"""Fixtures shared by the client and end-to-end suites."""
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "e2e")]
import support  # noqa: E402


@pytest.fixture(scope="module")
def module_server():
    """One server for the tests of a file."""
    with support.Server(enable_debug_command="yes") as server:
        yield server
        assert server.process.poll() is None, "the server died:\n" + server.log()[-3000:]


@pytest.fixture
def server(module_server):
    """The file's server, emptied."""
    with module_server.connect() as client:
        assert client("FLUSHALL") == "OK"
    return module_server


@pytest.fixture
def client(server):
    """A bare connection to the file's server."""
    with server.connect() as connection:
        yield connection


@pytest.fixture
def start():
    """Starts further servers with options of their own; all are stopped at the end."""
    running = []

    def starter(**options):
        running.append(support.Server(**options))
        return running[-1]

    yield starter
    for each in running:
        each.close()

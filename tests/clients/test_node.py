"""ioredis and node-redis, through node_clients.js; NODE_PATH names the folder that npm installed them into."""
import os
import shutil
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.mark.skipif(shutil.which("node") is None or not os.path.isdir(os.path.join(os.environ.get("NODE_PATH", ""), "ioredis")), reason="no node, or ioredis and redis are not in NODE_PATH")
def test_node_clients(server):
    done = subprocess.run(["node", os.path.join(HERE, "node_clients.js"), str(server.port)], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0 and done.stdout.count("ok ") == 11, done.stdout + done.stderr

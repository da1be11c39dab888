"""redis-cli and redis-benchmark, run as users run them."""
import os
import re
import shutil
import signal
import subprocess

import pytest
import support

CLI = os.environ.get("REDIS_CLI") or shutil.which("redis-cli")
BENCHMARK = os.environ.get("REDIS_BENCHMARK") or shutil.which("redis-benchmark")


def cli(server, *arguments, stdin=b"", timeout=30, status=0):
    """Runs redis-cli to its end and returns what it printed."""
    done = subprocess.run([CLI, "-p", str(server.port), *arguments], input=stdin, capture_output=True, timeout=timeout)
    assert done.returncode == status, (done.stdout, done.stderr)
    return done.stdout.decode(errors="surrogateescape")


def cli_until(server, *arguments, wanted, timeout=15):
    """Runs a redis-cli that does not end by itself until its output matches, then stops it."""
    process = subprocess.Popen([CLI, "-p", str(server.port), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output = b""
        os.set_blocking(process.stdout.fileno(), False)

        def more():
            nonlocal output
            output += process.stdout.read() or b""
            return re.search(wanted, output.decode(errors="replace"), re.S)
        assert support.until(more, timeout), output
        return output.decode(errors="replace")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def filled(server):
    """The server with a few keys."""
    with server.connect() as client:
        for i in range(500):
            client("SET", f"key:{i}", "x" * i)
        client("SET", "largest", "y" * 50_000)
    return server


def test_plain_commands(server):
    assert cli(server, "PING") == "PONG\n"
    assert cli(server, "SET", "k", "v") == "OK\n" and cli(server, "GET", "k") == "v\n" and cli(server, "GET", "nosuch") == "\n"
    assert cli(server, "--no-raw", "INCR", "n") == "(integer) 1\n" and cli(server, "--no-raw", "GET", "nosuch") == "(nil)\n"
    assert cli(server, "--no-raw", "NOSUCH", "a").startswith("(error) ERR unknown command 'NOSUCH', with args beginning with: 'a' ")
    assert cli(server, "-e", "NOSUCH", status=1) == ""


def test_resp3(server):
    assert cli(server, "-3", "SET", "k", "v") == "OK\n" and cli(server, "-3", "--no-raw", "GET", "nosuch") == "(nil)\n"
    shown = cli(server, "-3", "--no-raw", "CONFIG", "GET", "maxmemory")
    assert shown == '1# "maxmemory" => "0"\n'
    assert '"proto" => (integer) 3' in cli(server, "-3", "--no-raw", "HELLO")


def test_databases_repeats_and_output_formats(server):
    assert cli(server, "-n", "5", "SET", "k", "v") == "OK\n" and cli(server, "-n", "5", "DBSIZE") == "1\n" and cli(server, "DBSIZE") == "0\n"
    assert cli(server, "-r", "5", "INCR", "n") == "1\n2\n3\n4\n5\n"
    assert cli(server, "--json", "-3", "CONFIG", "GET", "maxmemory") == '{"maxmemory":"0"}\n'
    assert cli(server, "--json", "MGET", "n", "x") == '["5",null]\n'
    assert cli(server, "--csv", "MGET", "n", "x") == '"5",NULL\n' and cli(server, "--quoted-input", "SET", r'"\x00a"', "v") == "OK\n"


def test_value_from_standard_input(server):
    assert cli(server, "-x", "SET", "k", stdin=b"from stdin\x00\xff") == "OK\n" and cli(server, "STRLEN", "k") == "12\n"
    assert cli(server, "-X", "here", "SET", "j", "here", "EX", "100", stdin=b"value") == "OK\n" and cli(server, "GET", "j") == "value\n"


def test_commands_from_standard_input(server):
    assert cli(server, stdin=b'SET a "b c"\nGET a\nNOSUCH\nPING\n').startswith("OK\nb c\nERR unknown command 'NOSUCH'")


def test_pipe(server):
    data = b"".join(support.encode("SET", f"p:{i}", "v" * (i % 300)) for i in range(20_000))
    assert "errors: 0, replies: 20000" in cli(server, "--pipe", stdin=data)
    assert cli(server, "DBSIZE") == "20000\n"
    assert "errors: 1, replies: 2" in cli(server, "--pipe", stdin=b"SET a b\r\nNOSUCH\r\n", status=1)


def test_scan(filled):
    assert len(cli(filled, "--scan").split()) == 501 and len(cli(filled, "--scan", "--pattern", "key:1*").split()) == 111
    assert cli(filled, "--scan", "--pattern", "nosuch*") == ""


def test_bigkeys(filled):
    shown = cli(filled, "--bigkeys")
    assert re.search(r"""Biggest string found ['"]+largest['"]+ has 50000 bytes""", shown) and re.search(r"501 strings with \d+ bytes", shown)


def test_memkeys(filled):
    shown = cli(filled, "--memkeys")
    assert re.search(r"""Biggest string found ['"]+largest['"]+ has \d+ bytes""", shown) and "501 strings" in shown
    assert "501 strings" in cli(filled, "--memkeys-samples", "1", "--memkeys")


def test_hotkeys_says_which_policy_it_needs(filled):
    done = subprocess.run([CLI, "-p", str(filled.port), "--hotkeys"], capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    shown = (done.stdout + done.stderr).decode()
    assert done.returncode != 0 and "An LFU maxmemory policy is not selected, access frequency not tracked." in shown


def test_hotkeys_under_lfu(start):
    server = start(maxmemory="100mb", maxmemory_policy="allkeys-lfu")
    with server.connect() as client:
        for _ in range(2000):
            client("GET", "hot")
            client("SET", "hot", "v")
        client("SET", "cold", "v")
    assert re.search(r"hot key found with counter: \d+\s+keyname: .?hot", cli(server, "--hotkeys"))


def test_latency(server):
    low, high, average, samples = cli(server, "--latency", "-i", "0.3").split()
    assert float(low) <= float(average) <= float(high) and int(samples) > 5
    assert re.match(r"\d+ \d+ [\d.]+ \d+", cli_until(server, "--latency-history", "-i", "0.2", wanted=r"\d+ \d+ [\d.]+ \d+"))


def test_stat(server):
    assert "keys" in cli_until(server, "--stat", "-i", "0.1", wanted=r"keys\s+mem.*\n\s*\d+\s+[\d.]+[KMG]?\s+\d+.*\n\s*\d+\s+")


def test_monitor(server):
    process = subprocess.Popen([CLI, "-p", str(server.port), "MONITOR"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"OK\n"
        with server.connect() as client:
            client("SELECT", 3)
            client("SET", "k", b'a "b"\n\x01\xff')
        assert re.match(rb'\d+\.\d{6} \[3 127\.0\.0\.1:\d+\] "SELECT" "3"\n', process.stdout.readline())
        assert re.match(rb'\d+\.\d{6} \[3 127\.0\.0\.1:\d+\] "SET" "k" "a \\"b\\"\\n\\x01\\xff"\n', process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def test_interactive_help_loads_the_command_table(server):
    with server.connect() as client:
        docs = client("COMMAND", "DOCS")
    assert len(docs) > 100
    shown = cli(server, stdin=b"SET k v\nHELP\n")
    assert shown.startswith("OK\n")


def test_unix_socket(start):
    server = start(unixsocket="s.sock")
    done = subprocess.run([CLI, "-s", server.path("s.sock"), "PING"], capture_output=True, timeout=10)
    assert done.stdout == b"PONG\n"


def test_password(start):
    server = start(requirepass="secret")
    assert cli(server, "PING").startswith("NOAUTH Authentication required.")
    assert cli(server, "--no-auth-warning", "-a", "secret", "PING") == "PONG\n"
    assert cli(server, "--user", "default", "--pass", "secret", "--no-auth-warning", "PING") == "PONG\n"


@pytest.mark.parametrize("options", [
    ["-t", "set,get,incr,mset", "-P", "16"], ["-t", "set,get,incr,mset", "--threads", "2"], ["-t", "ping_inline,ping_mbulk,set,get"], ["-t", "get", "-d", "4096", "-r", "10000", "-P", "8"],
    ["-t", "set", "-k", "0"], ["-P", "16", "SET", "k:__rand_int__", "v"], ["-3", "-t", "set,get"], ["-t", "set,get", "-c", "200", "-P", "4"]], ids=" ".join)
def test_benchmark(server, options):
    count = "2000" if "-k" in options else "20000"
    done = subprocess.run([BENCHMARK, "-p", str(server.port), "-n", count, "-q", *options], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    shown = done.stdout.decode().replace("\r", "\n")
    rates = [float(rate) for rate in re.findall(r"([\d.]+) requests per second", shown)]
    assert done.returncode == 0 and rates and all(rate > 0 for rate in rates), (shown, done.stderr)
    assert "error" not in (shown + done.stderr.decode()).lower()


def test_benchmark_csv(server):
    done = subprocess.run([BENCHMARK, "-p", str(server.port), "-n", "2000", "--csv", "-t", "set,get"], capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    lines = done.stdout.decode().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ['"SET"', '"GET"']

"""The HTTP transport as its own process: who is let in, who is not, and how it ends."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psutil
import pytest

from audit.query import records
from mcp_server.http import TokenFileError, bearer_token
from tests.mcp_server.conftest import HTTP_ANY_PORT
from tests.mcp_server.rig import Rig, running, until
from tests.warm import INSTALLED

pytestmark = pytest.mark.threat("T19")
END_S = 5.0  # a second, and what a busy machine adds; the call itself would take 300
ACCEPT = "application/json, text/event-stream"
HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "raw", "version": "1"},
    },
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, str, str]]:
    rig = Rig.make(tmp_path_factory.mktemp("http"), HTTP_ANY_PORT)
    rig.command = str(INSTALLED)
    _, url, token = rig.serve_http()
    yield rig, url, token
    rig.stop_all()


def post(url: str, headers: dict[str, str]) -> int:
    with httpx2.Client(timeout=10) as web:
        return web.post(url, json=HELLO, headers={"Accept": ACCEPT, **headers}).status_code


def test_the_token_lets_in(served):
    _, url, token = served
    assert post(url, {"Authorization": f"Bearer {token}"}) == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic {token}", "{token}", "Bearer {token}x"],
)
def test_without_the_exact_token_nobody_is_let_in(served, authorization):
    _, url, token = served
    assert post(url, {"Authorization": authorization.format(token=token)}) == 401


@pytest.mark.parametrize(
    "host",
    ["example.com", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:{port}", "0.0.0.0:{port}"],
)
def test_another_host_name_is_refused_even_with_the_token(served, host):
    _, url, token = served
    port = url.split(":")[2].split("/")[0]
    headers = {"Authorization": f"Bearer {token}", "Host": host.format(port=port)}
    assert post(url, headers) == 421


@pytest.mark.parametrize("origin", ["http://127.0.0.1:{port}", "http://localhost", "null", "x"])
def test_any_origin_is_refused_even_with_the_token(served, origin):
    _, url, token = served
    port = url.split(":")[2].split("/")[0]
    headers = {"Authorization": f"Bearer {token}", "Origin": origin.format(port=port)}
    assert post(url, headers) == 403


@pytest.mark.parametrize("path", ["/", "/mcp/", "/mcp/x", "/docs", "/.well-known/x", "/metrics"])
def test_there_is_nothing_at_another_path(served, path):
    _, url, token = served
    headers = {"Authorization": f"Bearer {token}"}
    assert post(url.removesuffix("/mcp") + path, headers) in (307, 404)


def test_only_loopback_is_listened_on(served):
    rig, url, _ = served
    server = psutil.Process(rig.started[0].pid)
    listening = [c.laddr for c in server.net_connections() if c.status == psutil.CONN_LISTEN]
    assert [address.ip for address in listening if address] == ["127.0.0.1"]
    assert f"127.0.0.1:{listening[0].port}" in url


def test_the_token_is_long_and_in_a_private_file(served):
    rig, _, token = served
    file = rig.state / "http-token"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(token) >= 43


def test_a_signal_ends_the_server_its_calls_and_their_children(tmp_path):
    rig = Rig.make(tmp_path, HTTP_ANY_PORT)
    process, url, token = rig.serve_http()
    headers = {"Authorization": f"Bearer {token}", "Accept": ACCEPT}
    seconds = f"300.{time.monotonic_ns()}"
    with httpx2.Client(timeout=10, headers=headers) as web:
        hello = web.post(url, json=HELLO)
        headers = {"Mcp-Session-Id": hello.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        web.post(url, json=ready, headers=headers)
        call = {"name": "exec", "arguments": {"argv": ["sleep", seconds], "timeout_s": 300}}
        frame = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
        with web.stream("POST", url, json=frame, headers=headers):
            until(lambda: running(seconds))
            began = time.monotonic()
            process.terminate()
            process.wait(timeout=10)
    assert time.monotonic() - began < END_S
    until(lambda: not running(seconds), within_s=10)
    rig.stop_all()
    assert list(records(rig.state / "audit"))[-1]["event"] == "exec.outcome"


def test_a_token_is_made_once_and_kept(tmp_path):
    file = tmp_path / "state" / "http-token"
    token, is_new = bearer_token(file)
    assert is_new
    assert bearer_token(file) == (token, False)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.chmod(0o640), "others may have read this token. Delete the file"),
        (lambda file: file.write_text("short\n"), "holds no token of ours. Delete the file"),
        (lambda file: file.write_bytes(b"\xff" * 43), "holds no token of ours. Delete the file"),
        (lambda file: (file.unlink(), file.symlink_to("/etc/hostname")), "is a link"),
        (lambda file: (file.unlink(), os.mkfifo(file, 0o600)), "is not a regular file"),
        (lambda file: (file.unlink(), file.mkdir()), "is not a regular file"),
    ],
    ids=["mode", "short", "bytes", "link", "fifo", "directory"],
)
def test_a_token_file_that_is_not_plainly_ours_is_refused_with_what_to_do(
    tmp_path: Path, damage, message
):
    file = tmp_path / "http-token"
    bearer_token(file)
    damage(file)
    with pytest.raises(TokenFileError, match=message):
        bearer_token(file)


def test_a_start_that_cannot_be_says_why_in_one_line(tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    rig = Rig.make(tmp_path, f"http: {{port: {port}}}\n")
    with taken:
        ended = rig.run("serve", "--http", "--workspace", str(rig.workspace))
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "http.port" in ended.stderr
    assert "Traceback" not in ended.stderr
    (rig.state / "http-token").chmod(0o644)
    ended = rig.run("serve", "--http", "--workspace", str(rig.workspace))
    assert ended.returncode == 2
    assert "others may have read this token" in ended.stderr
    assert "Traceback" not in ended.stderr

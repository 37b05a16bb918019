"""The page and API of a running server: its link and tokens, what their yes is good for here."""

import json
import os
import socket
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest

from approvals.request import Level
from mcp_server.config import ApprovalSettings, ConfigError, PageSettings, parse_config
from mcp_server.reach import reach
from tests.approvals.web_rig import free_port
from tests.mcp_server.indoors import Indoors, append

APPROVED_BY_API = """\
version: 1
name: api-for-tests
default: ask
rules:
  - id: separate
    ask: {operations: [fs.write, fs.create], level: separate}
    resources: ["${workspace}/asks/**"]
"""


def configured(base: Path, port: int, more: str = "wait_s: 20") -> str:
    """Write and return a configuration with the page on this port."""
    directory = base / "config" / "permitgate"
    directory.mkdir(parents=True)
    text = (
        f"approvals: {{channels: [terminal], {more}, page: {{listen: '127.0.0.1:{port}'}}, "
        f"approvers: {directory / 'approvers.json'}}}\n"
    )
    (directory / "config.yaml").write_text(text)
    (directory / "config.yaml").chmod(0o600)
    return text


@asynccontextmanager
async def served(indoors: Indoors):
    """Serve the owner beside the calls, and yield once the page is there."""
    async with anyio.create_task_group() as group, indoors.connected("auto") as client:
        group.start_soon(indoors.app.serve_owner)
        with anyio.fail_after(20):
            while (link := await indoors.cli("approvals", "page")).returncode:
                assert "no running server shows the page" in link.stderr
        yield client, link.stdout.strip()
        group.cancel_scope.cancel()


@asynccontextmanager
async def entered(link: str):
    url, _, token = link.partition("/#login=")
    origin = {"Origin": url}
    async with httpx2.AsyncClient(base_url=url, headers=origin, trust_env=False) as web:
        opened = await web.post("/page/enter", json={"token": token})
        web.headers["X-Permitgate-Key"] = opened.json()["key"]
        yield web


async def answered(web: httpx2.AsyncClient, said: str, reason: str = "") -> dict[str, object]:
    """Answer the one request that waits."""
    with anyio.fail_after(20):
        rows: list[dict[str, object]] = []
        while not rows:
            rows = (await web.get("/api/v1/approvals")).json()["approvals"]
    body = {"answer": said, "seen_digest": rows[0]["request_digest"], "reason": reason}
    decided = await web.post(f"/api/v1/approvals/{rows[0]['id']}/decisions", json=body)
    assert decided.status_code == 200, decided.text
    return decided.json()


async def called(client, arguments: dict[str, object], into: list[dict[str, object]]) -> None:
    result = await client.call_tool("exec", arguments)
    into.append(result.structured_content)


async def test_a_yes_on_the_page_runs_the_waiting_call_and_a_no_tells_the_agent_why(tmp_path):
    indoors = Indoors.make(tmp_path, configured(tmp_path, free_port()))
    results: list[dict[str, object]] = []
    async with served(indoors) as (client, link), entered(link) as web:
        for said, reason in (("approve", ""), ("deny", "use the staging copy")):
            async with anyio.create_task_group() as group:
                group.start_soon(called, client, append("owner"), results)
                await answered(web, said, reason)
    indoors.app.close()
    assert [one["status"] for one in results] == ["ok", "declined"]
    assert results[0]["approval"]["level"] == Level.OWNER
    assert "They said: use the staging copy" in results[1]["guidance"]["reason"]
    assert indoors.runs("owner") == 1


async def test_an_approvers_token_reaches_the_level_separate(tmp_path):
    config = configured(tmp_path, free_port())
    (tmp_path / "separate.yaml").write_text(APPROVED_BY_API)
    indoors = Indoors.make(tmp_path, config, ("dev-safe", "separate.yaml"))
    results: list[dict[str, object]] = []
    async with served(indoors) as (client, link):
        made = await indoors.cli("approvals", "token", "alice@example.com")
        token = made.stdout.strip()
        kept = (tmp_path / "config" / "permitgate" / "approvers.json").read_text()
        assert token not in kept
        url = link.partition("/#")[0]
        header = {"Authorization": f"Bearer {token}"}
        async with httpx2.AsyncClient(base_url=url, headers=header, trust_env=False) as web:
            async with anyio.create_task_group() as group:
                group.start_soon(called, client, append(), results)
                await answered(web, "approve")
            gone = await indoors.cli("approvals", "token", "alice@example.com", "--remove")
            assert gone.stdout == "The token of alice@example.com ended.\n"
            assert (await web.get("/api/v1/approvals")).status_code == 401
    indoors.app.close()
    assert (results[0]["status"], indoors.runs()) == ("ok", 1)
    assert results[0]["approval"]["by"] == f"alice@example.com@{os.geteuid()} via api"


@pytest.mark.threat("T19")
async def test_the_page_answers_to_its_public_url_alone(tmp_path):
    port = free_port()
    shown = f"http://localhost:{port}"
    config = configured(tmp_path, port).replace(f"{port}'}}", f"{port}', public_url: '{shown}'}}")
    (tmp_path / "config" / "permitgate" / "config.yaml").write_text(config)
    indoors = Indoors.make(tmp_path, config)
    async with served(indoors) as (_, link), httpx2.AsyncClient(trust_env=False) as web:
        assert link.startswith(f"{shown}/#login=")
        answers = {
            host: (await web.get(f"http://127.0.0.1:{port}/", headers={"Host": host})).status_code
            for host in (f"localhost:{port}", f"127.0.0.1:{port}", "localhost")
        }
    indoors.app.close()
    assert list(answers.values()) == [200, 421, 421]


# What commands of the sandbox see of it.

HOME_AND_STATE = """\
version: 1
name: everything-for-tests
default: ask
rules:
  - id: all
    allow: [fs.list, fs.read, fs.write, fs.create, code.exec, git.read]
    resources: ["/**", "<*"]
  - id: this-host
    allow: [net.connect]
    hosts: [localhost, 127.0.0.0/8]
"""


@pytest.mark.threat("T28")
async def test_no_command_reaches_the_page_even_where_this_host_is_permitted(tmp_path):
    port, other = free_port(), free_port()
    config = configured(tmp_path, port, "wait_s: 0")
    (tmp_path / "all.yaml").write_text(HOME_AND_STATE)
    indoors = Indoors.make(tmp_path, config, ("all.yaml",))
    found = {}
    async with served(indoors) as (client, _):
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=other)

        async def answer(stream) -> None:
            async with stream:
                await stream.receive()
                await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")

        async with listener, anyio.create_task_group() as group:
            group.start_soon(listener.serve, answer)
            for url in (f"127.0.0.1:{other}", f"127.0.0.1:{port}", f"localhost:{port}"):
                results: list[dict[str, object]] = []
                await called(client, {"command": f"curl -sS http://{url}/"}, results)
                found[url] = results[0]
            group.cancel_scope.cancel()
    indoors.app.close()
    assert found.pop(f"127.0.0.1:{other}")["stdout"]["text"] == "other"
    for url, result in found.items():
        assert result["status"] == "failed", url
        assert "not for commands" in json.dumps(result["events"]), url
        assert "Approvals" not in json.dumps(result)


@pytest.mark.threat("T23")
async def test_no_command_reads_the_approvers_or_the_links(tmp_path):
    config = configured(tmp_path, free_port(), "wait_s: 0")
    (tmp_path / "all.yaml").write_text(HOME_AND_STATE)
    indoors = Indoors.make(tmp_path, config, ("all.yaml",))
    async with served(indoors) as (client, _):
        assert (await indoors.cli("approvals", "token", "alice")).returncode == 0
        assert (await indoors.cli("approvals", "page")).returncode == 0
        paths = (
            tmp_path / "config" / "permitgate" / "approvers.json",
            indoors.app.places.approvals / "page.lock",
            *(indoors.app.places.approvals / "links").iterdir(),
        )
        assert len(paths) == 3 + 1  # the link that `served` made was not used
        for path in paths:
            assert path.exists()
            results: list[dict[str, object]] = []
            await called(client, {"command": f"cat {path}"}, results)
            assert results[0]["status"] == "error", path
            assert "alice" not in json.dumps(results[0])
    indoors.app.close()


# Configuration.

PAGE = PageSettings(listen="127.0.0.1:8644")


def test_the_page_is_a_channel_of_the_owner_and_a_token_one_of_its_own():
    assert reach(ApprovalSettings(channels=())).levels == {}
    assert reach(ApprovalSettings(channels=(), page=PAGE)).levels == {"page": Level.OWNER}
    strict = ApprovalSettings(channels=(), page=PAGE, strict_owner=True)
    assert reach(strict).levels == {"page": Level.ATTESTED}
    both = ApprovalSettings(channels=(), page=PAGE, approvers=Path("/a.json"), strict_owner=True)
    assert reach(both).levels == {"page": Level.ATTESTED, "api": Level.SEPARATE}
    assert reach(both).highest is Level.SEPARATE


@pytest.mark.parametrize(
    ("section", "where"),
    [
        ("page: {}", "approvals.page.listen"),
        ("page: {listen: '0.0.0.0:8644'}", "approvals.page.listen"),
        ("page: {listen: '127.0.0.1:0'}", "approvals.page.listen"),
        ("page: {listen: '127.0.0.1:65536'}", "approvals.page.listen"),
        ("page: {listen: '127.0.0.1:1', public_url: 'http://a.example'}", "page.public_url"),
        ("page: {listen: '127.0.0.1:1', public_url: 'https://a.example/'}", "page.public_url"),
        ("page: {listen: '127.0.0.1:1', token: x}", "approvals.page.token: unknown key"),
        ("approvers: /a.json", "set page.listen too"),
        ("{page: {listen: '127.0.0.1:1'}, approvers: a.json}", "not an absolute path"),
    ],
)
def test_a_listener_that_cannot_be_kept_safe_is_an_error_with_its_place(section, where):
    text = f"approvals: {section if section.startswith('{') else '{' + section + '}'}\n"
    with pytest.raises(ConfigError, match=r"^c.yaml:1:\d+: ") as refused:
        parse_config(text, "c.yaml")
    assert where in str(refused.value)


def test_the_origin_is_where_a_browser_sees_the_page():
    assert (PAGE.origin, PAGE.address) == ("http://127.0.0.1:8644", ("127.0.0.1", 8644))
    six = PageSettings(listen="[::1]:8644", public_url="https://approvals.example")
    assert (six.origin, six.address) == ("https://approvals.example", ("::1", 8644))


def test_without_a_server_or_a_file_the_command_line_says_what_to_set(rig):
    for words, hint in ((("page",), "approvals.page.listen"), (("token", "a"), "approvers.json")):
        refused = rig.run("approvals", *words)
        assert (refused.returncode, hint in refused.stderr) == (2, True), refused.stderr


def test_doctor_says_where_the_page_is_who_has_a_token_and_what_is_in_the_way(rig):
    port = free_port()
    approvers = rig.base / "approvers.json"
    rig.configure(f"approvals: {{page: {{listen: '127.0.0.1:{port}'}}, approvers: {approvers}}}\n")

    def rows() -> dict[str, tuple[str, str]]:
        found = json.loads(rig.run("doctor", "--json").stdout)["rows"]
        return {row["name"]: (row["state"], row["evidence"]) for row in found}

    seen = rows()
    assert seen["approvals page"][0] == "none"
    assert "nobody" in seen["approvals API"][1]
    assert rig.run("approvals", "token", "alice", "--reader").returncode == 0
    with socket.create_server(("127.0.0.1", port)):
        seen = rows()
    assert seen["approvals page"][0] == "dead"
    assert f"127.0.0.1:{port}: Address already in use" in seen["approvals page"][1]
    assert seen["approvals API"] == ("found", f"alice (reader) in {approvers}")

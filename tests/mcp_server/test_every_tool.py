"""A real client over stdio and over HTTP, in both protocol eras, uses every tool there is."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mcp_server.conftest import HTTP_ANY_PORT
from tests.mcp_server.rig import ERAS, YES, Rig
from tests.sandbox.remote import sshd
from tests.warm import INSTALLED

TOOLS = {
    "approval_status", "audit_prove", "audit_query", "audit_verify", "classify", "exec", "list_dir",
    "patch", "preview_commit", "preview_discard", "read_file", "search_files", "ssh", "undo",
}  # fmt: skip


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Rig]:
    """A rig whose configuration knows one real sshd."""
    server = sshd.start(tmp_path / "sshd")
    (tmp_path / "known_hosts").write_text(server.known_hosts_line + "\n")
    config = (
        f"{HTTP_ANY_PORT}approvals: {{wait_s: 0.1}}\nknown_hosts: {tmp_path / 'known_hosts'}\n"
        f"hosts:\n  - name: box\n    address: 127.0.0.1\n    port: {server.port}\n"
        f"    user: {server.user}\n    groups: [all]\n    identity_files: [{server.identity}]\n"
    )
    rig = Rig.make(tmp_path / "rig", config)
    yield rig
    rig.stop_all()
    server.process.terminate()
    server.process.wait()


@ERAS
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_every_tool_works_for_a_real_client(fleet, transport, era):
    fleet.command = str(INSTALLED) if (transport, era) == ("stdio", "auto") else ""
    async with getattr(fleet, transport)(era, YES) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(listed) == TOOLS
        assert all(tool.output_schema and tool.annotations for tool in listed.values())

        async def call(tool, **arguments):
            result = await client.call_tool(tool, arguments)
            assert result.structured_content is not None, result.content[0].text
            return result.structured_content

        await runs_and_reads(call)
        await changes(call, fleet.workspace / "notes.txt")
        await reaches_a_host_with_the_owners_yes(call, fleet)
        await proves(call)
        for uri, text in (("policy://active", "dev-safe"), ("audit://checkpoint", "permitgate/")):
            assert text in (await client.read_resource(uri)).contents[0].text


async def runs_and_reads(call):
    classified = await call("classify", command="rm -rf /")
    assert classified["decision"]["effect"] == "deny"
    ran = await call("exec", command="cat notes.txt | sort -r")
    assert ran["stdout"]["text"] == "beta\nalpha\n"
    assert ran["enforcement"]["profile"] == "read"
    assert ran["receipt"]["seq"] == ran["log_seq"]
    read = await call("read_file", path="notes.txt", first_line=2)
    assert read["content"]["text"] == "beta\n"
    listing = await call("list_dir")
    assert "notes.txt" in {entry["name"] for entry in listing["entries"]}
    found = await call("search_files", pattern="alph")
    assert [match["line"] for match in found["matches"]] == [1]


async def changes(call, notes):
    edits = [{"path": "notes.txt", "old": "beta", "new": "gamma"}]
    patched = await call("patch", edits=edits)
    assert notes.read_text() == "alpha\ngamma\n"
    undone = await call("undo", undo_id=patched["undo_id"])
    assert undone["status"] == "ok"
    assert notes.read_text() == "alpha\nbeta\n"


async def reaches_a_host_with_the_owners_yes(call, fleet):
    asked = await call("ssh", hosts=["all"], argv=["echo", "a 'b'", "$c"])
    assert asked["status"] == "pending"
    approval = asked["approval"]["id"]
    digest = json.loads(fleet.run("approvals", "show", approval, "--json").stdout)["request_digest"]
    answered = fleet.run("approvals", "approve", approval, "--digest", digest)
    assert answered.stdout == f"{approval} is approved.\n"
    resumed = await call("approval_status", approval_id=approval, wait_s=5)
    assert resumed["result"]["hosts"][0]["stdout"]["text"] == "a 'b' $c\n"


async def proves(call):
    records = (await call("audit_query", text="notes.txt"))["records"]
    assert records
    assert (await call("audit_verify"))["verdict"] == "verified"
    proof = await call("audit_prove", seq=records[-1]["@seq"])
    assert proof["proof"].startswith("c2sp.org/tlog-proof@v1")

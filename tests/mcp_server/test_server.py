"""The MCP surface: wrong arguments are answered with what is wrong, and nothing ends the server."""

import json
from dataclasses import replace

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.errors import AuditUnavailable
from mcp_server.surface import build_server
from tests.mcp_server.indoors import Indoors

pytestmark = pytest.mark.threat("T18")
ONE_OF = "give exactly one of command and argv"
WRONG = [
    ("exec", {}, ONE_OF),
    ("exec", {"command": "ls", "argv": ["ls"]}, ONE_OF),
    ("exec", {"cmd": "ls"}, "cmd: there is no such argument"),
    ("exec", {"command": 1}, "command: "),
    ("exec", {"command": None}, ONE_OF),
    ("exec", {"argv": []}, "argv is empty"),
    ("exec", {"argv": "ls"}, "argv: "),
    ("exec", {"argv": ["ls", 1]}, "argv.1: "),
    ("exec", {"argv": ["a\0b"]}, "argv holds a NUL byte"),
    ("exec", {"command": "ls", "timeout_s": "3"}, "timeout_s: "),
    ("exec", {"command": "ls", "timeout_s": 0}, "timeout_s: "),
    ("exec", {"command": "ls", "timeout_s": 1e9}, "timeout_s: "),
    ("exec", {"command": "ls", "timeout": 3}, "timeout: there is no such argument"),
    ("exec", {"command": "ls", "env": {"A-B": "1"}}, "'A-B' is not a variable name"),
    ("exec", {"command": "ls", "env": {"A\n": "1"}}, "is not a variable name"),
    ("exec", {"command": "ls", "env": {"A": 1}}, "env.A: "),
    ("exec", {"command": "ls", "env": {"A": "\0"}}, "the value of A holds a NUL byte"),
    ("exec", {"command": "ls", "profile": "root"}, "profile: "),
    ("exec", {"command": "ls", "reason": "x" * 2001}, "reason: "),
    ("exec", {"command": "ls", "cwd": "nowhere"}, "cwd 'nowhere' is not a directory"),
    ("exec", {"command": "ls", "cwd": "/"}, "is outside the workspace"),
    ("exec", {"command": "ls", "cwd": "../.."}, "is outside the workspace"),
    ("exec", {"command": "ls", "cwd": "\0"}, "cwd '\\x00' is not a directory"),
    ("exec", {"command": "ls", "cwd": "x" * 5000}, "is not a directory"),
    ("exec", {"command": "ls\ud800"}, "arguments: Invalid JSON"),
    ("classify", {}, ONE_OF),
    ("classify", {"command": "ls", "env": {}}, "env: there is no such argument"),
    ("patch", {}, "give exactly one of diff and edits"),
    ("patch", {"diff": "x", "edits": []}, "give exactly one of diff and edits"),
    ("patch", {"edits": [{"path": "a"}]}, "edits.0.old: "),
    ("patch", {"edits": [{"path": "a", "old": "", "new": "", "x": 1}]}, "edits.0.x: there is no"),
    ("patch", {"diff": "not a diff"}, ""),
    ("patch", {"diff": "", "dry_run": "yes"}, "dry_run: "),
    ("patch", {"diff": "x", "root": "/"}, "is outside the workspace"),
    ("undo", {}, "undo_id: "),
    ("undo", {"undo_id": "../../x"}, "undo_id: "),
    ("undo", {"undo_id": "0" * 32}, "there is no change set"),
    ("read_file", {}, "path: "),
    ("read_file", {"path": ["a"]}, "path: "),
    ("read_file", {"path": "a\0b"}, "path 'a\\x00b' holds a NUL byte"),
    ("list_dir", {"path": "\0"}, "holds a NUL byte"),
    ("search_files", {"pattern": "a", "path": "\0"}, "holds a NUL byte"),
    ("read_file", {"path": "a", "first_line": 0}, "first_line: "),
    ("read_file", {"path": "a", "max_lines": 10**9}, "max_lines: "),
    ("read_file", {"path": "a", "offset": 1}, "offset: there is no such argument"),
    ("list_dir", {"max_entries": True}, "max_entries: "),
    ("search_files", {}, "pattern: "),
    ("search_files", {"pattern": ""}, "pattern: "),
    ("ssh", {"hosts": [], "command": "ls"}, "hosts: "),
    ("ssh", {"hosts": ["box"]}, ONE_OF),
    ("ssh", {"hosts": ["box"], "command": "ls", "sudo": True}, "sudo takes an argv"),
    ("ssh", {"hosts": ["box"], "argv": []}, "argv is empty"),
    ("ssh", {"hosts": ["nowhere"], "command": "ls"}, "nowhere"),
    ("approval_status", {}, "approval_id: "),
    ("approval_status", {"approval_id": "ap_1", "wait_s": -1}, "wait_s: "),
    ("approval_status", {"approval_id": "ap_1"}, "There is no request ap_1 of this session."),
    ("approval_status", {"approval_id": "ap_'; --"}, "approval_id: "),
    ("audit_query", {"limit": 0}, "limit: "),
    ("audit_query", {"effect": "maybe"}, "effect: "),
    ("audit_query", {"since": "yesterday"}, "'yesterday' is not an RFC 3339 time"),
    ("audit_verify", {"deep": True}, "deep: there is no such argument"),
    ("audit_prove", {"seq": -1}, "seq: "),
    ("audit_prove", {"seq": 10**9}, "There is no record 1000000000 of this session."),
    ("audit_prove", {"seq": 0}, "There is no record 0 of this session."),
    ("shell", {"command": "ls"}, "There is no tool 'shell'. The tools are: classify, exec"),
]


@pytest.fixture(scope="module")
def indoors(tmp_path_factory: pytest.TempPathFactory):
    made = Indoors.make(tmp_path_factory.mktemp("server"))
    yield made
    made.app.close()


async def call(indoors: Indoors, tool: str, arguments: dict[str, object]):
    """Call a tool as the SDK would once a frame was read."""
    async with indoors.connected("auto") as client:
        return await client.session.call_tool(tool, arguments, allow_input_required=True)


async def test_wrong_arguments_are_answered_with_what_is_wrong_and_nothing_runs(indoors):
    async with indoors.connected("auto") as client:
        for tool, arguments, answer in WRONG:
            result = await client.session.call_tool(tool, arguments)
            text = result.content[0].text
            assert result.is_error, (tool, arguments)
            assert answer in text, (tool, arguments, text)
            assert "Traceback" not in text
            assert "pydantic" not in text
    assert not [r for r in indoors.records() if str(r["event"]).endswith("intent")]


async def test_a_rejected_value_is_not_repeated(indoors):
    result = await call(indoors, "exec", {"command": 1, "env": {"A": ["hunter2"]}})
    assert "hunter2" not in result.content[0].text


WORDS = st.sampled_from(["", ".", "..", "ls", "/", "a\0b", "\ud800", "~", "notes.txt", "x" * 300])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def arguments_like(tool) -> st.SearchStrategy[dict[str, object]]:
    """Return argument objects near a tool's own: its names, with values of every kind."""
    names = st.sampled_from([*tool.arguments.model_fields, "other"])
    plausible = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(tool.arguments.model_fields, WORDS | VALUES)
    )
    return plausible | st.dictionaries(names, VALUES, max_size=4)


async def test_no_arguments_to_any_tool_raise_or_end_the_server(indoors):
    tools = indoors.server._tools
    cases = st.sampled_from(list(tools.values())).flatmap(
        lambda tool: st.tuples(st.just(tool.name), arguments_like(tool))
    )
    found = []

    @settings(max_examples=300, deadline=None, database=None)
    @given(case=cases)
    def collect(case) -> None:
        found.append(case)

    await anyio.to_thread.run_sync(collect)
    context = Context(indoors)
    for tool, arguments in found:
        result = await indoors.server.call_tool(tool, arguments, context)
        assert "internal error" not in result.content[0].text, (tool, arguments)
        json.dumps(result.model_dump(mode="json"))


class Context:
    """What a tool needs of a request's context."""

    def __init__(self, indoors: Indoors) -> None:
        self.session = self
        self.client_params = None
        self.client_capabilities = None
        self.request_state = None
        self.protocol_version = None

    async def report_progress(self, *_: object) -> None:
        pass


async def test_a_failure_of_the_house_is_said_and_the_server_goes_on(indoors, monkeypatch):
    async def full(*_: object, **__: object):
        raise AuditUnavailable("No space left on device")

    async def broken(*_: object, **__: object):
        raise RuntimeError("a secret detail")

    async with indoors.connected("auto") as client:
        monkeypatch.setattr(type(indoors.app.journal), "append", full)
        result = await client.session.call_tool("classify", {"command": "ls"})
        assert result.is_error
        assert "No space left on device" in result.content[0].text
        monkeypatch.setattr(type(indoors.app.journal), "append", broken)
        result = await client.session.call_tool("classify", {"command": "ls"})
        assert result.is_error
        assert "internal error" in result.content[0].text
        assert "a secret detail" not in result.content[0].text
        monkeypatch.undo()
        assert not (await client.session.call_tool("classify", {"command": "ls"})).is_error


async def test_without_a_workspace_every_call_says_what_to_set(indoors):
    app = replace(indoors.app, caller=replace(indoors.app.caller, roots=()))
    homeless = replace(indoors, app=app, server=build_server(app))
    async with homeless.connected("auto") as client:
        for tool, arguments in (
            ("exec", {"command": "ls"}),
            ("exec", {"command": "ls", "cwd": "/tmp"}),
            ("classify", {"command": "ls"}),
            ("read_file", {"path": "/etc/hosts"}),
            ("list_dir", {}),
            ("search_files", {"pattern": "x"}),
            ("patch", {"edits": []}),
        ):
            result = await client.session.call_tool(tool, arguments)
            assert result.is_error, tool
            assert "There is no workspace" in result.content[0].text, tool

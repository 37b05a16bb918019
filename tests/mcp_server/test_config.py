"""config.yaml: every mistake is an error with its place, and every key does what it says."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mcp_server.app import Wishes, open_app
from mcp_server.config import Config, ConfigError, load_config, parse_config
from mcp_server.owner import CallRefusedError, workspace_roots
from tests.mcp_server.indoors import TERMINAL_AT_ONCE, Indoors, append

MISTAKES = [
    ("polcy: [x]", "c:1:1: polcy: unknown key"),
    ("limits:\n  cpu: 3", "c:2:3: limits.cpu: unknown key"),
    ("limits:\n  cpu_s: 3\n  cpu_s: 4", "c:3:3: key 'cpu_s' appears twice"),
    ("limits:\n  cpu_s: 3s", "c:2:3: limits.cpu_s: "),
    ('limits:\n  cpu_s: "3"', "c:2:3: limits.cpu_s: "),
    ("limits:\n  cpu_s: 3.5", "c:2:3: limits.cpu_s: "),
    ("limits:\n  cpu_s: 0", "c:2:3: limits.cpu_s: "),
    ("limits:\n  timeout_s: -1", "c:2:3: limits.timeout_s: "),
    ("limits:\n  timeout_s: .inf", "c:2:3: limits.timeout_s: "),
    ("limits: 3", "c:1:1: limits: "),
    ("limits:", "c:1:1: limits: "),
    ("approvals:\n  strict_owner: yes", "c:2:3: approvals.strict_owner: "),
    ("approvals:\n  channels: elicitation", "c:2:3: approvals.channels: "),
    ("approvals:\n  channels:\n    - terminal\n    - pager", "c:4:7: approvals.channels.1: "),
    ("approvals:\n  wait_s: 4000", "c:2:3: approvals.wait_s: "),
    ("toolchains: all", "c:1:1: toolchains: Value error, this is not auto, none, or a list"),
    ("toolchains: [uv, UV]", "c:1:1: toolchains: Value error, 'UV' is not auto, none, or"),
    ("toolchains: [3]", "c:1:1: toolchains: "),
    ("minimum_enforcement: none", "c:1:1: minimum_enforcement: "),
    ("http:\n  host: 0.0.0.0", "c:2:3: http.host: "),
    ("http:\n  port: 65536", "c:2:3: http.port: "),
    ("hosts:\n  - address: 10.0.0.1", "c:2:5: hosts.0.name: "),
    ("hosts:\n  - name: -x", "c:2:5: hosts.0.name: "),
    ("hosts:\n  - {name: a, port: 0}", "c:2:15: hosts.0.port: "),
    ("network: {proxy: socks5://x:1}", "c:1:11: network.proxy: Value error, 'socks5://x:1' is not"),
    ("network: {ca_bundle: /nowhere}", "c:1:11: network.ca_bundle: Value error, /nowhere is not"),
    ("network: {ca_bundle: pem}", "c:1:11: network.ca_bundle: Value error, pem is not the abs"),
    ("network: {bytes: 3}", "c:1:11: network.bytes: "),
    ("network: {connections: 0}", "c:1:11: network.connections: "),
    ("policy: dev-safe", "c:1:1: policy: "),
    ("a: [", "c:2:1: not YAML"),
    ("a: b: c", "c:1:5: not YAML"),
    ("\tpolicy: []", "c:1:1: not YAML"),
    ("policy: &p [x]", "c:1:9: anchors and aliases are not read"),
    ("policy: !!python/tuple [x]", "c:1:9: tags are not read"),
    ("policy: [x]\n---\npolicy: [y]", "c:2:1: a second document"),
    ("- policy", "c:1:1: "),
    ("just words", "c:1:1: "),
    ("policy: [\x00]", "c:1:"),
]


@pytest.mark.threat("T04")
@pytest.mark.parametrize(("text", "message"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_a_mistake_is_an_error_with_its_place(text, message):
    with pytest.raises(ConfigError) as error:
        parse_config(text, "c")
    assert str(error.value).startswith(message), str(error.value)


def test_every_mistake_of_a_file_is_named_at_once():
    with pytest.raises(ConfigError) as error:
        parse_config("a: 1\nb: 2\nlimits: {cpu_s: x}", "c")
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["3", "1", "2"]


@pytest.mark.parametrize("text", ["", "\n \n", "# only a comment\n", "{}"])
def test_an_empty_file_is_the_defaults(text):
    assert parse_config(text, "c") == Config()


@given(st.text(max_size=60) | st.text(alphabet="limits: []{}-#&*!|>'\"\n3", max_size=60))
def test_no_text_raises_anything_but_a_config_error(text):
    try:
        parse_config(text, "c")
    except ConfigError as error:
        assert str(error).startswith("c:")  # noqa: PT017  # either way is an answer


def write(tmp_path: Path, content: bytes = b"policy: [dev-safe]\n") -> Path:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_private_file_of_ours_is_read(tmp_path):
    assert load_config(write(tmp_path)) == Config()


def test_without_a_file_there_are_defaults_unless_a_variable_names_it(tmp_path, monkeypatch):
    missing = tmp_path / "config.yaml"
    assert load_config(missing) == Config()
    monkeypatch.setenv("PERMITGATE_CONFIG", str(missing))
    with pytest.raises(ConfigError, match="PERMITGATE_CONFIG names this file and it does not exi"):
        load_config(missing)


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.chmod(0o620), r"others may write it \(mode 620\). Run: chmod 600"),
        (lambda path: path.chmod(0o602), "others may write it"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "is a link"),
        (lambda path: (path.unlink(), os.mkfifo(path)), "is not a regular file"),
        (lambda path: (path.unlink(), path.mkdir()), "is not a regular file"),
        (lambda path: path.write_bytes(b"policy: [\xff]"), "is not UTF-8 text"),
    ],
    ids=["group", "others", "link", "fifo", "directory", "bytes"],
)
def test_a_file_that_is_not_plainly_ours_is_refused(tmp_path, damage, message):
    path = write(tmp_path)
    damage(path)
    with pytest.raises(ConfigError, match=message) as error:
        load_config(path)
    assert str(error.value).startswith(str(path))


# --- every accepted key changes something (law 3) ----------------------------------------------

LIMITS = """\
approvals: {channels: [terminal], wait_s: 0, ttl_s: 77, use_within_s: 33}
limits:
  timeout_s: 0.4
  cpu_s: 77
  memory_bytes: 333000000
  processes: 99
  file_bytes: 4096000
  open_files: 123
  tmp_bytes: 5242880
  output_bytes: 2048
audit: {directory: AUDIT}
"""
# Each key, and the test that fails when it is accepted and not obeyed.
OBEYED = {
    "workspace_roots": "test_workspace_roots_are_the_workspaces",
    "policy": "test_policy_names_what_is_in_force",
    "minimum_enforcement": "test_below_the_minimum_enforcement_nothing_runs",
    "accept_unprotected_git": "test_the_rung_landlock_runs_only_what_the_owner_accepted",
    "toolchains": "test_commands_see_the_toolchains_that_are_configured",
    "known_hosts": "test_hosts_and_their_known_keys_are_what_a_human_approves",
    "approvals.unreachable": "test_a_level_that_nobody_can_reach_is_a_no_if_the_operator_says_so",
    "approvals.channels": "test_limits_times_and_places_are_obeyed",
    "approvals.wait_s": "test_limits_times_and_places_are_obeyed",
    "policy_signers": (
        "test_the_command_line_and_the_server_ask_for_signatures_when_configured"
    ),
    "approvals.ttl_s": "test_limits_times_and_places_are_obeyed",
    "approvals.use_within_s": "test_limits_times_and_places_are_obeyed",
    "approvals.headless": "test_without_a_yes_nothing_runs_and_the_code_says_why",
    "approvals.page.listen": (
        "test_a_yes_on_the_page_runs_the_waiting_call_and_a_no_tells_the_agent_why"
    ),
    "approvals.page.public_url": "test_the_page_answers_to_its_public_url_alone",
    "approvals.approvers": "test_an_approvers_token_reaches_the_level_separate",
    "approvals.notify": "test_a_question_is_told_beside_the_call_and_a_deaf_target_delays_none",
    "approvals.server.url": "test_nobody_there_is_a_no_and_with_others_to_ask_it_is_asked_of_them",
    "approvals.server.token_file": "test_whose_job_it_is_not_gets_nothing",
    "approvals.server.agent": "test_whose_job_it_is_not_gets_nothing",
    "approvals.server.actor": "test_whose_job_it_is_not_gets_nothing",
    "approvals.server.key": (
        "test_a_yes_that_the_log_does_not_prove_runs_nothing_and_the_proven_one_is_not_lost"
    ),
    "approvals.strict_owner": "test_strict_owner_counts_the_owners_terminal_as_the_client",
    "approvals.roles": "test_a_quorum_of_a_role_is_asked_for_and_no_other_yes_counts",
    "approvals.signers": "test_a_key_file_signs_a_yes_of_its_own_level",
    "approvals.separate": "test_a_key_file_signs_a_yes_of_its_own_level",
    **{
        f"limits.{name}": "test_limits_times_and_places_are_obeyed"
        for name in (
            "timeout_s", "cpu_s", "memory_bytes", "processes", "file_bytes", "open_files",
            "tmp_bytes", "output_bytes",
        )
    },
    "audit.directory": "test_limits_times_and_places_are_obeyed",
    "audit.signer": "test_the_key_moves_to_an_ssh_agent_and_without_it_nothing_runs",
    "redaction.files": (
        "test_the_secrets_of_named_files_are_known_and_its_settings_are_not"
    ),
    "redaction.variables": (
        "test_named_variables_our_token_and_the_sinks_credentials_are_known"
    ),
    "audit.sinks": "test_a_server_delivers_beside_its_calls_and_a_deaf_receiver_delays_none",
    **{
        f"changes.{name}": "test_changes_are_kept_as_long_as_the_configuration_says"
        for name in ("keep_days", "keep_bytes", "keep_sets")
    },
    "network.proxy": "test_with_a_proxy_everything_leaves_through_it",
    "network.ca_bundle": (
        "test_a_host_of_a_rule_is_reached_without_asking_and_everything_is_counted"
    ),
    "network.bytes": "test_bounds_of_bytes_and_connections_are_those_of_the_configuration",
    "network.connections": "test_bounds_of_bytes_and_connections_are_those_of_the_configuration",
    "http.host": "test_only_loopback_is_listened_on",
    "http.port": "test_a_start_that_cannot_be_says_why_in_one_line",
    **{
        f"hosts.{name}": "test_hosts_and_their_known_keys_are_what_a_human_approves"
        for name in ("name", "address", "port", "user", "groups", "identity_files")
    },
}  # fmt: skip


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = (field.annotation, *getattr(field.annotation, "__args__", ()))
        models = [t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)]
        if models:
            yield from keys(models[0], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_accepted_key_has_a_test_that_holds_it_to_its_word():
    assert set(keys(Config)) == set(OBEYED)
    here = Path(__file__).parent
    tests = "".join(path.read_text() for path in here.glob("test_*.py"))
    assert [name for name in set(OBEYED.values()) if f"def {name}(" not in tests] == []


async def output(client, command: str) -> str:
    result = (await client.call_tool("exec", {"command": command})).structured_content
    assert result["status"] == "ok", result
    return result["stdout"]["text"]


async def test_limits_times_and_places_are_obeyed(tmp_path):
    indoors = Indoors.make(tmp_path, LIMITS.replace("AUDIT", str(tmp_path / "evidence")))
    async with indoors.connected("auto") as client:
        limits = " ".join((await output(client, "cat /proc/self/limits")).split())
        assert "Max cpu time 78 78" in limits  # the whole tree is ended at 77, and told why
        assert "Max file size 4096000 4096000" in limits
        # One count for a session's commands together, where a group holds the bound of each.
        assert re.search(r"Max processes (396|107) ", limits)
        hog = "head -c 500000000 /dev/zero | tail -c 450000000 | wc -c"
        asking = {"command": hog, "timeout_s": 20}
        killed = (await client.call_tool("exec", asking)).structured_content
        assert killed["status"] == "killed", killed
        assert "Max open files 123 123" in limits
        blocks, size = map(int, (await output(client, "stat -f -c '%b %S' /tmp")).split())
        assert blocks * size == 5_242_880
        assert len(await output(client, "seq 9999")) < 2048 + 100
        slow = (await client.call_tool("exec", {"argv": ["sleep", "9"]})).structured_content
        assert slow["status"] == "timeout"
        asked = (await client.call_tool("exec", append())).structured_content
        assert asked["status"] == "pending"
    (pending,) = indoors.app.desk.pending()
    assert pending.expires_ms - pending.created_ms == 77_000
    assert pending.question.need.use_within_s == 33
    assert (tmp_path / "evidence" / "checkpoint").exists()
    indoors.app.close()


def test_changes_are_kept_as_long_as_the_configuration_says(tmp_path):
    text = "changes: {keep_days: 2, keep_bytes: 5000000, keep_sets: 7}"
    indoors = Indoors.make(tmp_path, f"{text}\n{TERMINAL_AT_ONCE}")
    keep = indoors.app.runners.changes.keep
    assert (keep.max_age_s, keep.max_bytes, keep.max_sets) == (172_800, 5_000_000, 7)
    indoors.app.close()


@pytest.mark.parametrize(("listed", "is_shown"), [("[TOOLS]", True), ("none", False)])
async def test_commands_see_the_toolchains_that_are_configured(tmp_path, listed, is_shown):
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "notes.txt").write_text("seen")
    listed = listed.replace("TOOLS", str(tools))
    indoors = Indoors.make(tmp_path, f"toolchains: {listed}\n{TERMINAL_AT_ONCE}")
    async with indoors.connected("auto") as client:
        arguments = {"argv": ["ls", str(tools)], "profile": "read"}
        found = (await client.call_tool("exec", arguments)).structured_content
    assert ("notes.txt" in found["stdout"]["text"]) == is_shown
    indoors.app.close()


@pytest.mark.threat("T25")
async def test_below_the_minimum_enforcement_nothing_runs(tmp_path):
    indoors = Indoors.make(tmp_path)
    indoors.app.freezer._host = replace(indoors.app.host, rung="none")
    async with indoors.connected("auto") as client:
        result = await client.call_tool("exec", {"command": "ls"})
    assert result.is_error
    assert result.structured_content["status"] == "blocked"
    assert (
        "cannot confine commands: it does not reach minimum_enforcement" in result.content[0].text
    )
    assert not [r for r in indoors.records() if r["event"] == "exec.intent"]
    indoors.app.close()


def test_workspace_roots_are_the_workspaces(tmp_path):
    (tmp_path / "a").mkdir()
    config = Config(workspace_roots=(tmp_path / "a",))
    assert workspace_roots(config, None, Path("/home/dev")) == (tmp_path / "a",)
    assert workspace_roots(config, tmp_path, Path("/home/dev")) == (tmp_path,)
    for wrong, message in (("gone", "is not a directory"), ("..", "is the whole home")):
        roots = Config(workspace_roots=(tmp_path / "a" / wrong,))
        with pytest.raises(CallRefusedError, match=message):
            workspace_roots(roots, None, tmp_path)
    with pytest.raises(CallRefusedError, match="is the whole machine"):
        workspace_roots(Config(workspace_roots=(Path("/"),)), None, tmp_path)


def test_policy_names_what_is_in_force(tmp_path):
    indoors = Indoors.make(tmp_path)
    file = tmp_path / "deny.yaml"
    file.write_text("version: 1\nname: nothing\ndefault: deny\nrules: []\n")
    wishes = Wishes("stdio", indoors.workspace)
    other = open_app(parse_config(f"policy: [{file}]", "c"), indoors.app.places, wishes)
    assert other.policy.names == (str(file),)
    for app in (indoors.app, other):
        app.close()


async def test_hosts_and_their_known_keys_are_what_a_human_approves(tmp_path):
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGAMr4dbTPM5D2dyQhqGJxoC1dLxgrNNZVSYJx1P5kOm"
    (tmp_path / "known").write_text(f"[10.9.8.7]:2200 {key}\n")
    config = (
        "approvals: {channels: [terminal], wait_s: 0}\n"
        f"known_hosts: {tmp_path / 'known'}\n"
        "hosts:\n- {name: box, address: 10.9.8.7, port: 2200, user: ada, groups: [web],\n"
        "   identity_files: [/keys/one]}\n"
    )
    indoors = Indoors.make(tmp_path, config)
    async with indoors.connected("auto") as client:
        for hosts in (["web"], ["box"]):
            result = await client.call_tool("ssh", {"hosts": hosts, "argv": ["uptime"]})
            assert result.structured_content["status"] == "pending", result.content[0].text
    facts = dict(indoors.app.desk.pending()[0].question.facts)
    assert facts["host"].startswith("box = ada@10.9.8.7:2200 key SHA256:")
    indoors.app.close()

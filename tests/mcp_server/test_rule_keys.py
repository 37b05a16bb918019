"""Every key that a rule may hold is held to its word by the whole road: gate, sandbox and log."""

import json
from pathlib import Path

import pytest

from policy.rewrite_file import REWRITE_KEYS, REWRITE_RULE_KEYS
from policy.rule_file import ALLOW_KEYS, ASK_KEYS, RULE_KEYS
from tests.mcp_server.indoors import Indoors
from tests.sandbox.remote.test_hosts import KEY

RULES = """\
version: 1
rules:
  - id: look
    allow: [fs.list, fs.read, git.read, credential.read]
    resources: ["/**", "<*"]
  - id: work
    allow: [fs.write, fs.create, fs.perm, code.exec]
    resources: ["/**", "<*"]
  - id: rest
    allow: [net.connect, env.poison, sys.inspect]
"""
HOSTS = """\
approvals: {channels: [terminal], wait_s: 0}
hosts: [{name: web1, address: 127.0.0.1}, {name: db1, address: 127.0.0.1}]
"""


def open_with(base: Path, rule: str) -> Indoors:
    """Return an app whose policy allows work, and holds one more rule."""
    base.mkdir(exist_ok=True)
    (base / "own.yaml").write_text(f"{RULES}  - {{id: tried, {rule}}}\n")
    (base / "known_hosts").write_text(f"127.0.0.1 {KEY}\n")
    config = f"{HOSTS}known_hosts: {base / 'known_hosts'}\n"
    return Indoors.make(base, config, ("own.yaml",))


async def call(base: Path, rule: str, tool: str, **arguments: object) -> dict[str, object]:
    """Return the result of one call under the rule; the app is closed again."""
    indoors = open_with(base, rule)
    try:
        async with indoors.connected("auto") as client:
            result = await client.call_tool(tool, arguments)
            assert result.structured_content is not None, result.content[0].text
            return {**result.structured_content, "text": result.content[0].text}
    finally:
        indoors.app.close()


async def status(base: Path, rule: str, command: str, **arguments: object) -> str:
    result = await call(base, rule, "exec", command=command, **arguments)
    return str(result["status"])


# --- what narrows ---------------------------------------------------------------------------------

NARROWED = {
    "resources": ("deny: [fs.read], resources: ['**/notes.txt']", "cat notes.txt", "cat other"),
    "except": (
        "deny: [fs.create, fs.write], resources: ['/**'], except: ['**/ok']",
        "touch x",
        "touch ok",
    ),
    "with": ("deny: [fs.read], with: [fs.write]", "cat notes.txt > x", "cat notes.txt"),
    "programs": ("deny: [fs.read], programs: [cat]", "cat notes.txt", "head notes.txt"),
    "args": ("deny: [fs.read], args: ['-n']", "cat -n notes.txt", "cat -b notes.txt"),
    "tools": ("deny: [fs.read], tools: [exec]", "cat notes.txt", None),
    "subjects": ("deny: [fs.read], subjects: ['agent:*@*']", "cat notes.txt", None),
    "hosts": ("deny: [net.connect], hosts: [127.0.0.1]", "curl http://127.0.0.1/", None),
    "ports": ("deny: [net.connect], ports: [1-99]", "curl http://127.0.0.1/", None),
}


@pytest.mark.threat("T02")
@pytest.mark.parametrize("key", sorted(NARROWED))
async def test_a_rule_speaks_of_what_its_keys_name_and_of_nothing_else(tmp_path, key):
    rule, denied, runs = NARROWED[key]
    result = await call(tmp_path / "a", rule, "exec", command=denied)
    assert result["status"] == "denied"
    assert result["decision"]["rules"][0]["id"] == "tried"
    if runs is not None:
        assert await status(tmp_path / "b", rule, runs) in ("ok", "failed")


@pytest.mark.threat("T02")
async def test_other_tools_subjects_ports_and_hosts_are_not_spoken_of(tmp_path):
    rule = "deny: [fs.read], tools: [exec]"
    assert (await call(tmp_path / "a", rule, "read_file", path="notes.txt"))["status"] == "ok"
    rule = "deny: [fs.read], subjects: ['agent:somebody-else@*']"
    assert await status(tmp_path / "b", rule, "cat notes.txt") == "ok"
    for number, narrowed in enumerate(("ports: [443]", "hosts: [a.example]")):
        rule = f"deny: [net.connect], {narrowed}"
        # Not denied; the broker keeps it from what no rule lists by address.
        base = tmp_path / str(number)
        result = await call(base, rule, "exec", command="curl -sS http://127.0.0.1/")
        assert result["status"] == "failed"
        assert result["events"]["network"][0]["verdict"] == "refused"


@pytest.mark.threat("T02")
async def test_a_method_is_known_on_the_connection_alone_so_a_deny_asks_before(tmp_path):
    rule = "deny: [net.connect], methods: [POST]"
    assert await status(tmp_path / "a", rule, "wget http://127.0.0.1/") == "pending"


@pytest.mark.threat("T02")
async def test_a_method_is_not_in_the_words_so_a_deny_of_one_asks(tmp_path):
    rule = "deny: [net.connect], methods: [POST]"
    result = await call(tmp_path / "a", rule, "exec", command="curl http://127.0.0.1/")
    assert (result["status"], result["decision"]["rules"][0]["id"]) == ("pending", "tried")


@pytest.mark.threat("T02")
async def test_remote_hosts_are_the_names_that_ssh_was_given(tmp_path):
    rule = "deny: [sys.inspect, remote.exec], remote_hosts: ['db*']"
    arguments = {"argv": ["uptime"], "hosts": ["web1", "db1"]}
    assert (await call(tmp_path / "a", rule, "ssh", **arguments))["status"] == "denied"
    arguments["hosts"] = ["web1"]
    assert (await call(tmp_path / "b", rule, "ssh", **arguments))["status"] == "pending"
    assert await status(tmp_path / "c", rule, "uptime") != "denied"


async def test_an_allow_lifts_the_ask_it_names(tmp_path):
    ask = "ask: [fs.read], resources: ['**/notes.txt']"
    assert await status(tmp_path / "a", ask, "cat notes.txt") == "pending"
    lift = "}\n  - {id: lift, allow: [fs.read], resources: ['**/notes.txt'], lifts: [tried]"
    assert await status(tmp_path / "b", ask + lift, "cat notes.txt") == "ok"


# --- what is demanded -----------------------------------------------------------------------------


def demanding(demand: str, operation: str = "fs.read, fs.write, fs.create, fs.list") -> str:
    return f"allow: {{operations: [{operation}], {demand}}}, resources: ['/**']"


@pytest.mark.threat("T02")
async def test_a_command_that_needs_a_wider_profile_is_blocked_with_the_rules_place(tmp_path):
    rule = demanding("sandbox: read")
    result = await call(tmp_path / "a", rule, "exec", command="touch x")
    assert result["status"] == "blocked"
    assert "permits only read here (tried at" in result["guidance"]["reason"]
    assert not (tmp_path / "a" / "workspace" / "x").exists()
    assert await status(tmp_path / "b", rule, "cat notes.txt") == "ok"
    edits = [{"path": "notes.txt", "old": "beta", "new": "gamma"}]
    assert (await call(tmp_path / "c", rule, "patch", edits=edits))["status"] == "blocked"
    dry = await call(tmp_path / "d", rule, "patch", edits=edits, dry_run=True)
    assert dry["status"] == "blocked"
    classified = await call(tmp_path / "e", rule, "classify", command="touch x")
    assert "permits only read" in classified["blocked"]


@pytest.mark.threat("T02")
async def test_where_no_network_is_permitted_a_command_that_needs_one_is_blocked(tmp_path):
    rule = demanding("network: none", "net.connect").replace("/**", "*")
    command = "curl http://127.0.0.1/"
    result = await call(tmp_path / "a", rule, "exec", command=command)
    assert (result["status"], "permits none here" in result["text"]) == ("blocked", True)
    assert result["approval"] is None


@pytest.mark.threat("T02")
async def test_the_least_of_configuration_rule_and_request_is_the_limit(tmp_path):
    rule = demanding("limits: {timeout_s: 1, output_bytes: 1024}")
    slow = await call(tmp_path / "a", rule, "exec", command="cat notes.txt; sleep 20", timeout_s=9)
    assert slow["status"] == "timeout", slow["text"]
    long = "cat notes.txt; seq 1 5000"
    assert (await call(tmp_path / "b", rule, "exec", command=long))["stdout"]["truncated"]
    files = await call(
        tmp_path / "c",
        demanding("limits: {open_files: 32}"),
        "exec",
        command="cat notes.txt; ulimit -n",
    )
    assert files["stdout"]["text"].endswith("32\n")


@pytest.mark.threat("T02")
async def test_only_the_variables_that_a_rule_names_may_be_set(tmp_path):
    rule = demanding("env: [MODE]")
    for number, (name, ended) in enumerate((("MODE", "ok"), ("OTHER", "blocked"))):
        base = tmp_path / str(number)
        assert await status(base, rule, "cat notes.txt", env={name: "1"}) == ended


@pytest.mark.threat("T27")
@pytest.mark.parametrize(
    ("demand", "why"),
    [
        ("preview: true", "preview"),
        ("hold: {bytes: 3}", "bytes"),
        ("hold: {deletions: 1}", "deletions"),
        ("hold: {names: ['/no*.txt']}", "names"),
    ],
)
async def test_what_a_rule_holds_waits_for_a_person(tmp_path, demand, why):
    rule = demanding(demand, "fs.read, fs.write, fs.create, fs.delete")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "workspace" / "more.txt").write_text("more\n")
    text = "echo longer > notes.txt; cp notes.txt c; rm notes.txt more.txt"
    result = await call(tmp_path, rule, "exec", command=text)
    assert result["status"] == "ok", result["text"]
    assert why in [one["rule"] for one in result["changes"]["held"]], result["changes"]
    assert (tmp_path / "workspace" / "notes.txt").read_text() == "alpha\nbeta\n"


@pytest.mark.threat("T17")
async def test_words_that_a_rule_hides_reach_neither_agent_nor_log(tmp_path):
    rule = demanding("redact: ['alph*']")
    result = await call(tmp_path / "a", rule, "exec", command="cat notes.txt")
    assert result["stdout"]["text"] == "[redacted:by-rule]\nbeta\n"
    read = await call(tmp_path / "b", rule, "read_file", path="notes.txt")
    assert read["content"]["text"] == "[redacted:by-rule]\nbeta\n"
    found = await call(tmp_path / "c", rule, "search_files", pattern="alph")
    assert found["matches"][0]["text"] == "[redacted:by-rule]"
    edits = [{"path": "notes.txt", "old": "beta", "new": "gamma"}]
    for number, dry_run in enumerate((True, False)):
        base = tmp_path / str(number)
        patched = await call(base, rule, "patch", edits=edits, dry_run=dry_run)
        assert "gamma" in patched["diff"]
        assert "alpha" not in patched["diff"] + patched["text"]


@pytest.mark.threat("T07")
async def test_level_quorum_and_time_are_what_the_request_asks_for_and_the_statement_says_the_rest(
    tmp_path,
):
    rule = (
        "ask: {operations: [fs.create, fs.write], level: owner, quorum: 2, timeout_s: 77,"
        " sandbox: live}, resources: ['**/asked']"
    )
    indoors = open_with(tmp_path, rule)
    async with indoors.connected("auto") as client:
        result = await client.call_tool("exec", {"command": "touch asked"})
        assert result.structured_content["status"] == "pending", result.content[0].text
    (pending,) = indoors.app.desk.pending()
    need, facts = pending.question.need, pending.question.facts
    assert (int(need.level), need.quorum, need.ttl_s) == (2, 2, 77)
    assert any(key == "rule-demands" and text.startswith("sandbox live") for key, text in facts)
    recorded = next(one for one in indoors.records() if one.get("policy", {}).get("demands"))
    assert "sandbox" in recorded["policy"]["demands"]
    indoors.app.close()


@pytest.mark.threat("T29")
@pytest.mark.parametrize(("more", "offers"), [("", 0), (", grantable: true", 2)])
async def test_only_a_grantable_rule_lets_a_grant_stand_for_what_deletes(tmp_path, more, offers):
    rule = f"ask: {{operations: [fs.delete]{more}}}, resources: ['**/notes.txt']"
    indoors = open_with(tmp_path, rule)
    async with indoors.connected("auto") as client:
        await client.call_tool("exec", {"command": "rm notes.txt"})
    (pending,) = indoors.app.desk.pending()
    assert len(pending.question.offers) == offers
    indoors.app.close()


# --- rewriting ------------------------------------------------------------------------------------


async def test_a_rewritten_command_runs_and_everybody_is_told(tmp_path):
    rule = "rewrite: {programs: [more], args: ['{file}'], argv: [cat, '{file}']}, reason: No pager."
    indoors = open_with(tmp_path, rule)
    async with indoors.connected("auto") as client:
        result = await client.call_tool("exec", {"command": "more notes.txt"})
        active = (await client.read_resource("policy://active")).contents[0].text
    (rewritten,) = result.structured_content["decision"]["rewritten"]
    assert rewritten == {
        "from": "more notes.txt",
        "to": "cat notes.txt",
        "rule": "tried",
        "reason": "No pager.",
    }
    assert result.structured_content["stdout"]["text"] == "alpha\nbeta\n"
    assert "rule tried put `cat notes.txt` in the place" in result.content[0].text
    intent = next(one for one in indoors.records() if one["event"] == "exec.intent")
    assert intent["policy"]["rewritten"][0]["from"] == "more notes.txt"
    assert intent["request"]["argv"][1:] == ["notes.txt"]
    assert json.loads(active)["rewrites"][0]["argv"] == ["cat", "{file}"]
    indoors.app.close()


def test_every_key_is_tried_on_this_page():
    text = Path(__file__).read_text(encoding="utf-8")
    said_elsewhere = {"id", "allow", "deny", "reason", "instead", "match", "not_match"}
    keys = RULE_KEYS | ALLOW_KEYS | ASK_KEYS | REWRITE_KEYS | REWRITE_RULE_KEYS
    assert [key for key in sorted(keys - said_elsewhere) if f"{key}:" not in text] == []

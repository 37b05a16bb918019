"""Grants on the whole road: offered, given with a yes, used before a run, ended, recorded."""

import json
import os
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from mcp_types import ElicitResult

from approvals.request import Level, Principal
from approvals.scope import Scope, Terms
from audit import marks
from mcp_server import earlier
from tests.mcp_server.indoors import NOT_HERE, TERMINAL_AT_ONCE, Indoors
from tests.mcp_server.rig import HUMAN_S
from tests.mcp_server.test_cli import asking, line

__all__ = ["asking", "line"]  # fixtures

pytestmark = pytest.mark.threat("T29")
OWNER = Principal("terminal", 0, "owner", Level.OWNER)
POLICY = """\
version: 1
name: grants
default: ask
rules:
  - id: look
    allow: [fs.list, fs.read, sys.inspect]
    resources: ["/**"]
  - id: touched
    ask: {operations: [fs.write, fs.create, code.exec]}
    resources: ["${workspace}/asks/**"]
  - id: owners
    ask: {operations: [fs.write, fs.create]}
    resources: ["${workspace}/owner/**"]
  - id: two-people
    ask: {operations: [fs.write, fs.create], quorum: 2}
    resources: ["${workspace}/asks/two/**"]
  - id: unheard
    ask: {operations: [fs.write, fs.create]}
    resources: ["${workspace}/asks/quiet/**"]
  - id: old-files
    ask: {operations: [fs.delete], grantable: true}
    resources: ["${workspace}/asks/old-*"]
"""


@pytest.fixture
def house(tmp_path: Path):
    (tmp_path / "grants.yaml").write_text(POLICY)
    indoors = Indoors.make(tmp_path, TERMINAL_AT_ONCE, ("grants.yaml",))
    yield indoors
    indoors.app.close()


async def run(indoors: Indoors, *argv: str, **arguments: object) -> dict[str, object]:
    async with indoors.connected("auto") as client:
        result = await client.call_tool("exec", {"argv": list(argv), **arguments})
    assert result.structured_content is not None, result.content[0].text
    return result.structured_content


async def asked(indoors: Indoors, *argv: str, **arguments: object):
    """Return the request that a call waits for."""
    result = await run(indoors, *argv, **arguments)
    assert result["status"] == "pending", result
    return indoors.app.desk.get(result["approval"]["id"])


async def granted(indoors: Indoors, terms: Terms, *argv: str):
    pending = await asked(indoors, *argv)
    _, grant = indoors.app.desk.grant(pending.id, terms, OWNER, pending.request_digest)
    assert (await run(indoors, *argv))["status"] == "ok"
    return grant


def scopes(pending) -> list[str]:
    return [one.scope.value for one in pending.question.offers]


async def test_a_grant_is_used_before_a_command_runs_and_no_longer_than_it_has_uses(house):
    grant = await granted(house, Terms(Scope.ARGV_PREFIX, 1, 5), "touch", "-m", "asks/a")
    second = await run(house, "touch", "-m", "asks/b")
    assert (second["status"], second["approval"]["id"]) == ("ok", grant.request)
    assert (house.workspace / "asks" / "b").exists()
    intent = next(one for one in reversed(house.records()) if one["event"] == "exec.intent")
    assert intent["approval"]["grant"] == grant.id
    used = next(one for one in house.records() if one["event"] == "grant.used")
    assert used["@seq"] < intent["@seq"]
    await asked(house, "touch", "-m", "asks/c")


async def test_a_grant_can_be_taken_back_while_it_has_uses(house):
    grant = await granted(house, Terms(Scope.PROGRAM, 9, 5), "touch", "asks/a")
    assert (await run(house, "touch", "asks/b"))["status"] == "ok"
    house.app.desk.grants.revoke(grant.id, OWNER)
    await asked(house, "touch", "asks/c")


OTHERS = [
    (("touch", "owner/x"), {}),
    (("touch", "asks/x", "owner/x"), {}),
    (("touch", "asks/quiet/x"), {}),
    (("touch", "/var/lib/x"), {}),
    (("truncate", "-s0", "asks/x"), {}),
    (("env", "touch", "asks/x"), {}),
    (("touch", "x"), {"cwd": "asks"}),
    (("touch", "asks/x"), {"env": {"TZ": "UTC"}}),
    (("touch", "asks/x"), {"stdin": "x"}),
    (("touch", "asks/x"), {"timeout_s": 3}),
    (("touch", "asks/x"), {"profile": "live"}),
    (("touch", "asks/x"), {"profile": "unconfined"}),
]


async def test_a_grant_of_a_program_covers_no_other_rule_place_or_surroundings(house):
    await granted(house, Terms(Scope.PROGRAM, 9, 5), "touch", "asks/a")
    for argv, arguments in OTHERS:
        result = await run(house, *argv, **arguments)
        assert result["status"] in ("pending", "blocked"), (argv, arguments)
        for pending in house.app.desk.pending():
            house.app.desk.cancel(pending.id)
    assert house.app.desk.grants.live()[0].uses_left == 9
    assert (await run(house, "touch", "asks/b"))["status"] == "ok"


async def test_what_the_policy_keeps_from_grants_offers_none(house):
    asks = house.workspace / "asks"
    for name in ("old-1", "old-2", "a", "run.sh"):
        (asks / name).write_text("true\n")
    assert scopes(await asked(house, "rm", "asks/a")) == []
    assert scopes(await asked(house, "touch", "asks/two/a")) == []
    assert scopes(await asked(house, *NOT_HERE.split())) == []
    assert scopes(await asked(house, "bash", "asks/run.sh")) == ["exact"]
    old = await asked(house, "rm", "asks/old-1")
    assert scopes(old) == ["exact", "program"]
    terms = Terms(Scope.PROGRAM, 5, 5)
    house.app.desk.grant(old.id, terms, OWNER, old.request_digest)
    assert (await run(house, "rm", "asks/old-1"))["status"] == "ok"
    assert (await run(house, "rm", "asks/old-2"))["status"] == "ok"
    assert (await run(house, "rm", "asks/a"))["status"] == "pending"


async def test_a_script_that_changed_is_not_what_was_granted(house):
    script = house.workspace / "asks" / "run.sh"
    script.write_text("echo one\n")
    await granted(house, Terms(Scope.EXACT, 9, 5), "bash", "asks/run.sh")
    assert (await run(house, "bash", "asks/run.sh"))["stdout"]["text"] == "one\n"
    script.write_text("echo two\n")
    await asked(house, "bash", "asks/run.sh")


async def test_an_offer_is_measured_against_every_request_of_the_log(house, monkeypatch):
    monkeypatch.setattr(earlier, "BUDGET_S", 60)  # however busy the machine is
    for argv in (("touch", "asks/1"), ("touch", "asks/2"), ("touch", "owner/3"), ("rm", "asks/4")):
        await asked(house, *argv)
    house.app.close()
    later = Indoors.open(house.base, TERMINAL_AT_ONCE, ("grants.yaml",))
    pending = await asked(later, "touch", "asks/5")
    lines = [line.strip() for line in later.app.desk.offer_lines(pending, "so")]
    later.app.close()
    assert [line for line in lines if line.startswith("of ")] == [
        "of 4 earlier requests in this log: 0 covered, 4 not",
        "of 4 earlier requests in this log: 2 covered, 2 not",
    ]
    program = lines[lines.index("of 4 earlier requests in this log: 2 covered, 2 not") :]
    told = [(line.split()[0], line.split()[-1]) for line in program[1:]]
    assert told == [
        ("covered", "asks/2"),
        ("covered", "asks/1"),
        ("not", "asks/4"),
        ("not", "owner/3"),
    ]


async def test_a_long_log_is_indexed_by_the_server_once_somebody_was_shown_an_offer(
    house, monkeypatch
):
    monkeypatch.setattr(marks, "MOST_BEHIND_BYTES", 0)
    await asked(house, "touch", "asks/1")
    pending = await asked(house, "touch", "asks/2")
    assert "not counted: there is none yet" in " ".join(house.app.desk.offer_lines(pending, "so"))
    async with anyio.create_task_group() as server:
        server.start_soon(house.app.serve_owner)
        with anyio.fail_after(30):
            while "1 covered" not in " ".join(house.app.desk.offer_lines(pending, "so")):  # noqa: ASYNC110
                await anyio.sleep(0.01)  # no bell rings for an index
        server.cancel_scope.cancel()


async def test_a_policy_that_changed_ends_what_was_granted_under_it(house):
    await granted(house, Terms(Scope.PROGRAM, 9, 5), "touch", "asks/a")
    again = house.base / "grants.yaml"
    again.write_text(POLICY + "# another\n")
    await asked(house, "touch", "asks/b")


async def test_a_grant_that_cannot_be_recorded_runs_nothing(house, monkeypatch):
    await granted(house, Terms(Scope.PROGRAM, 9, 5), "touch", "asks/a")

    def full(record) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(house.app.desk, "_journal", full)
    result = await run(house, "touch", "asks/b")
    assert result["status"] == "declined"
    assert "did not take grant.used" in result["guidance"]["reason"]
    assert not (house.workspace / "asks" / "b").exists()


async def test_a_use_that_a_power_cut_left_open_is_burnt_at_the_next_start(house, monkeypatch):
    await granted(house, Terms(Scope.PROGRAM, 9, 5), "touch", "asks/a")
    note = house.app.journal.note

    def cut(record) -> None:
        note(record)
        if record["event"] == "grant.used":
            raise OSError("the power fails here")

    monkeypatch.setattr(house.app.desk, "_journal", cut)
    assert (await run(house, "touch", "asks/b"))["status"] == "declined"
    assert house.app.desk.grants.live()[0].uses_left == 9
    again = Indoors.open(house.base, TERMINAL_AT_ONCE, ("grants.yaml",))
    assert again.app.desk.grants.live()[0].uses_left == 8
    assert not (house.workspace / "asks" / "b").exists()
    again.app.close()


async def test_a_no_in_a_second_round_is_heard_whatever_was_granted_meanwhile(tmp_path):
    (tmp_path / "grants.yaml").write_text(POLICY)
    both = "approvals: {channels: [elicitation, terminal], wait_s: 9}\n"
    indoors = Indoors.make(tmp_path, both, ("grants.yaml",))
    terms = Terms(Scope.EXACT, 9, 5)

    async def no_but_granted(*_: object) -> ElicitResult:
        await anyio.sleep(HUMAN_S)
        desk, (pending,) = indoors.app.desk, indoors.app.desk.pending()
        other = replace(pending.question, need=replace(pending.question.need, ttl_s=9, quorum=1))
        again = desk.open(replace(other, action_digest="0" * 64))
        desk.grant(again.id, terms, OWNER, again.request_digest)
        return ElicitResult(action="accept", content={"approve": False})

    async with indoors.connected("auto", no_but_granted) as client:
        result = await client.call_tool("exec", {"argv": ["touch", "asks/a"]})
    assert result.structured_content["status"] == "declined"
    assert indoors.app.desk.grants.live()[0].uses_left == 9
    indoors.app.close()


async def test_where_the_owners_terminal_counts_less_its_grants_do_too(tmp_path):
    (tmp_path / "grants.yaml").write_text(POLICY.replace("grantable: true", "level: owner"))
    indoors = Indoors.make(tmp_path, TERMINAL_AT_ONCE, ("grants.yaml",))
    await granted(indoors, Terms(Scope.EXACT, 9, 5), "touch", "asks/a")
    indoors.app.close()
    strict = "approvals: {channels: [], unreachable: deny}\n"
    again = Indoors.open(tmp_path, strict, ("grants.yaml",))
    object.__setattr__(again.app.caller, "session", indoors.app.caller.session)
    result = await run(again, "touch", "asks/a")
    assert result["status"] == "declined"
    again.app.close()


@pytest.fixture
def command(asking, tmp_path):
    """Return what runs a command of the command line under the policy of this page."""
    (tmp_path / "grants.yaml").write_text(POLICY)
    options = ("exec", "--json", "--policy", str(tmp_path / "grants.yaml"), "--")
    return lambda *argv: asking.run(*options, *argv)


def approving(asking, command, *argv: str) -> tuple[str, ...]:
    """Ask for a command and return the words that say yes to it."""
    waits = json.loads(command(*argv).stdout)["approval"]["id"]
    shown = json.loads(asking.run("approvals", "show", waits, "--json").stdout)
    assert shown["offers"] == ["exact", "argv-prefix", "program"]
    assert "touch -m and any further arguments" in " ".join(shown["lines"])
    return ("approvals", "approve", waits, "--digest", shown["request_digest"])


def test_a_grant_is_given_listed_and_revoked_on_the_command_line(asking, command):
    yes = approving(asking, command, "touch", "-m", "asks/a")
    for wrong in (("--grant", "all"), ("--grant", "exact", "--session"), ("--uses", "0")):
        assert asking.run(*yes, *wrong).returncode == 2
    unseen = asking.run(*yes[:3], "--grant", "exact")
    assert (unseen.returncode, "--digest" in unseen.stderr) == (2, True)
    said = asking.run(*yes, "--grant", "argv-prefix", "--uses", "9", "--minutes", "5")
    assert f"{yes[2]} is approved; gr_" in said.stdout, said.stderr
    (listed,) = json.loads(asking.run("approvals", "grants", "--json").stdout)
    text = asking.run("approvals", "grants").stdout
    assert f"{listed['id']}  argv-prefix uses left: 9 of 9, 5 min left" in text
    assert "touch -m and any further arguments" in text
    assert asking.run("approvals", "revoke", listed["id"]).stdout == f"{listed['id']} is revoked.\n"
    assert asking.run("approvals", "grants").stdout == "No grant stands.\n"
    again = asking.run("approvals", "revoke", listed["id"])
    assert (again.returncode, "revoked already" in again.stderr) == (2, True)
    assert [command("touch", "-m", f"asks/{name}").returncode for name in "ab"] == [0, 10]


def test_the_commands_of_a_user_share_a_grant_and_every_view_of_the_log_names_it(
    asking, command, tmp_path
):
    yes = approving(asking, command, "touch", "-m", "asks/a")
    said = asking.run(*yes, "--grant", "program")
    assert "grants program, 1 uses" in said.stdout, said.stderr
    ran = [command("touch", f"asks/{name}") for name in "abc"]
    assert [one.returncode for one in ran] == [0, 10, 10], ran[0]
    assert command("touch", "-m", "asks/a").returncode == 0
    report = asking.run("audit", "report", f"cli-{os.geteuid()}").stdout
    grants = report.partition("## Grants")[2].partition("##")[0]
    assert "(program): touch with any arguments" in grants
    assert "| `approve program by owner@" in grants
    assert "| `1` | `used` |" in grants
    page = str(tmp_path / "page.html")
    assert "grant gr_" in asking.run("audit", "timeline").stdout
    assert asking.run("audit", "timeline", "--html", page).returncode == 0
    assert asking.run("audit", "verify", "--deep").returncode == 0

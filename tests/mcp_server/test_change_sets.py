"""Change sets on the road: held, shown, let in with a yes to exactly these bytes, undone."""

import json

import anyio
import pytest
from mcp_types import ElicitRequestParams, ElicitResult

from approvals.request import Answer, Level, Principal
from tests.mcp_server.indoors import Indoors
from tests.mcp_server.rig import ERAS, YES

OWNER = Principal("terminal", 0, "owner", Level.OWNER)
DENIES = """\
version: 1
name: denies
default: ask
rules:
  - id: production
    deny: [fs.write, fs.create, fs.delete]
    resources: ["${workspace}/prod/**"]
"""
PLANT = "mkdir -p src/.vscode; echo '{\"tasks\": 1}' > src/.vscode/tasks.json; echo x > src/a.txt"


@pytest.fixture
def indoors(tmp_path):
    (tmp_path / "denies.yaml").write_text(DENIES)
    made = Indoors.make(tmp_path, policy=("dev-safe", "asks.yaml", "denies.yaml"))
    (made.workspace / "prod").mkdir()
    yield made
    made.app.close()


async def call(client, tool: str, **arguments: object) -> dict[str, object]:
    result = await client.call_tool(tool, arguments)
    assert result.structured_content is not None, result.content[0].text
    return {**result.structured_content, "text": result.content[0].text}


def script(indoors: Indoors, text: str) -> dict[str, object]:
    """Return the arguments of a call whose words say nothing of what the script does."""
    (indoors.workspace / "run.sh").write_text(f"#!/bin/sh\n{text}\n")
    (indoors.workspace / "run.sh").chmod(0o755)
    return {"argv": ["./run.sh"]}


def say_yes(indoors: Indoors) -> str:
    (pending,) = indoors.app.desk.pending()
    indoors.app.desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
    return pending.id


@pytest.mark.threat("T27")
async def test_what_a_script_plants_is_held_shown_and_let_in_by_a_persons_yes(indoors):
    planted = indoors.workspace / "src/.vscode/tasks.json"
    async with indoors.connected("auto") as client:
        held = await call(client, "exec", **script(indoors, PLANT))
        assert held["status"] == "ok"
        assert [one["rule"] for one in held["changes"]["held"]] == ["protected-name"]
        assert "preview_commit" in held["text"]
        assert not planted.exists()
        asked = await call(client, "preview_commit", id=held["changes"]["id"])
        assert asked["status"] == "pending"
        (pending,) = indoors.app.desk.pending()
        facts = dict(pending.question.facts)
        assert facts["change-set"] == held["changes"]["id"]
        assert len(facts["changes-sha256"]) == 64
        assert "src/.vscode/tasks.json" in facts["held-because"]
        assert '+{"tasks": 1}' in pending.question.preview
        waiting = say_yes(indoors)
        answered = await call(client, "approval_status", approval_id=waiting)
        assert answered["result"]["status"] == "ok", answered
    assert planted.read_text() == '{"tasks": 1}\n'
    assert (indoors.workspace / "src/a.txt").read_text() == "x\n"
    outcome = [one for one in indoors.records() if one["event"] == "patch.outcome"][-1]
    assert outcome["tool"] == "preview_commit"
    assert outcome["outcome"]["changes"]["id"] == held["changes"]["id"]


async def test_what_git_keeps_of_a_commit_is_in_the_workspace_at_once(indoors):
    git = f"git -C {indoors.workspace}"
    for words in ("init -q", "config user.name a", "config user.email a@b"):
        await anyio.run_process(f"{git} {words}".split())
    (indoors.workspace / "new.txt").write_text("new")
    committing = script(indoors, "git add run.sh && git commit -q -m two")
    async with indoors.connected("auto") as client:
        for arguments in (
            {"argv": ["git", "add", "new.txt"]},
            {"command": "git commit -q -m one"},
            committing,
        ):
            done = await call(client, "exec", **arguments)
            assert done["status"] == "ok", done["text"]
            assert not done["changes"].get("held"), done["text"]
    said = await anyio.run_process(f"{git} log --format=%s".split())
    assert said.stdout.split() == [b"two", b"one"]


@pytest.mark.threat("T27")
async def test_a_byte_that_changes_after_the_yes_commits_nothing(indoors):
    async with indoors.connected("auto") as client:
        held = await call(client, "exec", **script(indoors, PLANT))
        await call(client, "preview_commit", id=held["changes"]["id"])
        waiting = say_yes(indoors)
        place = indoors.app.runners.changes.place(held["changes"]["id"])
        (kept,) = place.glob("upper/src/a.txt")
        kept.write_text("y\n")
        answered = await call(client, "approval_status", approval_id=waiting)
    assert (answered["result"] or answered)["status"] != "ok"
    assert not (indoors.workspace / "src").exists()


@pytest.mark.threat("T27")
async def test_a_preview_holds_everything_and_dropping_it_needs_nobody(indoors):
    async with indoors.connected("auto") as client:
        held = await call(client, "exec", command="echo new > notes.txt", preview=True)
        assert [one["rule"] for one in held["changes"]["held"]] == ["preview"]
        dropped = await call(client, "preview_discard", id=held["changes"]["id"])
        assert dropped["status"] == "ok"
        gone = await client.call_tool("preview_commit", {"id": held["changes"]["id"]})
        assert gone.is_error
        assert "there is no change set" in gone.content[0].text
    assert (indoors.workspace / "notes.txt").read_text() == "alpha\nbeta\n"


@pytest.mark.threat("T27")
async def test_what_the_rules_deny_is_not_let_in_by_anybody(indoors):
    async with indoors.connected("auto") as client:
        held = await call(client, "exec", **script(indoors, "echo x > prod/db.yaml; echo y > b"))
        (why,) = held["changes"]["held"]
        assert (why["rule"], why["paths"]) == ("policy", ["prod/db.yaml"])
        assert "rule production" in why["text"]
        refused = await call(client, "preview_commit", id=held["changes"]["id"])
        assert refused["status"] == "denied"
        in_part = await call(client, "preview_commit", id=held["changes"]["id"], paths=["b"])
        assert in_part["status"] == "pending"
    assert not (indoors.workspace / "prod/db.yaml").exists()


@pytest.mark.threat("T27")
async def test_what_rules_ask_about_is_asked_once_by_words_or_by_effect(indoors):
    async with indoors.connected("auto") as client:
        by_effect = await call(client, "exec", **script(indoors, "echo x > asks/by-effect"))
        assert [one["rule"] for one in by_effect["changes"]["held"]] == ["policy"]
        asked = await call(client, "exec", command="echo x > asks/by-words")
        assert asked["status"] == "pending"
        answered = await call(client, "approval_status", approval_id=say_yes(indoors))
        assert answered["result"]["changes"]["held"] == []
    assert (indoors.workspace / "asks/by-words").exists()
    assert not (indoors.workspace / "asks/by-effect").exists()


@pytest.mark.threat("T27")
async def test_what_a_command_changed_is_undone_and_done_again(indoors):
    notes = indoors.workspace / "notes.txt"
    async with indoors.connected("auto") as client:
        ran = await call(client, "exec", command="echo new > notes.txt; mkdir d; echo x > d/y")
        undo_id = ran["changes"]["undo_id"]
        assert notes.read_text() == "new\n"
        undone = await call(client, "undo", undo_id=undo_id, paths=["notes.txt"])
        assert undone["changes"]["modified"] == ["notes.txt"]
        assert (indoors.workspace / "d/y").exists()
        waits = await call(client, "undo", undo_id=undo_id)  # it deletes, and deleting asks
        assert waits["status"] == "pending"
        answered = await call(client, "approval_status", approval_id=say_yes(indoors))
        assert answered["result"]["changes"]["deleted"] == ["d", "d/y"]
        again = await client.call_tool("undo", {"undo_id": undo_id})
        assert "nothing to undo" in again.content[0].text
        redone = await call(client, "undo", undo_id=undo_id, redo=True)
        assert redone["status"] == "ok"
    assert notes.read_text() == "new\n"
    assert (indoors.workspace / "d/y").read_text() == "x\n"


@pytest.mark.threat("T27")
async def test_an_undo_never_takes_what_somebody_wrote_since(indoors):
    async with indoors.connected("auto") as client:
        ran = await call(client, "exec", command="echo new > notes.txt")
        (indoors.workspace / "notes.txt").write_text("mine\n")
        refused = await call(client, "undo", undo_id=ran["changes"]["undo_id"])
    assert refused["status"] == "error"
    assert "notes.txt" in refused["text"]
    assert (indoors.workspace / "notes.txt").read_text() == "mine\n"


@pytest.mark.parametrize("given", ["0" * 32, "x", "../../etc/passwd", ""])
async def test_an_id_that_names_nothing_is_said_and_changes_nothing(indoors, given):
    async with indoors.connected("auto") as client:
        for tool, key in (("undo", "undo_id"), ("preview_commit", "id"), ("preview_discard", "id")):
            assert (await client.call_tool(tool, {key: given})).is_error


@pytest.mark.threat("T27")
async def test_a_patch_of_protected_names_asks_wherever_they_lie(indoors):
    edit = {"edits": [{"path": "deep/er/.envrc", "old": "", "new": "x\n"}]}
    async with indoors.connected("auto") as client:
        asked = await call(client, "patch", **edit)
    assert asked["status"] == "pending"
    assert not (indoors.workspace / "deep").exists()


async def test_a_partial_patch_changes_what_fits_and_says_the_rest(indoors):
    edits = [
        {"path": "notes.txt", "old": "beta", "new": "gamma"},
        {"path": "missing.txt", "old": "x", "new": "y"},
    ]
    async with indoors.connected("auto") as client:
        whole = await call(client, "patch", edits=edits)
        assert whole["status"] == "blocked"
        part = await call(client, "patch", edits=edits, partial=True)
    assert part["status"] == "ok"
    assert [one["path"] for one in part["files"]] == ["notes.txt"]
    assert [one["path"] for one in part["refused"]] == ["missing.txt"]
    assert (indoors.workspace / "notes.txt").read_text() == "alpha\ngamma\n"


async def test_the_owner_sees_and_takes_back_changes_on_the_command_line(indoors):
    async with indoors.connected("auto") as client:
        ran = await call(client, "exec", command="echo new > notes.txt")
        held = await call(client, "exec", **script(indoors, PLANT))
    listed = await indoors.cli("changes", "list", "--all")
    assert ran["changes"]["id"][:8] in listed.stdout
    assert "held" in listed.stdout
    shown = await indoors.cli("changes", "show", held["changes"]["id"][:8])
    assert "protected" not in shown.stderr
    assert '+{"tasks": 1}' in shown.stdout
    as_json = await indoors.cli("changes", "show", ran["changes"]["id"], "--json")
    (change,) = json.loads(as_json.stdout)["changes"]
    assert (change["path"], change["operation"]) == ("notes.txt", "modified")
    undone = await indoors.cli("changes", "undo", ran["changes"]["id"][:8])
    assert undone.returncode == 0, undone.stderr
    assert (indoors.workspace / "notes.txt").read_text() == "alpha\nbeta\n"
    waits = await indoors.cli("changes", "commit", held["changes"]["id"])
    assert waits.returncode == 10, waits
    unknown = await indoors.cli("changes", "show", "zz")
    assert (unknown.returncode, "no change set begins" in unknown.stderr) == (2, True)


@pytest.mark.threat("T27")
async def test_a_workspace_goes_back_to_a_named_moment(indoors):
    async with indoors.connected("auto") as client:
        first = await call(client, "exec", command="echo first > notes.txt")
        marked = await indoors.cli("changes", "mark", "before", "--workspace", indoors.workspace)
        assert marked.returncode == 0, marked.stderr
        await call(client, "exec", command="echo second > notes.txt; echo x > asks.txt")
        await call(client, "undo", undo_id=first["changes"]["undo_id"])
        await call(client, "exec", command="echo third > notes.txt")
    where = ("--workspace", indoors.workspace)
    listed = await indoors.cli("changes", "marks", *where)
    assert "before" in listed.stdout
    plan = await indoors.cli("changes", "restore", "before", "--dry-run", *where)
    assert "undo" in plan.stdout
    assert "notes.txt" in plan.stdout
    assert (indoors.workspace / "notes.txt").read_text() == "third\n"
    waits = await indoors.cli("changes", "restore", "before", *where)
    assert waits.returncode == 10, waits  # it deletes asks.txt, and deleting asks
    say_yes(indoors)
    back = await indoors.cli("changes", "restore", "before", *where)
    assert back.returncode == 0, back.stderr
    assert (indoors.workspace / "notes.txt").read_text() == "first\n"
    assert not (indoors.workspace / "asks.txt").exists()
    unknown = await indoors.cli("changes", "restore", "never", *where)
    assert (unknown.returncode, "no restore point 'never'" in unknown.stderr) == (2, True)


@pytest.mark.threat("T27")
@ERAS
async def test_a_form_shows_the_diff_and_the_digest_of_what_is_let_in(tmp_path, era):
    shown: list[str] = []

    async def yes(context: object, params: ElicitRequestParams) -> ElicitResult:
        shown.append(params.message)
        return await YES(context, params)

    indoors = Indoors.make(tmp_path, "approvals: {wait_s: 20}\n")
    async with indoors.connected(era, yes) as client:
        held = await call(client, "exec", **script(indoors, PLANT))
        let_in = await call(client, "preview_commit", id=held["changes"]["id"])
    assert let_in["status"] == "ok", let_in["text"]
    (text,) = shown
    assert "A src/.vscode/tasks.json" in text
    assert '+{"tasks": 1}' in text
    assert indoors.app.runners.changes.load(held["changes"]["id"]).state == "applied"
    assert "changes-sha256" in text
    assert (indoors.workspace / "src/.vscode/tasks.json").exists()
    indoors.app.close()

"""The `patch` and `undo` tools in memory: seen before it is done, done as shown, put back."""

import pytest

from tests.mcp_server.indoors import Indoors

EDIT = {"edits": [{"path": "notes.txt", "old": "beta", "new": "gamma"}]}


@pytest.fixture
def indoors(tmp_path):
    made = Indoors.make(tmp_path)
    yield made
    made.app.close()


def notes(indoors: Indoors) -> str:
    return (indoors.workspace / "notes.txt").read_text()


async def test_a_dry_run_shows_the_diff_and_changes_nothing(indoors):
    async with indoors.connected("auto") as client:
        result = (await client.call_tool("patch", {**EDIT, "dry_run": True})).structured_content
        wrong = {"edits": [{"path": "notes.txt", "old": "delta", "new": "x"}], "dry_run": True}
        refused = await client.call_tool("patch", wrong)
    assert (result["status"], result["dry_run"], result["undo_id"]) == ("ok", True, None)
    assert "-beta" in result["diff"]
    assert "+gamma" in result["diff"]
    assert refused.is_error
    assert refused.structured_content["status"] == "blocked"
    assert notes(indoors) == "alpha\nbeta\n"


@pytest.mark.threat("T21")
async def test_a_patch_is_done_as_shown_and_put_back_unless_the_file_changed_since(indoors):
    async with indoors.connected("auto") as client:
        first = (await client.call_tool("patch", EDIT)).structured_content
        assert notes(indoors) == "alpha\ngamma\n"
        undone = await client.call_tool("undo", {"undo_id": first["undo_id"]})
        assert undone.structured_content["status"] == "ok"
        assert notes(indoors) == "alpha\nbeta\n"
        second = (await client.call_tool("patch", EDIT)).structured_content
        (indoors.workspace / "notes.txt").write_text("mine\n")
        late = await client.call_tool("undo", {"undo_id": second["undo_id"]})
    assert late.structured_content is None or late.structured_content["status"] != "ok"
    assert notes(indoors) == "mine\n"


async def test_an_undo_can_be_undone(indoors):
    async with indoors.connected("auto") as client:
        undo_id = (await client.call_tool("patch", EDIT)).structured_content["undo_id"]
        await client.call_tool("undo", {"undo_id": undo_id})
        twice = await client.call_tool("undo", {"undo_id": undo_id})
        assert twice.is_error
        assert "redo" in twice.content[0].text
        again = await client.call_tool("undo", {"undo_id": undo_id, "redo": True})
    assert again.structured_content["status"] == "ok"
    assert notes(indoors) == "alpha\ngamma\n"


@pytest.mark.threat("T21")
@pytest.mark.parametrize("path", ["../outside.txt", "/etc/hosts", "a/../../outside.txt"])
async def test_a_patch_lands_nowhere_outside_its_root(indoors, path):
    async with indoors.connected("auto") as client:
        edit = {"edits": [{"path": path, "old": "", "new": "x\n"}]}
        result = await client.call_tool("patch", edit)
    assert result.is_error
    assert not (indoors.base / "outside.txt").exists()


@pytest.mark.threat("T08")
async def test_a_patch_that_asks_shows_its_diff_and_waits(indoors):
    edit = {"edits": [{"path": "asks/new.txt", "old": "", "new": "hello\n"}]}
    async with indoors.connected("auto") as client:
        result = (await client.call_tool("patch", edit)).structured_content
    assert result["status"] == "pending"
    (pending,) = indoors.app.desk.pending()
    assert "+hello" in pending.question.preview
    assert not (indoors.workspace / "asks" / "new.txt").exists()


@pytest.mark.threat("T10")
@pytest.mark.parametrize(
    "change",
    [
        {"diff": "--- a/.env\n+++ b/.env\n@@ -1 +1 @@\n-COLOUR=red\n+x\n"},
        {"edits": [{"path": ".env", "old": " COLOUR", "new": "x"}]},
        {"edits": [{"path": ".env", "old": "L", "new": "x"}]},
    ],
)
async def test_a_refused_patch_tells_nothing_of_a_file_that_may_not_be_read(indoors, change):
    (indoors.workspace / ".env").write_text("COLOUR=blue\nLIGHT=on\n")
    async with indoors.connected("auto") as client:
        result = await client.call_tool("patch", change)
    assert result.structured_content["status"] == "blocked"
    assert "policy does not let you read" in str(result)
    assert "blue" not in str(result)
    assert "line 1" not in str(result).replace("diff line 1", "")


@pytest.mark.threat("T10")
@pytest.mark.parametrize("way", ["rename", "copy"])
async def test_what_may_not_be_read_is_not_moved_to_where_it_may(indoors, way):
    (indoors.workspace / ".env").write_text("COLOUR=blue\n")
    diff = f"diff --git a/.env b/plain\nsimilarity index 100%\n{way} from .env\n{way} to plain\n"
    async with indoors.connected("auto") as client:
        result = await client.call_tool("patch", {"diff": diff})
    assert result.structured_content["status"] == "denied"
    assert not (indoors.workspace / "plain").exists()


async def test_a_rename_needs_what_mv_needs(indoors):
    diff = "diff --git a/notes.txt b/n\nsimilarity index 100%\nrename from notes.txt\nrename to n\n"
    async with indoors.connected("auto") as client:
        mv = await client.call_tool("classify", {"command": "mv notes.txt n"})
        done = await client.call_tool("patch", {"diff": diff})
    assert mv.structured_content["decision"]["effect"] == "allow"
    assert done.structured_content["status"] == "ok"
    assert (indoors.workspace / "n").read_text() == "alpha\nbeta\n"
    assert not (indoors.workspace / "notes.txt").exists()

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

"""A command that inspects may write one file: what its redirect is for."""

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.outcome import CommandOutcome
from sandbox.profile import Profile
from sandbox.redirect import CannotRedirectError, Redirect, prepare
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


async def writes(rig: Rig, text: str, name: str = "out.txt") -> CommandOutcome:
    path = str(rig.workspace / name)
    profile = Profile("inspect", str(rig.workspace), output=path)
    return await rig.run(replace(rig.script(text), profile=profile))


@pytest.mark.threat("T09")
async def test_the_redirect_is_written_and_nothing_else(rig: Rig):
    outcome = await writes(rig, "echo seen > out.txt; echo no > other; rm out.txt; mv out.txt x")
    assert outcome.message.count("could not be written") == 0
    assert (rig.workspace / "out.txt").read_text() == "seen\n"
    assert names(rig.workspace) == ["out.txt"]
    assert names(rig.state / "redirects") == []
    await writes(rig, "echo more >> out.txt")
    assert (rig.workspace / "out.txt").read_text() == "seen\nmore\n"
    assert not stat.S_IMODE((rig.workspace / "out.txt").stat().st_mode) & 0o111


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    "name", [".envrc", ".git/config", ".git/x", ".vscode/a", "no/where", "dir"]
)
async def test_what_may_not_be_written_is_not(rig: Rig, name: str):
    (rig.workspace / "dir").mkdir()
    outcome = await writes(rig, f"echo x > {name}", name)
    assert (outcome.status, "cannot be written" in outcome.message) == ("error", True)
    assert not (rig.workspace / name).is_file()  # a look


@pytest.mark.threat("T10")
async def test_a_denied_file_is_not_shown_by_writing_to_it(rig: Rig):
    rig.denied |= {".env"}
    (rig.workspace / ".env").write_text("canary")
    outcome = await writes(rig, "cat .env >> .env; cat .env", ".env")
    assert (outcome.status, b"canary" in outcome.stdout.head) == ("error", False)


@pytest.mark.threat("T09")
def test_links_lead_the_output_nowhere(tmp_path: Path):
    workspace, state = tmp_path / "w", tmp_path / "s"
    workspace.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("kept")
    (workspace / "link").symlink_to(outside)
    (workspace / "up").symlink_to(tmp_path)
    os.link(outside, workspace / "hard")
    os.mkfifo(workspace / "pipe")
    for name in ("link", "up/outside", "hard", "pipe", "../outside"):
        with pytest.raises(CannotRedirectError):
            prepare(f"{workspace}/{name}", str(workspace), state)
    assert outside.read_text() == "kept"


@pytest.mark.threat("T09")
def test_a_file_that_is_swapped_while_the_command_runs_takes_the_output_nowhere(tmp_path: Path):
    workspace = tmp_path / "w"
    workspace.mkdir()
    outside = tmp_path / "outside"
    outside.write_text("kept")
    redirect = prepare(f"{workspace}/out", str(workspace), tmp_path / "s")
    Path(redirect.stand_in).write_text("evil")
    (workspace / "out").unlink()
    (workspace / "out").symlink_to(outside)
    assert "could not be written" in redirect.finish()[0]
    assert outside.read_text() == "kept"
    assert Redirect("/nowhere/x", "/nowhere/y").finish()

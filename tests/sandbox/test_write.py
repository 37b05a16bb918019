"""Facts about commands that write a copy of the workspace: what lands, and what waits."""

import os
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import CommitChanges, DiscardChanges, Landing, UndoChanges, digest
from sandbox.changes import overlay
from sandbox.changes.model import Reason
from sandbox.changes.run import ChangeRunner
from sandbox.outcome import ChangesOutcome, CommandOutcome, Effects
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(HOST.refusal("write") is not None, reason="this host offers no overlay"),
]
SECRET = "canary"


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    made = Rig(tmp_path, denied={".env"})
    (made.workspace / "a.txt").write_text("old\n")
    (made.workspace / "b.txt").write_text("b\n")
    (made.workspace / "folder").mkdir()
    (made.workspace / "folder" / "c.txt").write_text("c\n")
    (made.workspace / ".env").write_text(SECRET)
    return made


async def ran(rig: Rig, text: str, **landing: object) -> tuple[CommandOutcome, Effects | None]:
    command = replace(rig.script(text, "write"), landing=Landing(**landing))
    outcome = await rig.run(command)
    return outcome, outcome.effects


def tree(root: Path) -> dict[str, tuple[object, ...]]:
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else None
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns, content)
    return found


async def written(rig: Rig, name: str) -> None:
    """Return when a command that runs has written a file of its copy."""
    until = anyio.current_time() + 20
    while not list(rig.state.glob(f"changes/drafts/*/upper/{name}")):  # no event
        await anyio.sleep(0.02)
        assert anyio.current_time() < until


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    ("made", "text"),
    [
        ("ln -s ../tools/env p/.envrc", "mkdir tools; echo evil > tools/env"),
        ("ln -s ../one p/.envrc; ln -s tools/env one", "mkdir tools; echo evil > tools/env"),
        (
            "mkdir tools; echo o > tools/env; ln -s ../one p/.envrc; ln -s tools/env one",
            "echo evil > mine; ln -sfn mine one",
        ),
        (
            "mkdir v; echo o > v/env; ln -s v now; ln -s ../now/env p/.envrc",
            "rm now; mkdir now; echo evil > now/env",
        ),
        ("ln -s ../tools/env p/.envrc", "mkdir mine; echo evil > mine/env; ln -s mine tools"),
        ("ln -s $PWD/tools/env p/.envrc", "mkdir tools; echo evil > tools/env"),
        ("ln -s .envrc p/.envrc; ln -s ../t p/.mcp.json", "echo evil > t"),
    ],
)
async def test_what_a_protected_link_passes_or_leads_to_is_held_like_the_link(
    rig: Rig, made: str, text: str
):
    await anyio.run_process(["sh", "-c", f"mkdir p; {made}"], cwd=rig.workspace)
    _, done = await ran(rig, text)
    assert [one.rule for one in done.held] == ["protected-name"], done


@pytest.mark.threat("T09")
async def test_halves_of_a_git_directory_that_land_at_once_are_held(rig, monkeypatch):
    (rig.workspace / "x").mkdir()
    both = threading.Barrier(2)

    def judged(*_: object) -> tuple[Reason, ...]:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # while one is judged, the other is not
        return ()

    monkeypatch.setattr(rig.runner._lander, "_judge", judged)
    halves = "mkdir x/objects x/refs", "echo ref: refs/heads/a > x/HEAD; echo > x/config"
    found = []

    async def half(text: str) -> None:
        found.append((await ran(rig, text))[1])

    async with anyio.create_task_group() as tasks:
        for text in halves:
            tasks.start_soon(half, text)
    assert [bool(one.held) for one in found] == [False, True], found


async def act(rig: Rig, action: object) -> ChangesOutcome:
    runner = ChangeRunner(rig.office, rig.store)
    permit = rig.office.issue(action, approved_digest=digest(action), approval_id="a")
    return await runner.run(permit)


async def committed(rig: Rig, effects: Effects, paths: tuple[str, ...] | None = None):
    approved = rig.store.digest(effects.set_id)
    root = str(rig.workspace)
    return await act(rig, CommitChanges(effects.set_id, root, approved, paths, "0" * 64))


async def undone(rig: Rig, set_id: str, *paths: str, redo: bool = False) -> ChangesOutcome:
    return await act(rig, UndoChanges(set_id, str(rig.workspace), paths or None, redo, "0" * 64))


@pytest.mark.threat("T27")
async def test_what_a_command_did_lands_as_a_set_and_is_told(rig: Rig):
    before = tree(rig.workspace)
    outcome, effects = await ran(
        rig,
        "echo new > a.txt; rm b.txt; mkdir -p x/y; echo z > x/y/z; chmod 700 folder; ln -s a.txt l",
    )
    assert outcome.status == "ok"
    assert effects is not None
    assert effects.created == ("l", "x", "x/y", "x/y/z")
    assert effects.modified == ("a.txt",)
    assert effects.deleted == ("b.txt",)
    assert effects.attributes == ("folder",)
    assert (rig.workspace / "x/y/z").read_text() == "z\n"
    assert not (rig.workspace / "b.txt").exists()
    assert (await undone(rig, effects.set_id)).status == "ok"
    assert tree(rig.workspace) == before
    assert (await undone(rig, effects.set_id, redo=True)).status == "ok"
    assert (rig.workspace / "a.txt").read_text() == "new\n"
    assert (rig.workspace / "l").readlink() == Path("a.txt")


async def test_a_command_that_changes_nothing_leaves_no_set(rig: Rig):
    before = tree(rig.workspace)
    _, effects = await ran(rig, "cat a.txt; touch x; rm x")
    assert effects is None
    assert tree(rig.workspace) == before
    assert rig.store.all() == ()


@pytest.mark.threat("T27")
async def test_no_layer_is_left_when_the_runner_is_closed(rig: Rig):
    for number in range(6):
        outcome, _ = await ran(rig, f"mkdir {number} && echo x > {number}/x && chmod 0 {number}")
        assert outcome.status == "ok", outcome.message
    rig.runner.close()
    assert list((rig.state / "changes/drafts").iterdir()) == []


async def test_nobody_sees_a_change_before_the_command_has_ended(rig: Rig):
    async with anyio.create_task_group() as group:
        group.start_soon(ran, rig, "echo new > a.txt; sleep 0.6")
        await written(rig, "a.txt")
        assert (rig.workspace / "a.txt").read_text() == "old\n"
    assert (rig.workspace / "a.txt").read_text() == "new\n"


@pytest.mark.threat("T27")
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("mkdir -p deep/er/.vscode; echo > deep/er/.vscode/tasks.json", "protected-name"),
        ("echo > folder/.envrc", "protected-name"),
        ("mkdir -p n/.git/hooks; echo > n/.git/hooks/post-commit", "git-directory"),
        ("mkdir x; cd x; mkdir objects refs; echo > HEAD; echo > config", "git-directory"),
        ("git init -q other", "git-directory"),
        ("mv folder .github", "protected-name"),
        ("ln -s folder .claude", "protected-name"),
    ],
)
async def test_what_other_tools_would_run_waits_for_a_person(rig: Rig, text: str, rule: str):
    before = tree(rig.workspace)
    outcome, effects = await ran(rig, text)
    assert outcome.status == "ok", outcome
    assert effects is not None
    assert rule in [why.rule for why in effects.held]
    assert tree(rig.workspace) == before


@pytest.mark.threat("T27")
async def test_a_held_set_lands_with_exactly_the_bytes_that_were_approved(rig: Rig):
    _, effects = await ran(rig, "echo new > a.txt; echo n > n.txt", preview=True)
    assert effects is not None
    approved = rig.store.digest(effects.set_id)
    (upper,) = rig.store.place(effects.set_id).glob("upper/n.txt")
    was = upper.stat()
    upper.write_text("other")
    action = CommitChanges(effects.set_id, str(rig.workspace), approved, None, "0" * 64)
    refused = await act(rig, action)
    assert refused.status == "error"
    assert "not what was approved" in refused.message
    assert not (rig.workspace / "n.txt").exists()
    upper.write_text("n\n")
    os.utime(upper, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert (await act(rig, action)).status == "ok"
    assert (rig.workspace / "n.txt").read_text() == "n\n"


@pytest.mark.threat("T27")
async def test_a_held_set_lands_in_part_and_the_rest_still_waits(rig: Rig):
    _, effects = await ran(rig, "echo new > a.txt; rm -r folder; echo n > n.txt", preview=True)
    assert effects is not None
    assert (await committed(rig, effects, ("a.txt", "folder"))).status == "ok"
    assert (rig.workspace / "a.txt").read_text() == "new\n"
    assert not (rig.workspace / "folder").exists()
    assert not (rig.workspace / "n.txt").exists()
    assert (await undone(rig, effects.set_id, "folder/c.txt")).status == "ok"
    assert (rig.workspace / "folder/c.txt").read_text() == "c\n"
    discard = DiscardChanges(effects.set_id, str(rig.workspace), "0" * 64)
    assert (await act(rig, discard)).status == "ok"
    assert (rig.workspace / "a.txt").read_text() == "new\n"
    assert not (rig.workspace / "n.txt").exists()


@pytest.mark.threat("T27")
async def test_the_policys_word_on_a_changed_path_holds_the_set(rig: Rig):
    rig.reasons.append(Reason("policy", "rule r denies fs.write", ("a.txt",)))
    before = tree(rig.workspace)
    _, effects = await ran(rig, "echo new > a.txt")
    assert effects is not None
    assert {why.rule for why in effects.held} == {"policy"}
    root = str(rig.workspace)
    assert rig.judged == [(root, ("fs.write", f"{root}/a.txt"), False), (root, True)]
    assert tree(rig.workspace) == before


@pytest.mark.threat("T27")
async def test_what_somebody_else_changed_meanwhile_stays_theirs(rig: Rig):
    async def owner() -> None:
        await written(rig, "b.txt")
        (rig.workspace / "a.txt").write_text("the owner's\n")
        (rig.workspace / "new.txt").write_text("the owner's\n")

    async with anyio.create_task_group() as group:
        group.start_soon(owner)
        _, effects = await ran(rig, "echo x > a.txt; echo y > b.txt; sleep 1; echo z > new.txt")
    assert effects is not None
    assert set(effects.conflicts) == {"a.txt", "new.txt"}
    assert (rig.workspace / "a.txt").read_text() == "the owner's\n"
    assert (rig.workspace / "new.txt").read_text() == "the owner's\n"
    assert (rig.workspace / "b.txt").read_text() == "y\n"
    kept = rig.store.place(effects.set_id) / "upper"
    assert (kept / "a.txt").read_text() == "x\n"


async def test_commands_that_run_at_the_same_time_do_not_undo_one_another(rig: Rig):
    results: list[Effects | None] = []

    async def one(number: int) -> None:
        text = f"echo {number} > own{number}; echo {number} > a.txt; sleep 0.2"
        results.append((await ran(rig, text))[1])

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(one, number)
    assert all((rig.workspace / f"own{number}").exists() for number in range(6))
    landed = [each for each in results if each is not None and not each.conflicts]
    assert len(landed) == 1
    assert (rig.workspace / "a.txt").read_text() != "old\n"


@pytest.mark.threat("T27")
async def test_a_cancelled_command_has_done_nothing(rig: Rig):
    before = tree(rig.workspace)
    async with anyio.create_task_group() as group:
        group.start_soon(ran, rig, "echo new > a.txt; sleep 9")
        await written(rig, "a.txt")
        group.cancel_scope.cancel()
    assert tree(rig.workspace) == before
    assert rig.store.all() == ()


async def test_what_a_command_did_before_its_time_was_up_is_kept(rig: Rig):
    command = rig.script("echo new > a.txt; sleep 9", "write")
    command = replace(command, limits=replace(command.limits, wall_s=0.6))
    outcome = await rig.run(command)
    assert outcome.status == "timeout"
    assert (rig.workspace / "a.txt").read_text() == "new\n"


@pytest.mark.threat("T10")
async def test_a_denied_file_is_covered_in_the_copy_and_cannot_be_moved_linked_or_removed(rig: Rig):
    (rig.workspace / "folder/.env").write_text(SECRET)
    outcome, effects = await ran(
        rig,
        "cat .env folder/.env; cp .env c; mv .env m; ln .env h; mv folder g; cat g/.env; tar c .; "
        "rm -rf folder .env; true",
    )
    assert SECRET.encode() not in outcome.stdout.head
    assert (rig.workspace / ".env").read_text() == SECRET
    assert (rig.workspace / "folder/.env").read_text() == SECRET
    for path in rig.workspace.rglob("*"):
        if path.is_file() and path.name != ".env":
            assert SECRET not in path.read_text(), path
    assert effects is None or ".env" not in effects.deleted


async def test_sockets_and_pipes_do_not_outlive_the_command(rig: Rig):
    text = (
        f"{HOST.interpreter} -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")';"
        "mkfifo f d/f 2>/dev/null; mkdir d; mkfifo d/f; echo x > d/x"
    )
    _, effects = await ran(rig, text)
    assert effects is not None
    assert set(effects.left_out) == {"s", "f", "d/f"}
    assert sorted(path.name for path in (rig.workspace / "d").iterdir()) == ["x"]
    assert not (rig.workspace / "s").exists()


async def test_a_workspace_with_sockets_pipes_and_hard_links_is_written_around_them(rig: Rig):
    listener = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(rig.workspace)
    try:
        listener.bind("door")
    finally:
        os.chdir(here)
    os.mkfifo(rig.workspace / "pipe")
    os.link(rig.workspace / "b.txt", rig.workspace / "b2.txt")
    outcome, effects = await ran(rig, "echo new > b.txt; cat b2.txt; rm door pipe; true")
    listener.close()
    assert effects is not None
    assert effects.modified == ("b.txt",)
    assert (rig.workspace / "b.txt").read_text() == "new\n"
    assert (rig.workspace / "b2.txt").read_text() == "b\n"  # a change breaks the link
    assert (rig.workspace / "door").exists()
    assert outcome.stdout.head == b"b\n"


async def test_odd_names_come_back_as_they_were(rig: Rig):
    names = [b"new\nline", b"\xff\xfe", b"Case", b"case", b"-rf", b" ", "\u202egnp".encode()]
    program = f"for name in {names!r}: open(name, 'wb').write(name)"
    outcome = await rig.run(rig.vector(HOST.interpreter, "-c", program, profile="write"))
    assert outcome.effects is not None
    assert outcome.effects.total == len(names)
    found = {
        os.fsencode(path.name): path.read_bytes()
        for path in rig.workspace.iterdir()
        if path.is_file()
    }
    assert {name: found.get(name) for name in names} == {name: name for name in names}
    assert (await undone(rig, outcome.effects.set_id)).status == "ok"
    assert {os.fsencode(path.name) for path in rig.workspace.iterdir()}.isdisjoint(names)


async def test_renaming_a_directory_says_how_it_can_be_done(rig: Rig):
    program = "import os; os.rename('folder', 'other')"
    outcome = await rig.run(rig.vector(HOST.interpreter, "-c", program, profile="write"))
    assert outcome.status == "blocked"
    assert "profile: live" in outcome.message
    moved, effects = await ran(rig, "mv folder other")  # it copies
    assert moved.status == "ok"
    assert effects is not None
    assert (rig.workspace / "other/c.txt").read_text() == "c\n"
    assert not (rig.workspace / "folder").exists()


def git(rig: Rig, *words: str) -> bytes:
    environment = {"HOME": str(rig.base), "PATH": "/usr/bin:/bin"}
    argv = ["git", "-C", str(rig.workspace), *words]
    return subprocess.run(argv, check=True, capture_output=True, env=environment).stdout


async def test_git_works_in_the_copy_as_in_the_workspace(rig: Rig):
    for words in (("init", "-q"), ("config", "user.name", "a"), ("config", "user.email", "a@b")):
        git(rig, *words)
    outcome, effects = await ran(rig, "git add a.txt && git commit -qm one && git status -s")
    assert outcome.status == "ok", outcome
    assert effects is not None
    assert effects.held == ()
    assert b"one" in git(rig, "log", "--oneline")


@pytest.mark.parametrize("where", ["state inside", "mounted inside", "no overlay", "weak rung"])
def test_where_there_can_be_no_copy_it_is_said_why(rig: Rig, where: str, monkeypatch, tmp_path):
    host, state, workspace = rig.host, rig.state, str(rig.workspace)
    assert overlay.refusal(host, workspace, state) == ""
    if where == "state inside":
        state = rig.workspace / "state"
    elif where == "no overlay":
        host = replace(host, can_overlay=False)
    elif where == "weak rung":
        host = replace(host, rung="landlock")
    else:
        mounts = tmp_path / "mountinfo"
        line = f"36 35 0:31 / {workspace}/with\\040space/x rw - tmpfs tmpfs rw\n"
        mounts.write_text(f"1 1 8:1 / / rw - ext4 /dev/vda rw\n{line}")
        monkeypatch.setattr(overlay, "MOUNTS", mounts)
        assert overlay.mounted_below(workspace) == [f"{workspace}/with space/x"]
    assert overlay.refusal(host, workspace, state) != ""

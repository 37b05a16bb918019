"""Facts about landing a set of files: all or none, whatever happens, and undone exactly."""

import errno
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.action import NewContent, PatchFiles, UndoChanges, digest
from sandbox.changes import renames, transaction
from sandbox.changes.recovery import recover
from sandbox.changes.run import ChangeRunner
from sandbox.changes.store import ChangeStore
from sandbox.outcome import ChangesOutcome, FileChange, PatchOutcome
from sandbox.patches import landing
from sandbox.patches.plan import plan, sha256_or_none
from sandbox.patches.run import PatchRunner
from sandbox.permit import PermitError, PermitOffice, SandboxError

THREE = (
    "--- a/one\n+++ b/one\n@@ -1 +1 @@\n-1\n+ONE\n"
    "--- a/two\n+++ /dev/null\n@@ -1 +0,0 @@\n-2\n"
    "--- /dev/null\n+++ b/new/deep/three\n@@ -0,0 +1 @@\n+3\n"
)
Tree = dict[str, tuple[object, ...]]


class Bench:
    """A workspace, a state directory and a runner with its office."""

    def __init__(self, base: Path) -> None:
        self.root = base / "w"
        self.state = base / "state"
        self.root.mkdir()
        (self.root / "one").write_bytes(b"1\n")
        (self.root / "two").write_bytes(b"2\n")
        (self.root / "other").write_bytes(b"o\n")
        (self.root / "one").chmod(0o750)
        self.office = PermitOffice()
        self.store = ChangeStore(self.state)
        self.runner = PatchRunner(self.office, self.store)
        self.changes = ChangeRunner(self.office, self.store)

    async def run(self, action: PatchFiles) -> PatchOutcome:
        permit = self.office.issue(action, approved_digest=digest(action), approval_id=None)
        return await self.runner.run(permit)

    def plan(self, diff: str = THREE) -> PatchFiles:
        made = plan(str(self.root), diff, "policy")
        assert isinstance(made, PatchFiles), made
        return made

    async def undo(
        self, undo_id: str | None, *, redo: bool = False, root: str = ""
    ) -> ChangesOutcome:
        action = UndoChanges(undo_id or "", root or str(self.root), None, redo, "policy")
        permit = self.office.issue(action, approved_digest=digest(action), approval_id=None)
        return await self.changes.run(permit)

    def tree(self) -> Tree:
        return tree(self.root)


def tree(root: Path) -> Tree:
    """Everything below root: kind, mode, owner, content, xattrs."""
    found: Tree = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else None
        marks = tuple((n, os.getxattr(path, n)) for n in sorted(os.listxattr(path)))
        owner = (status.st_uid, status.st_gid)
        found[str(path.relative_to(root))] = (status.st_mode, owner, content, marks)
    return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path.resolve())


@pytest.mark.as_user
async def test_a_patch_lands_as_a_set_and_says_what_it_did(bench: Bench):
    outcome = await bench.run(bench.plan())
    assert outcome.status == "ok"
    assert outcome.files == (
        FileChange("one", "modified", 1, 1, sha256_or_none(b"ONE\n")),
        FileChange("two", "deleted", 0, 1, None),
        FileChange("new/deep/three", "created", 1, 0, sha256_or_none(b"3\n")),
    )
    assert set(bench.tree()) == {"new", "new/deep", "new/deep/three", "one", "other"}


@pytest.mark.as_user
async def test_undo_gives_back_the_tree_as_it_was(bench: Bench):
    os.utime(bench.root / "other", ns=(1, 1))
    before, mtime = bench.tree(), (bench.root / "other").stat().st_mtime_ns
    outcome = await bench.run(bench.plan())
    undone = await bench.undo(outcome.undo_id)
    assert undone.status == "ok"
    assert bench.tree() == before
    assert (bench.root / "other").stat().st_mtime_ns == mtime


async def test_an_undo_can_be_undone(bench: Bench):
    outcome = await bench.run(bench.plan())
    after = bench.tree()
    await bench.undo(outcome.undo_id)
    again = await bench.undo(outcome.undo_id, redo=True)
    assert again.status == "ok"
    assert bench.tree() == after


async def test_a_second_undo_of_the_same_patch_is_refused(bench: Bench):
    outcome = await bench.run(bench.plan())
    await bench.undo(outcome.undo_id)
    before = bench.tree()
    assert (await bench.undo(outcome.undo_id)).status == "error"
    assert bench.tree() == before


@pytest.mark.threat("T21")
async def test_an_undo_leaves_files_alone_that_changed_since(bench: Bench):
    outcome = await bench.run(bench.plan())
    (bench.root / "one").write_bytes(b"mine\n")
    before = bench.tree()
    undone = await bench.undo(outcome.undo_id)
    assert undone.status == "error"
    assert "'one'" in undone.message
    assert bench.tree() == before


@pytest.mark.threat("T21")
@pytest.mark.as_user
@pytest.mark.parametrize("name", ["one", "two", "new/deep/three"])
async def test_a_file_that_changed_after_the_plan_stops_the_whole_set(bench: Bench, name: str):
    action = bench.plan()
    (bench.root / name).parent.mkdir(parents=True, exist_ok=True)
    (bench.root / name).write_bytes(b"theirs\n")
    before = bench.tree()
    outcome = await bench.run(action)
    assert outcome.status == "error"
    assert repr(name) in outcome.message
    assert bench.tree() == before
    assert outcome.undo_id is None


async def test_what_an_undo_changes_is_known_before_it(bench: Bench):
    outcome = await bench.run(bench.plan())
    record = bench.store.record(outcome.undo_id or "")
    assert record.about.root == str(bench.root)
    assert {(one.operation, one.path) for one in record.found.changes} == {
        ("modified", "one"),
        ("deleted", "two"),
        ("created", "new"),
        ("created", "new/deep"),
        ("created", "new/deep/three"),
    }


@pytest.mark.threat("T21")
@pytest.mark.parametrize("undo_id", ["", "../../etc", "0" * 32, "A" * 32, "0" * 32 + "\n", "."])
async def test_an_undo_id_that_was_never_given_is_refused(bench: Bench, undo_id: str):
    assert (await bench.undo(undo_id)).status == "error"


async def test_an_undo_under_another_root_is_refused(bench: Bench):
    outcome = await bench.run(bench.plan())
    other = await bench.undo(outcome.undo_id, root=str(bench.root.parent))
    assert "not of" in other.message


async def test_a_permit_is_spent_by_its_first_run(bench: Bench):
    action = bench.plan()
    permit = bench.office.issue(action, approved_digest=digest(action), approval_id=None)
    await bench.runner.run(permit)
    with pytest.raises(PermitError, match="spent"):
        await bench.runner.run(permit)


@pytest.mark.threat("T21")
@pytest.mark.parametrize("path", ["../out", "/etc/out", "a/../../out", "link/out"])
async def test_a_permitted_path_that_leaves_the_root_changes_nothing(bench: Bench, path: str):
    (bench.root / "link").symlink_to("..")
    before = tree(bench.root.parent)
    action = PatchFiles(str(bench.root), (NewContent(path, None, b"x"),), "policy")
    assert (await bench.run(action)).status == "error"
    after = {k: v for k, v in tree(bench.root.parent).items() if not k.startswith("state")}
    assert after == before


@pytest.mark.as_user
async def test_mode_and_xattrs_survive_a_change(bench: Bench):
    os.setxattr(bench.root / "one", "user.note", b"kept")
    await bench.run(bench.plan())
    assert (bench.root / "one").stat().st_mode & 0o7777 == 0o750
    assert os.getxattr(bench.root / "one", "user.note") == b"kept"


@pytest.mark.root_only
async def test_the_owner_survives_a_change(bench: Bench):
    os.chown(bench.root / "one", 1234, 1235)
    await bench.run(bench.plan())
    status = (bench.root / "one").stat()
    assert (status.st_uid, status.st_gid) == (1234, 1235)


async def test_a_new_executable_has_its_mode(bench: Bench):
    await bench.run(
        bench.plan(
            "diff --git a/x b/x\nnew file mode 100755\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"
        )
    )
    assert (bench.root / "x").stat().st_mode & 0o7777 == 0o755


def test_the_state_directory_is_for_its_owner_alone(bench: Bench):
    recover(bench.store)
    assert bench.state.stat().st_mode & 0o777 == 0o700


STEPS = ("link", "rename", "replace", "unlink", "mkdir", "rmdir", "fsync", "fdatasync", "chmod")


def kill_at(nth: int, work: Callable[[], object]) -> bool:
    """Run `work` in a child killed right before its nth change; return whether it was killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no thread
        child = os.fork()
    if child == 0:
        left = nth

        def armed(real: Callable[..., object]) -> Callable[..., object]:
            def step(*args: object, **kwargs: object) -> object:
                nonlocal left
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)

            return step

        for name in STEPS:
            setattr(os, name, armed(getattr(os, name)))
        renames.rename2 = armed(renames.rename2)
        try:
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def land_in_child(bench: Bench, action: PatchFiles) -> Callable[[], object]:
    return lambda: landing.land(bench.store, action, "s")


@pytest.mark.threat("T21")
def test_a_kill_at_any_step_ends_old_or_new(bench: Bench):
    action = bench.plan()
    old = bench.tree()
    outcomes: list[str] = []
    for nth in range(200):
        killed = kill_at(nth, land_in_child(bench, action))
        if nth % 2:  # a recovery that is itself killed changes nothing
            kill_at(nth // 2, lambda: recover(bench.store))
        recover(bench.store)
        new = bench.tree() != old
        outcomes.append("new" if new else "old")
        if new:
            assert set(bench.tree()) == {"new", "new/deep", "new/deep/three", "one", "other"}
            assert (bench.root / "one").read_bytes() == b"ONE\n"
            (landed,) = [one.set_id for one in bench.store.all() if one.state == "applied"]
            transaction.revert(bench.store, landed)
            assert bench.tree() == old
            bench.store.discard(landed)
        if not killed:
            break
    assert outcomes[0] == "old"
    assert outcomes[-1] == "new"
    assert outcomes == sorted(outcomes, reverse=True)  # there is one moment at which it happens


def fail_at(nth: int, patch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Make the nth change fail once for want of space; return whether it came to that."""
    left = nth

    def armed(real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            nonlocal left
            left -= 1
            if left == -1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **kwargs)

        return step

    for name in STEPS:
        patch.setattr(os, name, armed(getattr(os, name)))
    patch.setattr(renames, "rename2", armed(renames.rename2))
    return lambda: left < 0


@pytest.mark.threat("T21")
def test_a_full_disk_at_any_step_changes_nothing_or_everything(tmp_path: Path):
    seen: set[str] = set()
    is_open = len(list(Path("/proc/self/fd").iterdir()))
    for nth in range(200):
        place = tmp_path.resolve() / str(nth)
        place.mkdir()
        bench = Bench(place)
        old, work = bench.tree(), land_in_child(bench, bench.plan())
        with pytest.MonkeyPatch.context() as patch:
            failed = fail_at(nth, patch)
            try:
                work()
                landed = True
            except (OSError, SandboxError):
                landed = False
        recover(bench.store)
        if landed:
            assert set(bench.tree()) == {"new", "new/deep", "new/deep/three", "one", "other"}
        else:
            assert bench.tree() == old
        seen.add("landed" if landed else "refused")
        if not failed():
            break
    assert seen == {"landed", "refused"}
    assert len(list(Path("/proc/self/fd").iterdir())) == is_open


@pytest.mark.threat("T21")
@pytest.mark.parametrize("how", ["write", "replace", "create"])
def test_a_change_by_someone_else_in_the_middle_keeps_theirs(
    bench: Bench, how: str, monkeypatch: pytest.MonkeyPatch
):
    real = landing.apply_whole  # all was verified, and nothing is replaced yet

    def meddle(*args: object, **options: object) -> object:
        if how == "write":
            (bench.root / "two").write_bytes(b"theirs\n")
        elif how == "replace":
            (bench.root / "t").write_bytes(b"theirs\n")
            (bench.root / "t").rename(bench.root / "two")
        else:
            (bench.root / "new/deep").mkdir(parents=True)
            (bench.root / "new/deep/three").write_bytes(b"theirs\n")
        return real(*args, **options)

    monkeypatch.setattr(landing, "apply_whole", meddle)
    with pytest.raises((landing.ConflictError, transaction.ChangedError)):
        land_in_child(bench, bench.plan())()
    name = "new/deep/three" if how == "create" else "two"
    assert (bench.root / name).read_bytes() == b"theirs\n"
    assert (bench.root / "one").read_bytes() == b"1\n"
    assert not list(bench.root.rglob(".permitgate*"))


def test_a_file_that_someone_replaced_after_a_crash_stays_theirs(bench: Bench):
    for nth in range(200):
        if not kill_at(nth, land_in_child(bench, bench.plan())):
            pytest.fail("the patch never stood half done")
        if (bench.root / "one").read_bytes() == b"ONE\n":
            break
        recover(bench.store)
    (bench.root / "one").unlink()
    (bench.root / "one").write_bytes(b"theirs\n")
    (told,) = recover(bench.store)
    assert "one" in told
    assert (bench.root / "one").read_bytes() == b"theirs\n"
    kept = [path.read_bytes() for path in bench.state.rglob("one")]
    assert b"1\n" in kept  # what was there is not lost
    assert recover(bench.store) == ()


def test_a_workspace_that_is_gone_stops_no_recovery(bench: Bench):
    for nth in range(200):
        kill_at(nth, land_in_child(bench, bench.plan()))
        if (bench.root / "one").read_bytes() == b"ONE\n":
            break
        recover(bench.store)
    bench.root.rename(bench.root.parent / "elsewhere")
    (told,) = recover(bench.store)
    assert "is gone" in told
    assert recover(bench.store) == ()


texts = st.one_of(st.none(), st.sampled_from([b"", b"a\n", b"b\r\n", b"c", b"\xff\n"]))


@pytest.mark.threat("T21")
@settings(max_examples=40, deadline=None)
@given(
    before=st.lists(texts, min_size=4, max_size=4), after=st.lists(texts, min_size=4, max_size=4)
)
def test_landing_and_undoing_is_the_identity(
    tmp_path_factory: pytest.TempPathFactory,
    before: list[bytes | None],
    after: list[bytes | None],
):
    base = tmp_path_factory.mktemp("p").resolve()
    names = ["a", "d/b", "d/e/c", "f/g"]
    for name, content in zip(names, before, strict=True):
        if content is not None:
            (base / "w" / name).parent.mkdir(parents=True, exist_ok=True)
            (base / "w" / name).write_bytes(content)
    (base / "w").mkdir(exist_ok=True)
    old, store = tree(base / "w"), ChangeStore(base / "state")
    files = tuple(
        NewContent(name, sha256_or_none(was), becomes)
        for name, was, becomes in zip(names, before, after, strict=True)
        if was != becomes
    )
    if not files:
        return
    set_id, _ = landing.land(store, PatchFiles(str(base / "w"), files, "policy"), "s")
    found = {name: (base / "w" / name) for name in names}
    assert [p.read_bytes() if p.exists() else None for p in found.values()] == after
    transaction.revert(store, set_id)
    assert tree(base / "w") == old


async def test_a_new_file_without_a_mode_is_readable(bench: Bench):
    action = PatchFiles(str(bench.root), (NewContent("x", None, b"x"),), "policy")
    assert (await bench.run(action)).status == "ok"
    assert (bench.root / "x").stat().st_mode & 0o7777 == 0o644


@pytest.mark.threat("T21")
async def test_an_undo_id_is_no_path_to_a_record(bench: Bench):
    outcome = await bench.run(bench.plan())
    after = bench.tree()
    for undo_id in (f"../sets/{outcome.undo_id}", f"{outcome.undo_id}/."):
        assert (await bench.undo(undo_id)).status == "error"
    assert bench.tree() == after


@pytest.mark.threat("T21")
async def test_a_damaged_record_restores_nothing(bench: Bench):
    outcome = await bench.run(bench.plan())
    place = bench.store.place(outcome.undo_id or "")
    before = bench.tree()
    (kept,) = place.rglob("one")
    kept.write_bytes(b"planted\n")
    assert (await bench.undo(outcome.undo_id)).status == "error"
    (place / "record").write_bytes(b"{}")
    assert (await bench.undo(outcome.undo_id)).status == "error"
    assert bench.tree() == before


@pytest.mark.as_user
async def test_what_cannot_be_written_is_an_error_that_names_it(bench: Bench):
    action = PatchFiles("/proc/self", (NewContent("n", None, b"x"),), "policy")
    outcome = await bench.run(action)
    assert outcome.status == "error"
    assert "nothing was changed" in outcome.message or "symbolic link" in outcome.message
    gone = PatchFiles(f"{bench.root}/nope", (NewContent("n", None, b"x"),), "policy")
    assert "nothing was changed" in (await bench.run(gone)).message


@pytest.mark.ordinary_only
@pytest.mark.as_user
@pytest.mark.as_user
async def test_an_owner_that_cannot_be_kept_stops_the_patch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    before = bench.tree()
    real = landing.current_state

    def foreign(root: int, path: str):
        state = real(root, path)
        return state and replace(state, metadata=replace(state.metadata, uid=0, gid=0))

    monkeypatch.setattr(landing, "current_state", foreign)
    outcome = await bench.run(bench.plan())
    assert (outcome.status, "uid 0" in outcome.message) == ("error", True)
    assert bench.tree() == before

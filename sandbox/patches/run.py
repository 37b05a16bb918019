"""Run patches and their undo: redeem a permit, land the set, say per file what became of it.

May touch: what `commit.py` touches, for one permit. A refusal is an outcome with status `error`,
and then no file was changed.
"""

from pathlib import Path
from typing import Literal

from anyio import to_thread

from sandbox.action import PatchFiles, UndoPatch
from sandbox.outcome import FileChange, PatchOutcome
from sandbox.patches.commit import Change, land
from sandbox.patches.commit import recover as recover_store
from sandbox.patches.diffs import Operation
from sandbox.patches.plan import PatchRefused, Paths, line_counts
from sandbox.patches.undo import Record, Replaced, UndoError, UndoStore
from sandbox.permit import Permit, PermitOffice, SandboxError


class PatchRunner:
    """Lands permitted patches and undoes them; one per state directory."""

    def __init__(self, office: PermitOffice, state_dir: Path) -> None:
        self._office = office
        self._store = UndoStore(state_dir)

    async def run(self, permit: Permit) -> PatchOutcome:
        """Return what became of a permitted `PatchFiles` or `UndoPatch`: all files or none.

        Raises:
            PermitError: the permit is spent, foreign or for another kind of action.
        """
        if isinstance(permit.action, UndoPatch):
            undo = self._office.redeem(permit, UndoPatch)
            return await to_thread.run_sync(self._undone, undo)
        patch = self._office.redeem(permit, PatchFiles)
        changes = [
            Change(file.path, file.before_sha256, file.after, mode=file.mode)
            for file in patch.files
        ]
        return await to_thread.run_sync(self._landed, patch.root, changes, ())

    def _undone(self, undo: UndoPatch) -> PatchOutcome:
        try:
            record = self._store.load(undo.undo_id)
            if record.root != undo.root:
                raise UndoError(f"this undo record is not of {undo.root!r}; nothing was changed")
            changes = [
                Change(
                    file.path,
                    file.after_sha256,
                    self._store.before(record, number),
                    file.metadata,
                )
                for number, file in enumerate(record.files)
            ]
        except (OSError, SandboxError) as error:
            return PatchOutcome("error", message=str(error))
        return self._landed(undo.root, changes, record.made_directories)

    def _landed(self, root: str, changes: list[Change], prune: tuple[str, ...]) -> PatchOutcome:
        try:
            record, before = land(self._store, root, changes, prune)
        except SandboxError as error:
            return PatchOutcome("error", message=str(error))
        except OSError as error:
            return PatchOutcome(
                "error",
                message=f"{error.strerror}: {error.filename!r}; nothing was changed",
            )
        files = tuple(map(_file_change, record.files, before, [c.after for c in changes]))
        return PatchOutcome("ok", files, record.undo_id)


def undo_paths(state_dir: Path, undo_id: str) -> tuple[str, Paths] | PatchRefused:
    """Return root, and operation and path of every file that undoing would change."""
    try:
        record = UndoStore(state_dir).load(undo_id)
    except (OSError, SandboxError) as error:
        return PatchRefused("undo_id", str(error))
    return record.root, tuple(_undo_operation(record, n) for n in range(len(record.files)))


def recover(state_dir: Path) -> tuple[str, ...]:
    """Bring patches that a crash interrupted to old or new; call before the first patch.

    Returns a line per change set for the operator.
    """
    return recover_store(UndoStore(state_dir))


def _undo_operation(record: Record, number: int) -> tuple[Operation, str]:
    file = record.files[number]
    if file.before_sha256 is None:
        return "delete", file.path
    return ("create" if file.after_sha256 is None else "modify"), file.path


def _file_change(file: Replaced, before: bytes | None, after: bytes | None) -> FileChange:
    operation: Literal["created", "modified", "deleted"] = "modified"
    if before is None:
        operation = "created"
    elif after is None:
        operation = "deleted"
    added, removed = line_counts(before, after)
    return FileChange(file.path, operation, added, removed, file.after_sha256)

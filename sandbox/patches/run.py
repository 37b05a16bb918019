"""Run patches: redeem a permit, land the set, say per file what became of it.

May touch: what `landing.py` touches, for one permit. A refusal is an outcome with status `error`,
and then no file was changed.
"""

from typing import Literal

from anyio import to_thread

from sandbox.action import NewContent, PatchFiles
from sandbox.changes.store import ChangeStore
from sandbox.outcome import FileChange, PatchOutcome
from sandbox.patches.landing import Contents, land
from sandbox.patches.plan import sha256_or_none
from sandbox.permit import Permit, PermitOffice, SandboxError
from sandbox.unified import line_counts


class PatchRunner:
    """Lands permitted patches; one per store of change sets."""

    def __init__(self, office: PermitOffice, store: ChangeStore) -> None:
        self._office, self._store = office, store

    async def run(self, permit: Permit) -> PatchOutcome:
        """Return what became of a permitted `PatchFiles`: all files or none.

        Raises:
            PermitError: the permit is spent, foreign or for another kind of action.
        """
        patch = self._office.redeem(permit, PatchFiles)
        return await to_thread.run_sync(self._landed, patch, permit.session)

    def _landed(self, patch: PatchFiles, session: str) -> PatchOutcome:
        try:
            set_id, before = land(self._store, patch, session)
        except SandboxError as error:
            return PatchOutcome("error", message=str(error))
        except OSError as error:
            return PatchOutcome(
                "error",
                message=f"{error.strerror}: {error.filename!r}; nothing was changed",
            )
        return PatchOutcome("ok", tuple(_file_change(file, before) for file in patch.files), set_id)


def _file_change(file: NewContent, contents: Contents) -> FileChange:
    before = contents[file.path]
    operation: Literal["created", "modified", "deleted"] = "modified"
    if before is None:
        operation = "created"
    elif file.after is None:
        operation = "deleted"
    added, removed = line_counts(before, file.after)
    return FileChange(file.path, operation, added, removed, sha256_or_none(file.after))

"""Carries out what was permitted of a change set: let it in, drop it, put it back, bring it back.

May touch: the change store and, through it, the workspace. Takes a permit and nothing else.
"""

import hashlib
import json
from collections.abc import Callable, Sequence

from anyio import to_thread

from sandbox.action import CommitChanges, DiscardChanges, RestoreChanges, UndoChanges
from sandbox.changes import points, transaction
from sandbox.changes.landing import effects
from sandbox.changes.model import Change, Found, Operation
from sandbox.changes.store import ChangeStore
from sandbox.outcome import ChangesOutcome, Effects
from sandbox.permit import Permit, PermitOffice, SandboxError

OTHER_PLAN = "approval_mismatch: going back means something else by now; nothing was changed"
OTHER_PLACE = "change set {} is not of {}; nothing was changed"


class ChangeRunner:
    """Carries out permits about change sets; one per server."""

    def __init__(self, office: PermitOffice, store: ChangeStore) -> None:
        self._office, self._store = office, store

    async def run(self, permit: Permit) -> ChangesOutcome:
        """Return what became of the change set; an error changed nothing.

        Raises:
            PermitError: the permit is spent, foreign, or for something else; nothing was changed.
        """
        match permit.action:
            case CommitChanges():
                commit = self._office.redeem(permit, CommitChanges)
                return await _ended(lambda: self._commit(commit))
            case DiscardChanges():
                discard = self._office.redeem(permit, DiscardChanges)
                return await _ended(lambda: self._discard(discard))
            case RestoreChanges():
                restore = self._office.redeem(permit, RestoreChanges)
                return await _ended(lambda: self._restore(restore))
            case _:
                undo = self._office.redeem(permit, UndoChanges)
                return await _ended(lambda: self._undo(undo))

    def _commit(self, action: CommitChanges) -> Effects:
        self._require_of(action.set_id, action.root)
        landed = transaction.apply(self._store, action.set_id, action.paths, approved=action.digest)
        found = Found(landed.changes)
        return effects(action.set_id, found, conflicts=landed.conflicts)

    def _discard(self, action: DiscardChanges) -> Effects | None:
        self._require_of(action.set_id, action.root)
        self._store.discard(action.set_id)
        return None

    def _undo(self, action: UndoChanges) -> Effects:
        self._require_of(action.set_id, action.root)
        if action.redo:
            landed = transaction.apply(self._store, action.set_id, action.paths)
            return effects(action.set_id, Found(landed.changes), conflicts=landed.conflicts)
        reverted = transaction.revert(self._store, action.set_id, action.paths)
        return effects(action.set_id, Found(tuple(map(backwards, reverted.changes))))

    def _restore(self, action: RestoreChanges) -> Effects:
        plan = points.restore_plan(self._store, action.name, action.root)
        if plan_digest(plan) != action.plan:
            raise SandboxError(OTHER_PLAN)
        return effects("", Found(made(points.restore(self._store, action.name, action.root))))

    def _require_of(self, set_id: str, root: str) -> None:
        if self._store.load(set_id).about.root != root:
            raise SandboxError(OTHER_PLACE.format(set_id, root))


_OPPOSITE: dict[Operation, Operation] = {"created": "deleted", "deleted": "created"}


def backwards(change: Change) -> Change:
    """Return what undoing a change does."""
    return change._replace(
        operation=_OPPOSITE.get(change.operation, change.operation),
        bytes_before=change.bytes_after,
        bytes_after=change.bytes_before,
        mode_before=change.mode_after,
        mode_after=change.mode_before,
    )


def made(plan: Sequence[points.Inversion]) -> tuple[Change, ...]:
    """Return the changes that going back makes, in order."""
    return tuple(
        change if one.to_apply else backwards(change) for one in plan for change in one.changes
    )


def plan_digest(plan: Sequence[points.Inversion]) -> str:
    """Return 64 hex digits that name exactly one way back: which steps of which sets."""
    body = json.dumps([(one.set_id, one.to_apply, one.steps) for one in plan])
    return hashlib.sha256(body.encode("ascii")).hexdigest()


async def _ended(work: Callable[[], Effects | None]) -> ChangesOutcome:
    try:
        return ChangesOutcome("ok", await to_thread.run_sync(work))
    except SandboxError as error:
        return ChangesOutcome("error", message=str(error))
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        return ChangesOutcome("error", message=f"{error.strerror}{where}; nothing was changed")

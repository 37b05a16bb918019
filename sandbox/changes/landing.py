"""The road of one writing command's changes: a draft before it runs, a verdict when it has ended.

May touch: the change store and, through it, the workspace. The order:
  1. an empty layer is made for the command's copy of the workspace
  2. the command ran, and nothing of it is alive: what it did is read from its layer
  3. names, bounds and policy say whether a person should see it
  4. it is committed as a set, or held, or dropped
INVARIANT: only step 4 touches the workspace, and only with what step 3 let through.
"""

import queue
import re
import shlex
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.action import Command
from sandbox.changes import transaction, upper
from sandbox.changes.drafts import Draft
from sandbox.changes.filter import OPERATIONS, Judge, Layers, bounds, grouped, guarded, in_git
from sandbox.changes.git import work
from sandbox.changes.model import About, Change, Found, Operation, Reason
from sandbox.changes.store import ChangeStore
from sandbox.outcome import Effects, HeldFor
from sandbox.permit import SandboxError

SHOWN_NAMES = 100
SUMMARY_CHARACTERS = 300
SPARE_DRAFTS = 4  # commands that follow one another before anybody tidies
PAUSE_S = 0.01  # before what is left is tidied: whoever awaits the command's result comes first
TIDIED_S = 5.0  # at the end; what is not is swept by the next server
_QUOTED = re.compile(r"'([\w./:=+,@%-]+)'")


@dataclass(frozen=True, slots=True)
class Ground:
    """One command's layer, and what the workspace's past was when it began."""

    draft: Draft
    about: About
    behind: tuple[str, ...] = ()  # what protected links lead to, once that was looked for

    @property
    def layers(self) -> tuple[str, str]:
        """Return the upper and the work directory, as a seat mounts them."""
        return str(self.draft.upper), str(self.draft.work)


class Lander:
    """Lands what commands did; one per runner."""

    def __init__(self, store: ChangeStore, judge: Judge) -> None:
        self._store, self._judge = store, judge
        self._tidying = _Tidying(store)
        weakref.finalize(self, self._tidying.close)

    def close(self) -> None:
        """Wait until the layers of ended commands are removed."""
        self._tidying.close()

    @contextmanager
    def begin(self, command: Command, session: str) -> Iterator[Ground]:
        """Give an empty layer to one command.

        Raises:
            OSError: there is no place for it; nothing may run.
        """
        root = command.profile.workspace
        draft = self._store.draft(root)  # 1
        about = About(
            root=root,
            since_ns=draft.since_ns,
            after=draft.after,
            source="exec",
            summary=_summary(command),
            session=session,
            created_s=time.time(),
        )
        try:
            yield Ground(draft, about)
        finally:
            self._tidying.leave(draft)  # where it was kept, nothing is left to remove

    def finish(
        self, ground: Ground, command: Command, *, was_asked: bool, is_alone: bool
    ) -> Effects | None:
        """Commit or hold what the command did, and say what it was; None when it did nothing.

        What cannot be committed now is held, with the reason. Two commands that end together land
        one after the other, so that each is judged by what the other left.

        Args:
            ground: its layer; nothing of the command is alive.
            command: what was permitted.
            was_asked: a person said yes to it.
            is_alone: no other command can have been handed a file of the layer.
        """
        if command.landing.discard:
            return None
        try:
            with self._store.landing():
                return self._landed(ground, command, was_asked=was_asked, is_alone=is_alone)
        except (OSError, SandboxError) as error:
            return effects("", Found(), [Reason("not-committed", f"{error}; it was dropped")])

    def _landed(
        self, ground: Ground, command: Command, *, was_asked: bool, is_alone: bool
    ) -> Effects | None:
        """Do 2 to 4; an error before the set is kept leaves nothing."""
        if not is_alone:
            ground.draft.renew()
        found = upper.read(ground.draft.upper, Path(ground.about.root))  # 2
        if not found.steps:
            return effects("", found) if found.left_out else None
        reasons = tuple(self._reasons(found, ground, command, was_asked=was_asked))  # 3
        kept = self._store.keep_set(ground.draft, found, ground.about, reasons)  # 4
        if reasons:
            return effects(kept.set_id, found, reasons)
        try:
            landed = transaction.apply(self._store, kept.set_id)
        except (OSError, SandboxError) as error:
            return effects(kept.set_id, found, [Reason("not-committed", str(error))])
        return effects(kept.set_id, found, conflicts=landed.conflicts)

    def _reasons(
        self, found: Found, ground: Ground, command: Command, *, was_asked: bool
    ) -> list[Reason]:
        layers = Layers(str(ground.draft.upper), ground.about.root)
        names = guarded(found, layers, ground.behind)
        own = frozenset[str]()
        if names:
            is_git = command.profile.git_places_files
            own = work.judge(names, layers.upper, layers.root, is_git=is_git).passes
        # What is held, or git's own, is not asked about by a rule besides; it may be denied.
        plain = [one for one in found.changes if one.path not in names and not in_git(one)]
        others = [one for one in found.changes if one.path in names or in_git(one)]
        return [
            *bounds(found, command.landing),
            *grouped((path, why) for path, why in names.items() if path not in own),
            *self._judge(layers.root, _pairs(plain, layers.root), was_asked),
            *self._judge(layers.root, _pairs(others, layers.root), True),
        ]


class _Tidying:
    """Removes the layers of ended commands and makes those of the next; no caller waits for it."""

    def __init__(self, store: ChangeStore) -> None:
        self._store = store
        self._left: queue.SimpleQueue[Draft | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._tidy, daemon=True)
        self._starting = threading.Lock()

    def leave(self, draft: Draft) -> None:
        """Have a layer removed soon."""
        with self._starting:
            if self._thread.ident is None:
                self._thread.start()
        self._left.put(draft)

    def close(self) -> None:
        """Wait until what was left is removed."""
        self._left.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(TIDIED_S)
        with suppress(OSError, SandboxError):
            self._store.prepare(0)

    def _tidy(self) -> None:
        while draft := self._left.get():
            if self._left.empty():
                time.sleep(PAUSE_S)
            with suppress(OSError, SandboxError):  # what stays is swept by the next server
                draft.drop()
                self._store.prepare(SPARE_DRAFTS)


def _pairs(changes: Sequence[Change], root: str) -> list[tuple[str, str]]:
    return [(OPERATIONS[one.operation], f"{root}/{one.path}") for one in changes]


def effects(
    set_id: str,
    found: Found,
    reasons: Sequence[Reason] = (),
    conflicts: tuple[str, ...] = (),
) -> Effects:
    """Return what a change set means, in the words of a result."""
    return Effects(
        set_id,
        created=_names(found.changes, "created"),
        modified=_names(found.changes, "modified"),
        deleted=_names(found.changes, "deleted"),
        attributes=_names(found.changes, "attributes"),
        total=len(found.changes),
        bytes_written=sum(change.bytes_after for change in found.changes),
        held=tuple(HeldFor(why.rule, why.text, why.paths) for why in reasons),
        conflicts=conflicts,
        left_out=found.left_out[:SHOWN_NAMES],
    )


def _names(changes: Sequence[Change], operation: Operation) -> tuple[str, ...]:
    named = (change.path for change in changes if change.operation == operation)
    return tuple(path for path, _ in zip(named, range(SHOWN_NAMES), strict=False))


def _summary(command: Command) -> str:
    """Return the command for people: plain words need no quotes to be read."""
    script = command.script or ""
    text = shlex.join(command.argv) if command.argv is not None else _QUOTED.sub(r"\1", script)
    return text if len(text) <= SUMMARY_CHARACTERS else f"{text[: SUMMARY_CHARACTERS - 1]}…"

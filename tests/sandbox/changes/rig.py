"""A store, a workspace, and commands that edit it on a real overlay: what these tests share."""

import time
from collections.abc import Callable
from pathlib import Path

from sandbox.changes.model import About, ChangeSet, Keep
from sandbox.changes.store import ChangeStore
from sandbox.changes.upper import read
from tests.sandbox.changes.overlaid import overlaid

Edit = Callable[[Path], object]


class Rig:
    """One workspace and the change sets of its commands."""

    def __init__(self, base: Path, *, root: Path | None = None, keep: Keep | None = None) -> None:
        self.root = root or base / "w"
        self.root.mkdir(exist_ok=True)
        self.base = base / "changes"
        self.store = ChangeStore(self.base, keep)

    def about(self, since_ns: int, after: int) -> About:
        return About(str(self.root), since_ns, after, "exec", "a command", "s", time.time())

    def holds(self, edit: Edit, meanwhile: Edit | None = None) -> ChangeSet:
        """Let a command run, and somebody else meanwhile; return what it did as a set."""
        draft = self.store.draft(str(self.root))
        overlaid(self.root, draft.upper, draft.work, edit)
        if meanwhile is not None:
            meanwhile(self.root)
        found = read(draft.upper, self.root)
        return self.store.keep_set(draft, found, self.about(draft.since_ns, draft.after))

    def is_at_rest(self) -> bool:
        """Return whether nothing is left of any transition, and no draft."""
        left = [*(self.base / "drafts").iterdir(), *(self.base / "active").iterdir()]
        left += (self.base / "sets").glob("*/*.new")
        return not left and not list(self.root.glob(".permitgate*"))

"""What git itself may do to names that make other tools run code, so that no person need see it.

May touch: the two layers of a change set, for reading. Nothing is run: no git, no hook, no filter.
  1  inside a git directory: directories.py; a HEAD that names a branch passes whoever wrote it
  2  a `.git` file leads to a module or worktree of this workspace, which passes too
  3  a working file is what the commit has that is checked out; a removed one is not in it
  4  .gitmodules may also differ by lines that `git submodule` writes
What cannot be read passes nothing.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sandbox.changes.git import config, texts
from sandbox.changes.git.directories import GitDirectories, plain_text, unusual
from sandbox.changes.git.objects import DIRECTORY, EXECUTABLE, PLAIN, Commit, TreeEntry
from sandbox.changes.git.places import Place, Places, resolved
from sandbox.changes.layers import Entry, Tree, View, layers
from sandbox.names import is_protected
from sandbox.permit import SandboxError

MAX_FILE_BYTES = 5 * 1024 * 1024
MODULES_FILE = ".gitmodules"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which of the paths are git's own work, and why the others are not."""

    passes: frozenset[str]
    held: tuple[tuple[str, str], ...] = ()  # (path, reason for people)


def judge(paths: Iterable[str], upper: str, root: str, *, is_git: bool) -> Judgement:
    """Return which changes of protected names are git's own work.

    Args:
        paths: what was created, changed or removed and has a protected name, lies below one, or in
            a git directory; relative to the root. A new directory answers for all that is in it.
        upper: the overlay's upper layer, absolute, after the command ended.
        root: the workspace as it was, absolute, by the path that the command saw.
        is_git: whether git was the command, and no other code ran.
    """
    asked = sorted(set(paths))
    try:
        with layers(upper, root) as view:
            work = _Work(view, is_git=is_git)
            reasons = {path: work.why_not(path) for path in asked}
    except (OSError, SandboxError) as error:
        reasons = dict.fromkeys(asked, f"the change set cannot be read: {error}")
    return Judgement(
        frozenset(path for path, why in reasons.items() if not why),
        tuple((path, why) for path, why in reasons.items() if why),
    )


class _Work:
    """The rules over one change set; each returns why not, or "" when it is git's own work."""

    def __init__(self, view: View, *, is_git: bool) -> None:
        self._view, self._is_git = view, is_git
        self._places = Places(view)
        self._directories = GitDirectories(view, self._places)
        self._known: dict[str, str] = {}
        self._commits: dict[str, Commit | str] = {}

    def why_not(self, path: str) -> str:
        """Return why a person should see this change; "" when it is git's own work."""
        if path not in self._known:
            try:
                self._known[path] = self._why_not(path)
            except (OSError, SandboxError) as error:
                self._known[path] = f"it cannot be read: {error}"
        return self._known[path]

    def _why_not(self, path: str) -> str:
        place = self._places.of(path)
        if not self._is_git and not (place and self._is_head(place)):
            return "git was not all that ran"
        if place is not None:
            return self._directories.why_not(place)
        return self._link(path) if path.rpartition("/")[2] == ".git" else self._working(path)

    def _is_head(self, place: Place) -> bool:
        """Return whether this is the HEAD of a git directory that was there and still is."""
        known = self._places.was(place) and self._places.still_is(place)
        return known and place.rest == ("HEAD",)

    # --- `.git` files ---

    def _link(self, path: str) -> str:
        if self._view.now.entry(path) is None:
            place = self._led(self._view.before, path)  # a directory is no text, and stays held
            return place if isinstance(place, str) else ""
        place = self._repository(path)
        return place if isinstance(place, str) else ""

    def _repository(self, link: str) -> Place | str:
        """Return the git directory behind a `.git`, file or directory, or why it does not pass."""
        entry = self._view.now.entry(link)
        if entry is not None and entry.kind == "directory":
            place: Place | str = Place(link, "repository", (), link)
        else:
            why = unusual(self._view, link)
            place = why or self._led(self._view.now, link)
        if isinstance(place, str):
            return place
        around = (self._places.around(place), place)
        return next(filter(None, map(self._directories.why_not_new, around)), place)

    def _led(self, tree: Tree, link: str) -> Place | str:
        """Return the module or worktree that a `.git` file leads to."""
        written = texts.gitlink(tree.read(link, texts.MAX_BYTES) or b"")
        target = resolved(self._view.root, link.rpartition("/")[0], written) if written else None
        place = self._places.of(target) if target else None
        if place is None or place.rest or place.kind not in {"module", "worktree"}:
            return "it leads to no submodule or worktree of this workspace"
        if tree is self._view.before:
            return place
        back = tree.read(f"{place.directory}/gitdir", texts.MAX_BYTES) or b""
        is_theirs = os.fsdecode(back).removesuffix("\n") == f"{self._view.root}/{link}"
        if place.kind == "worktree" and not is_theirs:
            return "the worktree it leads to is another one"
        return place if self._places.still_is(place) else "it leads to nothing"

    # --- working files ---

    def _working(self, path: str) -> str:
        if self._went_with_its_worktree(path):
            return ""
        top = next((a for a in _above(path) if self._view.now.entry(_in(a, ".git"))), None)
        if top is None:
            return "no repository of the workspace has it"
        parts = tuple(path[len(top) :].strip("/").split("/"))
        if not any(is_protected(part, is_directory=True, in_git=False) for part in parts):
            return "its whole repository lies below a protected name"
        commit = self._commit(top)
        if isinstance(commit, str):
            return commit
        why = self._unlike(path, parts, commit)
        if why and parts == (MODULES_FILE,):
            return self._modules_file(path)
        return why

    def _went_with_its_worktree(self, path: str) -> bool:
        """Return whether a removed file was in a worktree or submodule that is gone as a whole."""
        if self._view.now.entry(path) is not None:
            return False
        links = [_in(above, ".git") for above in _above(path)]
        gone = (link for link in links if self._view.before.entry(link) is not None)
        nearest = next(gone, "")
        return bool(nearest) and not self._view.now.entry(nearest) and not self.why_not(nearest)

    def _commit(self, top: str) -> Commit | str:
        """Return the commit checked out in a working tree, or why it cannot be asked."""
        if top not in self._commits:
            try:
                place = self._repository(_in(top, ".git"))
                self._commits[top] = place if isinstance(place, str) else self._opened(place)
            except (OSError, SandboxError) as error:
                self._commits[top] = f"its commit cannot be read: {error}"
        return self._commits[top]

    def _opened(self, place: Place) -> Commit:
        return Commit(self._view.now, place.directory, place.common)

    def _unlike(self, path: str, parts: tuple[str, ...], commit: Commit) -> str:
        """Return how a working file differs from what the commit has."""
        now, theirs = self._view.now.entry(path), commit.entry(parts)
        if now is None:
            is_left_out = theirs is None or commit.is_left_out(parts)
            return "" if is_left_out else "the commit that is checked out still has it"
        if theirs is None:
            return "the commit that is checked out does not have it"
        if now.kind == "directory":
            return self._unlike_directory(path, now, theirs)
        content, why = plain_text(self._view, path, MAX_FILE_BYTES)
        if why:
            return why
        mode = EXECUTABLE if now.mode & 0o100 else PLAIN
        if mode != theirs.mode or commit.hashed(content) != theirs.object_id:
            return "it differs from the commit that is checked out"
        return ""

    def _unlike_directory(self, path: str, now: Entry, theirs: TreeEntry) -> str:
        before = self._view.before.entry(path)
        if theirs.mode != DIRECTORY:
            return "the commit that is checked out has no directory there"
        if before is not None and before.kind == "directory":
            return "" if before.mode == now.mode else f"its mode became {now.mode:o}"
        names = sorted(self._view.now.children(path))
        return next(filter(None, (self.why_not(f"{path}/{name}") for name in names)), "")

    def _modules_file(self, path: str) -> str:
        after, why = plain_text(self._view, path, config.MAX_BYTES)
        if why:
            return why
        before = self._view.before.read(path, config.MAX_BYTES) or b""
        return config.unexplained(before, after, config.GITMODULES)


def _above(path: str) -> Iterator[str]:
    """Yield the directories around a path, the nearest first; "" is the root."""
    while path:
        path = path.rpartition("/")[0]
        yield path


def _in(directory: str, name: str) -> str:
    return f"{directory}/{name}" if directory else name

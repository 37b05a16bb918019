"""Which git directory a path of a workspace belongs to, and where a path that git wrote leads.

May touch: the two layers, to see what is a git directory. Source: gitrepository-layout(5).
"""

from dataclasses import dataclass
from typing import Literal

from sandbox.changes.layers import Tree, View
from sandbox.profile import is_within

# repository: `.git` · module, worktree: below its `modules` and `worktrees` · bare: any other name
PlaceKind = Literal["repository", "module", "worktree", "bare"]
_NESTED: dict[str, PlaceKind] = {"modules": "module", "worktrees": "worktree"}


@dataclass(frozen=True, slots=True)
class Place:
    """A path inside a git directory, or the directory itself."""

    directory: str
    kind: PlaceKind
    rest: tuple[str, ...]
    common: str  # where objects and branches are: the directory itself, but for a worktree

    @property
    def path(self) -> str:
        """The whole path, relative to the workspace."""
        return "/".join((self.directory, *self.rest))


class Places:
    """What is a git directory, in the workspace as it is now or as it was."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._are: dict[str, bool] = {}

    def of(self, path: str) -> Place | None:
        """Return the innermost git directory that a path lies in; None for working files."""
        parts = tuple(path.split("/"))
        for end in range(1, len(parts) + 1):
            directory, rest = "/".join(parts[:end]), parts[end:]
            if parts[end - 1] == ".git" and self._is_directory(directory):
                return self._inner(Place(directory, "repository", rest, directory))
            if self._is_one(directory):
                return Place(directory, "bare", rest, directory)
        return None

    def around(self, place: Place) -> Place:
        """Return the repository that a place is in: the first `.git` of its path."""
        parts = place.directory.split("/")
        first = "/".join(parts[: parts.index(".git") + 1])
        return Place(first, "repository", (), first)

    def was(self, place: Place) -> bool:
        """Return whether git could take the directory for its own before the command ran."""
        return is_git_directory(self._view.before, place.directory)

    def still_is(self, place: Place) -> bool:
        """Return whether git could take the directory for its own now."""
        return is_git_directory(self._view.now, place.directory)

    def _inner(self, place: Place) -> Place:
        """Return the module or worktree inside, if the path leads into one."""
        if not place.rest or place.rest[0] not in _NESTED:
            return place
        for end in range(2, len(place.rest) + 1):
            directory = "/".join((place.directory, *place.rest[:end]))
            if self._is_one(directory):
                kind = _NESTED[place.rest[0]]
                common = place.directory if kind == "worktree" else directory
                return self._inner(Place(directory, kind, place.rest[end:], common))
        return place

    def _is_directory(self, path: str) -> bool:
        entries = (self._view.now.entry(path), self._view.before.entry(path))
        return any(entry is not None and entry.kind == "directory" for entry in entries)

    def _is_one(self, path: str) -> bool:
        if path not in self._are:
            trees = (self._view.now, self._view.before)
            self._are[path] = any(is_git_directory(tree, path) for tree in trees)
        return self._are[path]


def is_git_directory(tree: Tree, path: str) -> bool:
    """Return whether git could take a directory for its own, whatever its name is."""
    entry = tree.entry(path)
    if entry is None or entry.kind != "directory" or tree.entry(f"{path}/HEAD") is None:
        return False
    return any(tree.entry(f"{path}/{name}") for name in ("objects", "refs", "commondir"))


def resolved(root: str, directory: str, written: str) -> str | None:
    """Return where a path that git wrote leads, relative to the root; None when it leads outside.

    Only the form that git itself writes is taken: `..` come first, so no symbolic link is crossed
    upwards.
    """
    above: list[str] = directory.split("/") if directory else []
    if written.startswith("/"):
        if not is_within(written, root):
            return None
        written, above = written.removeprefix(root).removeprefix("/"), []
    parts = written.split("/") if written else []
    while parts and parts[0] == "..":
        if not above:
            return None
        above, parts = above[:-1], parts[1:]
    return None if {"", ".", ".."} & set(parts) else "/".join((*above, *parts))

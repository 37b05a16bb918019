"""What a person should see before it is committed: the reasons to hold a change set.

May touch: the two layers, to see whether a directory is a git directory. Which paths policy has a
word on, and what git itself may do, is asked elsewhere (`Judge`, git/work.py).
INVARIANT: a name is judged wherever it lies, and by what was done, not by what the command said.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sandbox.action import Landing
from sandbox.changes.model import Change, Found, Reason
from sandbox.names import (
    GIT_DATA,
    GIT_INTERNALS,
    GIT_PLANS,
    HOSTS_READ,
    is_git_directory,
    is_protected,
)
from sandbox.profile import is_within

SET_ID = 0o6000
SHOWN_PATHS = 20
# Whoever finds these in a directory may take it for a git directory.
GIT_MARKS = frozenset({"HEAD", "objects", "refs", "commondir"})
# Only at these names it matters whether the directory around them is git's.
SENSITIVE = GIT_INTERNALS | GIT_PLANS | GIT_DATA | {"HEAD", "attributes"}
# What a package manager fills; code hosts read nothing in there.
DEPENDENCIES = frozenset({"node_modules", "site-packages"})
OPERATIONS = {
    "created": "fs.create", "modified": "fs.write", "deleted": "fs.delete", "attributes": "fs.perm",
}  # fmt: skip
_LINKED = Reason("protected-name", "a protected link leads here, so other tools run it")
# (workspace, pairs of operation and absolute path, whether a person was asked) → reasons
Judge = Callable[[str, Sequence[tuple[str, str]], bool], Sequence[Reason]]


@dataclass(frozen=True, slots=True)
class Layers:
    """The two directories that a command saw as one workspace."""

    upper: str
    root: str

    def names(self, path: str) -> frozenset[str]:
        """Return the names in a directory, those of both layers; none where there is none."""
        found = (_listed(f"{layer}/{path}") for layer in (self.upper, self.root) if layer)
        return frozenset().union(*found)


def guarded(found: Found, layers: Layers, behind: tuple[str, ...] = ()) -> dict[str, Reason]:
    """Return each changed path that makes other tools run code, with the reason to hold it.

    `behind` are what protected links lead to, as absolute paths: who changes it changes them.
    """
    eye = _Eye(layers)
    kept = {change.path: why for change in found.changes if (why := eye.reason(change))}
    targets = [path.removeprefix(f"{layers.root}/") for path in behind]
    for change in found.changes if targets else ():
        if any(_reaches(change, target) for target in targets):
            kept.setdefault(change.path, _LINKED)
    return kept


def _reaches(change: Change, target: str) -> bool:
    """Return whether a change is at a place, below it, or a link that may lead to another one."""
    is_above = change.kind == "symlink" and is_within(target, change.path)
    return is_above or is_within(change.path, target)


def in_git(change: Change) -> bool:
    """Return whether a change lies in a repository's directory: `guarded` knows what matters."""
    return ".git" in change.path.split("/")


def bounds(found: Found, landing: Landing) -> list[Reason]:
    """Return the reasons that are numbers, modes, or names that policy listed."""
    reasons = []
    if landing.preview:
        reasons.append(Reason("preview", "a preview was asked for"))
    deleted = [c for c in found.changes if c.operation == "deleted" and c.kind != "directory"]
    if landing.deletions is not None and len(deleted) > landing.deletions:
        text = f"{len(deleted)} files would be deleted, more than {landing.deletions}"
        reasons.append(_reason("deletions", text, deleted))
    written = sum(change.bytes_after for change in found.changes)
    if landing.bytes is not None and written > landing.bytes:
        text = f"{written} bytes would be written, more than {landing.bytes}"
        reasons.append(Reason("bytes", text))
    powerful = [c for c in found.changes if c.kind == "file" and c.mode_after & SET_ID]
    if powerful:
        text = "files would run with the rights of their owner or group (set-id)"
        reasons.append(_reason("set-id", text, powerful))
    if named := _named(found.changes, landing.names):
        reasons.append(_reason("names", "the policy holds these names", named))
    return reasons


def grouped(reasons: Iterable[tuple[str, Reason]]) -> list[Reason]:
    """Return one reason for each rule and text, with the first paths it is about."""
    paths: dict[tuple[str, str], list[str]] = {}
    for path, why in reasons:
        paths.setdefault((why.rule, why.text), []).append(path)
    return [
        Reason(rule, f"{text}{_more(len(about))}", tuple(about[:SHOWN_PATHS]))
        for (rule, text), about in paths.items()
    ]


class _Eye:
    """Knows which directories are git's, however many paths lie in them."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._git: dict[str, bool] = {}

    def reason(self, change: Change) -> Reason | None:
        """Return why one change is to be held; None where its names mean nothing to tools."""
        parts = change.path.split("/")
        in_git = False
        for depth, name in enumerate(parts):
            if not in_git and name in GIT_MARKS and self._becomes_git(parts[:depth]):
                return Reason("git-directory", "a directory becomes one that git obeys")
            in_git = in_git or (name in SENSITIVE and self._is_git(parts[:depth]))
            is_directory = depth < len(parts) - 1 or change.kind == "directory"
            if in_git and is_directory and name in GIT_DATA and self._is_git(parts[:depth]):
                break  # content by hash, and names: nothing runs
            if why := _why(parts, depth, is_directory=is_directory, in_git=in_git):
                return why
            in_git = in_git or name == ".git"
        # Git makes no links there.
        is_link = in_git and change.kind == "symlink"
        return _held(parts[-1], in_git=True) if is_link else None

    def _becomes_git(self, parts: list[str]) -> bool:
        """Return whether git takes a directory for its own that it passed by before."""
        before = Layers("", self._layers.root).names("/".join(parts))
        return self._is_git(parts) and not is_git_directory("".join(parts[-1:]), before)

    def _is_git(self, parts: list[str]) -> bool:
        """Return whether git may take a directory for its own."""
        if parts and parts[-1] == "info":
            parts = parts[:-1]
        path = "/".join(parts)
        if path not in self._git:
            name = path.rpartition("/")[2]
            self._git[path] = name == ".git" or is_git_directory(name, self._layers.names(path))
        return self._git[path]


def _why(parts: list[str], depth: int, *, is_directory: bool, in_git: bool) -> Reason | None:
    """Return why one name of a path is to be held."""
    name = parts[depth]
    if is_protected(name, is_directory=is_directory, in_git=in_git):
        is_packed = name in HOSTS_READ and not DEPENDENCIES.isdisjoint(parts[:depth])
        return None if is_packed else _held(name, in_git=in_git)
    is_last = depth == len(parts) - 1
    steers = is_last and (name == "HEAD" or parts[-2:] == ["info", "attributes"])
    return _held(name, in_git=True) if in_git and (steers or name in GIT_PLANS) else None


def _held(name: str, *, in_git: bool) -> Reason:
    if in_git:
        return Reason("git-directory", f"{name} in a git directory steers what git runs")
    return Reason("protected-name", f"{name} makes other tools run code or change their rules")


def _named(changes: Sequence[Change], patterns: tuple[str, ...]) -> list[Change]:
    if not patterns:
        return []
    from pathspec import GitIgnoreSpec  # noqa: PLC0415  # most policies name nothing

    spec = GitIgnoreSpec.from_lines(patterns)
    return [change for change in changes if spec.match_file(change.path)]


def _reason(rule: str, text: str, about: Sequence[Change]) -> Reason:
    shown = tuple(change.path for change in about[:SHOWN_PATHS])
    return Reason(rule, f"{text}{_more(len(about))}", shown)


def _more(count: int) -> str:
    return f" (and {count - SHOWN_PATHS} more)" if count > SHOWN_PATHS else ""


def _listed(path: str) -> frozenset[str]:
    try:
        return frozenset(os.listdir(path))  # noqa: PTH208  # hot
    except OSError:
        return frozenset()

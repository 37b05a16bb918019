"""What to cover before a command sees a directory tree: denied files, doors, protected names.

May touch: directories, to list them. One bounded walk finds all three; unchanged directories are
not listed twice. A walk that ends early is reported, and then nothing may run.
"""

import os
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.profile import is_within

MAX_ENTRIES = 200_000
MAX_REMEMBERED = 50_000  # directories
FRESH_S = 2.0  # a directory changed this recently may change again within one clock tick

PROTECTED_NAMES = frozenset(
    {
        ".envrc", ".vscode", ".idea", ".mcp.json", ".claude", ".cursor", ".codex", ".agents",
        ".husky", ".devcontainer", ".github", ".gitlab-ci.yml", ".circleci", ".travis.yml",
        "Jenkinsfile", "azure-pipelines.yml", ".pre-commit-config.yaml", ".gitmodules",
        ".gitconfig", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile",
        ".zshrc", ".zprofile", ".zshenv", ".zlogin", ".inputrc", ".ssh",
    }
)  # fmt: skip
PROTECTED_PREFIX = ".permitgate"
# Inside a git directory: what makes git run code or look elsewhere.
GIT_INTERNALS = frozenset({"hooks", "config", "config.worktree", "commondir"})
GIT_DATA = frozenset({"objects", "logs"})  # content by hash: nothing to deny, much to walk


@dataclass(frozen=True, slots=True)
class Masks:
    """What one walk found; `complete` is False when the bound was reached."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    git_directories: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    complete: bool = True


@dataclass(slots=True)
class _Listing:
    """One directory: what to cover in it, what to protect, and where to go on."""

    files: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    protected: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    is_git: bool = False
    entries: int = 0


class Walker:
    """Finds what to cover below some roots, for one predicate of denied reads."""

    def __init__(self, denies: Callable[[str], bool], max_entries: int = MAX_ENTRIES) -> None:
        self._denies = denies
        self._max_entries = max_entries
        self._known: dict[str, tuple[int, _Listing]] = {}

    def find(self, roots: Iterable[str]) -> Masks:
        """Return what lies below `roots` at any depth; symbolic links are not followed.

        A denied link is covered at its target, when that is below one of the roots.
        """
        tops = _outermost(roots)
        files: list[str] = []
        directories: list[str] = []
        git: list[str] = []
        protected: list[str] = []
        waiting, left = self._tops(tops, files, directories), self._max_entries
        while waiting:
            path = waiting.pop()
            listing = self._list(path)
            left -= listing.entries
            if left < 0:
                return Masks(complete=False)
            files += listing.files
            directories += listing.directories
            protected += listing.protected
            waiting += listing.below
            if listing.is_git:
                git.append(path)
        return Masks(
            _visible(files, tops), _visible(directories, tops), tuple(git), tuple(protected)
        )

    def _tops(self, tops: list[str], files: list[str], directories: list[str]) -> list[str]:
        below = []
        for top in tops:
            try:
                mode = os.lstat(top).st_mode
            except OSError:
                continue
            is_directory = stat.S_ISDIR(mode)
            if self._denies(top):
                (directories if is_directory else files).append(top)
            elif is_directory:
                below.append(top)
            elif stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode):
                files.append(top)
        return below

    def _list(self, path: str) -> _Listing:
        try:
            changed = os.lstat(path).st_mtime_ns
            known = self._known.get(path)
            if known is not None and known[0] == changed:
                return known[1]
            with os.scandir(path) as entries:
                listing = self._sort(list(entries))
        except OSError:
            return _Listing()  # unreadable for us, hence for the command, which has no more rights
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        if time.time_ns() - changed > FRESH_S * 1e9:
            self._known[path] = (changed, listing)
        return listing

    def _sort(self, entries: list[os.DirEntry[str]]) -> _Listing:
        names = {entry.name for entry in entries}
        listing = _Listing(entries=len(entries), is_git={"HEAD", "objects", "refs"} <= names)
        for entry in entries:
            is_directory = entry.is_dir(follow_symlinks=False)
            if self._denies(entry.path):
                covered = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                is_folder = Path(covered).is_dir()
                (listing.directories if is_folder else listing.files).append(covered)
                continue
            if is_protected(entry, in_git=listing.is_git):
                listing.protected.append(entry.path)
            if is_directory and not (listing.is_git and entry.name in GIT_DATA):
                listing.below.append(entry.path)
            elif _is_door(entry):
                listing.files.append(entry.path)
        return listing


def is_protected(entry: os.DirEntry[str], *, in_git: bool) -> bool:
    """Return whether a name makes someone else's tools run code or loosens this project's rules."""
    if in_git:
        return entry.name in GIT_INTERNALS
    if entry.name == ".git":
        return not entry.is_dir(follow_symlinks=False)  # a gitlink can point anywhere
    return entry.name in PROTECTED_NAMES or entry.name.startswith(PROTECTED_PREFIX)


def _is_door(entry: os.DirEntry[str]) -> bool:
    """Return whether a read-only mount would still let a command speak to another process."""
    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return False
    mode = entry.stat(follow_symlinks=False).st_mode
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def _outermost(roots: Iterable[str]) -> list[str]:
    tops: list[str] = []
    for root in sorted(set(roots)):
        if not any(is_within(root, top) for top in tops):
            tops.append(root)
    return tops


def _visible(paths: list[str], tops: list[str]) -> tuple[str, ...]:
    return tuple(
        sorted(
            path
            for path in set(paths)
            if os.path.lexists(path) and any(is_within(path, top) for top in tops)
        )
    )


def find(
    roots: Iterable[str], denies: Callable[[str], bool], max_entries: int = MAX_ENTRIES
) -> Masks:
    """Return what one walk of `roots` finds; `Walker` remembers unchanged directories."""
    return Walker(denies, max_entries).find(roots)

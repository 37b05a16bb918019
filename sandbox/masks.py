"""What to cover before a command sees a directory tree: denied files, doors, protected names.

May touch: directories, to list them. One bounded walk finds all of it, the top levels first.
INVARIANT: an error is never an empty directory: what cannot be searched is covered whole. What is
remembered is forgotten when the kernel says it changed, or when inode or ctime differ: a command
can set neither.
"""

import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.busy import Busy
from sandbox.names import GIT_DATA, GIT_PLANS, is_git_directory, is_protected
from sandbox.profile import is_within
from sandbox.watch import Watch

MAX_ENTRIES = 200_000
MAX_REMEMBERED = 50_000  # directories
MAX_PATH = 3_000  # bytes; below, a name could become too long for a system call
FRESH_NS = 2_000_000_000  # what changed this recently may change again within one clock tick
Stamp = tuple[int, ...]  # device, inode, ctime
PRIVATE_TO_ROOT = "/etc"  # as root, what others may not read here is covered too


@dataclass(frozen=True, slots=True)
class Masks:
    """What one walk found; `complete` is False when the bound was reached."""

    files: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()
    git_directories: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    twins: tuple[str, ...] = ()  # other names of protected files
    plans: tuple[str, ...] = ()  # in git directories: what git runs when it goes on
    pins: tuple[str, ...] = ()  # directories above denied names: moved away, the name would change
    unsearched: tuple[str, ...] = ()  # among the directories: they could not be looked into
    complete: bool = True


@dataclass(frozen=True, slots=True)
class _Place:
    """One directory to look into, and what is known of it from above."""

    path: str
    inode: int
    in_git: bool = False
    denied: bool = False  # covered whole; looked into for files that have other names


NOTABLE = (
    "files", "directories", "links", "secrets", "git", "protected", "twins", "plans", "unsearched",
)  # fmt: skip


@dataclass(slots=True)
class _Listing:
    """One directory: what to cover in it, what to protect, and where to go on."""

    files: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)  # denied symbolic links
    secrets: list[str] = field(default_factory=list)  # denied files, which may have other names
    git: list[str] = field(default_factory=list)
    protected: list[str] = field(default_factory=list)
    twins: list[str] = field(default_factory=list)  # other names of protected files
    plans: list[str] = field(default_factory=list)
    unsearched: list[str] = field(default_factory=list)
    below: list[_Place] = field(default_factory=list)
    inodes: frozenset[int] = frozenset()  # of its files
    # Directories that nobody tells of: as they were, None where that is not known for sure.
    unsure: dict[str, Stamp | None] = field(default_factory=dict)
    path: str = ""
    entries: int = 0
    is_notable: bool = True  # False: there is nothing in it but ways further down

    def add(self, other: "_Listing") -> None:
        """Take in what another directory holds to cover or protect."""
        for name in NOTABLE:
            getattr(self, name).extend(getattr(other, name))
        self.unsure.update(other.unsure)


@dataclass(frozen=True, slots=True)
class _Tree:
    """What lies below one root, and the directories that were looked into."""

    found: _Listing
    seen: list[_Listing]


class Walker:
    """Finds what to cover below some roots, for one predicate of denied reads.

    Where the predicate has an `edition`, what it said under another one is forgotten.
    """

    def __init__(self, denies: Callable[[str], bool], max_entries: int = MAX_ENTRIES) -> None:
        self._denies = denies
        self._max_entries = max_entries
        self._watch = Watch()
        self._lock = threading.Lock()
        self.busy = Busy()
        self._edition: object = None
        self._known: dict[str, tuple[_Place, _Listing]] = {}
        self._trees: dict[_Place, _Tree] = {}
        self._found: dict[tuple[_Place, ...], _Listing] = {}

    def find(self, roots: Iterable[str], max_entries: int | None = None) -> Masks:
        """Return what lies below `roots` at any depth; symbolic links are not followed.

        A denied link is covered at its target, when that is below one of the roots.
        """
        tops = _outermost(roots)
        bound = self._max_entries if max_entries is None else max_entries
        with self._lock:
            self._forget()
            listing, waiting = self._tops(tops)
            key = tuple(waiting)
            found = self._found.get(key)
            if found is None or not _holds(found.unsure):
                found = self._walk(waiting, bound)
                if found.entries <= bound and None not in found.unsure.values():
                    self._found[key] = found
        listing.add(found)
        return _masks(listing, tops, complete=found.entries <= bound)

    def _forget(self) -> None:
        """Forget what changed, or everything where it could be anything."""
        edition: object = getattr(self._denies, "edition", None)
        changed = self._watch.changed()
        if changed is None or edition != self._edition or len(self._known) > MAX_REMEMBERED:
            self._known.clear()
            self._trees.clear()
        for path in changed or ():
            self._known.pop(path, None)
            for top in [top for top in self._trees if is_within(path, top.path)]:
                del self._trees[top]
        if changed != [] or not self._known:
            self._found.clear()
        self._edition = edition

    def _tops(self, tops: list[str]) -> tuple[_Listing, list[_Place]]:
        listing, waiting = _Listing(), []
        for top in tops:
            try:
                status = os.lstat(top)
            except OSError:
                continue
            is_directory, denied = stat.S_ISDIR(status.st_mode), self._denies(top)
            if is_directory:
                waiting.append(_Place(top, status.st_ino, denied=denied))
                listing.directories += [top] if denied else []
            elif denied or stat.S_ISSOCK(status.st_mode) or stat.S_ISFIFO(status.st_mode):
                listing.files.append(top)
        return listing, waiting

    def _walk(self, tops: list[_Place], bound: int) -> _Listing:
        """Return everything found below all roots; those that did not change are remembered."""
        found, seen = _Listing(), list[_Listing]()
        for top in tops:
            tree = self._trees.get(top)
            if tree is None or not _holds(tree.found.unsure):
                self._trees.pop(top, None)
                tree = self._tree(top, bound)
                if tree.found.entries <= bound:
                    self._trees[top] = tree
            found.entries += tree.found.entries
            found.add(tree.found)
            seen += tree.seen
        _add_other_names(found, seen)
        return found

    def _tree(self, top: _Place, bound: int) -> _Tree:
        """Return everything found below one root, the top levels first."""
        found, waiting = _Listing(), deque([top])
        seen: list[_Listing] = []
        while waiting and found.entries <= bound:
            place = waiting.popleft()
            listing = self._list(place)
            found.entries += listing.entries
            if listing.is_notable:
                found.add(listing)
            waiting += listing.below
            seen += [] if place.denied else [listing]
        return _Tree(found, seen)

    def _list(self, place: _Place) -> _Listing:
        path = place.path
        known = self._known.get(path)
        # Mostly the very same place, from the remembered listing above it.
        is_same = known is not None and (known[0] is place or known[0] == place)
        if known is not None and is_same and (not known[1].unsure or _holds(known[1].unsure)):
            return known[1]
        try:
            status = os.lstat(path)
            # Watched before it is listed: what changes in between is told.
            is_told = self._watch.add(path, status.st_dev)
            with os.scandir(path) as entries:
                listing = self._sort(place, list(entries))
            if not os.access(path, os.X_OK):
                return _unsearched(path)  # names without what they are
        except (FileNotFoundError, NotADirectoryError):
            return _Listing(unsure={path: None})
        except OSError:
            return _unsearched(path)
        if not is_told:
            is_settled = time.time_ns() - status.st_ctime_ns > FRESH_NS
            listing.unsure[path] = _stamp(status) if is_settled else None
        listing.is_notable = not is_told or any(getattr(listing, name) for name in NOTABLE)
        self._known[path] = (place, listing)
        return listing

    def _sort(self, place: _Place, entries: list[os.DirEntry[str]]) -> _Listing:
        listing = _Listing(path=place.path, entries=len(entries))
        names = frozenset(entry.name for entry in entries)
        in_git = place.in_git or is_git_directory(place.path.rpartition("/")[2], names)
        if in_git and not place.in_git:
            listing.git.append(place.path)
        for entry in entries:
            is_directory = entry.is_dir(follow_symlinks=False)
            if not place.denied:  # a name may be both denied and protected
                _protect(entry, listing, is_directory=is_directory, in_git=in_git)
            if place.denied or self._is_denied(entry):
                _deny(entry, listing, is_directory=is_directory, is_top=not place.denied)
            else:
                _keep(entry, listing, is_directory=is_directory, in_git=in_git)
        listing.inodes = frozenset(e.inode() for e in entries if e.is_file(follow_symlinks=False))
        return listing

    def _is_denied(self, entry: os.DirEntry[str]) -> bool:
        if self._denies(entry.path):
            return True
        is_private = os.geteuid() == 0 and is_within(entry.path, PRIVATE_TO_ROOT)
        return (
            is_private
            and not entry.is_symlink()
            and not entry.stat(follow_symlinks=False).st_mode & stat.S_IROTH
        )


def _deny(entry: os.DirEntry[str], listing: _Listing, *, is_directory: bool, is_top: bool) -> None:
    """Note one denied name; below a denied directory, only what may have other names elsewhere."""
    if is_directory:
        listing.below.append(_Place(entry.path, entry.inode(), denied=True))
        listing.directories += [entry.path] if is_top else []
    elif entry.is_symlink():
        listing.links += [entry.path] if is_top else []
    else:
        listing.secrets.append(entry.path)
        listing.files += [entry.path] if is_top else []


def _protect(
    entry: os.DirEntry[str], listing: _Listing, *, is_directory: bool, in_git: bool
) -> None:
    """Note a name that makes other tools run code."""
    if is_protected(entry.name, is_directory=is_directory, in_git=in_git):
        listing.protected.append(entry.path)
    if in_git and entry.name in GIT_PLANS:
        listing.plans.append(entry.path)


def _keep(entry: os.DirEntry[str], listing: _Listing, *, is_directory: bool, in_git: bool) -> None:
    """Note one name that is not denied: whether it is a door, or a way further down."""
    if not is_directory:
        listing.files += [entry.path] if _is_door(entry) else []
    elif len(os.fsencode(entry.path)) > MAX_PATH:
        listing.unsearched.append(entry.path)
    elif not (in_git and entry.name in GIT_DATA):
        listing.below.append(_Place(entry.path, entry.inode(), in_git))


def _add_other_names(found: _Listing, seen: list[_Listing]) -> None:
    """Add every name, in the directories seen, of a denied or protected file that has several."""
    found.files += _other_names(found.secrets, found, seen)
    found.twins += _other_names(found.protected, found, seen)


def _other_names(paths: list[str], found: _Listing, seen: list[_Listing]) -> list[str]:
    linked, others = set(), list[str]()
    for path in paths:
        with suppress(OSError):
            status = os.lstat(path)
            is_linked = stat.S_ISREG(status.st_mode) and status.st_nlink > 1
            linked |= {(status.st_dev, status.st_ino)} if is_linked else set()
    inodes = {inode for _, inode in linked}
    for listing in seen if linked else ():
        if inodes.isdisjoint(listing.inodes):
            continue
        try:
            with os.scandir(listing.path) as entries:
                named = ((entry.path, entry.stat(follow_symlinks=False)) for entry in entries)
                others += [path for path, s in named if (s.st_dev, s.st_ino) in linked]
        except OSError:
            found.unsearched.append(listing.path)
    return others


def _is_door(entry: os.DirEntry[str]) -> bool:
    """Return whether a read-only mount would still let a command speak to another process."""
    if entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return False
    mode = entry.stat(follow_symlinks=False).st_mode
    return stat.S_ISSOCK(mode) or stat.S_ISFIFO(mode)


def _unsearched(path: str) -> _Listing:
    """Return a directory that could not be listed: covered, unless no command could enter it."""
    try:
        status = os.lstat(path)
    except OSError:
        return _Listing(unsearched=[path], unsure={path: None})
    is_shut = status.st_uid != os.geteuid() and not os.access(path, os.X_OK)
    return _Listing(unsearched=[] if is_shut else [path], unsure={path: _stamp(status)})


def _holds(unsure: dict[str, Stamp | None]) -> bool:
    """Return whether directories are still as they were."""
    try:
        return all(stamp == _stamp(os.lstat(path)) for path, stamp in unsure.items())
    except OSError:
        return False


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_dev, status.st_ino, status.st_ctime_ns)


def _outermost(roots: Iterable[str]) -> list[str]:
    tops: list[str] = []
    for root in sorted(set(roots)):
        if not any(is_within(root, top) for top in tops):
            tops.append(root)
    return tops


def _masks(found: _Listing, tops: list[str], *, complete: bool) -> Masks:
    targets = [os.path.realpath(link) for link in found.links]
    folders = [target for target in targets if Path(target).is_dir()]
    files = found.files + [target for target in targets if target not in folders]
    directories = found.directories + folders + found.unsearched
    denied = (*found.directories, *folders, *found.secrets, *targets)
    return Masks(
        files=_visible(files, tops),
        directories=_visible(directories, tops),
        git_directories=tuple(found.git),
        protected=tuple(found.protected),
        twins=tuple(found.twins),
        plans=tuple(found.plans),
        pins=_visible({above for path in denied for above in _above(path, tops)}, tops),
        unsearched=tuple(found.unsearched),
        complete=complete,
    )


def _above(path: str, tops: list[str]) -> Iterator[str]:
    """Yield the directories between the root that holds a path and the path."""
    top = next((top for top in tops if is_within(path, top)), path)
    parent = path.rpartition("/")[0]
    while parent != top and is_within(parent, top):
        yield parent
        parent = parent.rpartition("/")[0]


def _visible(paths: Iterable[str], tops: list[str]) -> tuple[str, ...]:
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

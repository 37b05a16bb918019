"""Read-only file tools: a window of a file, the names in a directory, a search below one.

May touch: regular files and directories, for reading, through descriptors that follow no symlink.
May not touch: what `denies` names; such paths are left out and said as hidden. Everything is
bounded: bytes, lines, names, matches and time.
"""

import fnmatch
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from sandbox.action import ListDirectory, ReadFile, SearchFiles
from sandbox.dirfd import PathRefusedError, below, directory, open_regular
from sandbox.linear_regex import Pattern, PatternError
from sandbox.outcome import Entry, FileOutcome, Match
from sandbox.permit import Permit, PermitOffice

Denies = Callable[[str], bool]
DEADLINE_S = 10.0
_GRACE_S = 2.0  # for a file system that does not answer, after our own deadline
_CHUNK = 1 << 18
_MAX_NAMES = 200_000  # looked at in one directory, or in one search
_MAX_HIDDEN = 100
_MAX_SEARCHED_FILE = 16 << 20
_MATCH_CHARACTERS = 400
_SNIFF = 8192
_SKIPPED = frozenset({".git"})


class FileRunner:
    """Carries out permitted reads; it can change nothing."""

    def __init__(
        self, office: PermitOffice, denies: Denies, *, deadline_s: float = DEADLINE_S
    ) -> None:
        self._office = office
        self._denies = denies
        self._deadline_s = deadline_s

    async def run(self, permit: Permit) -> FileOutcome:
        """Return what a permitted `ReadFile`, `ListDirectory` or `SearchFiles` saw.

        Raises:
            PermitError: the permit is spent, foreign or for another kind of action.
        """
        work: Callable[[], FileOutcome]
        ends_at = time.monotonic() + self._deadline_s
        if isinstance(permit.action, ReadFile):
            read = self._office.redeem(permit, ReadFile)
            work = lambda: _read(read, self._denies, ends_at)  # noqa: E731  # one shape for three
        elif isinstance(permit.action, ListDirectory):
            listing = self._office.redeem(permit, ListDirectory)
            work = lambda: _list(listing, self._denies, ends_at)  # noqa: E731  # as above
        else:
            search = self._office.redeem(permit, SearchFiles)
            work = lambda: _Search(search, self._denies, ends_at).run()  # noqa: E731  # as above
        with anyio.move_on_after(self._deadline_s + _GRACE_S):
            # Abandoned, not awaited: a dead file system may never answer, and a read harms nothing.
            return await to_thread.run_sync(_answered, work, abandon_on_cancel=True)
        return FileOutcome("timeout", message="the file system did not answer in time")


def _answered(work: Callable[[], FileOutcome]) -> FileOutcome:
    try:
        return work()
    except PathRefusedError as error:
        return FileOutcome("blocked", message=str(error))
    except PatternError as error:
        return FileOutcome("error", message=str(error))
    except TimeoutError:
        return FileOutcome("timeout", message="reading took too long; ask for less")
    except OSError as error:
        return FileOutcome("error", message=f"{error.strerror}: {error.filename!r}")


def _blocked(path: str) -> FileOutcome:
    return FileOutcome(
        "blocked", hidden=(path,), message=f"the policy denies reading {path!r}; it was not opened"
    )


def _late(ends_at: float) -> bool:
    return time.monotonic() > ends_at


def _parent_and_name(path: str) -> tuple[str, str]:
    parent, _, name = path.rpartition("/")
    if not path.startswith("/") or name in {"", ".", ".."}:
        raise PathRefusedError(f"{path!r} is not the plain absolute path of a file")
    return parent or "/", name


def _read(action: ReadFile, denies: Denies, ends_at: float) -> FileOutcome:
    if denies(action.path):
        return _blocked(action.path)
    parent_path, name = _parent_and_name(action.path)
    with directory(parent_path) as parent:
        opened = open_regular(parent, name, action.path)
    with os.fdopen(opened, "rb", buffering=0) as file:
        window = _Window(action)
        while chunk := file.read(_CHUNK):
            window.take(chunk)
            if window.full:
                break
            if _late(ends_at):
                raise TimeoutError
        total = max(os.fstat(opened).st_size, window.seen)
    message = ""
    if not window.content and window.line < action.first_line and total:
        message = f"the file has {window.line} lines; line {action.first_line} is behind its end"
    return FileOutcome(
        "ok",
        content=bytes(window.content),
        first_line=action.first_line,
        total_bytes=total,
        truncated=window.full,
        message=message,
    )


class _Window:
    """The lines asked for, out of chunks that come in order."""

    def __init__(self, action: ReadFile) -> None:
        self._action = action
        self._last_line = action.first_line + action.max_lines - 1
        self.line = 1
        self.seen = 0
        self.content = bytearray()
        self.full = False  # something behind the window was left out

    def take(self, chunk: bytes) -> None:
        self.seen += len(chunk)
        if self.line + chunk.count(b"\n") < self._action.first_line:
            self.line += chunk.count(b"\n")
            return
        for piece in _pieces(chunk):
            self._take_piece(piece)
            if self.full:
                return

    def _take_piece(self, piece: bytes) -> None:
        if self.line >= self._action.first_line:
            room = self._action.max_bytes - len(self.content)
            if self.line > self._last_line or room <= 0:
                self.full = True
                return
            self.content += piece[:room]
            self.full = len(piece) > room
        self.line += piece.endswith(b"\n")


def _pieces(chunk: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(chunk):
        end = chunk.find(b"\n", start) + 1 or len(chunk)
        yield chunk[start:end]
        start = end


def _shown(name: str) -> str:
    """Return a name as text that any encoding can carry; odd bytes are escaped."""
    return os.fsencode(name).decode(errors="backslashreplace")


def _list(action: ListDirectory, denies: Denies, ends_at: float) -> FileOutcome:
    if denies(action.path):
        return _blocked(action.path)
    entries: list[Entry] = []
    with directory(action.path) as opened, os.scandir(opened) as names:
        for found in names:
            if len(entries) >= _MAX_NAMES or _late(ends_at):
                raise TimeoutError
            entries.append(_entry(found))
    entries.sort(key=lambda entry: entry.name)
    shown = tuple(entries[: action.max_entries])
    base = action.path.rstrip("/")
    return FileOutcome(
        "ok",
        entries=shown,
        truncated=len(entries) > len(shown),
        hidden=tuple(path for entry in shown if denies(path := f"{base}/{entry.name}"))[
            :_MAX_HIDDEN
        ],
    )


def _entry(found: "os.DirEntry[str]") -> Entry:
    name = _shown(found.name)
    try:
        status = found.stat(follow_symlinks=False)
    except FileNotFoundError:  # gone meanwhile
        return Entry(name, "other", 0)
    if stat.S_ISLNK(status.st_mode):
        return Entry(name, "symlink", status.st_size)
    if stat.S_ISDIR(status.st_mode):
        return Entry(name, "directory", 0)
    if stat.S_ISREG(status.st_mode):
        return Entry(name, "file", status.st_size)
    return Entry(name, "other", 0)


@dataclass(slots=True)
class _Search:
    """One search: the walk, what it found, and what it left out."""

    action: SearchFiles
    denies: Denies
    ends_at: float
    matches: list[Match] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    large: int = 0
    names: int = 0
    stopped: str = ""

    def run(self) -> FileOutcome:
        if self.action.pattern == "":
            raise PatternError("the pattern is empty; every line would match")
        if self.denies(self.action.path):
            return _blocked(self.action.path)
        pattern = Pattern(self.action.pattern) if self.action.is_regex else None
        with directory(self.action.path) as root:
            try:
                for parts in self._files(root):
                    self._search_file(root, parts, pattern)
                    if len(self.matches) > self.action.max_matches:
                        break
            except TimeoutError:
                self.stopped = "the search stopped at its time or size limit; narrow it"
        return self._outcome()

    def _outcome(self) -> FileOutcome:
        more = len(self.matches) > self.action.max_matches
        notes = [self.stopped] if self.stopped else []
        if self.large:
            notes.append(f"{self.large} files larger than {_MAX_SEARCHED_FILE} bytes left out")
        return FileOutcome(
            "ok",
            matches=tuple(self.matches[: self.action.max_matches]),
            truncated=more or bool(notes),
            hidden=tuple(self.hidden[:_MAX_HIDDEN]),
            message="; ".join(notes),
        )

    def _path(self, parts: tuple[str, ...]) -> str:
        return "/".join((self.action.path.rstrip("/"), *parts))

    def _files(self, root: int) -> Iterator[tuple[str, ...]]:
        """Yield the regular files below root that are neither denied nor left out, in order."""
        waiting: list[tuple[str, ...]] = [()]
        while waiting:
            parts = waiting.pop()
            directories: list[tuple[str, ...]] = []
            for name, mode in self._names(root, parts):
                inner = (*parts, name)
                if stat.S_ISDIR(mode) and name not in _SKIPPED and self._may(inner):
                    directories.append(inner)
                elif stat.S_ISREG(mode) and self._wanted(inner) and self._may(inner):
                    yield inner
            waiting.extend(reversed(directories))

    def _names(self, root: int, parts: tuple[str, ...]) -> list[tuple[str, int]]:
        found: list[tuple[str, int]] = []
        try:
            with below(root, parts) as opened, os.scandir(opened) as names:
                for entry in names:
                    self.names += 1
                    if self.names > _MAX_NAMES or _late(self.ends_at):
                        raise TimeoutError
                    found.append((entry.name, entry.stat(follow_symlinks=False).st_mode))
        except (PermissionError, FileNotFoundError, PathRefusedError):
            self.hidden.append(_shown(self._path(parts)))
        return sorted(found)

    def _may(self, parts: tuple[str, ...]) -> bool:
        path = self._path(parts)
        if self.denies(path):
            self.hidden.append(_shown(path))
            return False
        return True

    def _wanted(self, parts: tuple[str, ...]) -> bool:
        glob = self.action.file_glob
        if glob is None:
            return True
        if "/" not in glob:
            return fnmatch.fnmatchcase(parts[-1], glob)
        path = "/".join(parts)
        return fnmatch.fnmatchcase(path, glob) or fnmatch.fnmatchcase(path, glob.replace("**/", ""))

    def _search_file(self, root: int, parts: tuple[str, ...], pattern: Pattern | None) -> None:
        try:
            with below(root, parts[:-1]) as parent:
                opened = open_regular(parent, parts[-1], parts[-1])
            with os.fdopen(opened, "rb") as file:
                content = file.read(_MAX_SEARCHED_FILE + 1)
        except (OSError, PathRefusedError):
            self.hidden.append(_shown(self._path(parts)))
            return
        if len(content) > _MAX_SEARCHED_FILE:
            self.large += 1
        elif b"\0" not in content[:_SNIFF]:
            lines = self._regex(content, pattern) if pattern else self._literal(content)
            for number, line in lines:
                text = line.decode(errors="backslashreplace")[:_MATCH_CHARACTERS]
                self.matches.append(Match(_shown(self._path(parts)), number, text))
                if len(self.matches) > self.action.max_matches:
                    return

    def _literal(self, content: bytes) -> Iterator[tuple[int, bytes]]:
        wanted = self.action.pattern.encode(errors="surrogateescape")
        number, counted = 1, 0
        at = content.find(wanted)
        while at >= 0:
            number += content.count(b"\n", counted, at)
            counted = at
            start = content.rfind(b"\n", 0, at) + 1
            end = content.find(b"\n", at)
            end = len(content) if end < 0 else end
            yield number, content[start:end].removesuffix(b"\r")
            if _late(self.ends_at):
                raise TimeoutError
            at = content.find(wanted, max(end, at + 1))

    def _regex(self, content: bytes, pattern: Pattern) -> Iterator[tuple[int, bytes]]:
        for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
            text = line.removesuffix(b"\r")
            if pattern.found(text.decode(errors="replace"), lambda: _late(self.ends_at)):
                yield number, text
            if _late(self.ends_at):
                raise TimeoutError

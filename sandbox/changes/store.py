"""Where change sets lie: drafts of commands that run, and sets by an id nobody can guess.

May touch: the store's directory alone (mode 0700), and the mode and times of a workspace's root, to
read. A set is a directory: its record, and the objects of its steps under `upper` or `part`. One
lock holds the whole store against other threads and processes; a crash releases it.
"""

import fcntl
import os
import re
import secrets
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from sandbox.changes import pruning
from sandbox.changes.active import Active
from sandbox.changes.digest import digest
from sandbox.changes.drafts import UPPER, WORK, Draft, blank, dress_upper, drop, opened
from sandbox.changes.history import History
from sandbox.changes.marks import Marks
from sandbox.changes.model import About, ChangeSet, Found, Keep, Reason, Step
from sandbox.changes.objects import metadata, reading, remove
from sandbox.changes.record import Record, Stamp, Standing, owner
from sandbox.changes.record_text import SetError, from_text, head_from_text, to_text
from sandbox.changes.upper import clean, deleted_meanwhile
from sandbox.dirfd import Descent, PathRefusedError
from sandbox.leftovers import own_name
from sandbox.permit import SandboxError

RECORD = "record"
PRUNE_EVERY = 64  # sets that were kept
_ID = re.compile(r"[0-9a-f]{32}")
_DIRECTORIES = ("drafts", "sets", "active", "marks")
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC

Content = Callable[[str, int], bytes | None]


class ChangeStore:
    """The change sets of one owner."""

    def __init__(self, base: Path, keep: Keep | None = None) -> None:
        self._base = base
        self.keep = keep or Keep()
        self.history = History(base / "transitions")
        self.marks = Marks(base / "marks")
        self.active = Active(str(base / "active"))
        self._kept = 0
        self._blanks: list[Path] = []  # drafts to come

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store against every other process and thread."""
        self._make()
        with (self._base / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def landing(self) -> Iterator[None]:
        """Land one command's changes: what is judged is what stands there when they arrive."""
        with opened(self._base / "sets") as sets:
            fcntl.flock(sets, fcntl.LOCK_EX)
            yield

    def _make(self) -> None:
        if not (self._base / _DIRECTORIES[-1]).is_dir():
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in _DIRECTORIES:
                (self._base / name).mkdir(mode=0o700, exist_ok=True)

    def draft(self, root: str) -> Draft:
        """Return the directories for one command; cheap, as every writing command pays for it.

        Raises:
            OSError: no space or no permission.
        """
        self._make()
        path = self._blank()
        work = path / WORK
        try:
            dress_upper(path, root)
            with self._calm() as is_calm:
                after = self.history.last() - (not is_calm)
                os.utime(work)
                # Not the clock: a ctime may be ahead of it, but not of one that is given later.
                return Draft(path, work.stat().st_ctime_ns, max(0, after))
        except (OSError, SandboxError):
            drop(path)
            raise

    def prepare(self, count: int) -> None:
        """Have the directories of this many drafts ready, while nobody waits for them.

        Raises:
            OSError: no space or no permission.
        """
        while len(self._blanks) < count:
            self._blanks.append(self._new_blank())
        while len(self._blanks) > count:
            with suppress(IndexError):  # a command took it just now
                drop(self._blanks.pop())

    def _blank(self) -> Path:
        with suppress(IndexError):
            if (path := self._blanks.pop()).is_dir():  # nobody cleared the store meanwhile
                return path
        return self._new_blank()

    def _new_blank(self) -> Path:
        return blank(self._base / "drafts" / own_name("draft"))

    @contextmanager
    def _calm(self) -> Iterator[bool]:
        """Tell whether no transition is going on, and let none begin if so; never wait."""
        with (self._base / "lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def keep_set(
        self, draft: Draft, found: Found, about: About, reasons: Sequence[Reason] = ()
    ) -> ChangeSet:
        """Make a draft a set of which nothing is applied yet; the draft is no more.

        Raises:
            SetError: the draft has not what was found in it.
            OSError: no space or no permission.
        """
        self._kept += 1
        if self._kept % PRUNE_EVERY == 0:
            self.prune()
        orphans = deleted_meanwhile(found, Path(about.root), about.since_ns)
        found = replace(found, orphans=orphans)
        set_id = secrets.token_hex(16)
        with opened(draft.path) as own:
            standings = _standings(own, found)
            record = Record(set_id, about, found, standings, tuple(reasons))
            write(own, RECORD, to_text(record))
        draft.path.rename(self.place(set_id))
        return record.head

    def place(self, set_id: str) -> Path:
        """Return the directory of a set.

        Raises:
            SetError: this is no id.
        """
        if _ID.fullmatch(set_id) is None:
            raise SetError(f"{set_id[:40]!r} is not the id of a change set (32 hexadecimal digits)")
        return self._base / "sets" / set_id

    def record(self, set_id: str) -> Record:
        """Return all that is known of a set.

        Raises:
            SetError: there is none of this id, or it cannot be read.
        """
        try:
            return from_text((self.place(set_id) / RECORD).read_bytes())
        except FileNotFoundError as error:
            raise SetError(f"there is no change set {set_id}; nothing was changed") from error
        except SetError as error:
            raise SetError(f"change set {set_id}: {error}; nothing was changed") from error

    def load(self, set_id: str) -> ChangeSet:
        """Return what a list shows of one set; raises as `record` does."""
        try:
            return _head(f"{self.place(set_id)}/{RECORD}")
        except FileNotFoundError as error:
            raise SetError(f"there is no change set {set_id}; nothing was changed") from error
        except SetError as error:
            raise SetError(f"change set {set_id}: {error}; nothing was changed") from error

    def all(self, root: str | None = None) -> tuple[ChangeSet, ...]:
        """Return every readable set, or those of one workspace, the newest last."""
        found: list[ChangeSet] = []
        for name in self.ids():
            with suppress(OSError, SetError):
                found.append(_head(f"{self._base}/sets/{name}/{RECORD}"))
        chosen = [each for each in found if root is None or each.about.root == root]
        return tuple(sorted(chosen, key=lambda each: (each.about.created_s, each.set_id)))

    def ids(self) -> list[str]:
        """Return the id of every set, readable or not."""
        try:
            with os.scandir(self._base / "sets") as entries:
                return [entry.name for entry in entries]
        except FileNotFoundError:
            return []

    def digest(self, set_id: str) -> str:
        """Return 64 hex digits over every step that is not applied and all that it would bring.

        Raises:
            SetError: there is no such set, or what it brings is not there.
        """
        return self.digest_of(self.record(set_id))

    def digest_of(self, record: Record) -> str:
        """Return the digest of a set as `digest` does; its record was just read."""
        with opened(self.place(record.set_id)) as own:
            return digest(own, record)

    @contextmanager
    def kept(self, set_id: str) -> Iterator[Content]:
        """Open a set to read what it holds, ours or theirs; raises as `record` does.

        What is yielded takes a path and a bound, and returns the bytes of a regular file, or None
        where the set holds none of this path, or a larger one.
        """
        slots = self.record(set_id).slots()
        with opened(self.place(set_id)) as own, Descent(own) as inside:

            def content(path: str, max_bytes: int) -> bytes | None:
                above = owner(path, slots)
                try:
                    place = inside.parent(slots.get(above, "") + path[len(above) :])
                    with reading(*place) as file, os.fdopen(file, "rb", closefd=False) as stream:
                        found = stream.read(max_bytes + 1)
                except (OSError, PathRefusedError):
                    return None
                return found if len(found) <= max_bytes else None

            yield content

    def content(self, set_id: str, path: str, max_bytes: int) -> bytes | None:
        """Return the bytes that a set holds for one path, as `kept` does."""
        with self.kept(set_id) as content:
            return content(path, max_bytes)

    def discard(self, set_id: str) -> None:
        """Drop the steps that are not applied; a set of which nothing is left is no more.

        Raises:
            SetError: there is no such set, or a crash cut its transition off.
        """
        with self.locked():
            record = self.record(set_id)
            if self.active.has(set_id):
                raise SetError(f"change set {set_id} waits for recovery; nothing was discarded")
            kept = tuple(each for each in record.standings if each.is_applied)
            away = None if kept else self.out_of_sight(set_id)
            if kept:
                self._drop_held(record)
        if away is not None:
            drop(away)

    def _drop_held(self, record: Record) -> None:
        applied = [n for n, each in enumerate(record.standings) if each.is_applied]
        kept = tuple(record.standings[index] for index in applied)
        found = replace(record.found, changes=record.changes_of(applied))
        gone = (n for each in record.standings if not each.is_applied for n in each.numbers)
        last = None if record.last is None else replace(record.last, turns=())
        forgotten = max(record.forgotten, *gone, 0)
        self.replace_record(
            replace(record, standings=kept, found=found, forgotten=forgotten, last=last)
        )
        with opened(self.place(record.set_id)) as own, Descent(own) as inside:
            for each in record.standings:
                # What a dress step has in the upper layer holds the objects of others.
                if not each.is_applied and each.step.move != "dress":
                    with suppress(FileNotFoundError):
                        remove(*inside.parent(each.slot))

    def replace_record(self, record: Record) -> None:
        """Write a record in the place of the one there is; the caller holds the lock."""
        with opened(self.place(record.set_id)) as own:
            write(own, f"{RECORD}.new", to_text(record), durable=True)
            os.rename(f"{RECORD}.new", RECORD, src_dir_fd=own, dst_dir_fd=own)

    def out_of_sight(self, set_id: str) -> Path:
        """Move a set among the drafts to sweep and return where; the caller holds the lock."""
        away = self._base / "drafts" / own_name("gone")
        self.place(set_id).rename(away)
        return away

    def prune(self) -> tuple[str, ...]:
        """Remove what is too old or too much and what dead servers left; return the sets' ids."""
        self.sweep()
        return pruning.prune(self)

    def sweep(self) -> None:
        """Remove the drafts that dead servers left."""
        pruning.sweep(self._base / "drafts")


def _head(record: str) -> ChangeSet:
    with open(record, "rb") as file:  # noqa: PTH123  # hot
        return head_from_text(file.readline())


def write(parent: int, name: str, content: bytes, *, durable: bool = False) -> None:
    """Write a file of a set; durable when this returns, if that is asked for."""
    descriptor = os.open(name, _WRITE, 0o600, dir_fd=parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        if durable:
            file.flush()
            os.fdatasync(descriptor)


def _standings(own: int, found: Found) -> tuple[Standing, ...]:
    with Descent(own) as inside, Descent(inside.at(UPPER)) as upper:
        stamps = clean(upper.at(""))
        for path, mode in found.closed:
            if path in stamps:
                stamps[path] = stamps[path]._replace(mode=mode)
        paths = sorted(stamps)
        return tuple(_standing(upper, step, stamps, paths) for step in found.steps)


def _standing(
    upper: Descent, step: Step, stamps: Mapping[str, Stamp], paths: Sequence[str]
) -> Standing:
    slot = f"{UPPER}/{step.path}"
    if step.move == "take":
        return Standing(step, slot)
    if step.path not in stamps:
        raise SetError(f"{step.path!r} is not in the draft; nothing was kept")
    if step.move == "dress":
        kept = metadata(*upper.parent(step.path))
        return Standing(step, slot, dressed=replace(kept, mode=stamps[step.path].mode))
    # "0" is the character after "/": all that sorts between is below the path.
    first, end = (bisect_left(paths, step.path + after) for after in ("/", "0"))
    below = [stamps[path] for path in paths[first:end]]
    ours = (stamps[step.path], *below)
    cut = len(step.path) + 1
    return Standing(step, slot, ours=tuple(each._replace(path=each.path[cut:]) for each in ours))

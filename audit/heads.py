"""What vouches for a log: its keys in force, and every signed tree head at hand.

May touch: the log's small files, for reading. A note that is overwritten, or a key that is rotated,
while we read shows as a signature that does not verify; a second look then finds it whole.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import final

from audit.directory import (
    CHECKPOINT,
    COSIGNATURES,
    DURABLE_CHECKPOINT,
    LogDirectory,
)
from audit.epochs import EPOCHS, KeyRing, epoch_name, read_rotations
from audit.errors import NoteError
from audit.note import Checkpoint, open_checkpoint, proof_parts, unpad_note
from audit.trust import TrustPolicy

LOOK_AGAIN_S = 0.2
_PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Head:
    """One signed tree head, where it was found, and the note around it."""

    place: str
    checkpoint: Checkpoint
    note: bytes


class HeadsError(Exception):
    """What should vouch for the log does not; `kind` and `place` are the finding's."""

    def __init__(self, kind: str, place: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.place = place


@final
class Heads:
    """The ring of keys and the tree heads of one log, as far as this policy trusts them."""

    def __init__(self, directory: LogDirectory, policy: TrustPolicy) -> None:
        self._directory = directory
        self._policy = policy
        self.ring = KeyRing(policy.logs)

    def load_ring(self) -> None:
        """Read the rotations again.

        Raises:
            HeadsError: one proves nothing, or they do not begin with a trusted key.
        """
        try:
            rotations = read_rotations(self._directory)
            self.ring = KeyRing.link(self._policy.logs, rotations)
        except NoteError as error:
            raise HeadsError("rotation", EPOCHS, str(error)) from error

    def closing(self) -> list[Head]:
        """Return the heads that closed epochs."""
        return [
            Head(
                f"{EPOCHS}/{epoch_name(one.closing.size)}", one.closing, proof_parts(one.proof).note
            )
            for one in self.ring.rotations
        ]

    def read(self, name: str) -> Head | None:
        """Return the head in one of the log's checkpoint files, or None if there is none.

        Raises:
            HeadsError: the key in force has not signed it.
        """
        if not self._note(name):
            return None
        return self._again(name, lambda: self._note(name))

    def pinned(self, note: bytes) -> Head:
        """Return the head that the caller kept elsewhere.

        Raises:
            HeadsError: it is `forked` if a key signed it outside its epoch, else `pinned`.
        """
        place, note = "pinned checkpoint", unpad_note(note)
        try:
            return Head(place, self.ring.open(note), note)
        except NoteError as error:
            kind, message = "pinned", str(error)
        try:
            open_checkpoint(note, self.ring.keys)
        except NoteError:
            raise HeadsError(kind, place, message) from None
        raise HeadsError("forked", place, message)

    def all(self) -> tuple[Head | None, list[Head]]:
        """Return the newest head that the log published, and every head that must be met.

        Raises:
            HeadsError: one is not signed as it must be, or they contradict one another.
        """
        # The durable copy first: it is written after the other, so it can only be the older one.
        durable = self.read(DURABLE_CHECKPOINT)
        cosigned = self._cosigned()
        newest = self.read(CHECKPOINT)
        found = [head for head in (durable, newest, *cosigned, *self.closing()) if head is not None]
        for head in found:
            if newest is not None and head.checkpoint.size > newest.checkpoint.size:
                if head.place != DURABLE_CHECKPOINT:
                    newest = head  # a crash came before it was published, or took that back
                    continue
                raise HeadsError(
                    "rolled_back",
                    CHECKPOINT,
                    f"it signs {newest.checkpoint.size} records, {head.place} already "
                    f"{head.checkpoint.size}: the checkpoint was rolled back",
                )
        return newest, found

    def witnessed(self, found: list[Head]) -> tuple[Head | None, str]:
        """Return the largest head that meets the policy's quorum, or None and why."""
        unmet = {head.place: self._policy.unmet(head.note) for head in found}
        met = [head for head in found if not unmet[head.place]]
        why = [f"{place}: {what}" for place, what in unmet.items() if what]
        return max(met, key=lambda head: head.checkpoint.size, default=None), "; ".join(why)

    def _cosigned(self) -> list[Head]:
        """Return the newest head that witnesses signed, and older ones until the quorum is met."""
        found: list[Head] = []
        for name, note in cosigned_notes(self._directory):
            found.append(self._again(f"{COSIGNATURES}/{name}", partial(bytes, note)))
            if not self._policy.unmet(note):
                break
        return found

    def _note(self, name: str) -> bytes:
        data = self._directory.read(name) or b""
        return unpad_note(data) if data.strip(b"\0\n") else b""

    def _again(self, name: str, look: Callable[[], bytes]) -> Head:
        deadline = time.monotonic() + LOOK_AGAIN_S
        while True:
            note = look()
            try:
                return Head(name, self.ring.open(note), note)
            except NoteError as error:
                if time.monotonic() > deadline:
                    raise HeadsError("checkpoint", name, str(error)) from error
                time.sleep(_PAUSE_S)
                self.load_ring()


def cosigned_notes(directory: LogDirectory) -> Iterator[tuple[str, bytes]]:
    """Yield the names and notes of the checkpoints that witnesses were asked about, newest first.

    Raises:
        OSError: one cannot be read.
    """
    try:
        below = directory.below(COSIGNATURES)
    except FileNotFoundError:
        return
    try:
        for name in sorted(filter(str.isdecimal, below.names()), key=int, reverse=True):
            yield name, unpad_note(below.read(name) or b"")
    finally:
        below.close()

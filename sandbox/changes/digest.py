"""The digest of a change set: what a person approves, byte for byte.

May touch: the set's directory, to read. Every field has its length before it, so no two sets have
one form. Whose times a file has is left out: no program does anything else because of them.
"""

import hashlib
import os
import stat
from collections.abc import Sequence
from operator import itemgetter

from sandbox.changes.objects import reading, walk, xattrs, xattrs_open
from sandbox.changes.record import Record, Standing
from sandbox.changes.record_text import SetError
from sandbox.changes.renames import Place
from sandbox.dirfd import Descent

TAG = b"permitgate-changes-v1\0"
_CHUNK_BYTES = 1 << 20


def digest(own: int, record: Record) -> str:
    """Return 64 hex digits over the root, every step not applied and all that it would bring.

    Args:
        own: the set's directory.
        record: the set.

    Raises:
        SetError: what a step would bring is not there.
    """
    form = _Form()
    form.add(os.fsencode(record.about.root))
    with Descent(own) as inside:
        for standing in record.standings:
            if not standing.is_applied:
                _add_step(form, inside, standing)
    return form.hash.hexdigest()


class _Form:
    """The canonical form as it is hashed."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256(TAG)

    def add(self, *fields: bytes | int) -> None:
        values = [b"%d" % field if isinstance(field, int) else field for field in fields]
        self.hash.update(b"".join([b"%d:%b" % (len(value), value) for value in values]))


def _add_step(form: _Form, inside: Descent, standing: Standing) -> None:
    step = standing.step
    form.add(step.move.encode(), os.fsencode(step.path), standing.is_bare)
    if standing.dressed is not None:
        kept = standing.dressed
        form.add(kept.mode, kept.uid, kept.gid, *_fields(kept.xattrs))
    if step.move not in {"place", "exchange"}:
        return
    modes = {each.path: each.mode for each in standing.ours}
    try:
        parent, name = inside.parent(standing.slot)
        found = sorted(walk(parent, name, "open"), key=itemgetter(0))
    except FileNotFoundError as error:
        raise SetError(f"{step.path!r} of the change set is gone; it cannot be approved") from error
    form.add(len(found))
    for path, status in found:
        place = inside.parent(f"{standing.slot}/{path}") if path else (parent, name)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):  # it may have been opened to be read here
            mode = modes.get(path, mode)
        _add_object(form, place, status, (os.fsencode(path), mode, status.st_uid, status.st_gid))


def _add_object(
    form: _Form, place: Place, status: os.stat_result, head: Sequence[bytes | int]
) -> None:
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(place[1], dir_fd=place[0]))
        form.add(*head, *_fields(xattrs(*place)), b"link", target)
    elif stat.S_ISDIR(status.st_mode):
        form.add(*head, *_fields(xattrs(*place)), b"directory")
    else:
        with reading(*place) as file:
            form.add(*head, *_fields(xattrs_open(file)), b"file", status.st_size)
            _add_bytes(form, file, place[1], status.st_size)


def _add_bytes(form: _Form, file: int, name: str, size: int) -> None:
    """Add a file's bytes; one more than it has is asked for, to see that it does not grow."""
    while size >= 0 and (chunk := os.read(file, min(size, _CHUNK_BYTES) + 1)):
        form.hash.update(chunk)
        size -= len(chunk)
    if size:
        raise SetError(f"{name!r} of the change set is being written; it cannot be approved")


def _fields(kept: Sequence[tuple[str, bytes]]) -> list[bytes | int]:
    fields = [field for name, value in kept for field in (os.fsencode(name), value)]
    return [len(fields), *fields]

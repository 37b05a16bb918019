"""The digest of a change set: what a person approves, byte for byte.

May touch: the set's directory, to read. Every field has its length before it, so no two sets have
one form. Whose times a file has is left out: no program does anything else because of them.
"""

import hashlib
import os
import stat
from collections.abc import Iterable

from sandbox.changes.objects import reading, walk, xattrs
from sandbox.changes.record import Record, Standing
from sandbox.changes.record_text import SetError
from sandbox.dirfd import Descent, Metadata

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
        for field in fields:
            value = b"%d" % field if isinstance(field, int) else field
            self.hash.update(b"%d:" % len(value))
            self.hash.update(value)


def _add_step(form: _Form, inside: Descent, standing: Standing) -> None:
    step = standing.step
    form.add(step.move.encode(), os.fsencode(step.path), standing.is_bare)
    if standing.dressed is not None:
        _add_metadata(form, standing.dressed)
    if step.move not in {"place", "exchange"}:
        return
    modes = {each.path: each.mode for each in standing.ours}
    try:
        parent, name = inside.parent(standing.slot)
        found = sorted(walk(parent, name, "open"), key=lambda each: each[0])
    except FileNotFoundError as error:
        raise SetError(f"{step.path!r} of the change set is gone; it cannot be approved") from error
    form.add(len(found))
    for path, status in found:
        holder, last = inside.parent(f"{standing.slot}/{path}" if path else standing.slot)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISDIR(status.st_mode):  # it may have been opened to be read here
            mode = modes.get(path, mode)
        form.add(os.fsencode(path), mode, status.st_uid, status.st_gid)
        _add_xattrs(form, xattrs(holder, last))
        _add_content(form, holder, last, status)


def _add_metadata(form: _Form, kept: Metadata) -> None:
    form.add(kept.mode, kept.uid, kept.gid)
    _add_xattrs(form, kept.xattrs)


def _add_xattrs(form: _Form, kept: Iterable[tuple[str, bytes]]) -> None:
    fields = [field for name, value in kept for field in (os.fsencode(name), value)]
    form.add(len(fields), *fields)


def _add_content(form: _Form, parent: int, name: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        form.add(b"link", os.fsencode(os.readlink(name, dir_fd=parent)))
    elif stat.S_ISDIR(status.st_mode):
        form.add(b"directory")
    else:
        form.add(b"file", status.st_size)
        left = status.st_size
        with reading(parent, name) as file:
            while chunk := os.read(file, _CHUNK_BYTES):
                form.hash.update(chunk)
                left -= len(chunk)
        if left:
            raise SetError(f"{name!r} of the change set is being written; it cannot be approved")

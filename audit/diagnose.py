"""Where a log's chain breaks: which record was touched, and how it looks to have been done.

May touch: bytes. A break shows at the first record that does not follow; its neighbours tell an
edit from an insertion, a deletion or an exchange. Only the place is proof, the story is a reading.
"""

from dataclasses import dataclass

from audit.canonical import decode_object
from audit.chain import claimed_seq
from audit.errors import RecordRefused
from audit.merkle import leaf_hash
from audit.read import place


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a reader must know: its kind, file and line, record, and the sentence."""

    kind: str
    place: str
    seq: int | None
    message: str


@dataclass(frozen=True, slots=True)
class Break:
    """The lines around the first one that does not follow; `seq` is the record due there."""

    first: int  # of the segment
    seq: int
    previous: bytes
    line: bytes
    following: bytes
    why: str


def explain(found: Break) -> Finding:
    """Return the finding for a break below the signed size."""
    here = place(found.first, found.seq)
    claimed = claimed_seq(found.line)
    if not found.line.strip():
        return Finding("blank", here, found.seq, f"a blank line where record {found.seq} belongs")
    if claimed is None or not found.line.endswith(b"}\n"):
        message = f"record {found.seq} was edited or cut: {found.why}{_form(found.line)}"
        return Finding("edited", here, found.seq, message)
    if claimed == found.seq:
        return _edited(found)
    return _out_of_order(found, claimed, here)


def _edited(found: Break) -> Finding:
    if found.seq == 0:
        message = "record 0 does not start a log: its @prev is not 64 zeros"
        return Finding("edited", place(found.first, 0), 0, message)
    if found.following and found.following[10:74] != leaf_hash(found.line[:-1]).hex().encode():
        # The next record was not chained to this line either, so this line is the altered one.
        message = f"record {found.seq} was edited: {found.why}{_form(found.line)}"
        return Finding("edited", place(found.first, found.seq), found.seq, message)
    seq = found.seq - 1
    message = (
        f"record {seq} is not the one that record {found.seq} was chained to: it was edited"
        f"{_form(found.previous)}"
    )
    return Finding("edited", place(found.first, max(seq, found.first)), seq, message)


def _out_of_order(found: Break, claimed: int, here: str) -> Finding:
    if claimed < found.seq:
        message = (
            f"record {claimed} stands a second time where record {found.seq} belongs: inserted"
        )
        return Finding("inserted", here, claimed, message)
    if found.seq == found.first:
        message = (
            f"this file holds records from {claimed}, not from {found.seq}: files were swapped"
        )
        return Finding("swapped", here, found.seq, message)
    if claimed_seq(found.following) == found.seq:
        message = f"records {found.seq} and {claimed} changed places"
        return Finding("reordered", here, found.seq, message)
    message = f"records {found.seq} to {claimed - 1} were deleted: record {claimed} stands here"
    return Finding("deleted", here, found.seq, message)


def _form(line: bytes) -> str:
    try:
        decode_object(line.removesuffix(b"\n"))
    except RecordRefused as error:
        return f" ({error})"
    return ""

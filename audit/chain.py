"""The line of a record, and the chain that binds each line to all before it.

May touch: bytes. May not touch: files, clocks, keys.
INVARIANT: `@prev` is the previous line's leaf hash and `@seq` its index, so one SHA-256 per line
serves the chain and the tree. A line ends at byte 0x0A and nowhere else.
"""

from binascii import hexlify
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from operator import methodcaller

from audit.errors import RecordRefused
from audit.merkle import Frontier

MAX_LINE_BYTES = 65_535  # the entry limit of C2SP tlog-tiles
FIRST_PREV = b"0" * 64
_ENDS = methodcaller("endswith", b"}\n")
_HEAD = b'{"@prev":"%s","@seq":%d,'
_HEAD_BYTES = len(_HEAD) - len(b"%s%d") + len(FIRST_PREV)  # without the digits of @seq
OWN_KEYS = frozenset((b'"event":', b'"bytes":'))  # no other record's keys begin with these
_OWN_KEY_BYTES = 8
FRAME_BYTES = len(b'{"@prev":"","@seq":,') + len(FIRST_PREV) + 16


class Chain:
    """The state after some lines: how many, the last leaf, and the tree's edge."""

    __slots__ = ("frontier", "tip")

    def __init__(self, tip: bytes = FIRST_PREV, frontier: Frontier | None = None) -> None:
        self.tip = tip  # 64 lowercase hex digits
        self.frontier = Frontier() if frontier is None else frontier

    @property
    def size(self) -> int:
        """Return the number of lines so far, which is the next `@seq`."""
        return self.frontier.size

    def copy(self) -> "Chain":
        """Return an independent chain in the same state."""
        return Chain(self.tip, self.frontier.copy())

    def extend(self, body: bytes) -> bytes:
        """Return the next line (without LF) for a canonical object, and move past it.

        Raises:
            RecordRefused: the line would be too long.
        """
        return self.extend_block((body,))[0]

    def extend_block(self, bodies: Iterable[bytes]) -> list[bytes]:
        """Return the next lines (without LF) for canonical objects, and move past them.

        Raises:
            RecordRefused: a line would be too long.
        """
        lines, leaves, tip = list[bytes](), list[bytes](), self.tip
        for seq, body in enumerate(bodies, self.size):
            line = _HEAD % (tip, seq) + body[1:]
            if len(line) > MAX_LINE_BYTES:
                raise RecordRefused(
                    f"the record takes {len(line)} bytes of {MAX_LINE_BYTES}; shorten or hash its "
                    "parts"
                )
            leaf = sha256(b"\x00" + line).digest()
            lines.append(line)
            leaves.append(leaf)
            tip = hexlify(leaf)
        self.frontier.extend(leaves)
        self.tip = tip
        return lines

    def follow_block(self, block: Sequence[bytes]) -> int:
        """Move past as many lines (with their newlines) as follow; return how many did.

        Most blocks follow whole, and for them each step is one pass without Python in between.
        """
        leaves = [sha256(b"\x00" + raw[:-1]).digest() for raw in block]
        tips = [self.tip, *map(hexlify, leaves)]
        due = list(zip(tips, range(self.size, self.size + len(block)), strict=False))
        count = len(block)
        if not (
            _have_heads(block, due)
            and all(map(_ENDS, block))
            and max(map(len, block), default=0) <= MAX_LINE_BYTES + 1
        ):
            heads = (_HEAD % one for one in due)
            follow = map(_follows, block, heads)
            count = next((n for n, follows in enumerate(follow) if not follows), count)
        self.frontier.extend(leaves[:count])
        self.tip = tips[count]
        return count

    def why_not(self, raw: bytes) -> str:
        """Return why a line, with its newline if it has one, does not follow."""
        claimed = claimed_seq(raw)
        if claimed is None:
            return "it is not a record of this log" if raw.strip() else "a blank line"
        if claimed != self.size:
            return f"it says @seq {claimed}"
        if not raw.startswith(b'{"@prev":"%s",' % self.tip):
            return "its @prev is not the hash of the record before it"
        if not _ENDS(raw.removesuffix(b"\n") + b"\n") or len(raw) > MAX_LINE_BYTES + 1:
            return "it is not one complete object of at most 65,535 bytes"
        return "it is cut short"


def own_lines(block: Sequence[bytes], first: int) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered lines that the log wrote about itself: they begin with one of OWN_KEYS."""
    for seq, raw in enumerate(block, first):
        start = _HEAD_BYTES + len(str(seq))
        if raw[start : start + _OWN_KEY_BYTES] in OWN_KEYS:
            yield seq, raw


def _have_heads(block: Sequence[bytes], due: Sequence[tuple[bytes, int]]) -> bool:
    """Return whether each line starts with its head: one comparison where all are of one length."""
    heads = _HEAD * len(due) % tuple(chain.from_iterable(due))
    length = _HEAD_BYTES + len(str(due[-1][1])) if due else 0
    if len(heads) == length * len(due):
        return b"".join([raw[:length] for raw in block]) == heads
    return all(raw.startswith(_HEAD % one) for raw, one in zip(block, due, strict=True))


def _follows(raw: bytes, head: bytes) -> bool:
    return raw.startswith(head) and _ENDS(raw) and len(raw) <= MAX_LINE_BYTES + 1


def claimed_seq(line: bytes) -> int | None:
    """Return the `@seq` a line claims, or None if it has no frame."""
    if not line.startswith(b'{"@prev":"') or line[74:83] != b'","@seq":':
        return None
    digits, comma, _ = line[83:103].partition(b",")
    return int(digits) if comma and digits.isdigit() else None


def claimed_prev(line: bytes) -> bytes:
    """Return the `@prev` of a line that claims an `@seq`."""
    return line[10:74]


@lru_cache(4096)
def check_top_level(keys: tuple[str, ...]) -> None:
    """Return if a record may have these top-level keys.

    Raises:
        RecordRefused: there are none, or one does not start with a letter (`@` is the log's own).
    """
    wrong = [key for key in keys if not "a" <= key[:1] <= "z"]
    if wrong or not keys:
        raise RecordRefused(f"a record needs keys that start with a letter; not {wrong or keys}")

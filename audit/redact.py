"""Hide secrets: in output as it streams, in text, and in records, where a commitment stands.

May touch: bytes. May not touch: files, randomness (openings.py gives the commitment).
In results a secret reads `[redacted:KIND]`. In the log a value that is a secret as a whole becomes
`{"$redacted": {"kind", "sha256"}}`; inside longer text the same mark as in results stands.
"""

import marshal
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from json.encoder import encode_basestring
from threading import Lock
from typing import TypeAlias, final

from typing_extensions import override

from audit.canonical import Json, Spelled, Speller, spell
from audit.errors import AuditError, RecordRefused
from audit.patterns import (
    KEY_ENDING,
    MIN_KNOWN_BYTES,
    OPEN_KEY,
    PRIVATE_KEY,
    PRIVATE_KEY_END,
    Shape,
    Span,
    has_own_form,
    known_forms,
    own_forms,
    shaped,
    shapes_of,
)

HOLD_BYTES = 4096  # a shape that starts before this many last bytes is wholly in view
MAX_HELD_BYTES = 1 << 16
MAX_CLEAN_LINES = 4096
MAX_CLEAN_CHARS = 200
MAX_CLEAN_LISTS = 256
MAX_CLEAN_LIST_BYTES = 4096
_EXACT = 2  # the version of marshalling in which different values never look the same
_END_OF_KEY = re.compile(PRIVATE_KEY_END)
_END_OF_WORD = re.compile(rb"[^A-Za-z0-9_.~+/=-]")
MAX_BEFORE = 300  # characters of the words before one in a list
_END_MARK_BYTES = 64  # at least the length of any end that may be split between chunks

Value: TypeAlias = bytes | str
Known: TypeAlias = Mapping[str, Value] | Sequence[tuple[str, Value]]  # values by kind
Seal: TypeAlias = Callable[[bytes], str]
_Known: TypeAlias = list[tuple[str, re.Pattern[bytes]]]


@final
class Redactor:
    """Knows some values by heart and the rest by their shape."""

    def __init__(self, known: Known = ()) -> None:
        self._known: _Known = []
        self._words = _Words()
        self._reader = _Reader(self._words)
        self._lock = Lock()  # on both
        self.hold_bytes = HOLD_BYTES
        for kind, value in known.items() if isinstance(known, Mapping) else known:
            data = value.encode() if isinstance(value, str) else value
            if len(data) >= MIN_KNOWN_BYTES:
                forms = sorted(set(known_forms(data)), key=len, reverse=True)
                self._known.append((kind, re.compile(b"|".join(map(re.escape, forms)))))
                self.hold_bytes = max(self.hold_bytes, len(forms[0]))

    def knowing(self, more: Known) -> "Redactor":
        """Return a redactor that also knows these values by heart, for one call."""
        found = Redactor(more)
        found._known += self._known
        found.hold_bytes = max(found.hold_bytes, self.hold_bytes)
        return found

    def redact(self, data: bytes) -> bytes:
        """Return whole output with each secret replaced by `[redacted:KIND]`."""
        return b"".join(_replaced(data, self.spans(data)))

    def redact_cut(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        """Return both ends of output whose middle is not there, redacted.

        What the cut leaves of a private key in the tail has no beginning, and still is one.
        """
        spans = self.spans(head)
        is_open = bool(spans) and spans[-1][1:] == (len(head), PRIVATE_KEY)
        rest = (OPEN_KEY if is_open else KEY_ENDING).match(tail)
        cut = rest.end() if rest is not None else 0
        shown = (_mark(PRIVATE_KEY) if cut else b"") + self.redact(tail[cut:])
        return b"".join(_replaced(head, spans)), shown

    def redact_text(self, text: str) -> str:
        """Return text with each secret replaced by `[redacted:KIND]`."""
        return self.redact(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")

    def stream(self) -> "RedactionStream":
        """Return a redactor for one stream that arrives in chunks."""
        return RedactionStream(self)

    def spell_all(
        self, records: Sequence[Mapping[str, Json]], seal: Seal
    ) -> list[Spelled | AuditError]:
        """Return each record as the log may hold it, spelled, or why it cannot be held.

        It is what `redact_record` makes of each. Most hold no secret: one walk spells all records
        and gathers their texts, and one search looks at those that were not seen before. Only what
        that search finds is looked at record by record.
        """
        if (spelled := self._spelled(records)) is not None:
            return spelled
        return [(self._spelled([one]) or [self._hidden(one, seal)])[0] for one in records]

    def redact_record(self, record: Mapping[str, Json], seal: Seal) -> Mapping[str, Json]:
        """Return a record as the log may hold it: one without a secret stays what it is.

        Args:
            record: fields of the canonical domain.
            seal: gives the salted commitment to a whole secret (`Openings.seal`).
        """
        known, shapes, has_own = self._search(_all_text(record))
        if not (known or shapes or has_own):
            return record
        # Only these can stand in a part of it, so each part is searched for these alone.
        spans = partial(_spans, known=known, shapes=shapes, has_own=has_own)
        return _RecordRedaction(spans, seal).mapping(record)

    def _spelled(self, records: Sequence[Mapping[str, Json]]) -> list[Spelled | AuditError] | None:
        """Return records as they are, spelled; None if a secret may stand in a part of one."""
        with self._lock:
            are_clean = False
            try:
                spelled = [self._one(record) for record in records]
                are_clean = not any(self._search(self._words.new))
            finally:
                self._words.settle(are_clean=are_clean)
        return spelled if are_clean else None

    def _one(self, record: Mapping[str, Json]) -> Spelled | AuditError:
        try:
            return self._reader.spell(record)
        except RecordRefused as refused:
            return refused

    def _hidden(self, record: Mapping[str, Json], seal: Seal) -> Spelled | AuditError:
        try:
            return spell(self.redact_record(record, seal))
        except AuditError as error:
            return error

    def _search(self, lines: Sequence[str]) -> tuple[_Known, list[Shape], bool]:
        """Return what of a secret may stand in some lines or in any part of one."""
        text = "\n".join(lines).encode(errors="surrogatepass")
        known = [(kind, form) for kind, form in self._known if form.search(text)]
        return known, shapes_of(text), has_own_form(text)

    def spans(self, data: bytes) -> list[Span]:
        """Return where secrets stand: start, end, kind; ascending, never overlapping."""
        return _spans(data, self._known)


class _Words(dict[str, str]):
    """The spellings of texts; but for those that are `new`, a secret can stand in no part of one.

    Who asks, where, by which rules and behind which controls is the same in most records.
    """

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []
        self.lists: dict[bytes, str] = {}  # of objects that hold these texts, by their marshalling

    def __missing__(self, text: str) -> str:
        self.new.append(text)
        spelled = self[text] = encode_basestring(text)
        return spelled

    def settle(self, *, are_clean: bool) -> None:
        """Keep what is new if it is clean, and short."""
        for text in self.new:
            if not are_clean or len(text) > MAX_CLEAN_CHARS:
                del self[text]
        self.new.clear()
        if not are_clean or len(self.lists) > MAX_CLEAN_LISTS:
            self.lists.clear()
        if len(self) > MAX_CLEAN_LINES:
            self.clear()


@final
class _Reader(Speller):
    """Spells by heart, and sees the texts of one list as one, as they are looked at."""

    def __init__(self, words: _Words) -> None:
        super().__init__(words.__getitem__)
        self._see = words.__getitem__
        self._words = words

    @override
    def array(self, values: Sequence[Json]) -> str:
        if texts := [one for one in values if isinstance(one, str)]:
            self._see(" ".join(texts))
        return super().array(values) if len(texts) == len(values) else self._others(values)

    def _others(self, values: Sequence[Json]) -> str:
        try:
            key = marshal.dumps(values, _EXACT)  # type: ignore[arg-type]  # refused if it is wrong
        except ValueError:
            return super().array(values)
        if (spelled := self._words.lists.get(key)) is None:
            spelled = super().array(values)
            if len(key) <= MAX_CLEAN_LIST_BYTES:
                self._words.lists[key] = spelled
        return spelled


@final
class _RecordRedaction:
    """Goes through one record; `spans` says where secrets stand in any part of it."""

    def __init__(self, spans: Callable[[bytes], list[Span]], seal: Seal) -> None:
        self._spans = spans
        self._seal = seal

    def mapping(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Return the values with each secret hidden."""
        return {key: self._value(value) for key, value in values.items()}

    def _value(self, value: Json) -> Json:
        if isinstance(value, str):
            return self._sealed("", value)
        if isinstance(value, Mapping):
            return self.mapping(value)
        if isinstance(value, Sequence):
            return list(self._items(value))
        return value

    def _items(self, values: Sequence[Json]) -> Iterator[Json]:
        before = ""
        for value in values:
            if isinstance(value, str):
                # `--password` tells what comes next, and `mysql` what `-p` means.
                yield self._sealed(before, value)
                before = f"{before} {value}"[-MAX_BEFORE:].lstrip()
            else:
                yield self._value(value)
                before = ""

    def _sealed(self, before: str, text: str) -> Json:
        head = f"{before} ".encode(errors="surrogatepass") if before else b""
        data = text.encode(errors="surrogatepass")
        spans = [
            (max(start - len(head), 0), end - len(head), kind)
            for start, end, kind in self._spans(head + data)
            if end > len(head)
        ]
        if len(spans) == 1 and spans[0][:2] == (0, len(data)):
            return {"$redacted": {"kind": spans[0][2], "sha256": self._seal(data)}}
        return b"".join(_replaced(data, spans)).decode(errors="surrogatepass")


@final
class RedactionStream:
    """Output in, redacted output out; holds back what may be the beginning of a secret."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = b""
        self._scan_at = 2 * redactor.hold_bytes  # so that each byte is looked at a few times only
        self._end: re.Pattern[bytes] | None = None  # inside a secret already marked, up to here

    def feed(self, chunk: bytes) -> bytes:
        """Return what can be shown after this chunk; the rest stays until more is known."""
        self._held += chunk
        self._leave_secret()
        if self._end is not None or len(self._held) <= self._scan_at:
            return b""
        spans = self._redactor.spans(self._held)
        cut = _boundary(self._held, len(self._held) - self._redactor.hold_bytes)
        for start, end, kind in spans:
            if start < cut < end or (start < cut and end == len(self._held)):
                if len(self._held) - start > MAX_HELD_BYTES:
                    return self._enter_secret(spans, start, kind)
                cut = start
        shown = b"".join(_replaced(self._held[:cut], [span for span in spans if span[1] <= cut]))
        self._held = self._held[cut:]
        self._scan_at = len(self._held) + self._redactor.hold_bytes
        return shown

    def finish(self) -> bytes:
        """Return all that was held back, redacted; the stream has ended."""
        self._leave_secret()
        rest = b"" if self._end is not None else self._redactor.redact(self._held)
        self._held = b""
        return rest

    def _enter_secret(self, spans: Sequence[Span], start: int, kind: str) -> bytes:
        shown = _replaced(self._held[:start], [span for span in spans if span[1] <= start])
        self._end = _END_OF_KEY if kind == PRIVATE_KEY else _END_OF_WORD
        self._held = self._held[-_END_MARK_BYTES:] if kind == PRIVATE_KEY else b""
        self._scan_at = 2 * self._redactor.hold_bytes
        return b"".join(shown) + _mark(kind)

    def _leave_secret(self) -> None:
        if self._end is None:
            return
        found = self._end.search(self._held)
        if found is None:
            self._held = self._held[-_END_MARK_BYTES:]
            return
        self._held = self._held[found.end() if self._end is _END_OF_KEY else found.start() :]
        self._end = None


def _all_text(record: Mapping[str, Json]) -> list[str]:
    """Return the texts of a record; those of one list are one, as they are looked at."""
    lines, rest = list[str](), list[Json](record.values())
    while rest:
        value = rest.pop()
        if isinstance(value, str):
            lines.append(value)
        elif value is None or isinstance(value, int):
            continue
        elif isinstance(value, (dict, Mapping)):
            rest += value.values()
        elif isinstance(value, Sequence):
            lines.append(" ".join([item for item in value if isinstance(item, str)]))
            rest += [item for item in value if not isinstance(item, str)]
    return lines


def _spans(
    data: bytes,
    known: _Known,
    shapes: Sequence[Shape] | None = None,
    *,
    has_own: bool = True,
) -> list[Span]:
    by_heart = ((*match.span(), kind) for kind, form in known for match in form.finditer(data))
    own = own_forms(data) if has_own else ()
    return _merged(sorted([*by_heart, *own, *shaped(data, shapes_of(data, shapes))]))


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end, kind in spans:
        if merged and start < merged[-1][1]:
            first, last, first_kind = merged[-1]
            merged[-1] = (first, max(last, end), first_kind)
        else:
            merged.append((start, end, kind))
    return merged


def _replaced(data: bytes, spans: Sequence[Span]) -> Iterator[bytes]:
    position = 0
    for start, end, kind in spans:
        yield data[position:start]
        yield _mark(kind)
        position = end
    yield data[position:]


def _boundary(data: bytes, limit: int) -> int:
    """Return a place at or before `limit` where a line or a word ends, so context is kept."""
    line = data.rfind(b"\n", 0, limit) + 1
    return line or data.rfind(b" ", 0, limit) + 1 or limit


def _mark(kind: str) -> bytes:
    return f"[redacted:{kind}]".encode()

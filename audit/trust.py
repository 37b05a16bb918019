"""Whom an auditor trusts: a log's keys, witnesses, and how many of them must have signed.

May touch: bytes. May not touch: files, clocks. Source: c2sp.org/tlog-policy. Names are octets: they
are compared, never read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from audit.errors import NoteError
from audit.note import COSIGNATURE, PublicKey, open_note

NONE = b"none"
_TAB, _NEWLINE, _SPACE, _DELETE = 0x09, 0x0A, 0x20, 0x7F


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses or groups of which at least `threshold` must have signed."""

    threshold: int
    members: tuple[bytes, ...]


Definition: TypeAlias = "PublicKey | Group"


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """A trust policy; without a quorum, the log's own signature is enough."""

    logs: tuple[PublicKey, ...]
    defined: Mapping[bytes, Definition] = field(default_factory=dict)
    quorum: bytes = NONE

    @classmethod
    def parse(cls, data: bytes) -> "TrustPolicy":
        """Return the policy in a file.

        Raises:
            NoteError: a line is not of c2sp.org/tlog-policy; the message names it.
        """
        reader = _Reader()
        if any(not (byte in (_TAB, _NEWLINE) or _SPACE <= byte != _DELETE) for byte in data):
            raise NoteError("the trust policy has control characters")
        for number, line in enumerate(data.split(b"\n"), start=1):
            words = line.replace(b"\t", b" ").split(b" ")
            try:
                reader.take([word for word in words if word])
            except NoteError as error:
                raise NoteError(f"line {number} of the trust policy: {error}") from None
        if reader.quorum is None:
            raise NoteError("the trust policy has no quorum line; `quorum none` asks for none")
        return cls(tuple(reader.logs), reader.defined, reader.quorum)

    def trusting(self, logs: Sequence[PublicKey]) -> "TrustPolicy":
        """Return this policy for these logs."""
        return replace(self, logs=tuple(logs))

    def unmet(self, note: bytes) -> str:
        """Return what the witnesses' signatures on a note leave to be desired, or nothing."""
        if self.quorum == NONE:
            return ""
        witnesses = [item for item in self.defined.values() if isinstance(item, PublicKey)]
        try:
            signed_by = open_note(note, witnesses)[1]
        except NoteError as error:
            return f"the quorum {_shown(self.quorum)} is not met: {error}"
        if self._has_signed(self.quorum, signed_by):
            return ""
        names = ", ".join(key.name for key in signed_by)
        return f"the quorum {_shown(self.quorum)} is not met: only {names} signed"

    def _has_signed(self, name: bytes, signed_by: Sequence[PublicKey]) -> bool:
        item = self.defined[name]
        if isinstance(item, PublicKey):
            return item in signed_by
        count = sum(self._has_signed(member, signed_by) for member in item.members)
        return count >= item.threshold


class _Reader:
    """The lines so far; each may only refer to names before it."""

    def __init__(self) -> None:
        self.logs: list[PublicKey] = []
        self.defined: dict[bytes, Definition] = {}
        self.quorum: bytes | None = None
        self._used: set[bytes] = set()

    def take(self, words: Sequence[bytes]) -> None:
        match words:
            case []:
                return
            case [word, *_] if word.startswith(b"#"):
                return
            case [b"log", vkey] | [b"log", vkey, _]:
                self.logs.append(_new(PublicKey.parse(_text(vkey)), self.logs))
            case [b"witness", name, vkey] | [b"witness", name, vkey, _]:
                key = PublicKey.parse(_text(vkey), COSIGNATURE)
                known = [item for item in self.defined.values() if isinstance(item, PublicKey)]
                self._define(name, _new(key, known))
            case [b"group", name, count, *members] if members:
                self._define(name, self._group(count, members))
            case [b"quorum", name] if self.quorum is None:
                self.quorum = name if name == NONE else self._known(name)
            case _:
                raise NoteError(
                    "not one of: log VKEY [URL], witness NAME VKEY [URL], group NAME all|any|COUNT "
                    "NAME..., and one quorum NAME"
                )

    def _define(self, name: bytes, item: Definition) -> None:
        if name in self.defined or name == NONE:
            raise NoteError(f"the name {_shown(name)} is taken")
        self.defined[name] = item

    def _group(self, count: bytes, members: Sequence[bytes]) -> Group:
        for member in members:
            if self._known(member) in self._used:
                raise NoteError(f"{_shown(member)} is a member already")
            self._used.add(member)
        words = {b"any": 1, b"all": len(members)}
        threshold = words.get(count) or (int(count) if _is_count(count) else 0)
        if not 1 <= threshold <= len(members):
            raise NoteError(f"{_shown(count)} is not all, any, or 1 to {len(members)}")
        return Group(threshold, tuple(members))

    def _known(self, name: bytes) -> bytes:
        if name not in self.defined:
            raise NoteError(f"the name {_shown(name)} is not defined above")
        return name


def _new(key: PublicKey, known: Sequence[PublicKey]) -> PublicKey:
    if key.raw in [other.raw for other in known]:
        raise NoteError(f"the key of {key.name} is listed already")
    return key


def _is_count(word: bytes) -> bool:
    return word.isdigit() and not word.startswith(b"0") and len(word) <= len("999999")


def _text(word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError:
        raise NoteError("the key's name is not UTF-8") from None


def _shown(word: bytes) -> str:
    return word.decode(errors="replace")

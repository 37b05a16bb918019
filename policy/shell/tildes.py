"""The atoms of one word, after brace expansion, to a `Word` in normal form, with its tildes found.

Source: Bash Reference Manual §3.5.2: a tilde counts at the start of a word, and in an assignment
also after `=` and after each unquoted `:`.
"""

import enum
import re
from collections.abc import Iterable

import policy.shell.tree as t
from policy.shell.braces import Atom, Bare
from policy.shell.cursor import Cursor

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_LEAD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


class Context(enum.Enum):
    """Which expansions bash performs on a word."""

    ARGUMENT = enum.auto()  # braces, tilde, split, glob
    VALUE = enum.auto()  # tilde; neither split nor glob
    PATTERN = enum.auto()  # tilde; pattern characters stay


def finished(atoms: Iterable[Atom], context: Context, cursor: Cursor) -> t.Word:
    """Return the word that the atoms make, adjacent literals joined.

    Raises:
        RefusalError: a tilde whose meaning depends on what follows it at run time.
    """
    merged = _merged(atoms)
    parts = list[t.Part]()
    tildes = _Tildes(cursor, context, merged[0] if merged else None)
    for index, atom in enumerate(merged):
        if not isinstance(atom, Bare):
            parts.append(atom)
        elif "~" not in atom.text:
            parts.append(t.Literal(atom.text))
        else:
            parts += tildes.parts(atom.text, index == 0, index + 1 < len(merged))
    return t.Word(joined(parts) if len(parts) > 1 else tuple(parts) or (t.Literal(""),))


def _merged(atoms: Iterable[Atom]) -> list[Atom]:
    merged = list[Atom]()
    for atom in atoms:
        if merged and isinstance(atom, Bare) and isinstance(merged[-1], Bare):
            merged[-1] = Bare(merged[-1].text + atom.text)
        elif atom != Bare(""):
            merged.append(atom)
    return merged


def joined(parts: Iterable[t.Part]) -> tuple[t.Part, ...]:
    """Return parts with adjacent literals as one."""
    found = list[t.Part]()
    for part in parts:
        if found and isinstance(part, t.Literal) and isinstance(found[-1], t.Literal):
            found[-1] = t.Literal(found[-1].text + part.text)
        else:
            found.append(part)
    return tuple(found)


class _Tildes:
    def __init__(self, cursor: Cursor, context: Context, first: Atom | None) -> None:
        self.cursor = cursor
        name = first.text if isinstance(first, Bare) and context is Context.ARGUMENT else ""
        lead = _LEAD.match(name)
        self.name_length = lead.end() if lead else 0
        self.is_assigned = context is Context.VALUE or lead is not None

    def parts(self, text: str, is_first: bool, is_followed: bool) -> list[t.Part]:
        """Return the parts of unquoted characters that hold a `~`."""
        if not self.is_assigned and not (is_first and text[0] == "~"):
            return [t.Literal(text)]
        offset = self.name_length if is_first else 0
        pieces: list[t.Part] = [t.Literal(text[:offset])]
        segments = re.split("(:)", text[offset:]) if self.is_assigned else [text]
        for place, segment in enumerate(segments):
            is_last = place == len(segments) - 1 and is_followed
            if place or is_first:
                pieces.extend(self._segment(segment, is_last))
            else:
                pieces.append(t.Literal(segment))
        return [piece for piece in pieces if piece != t.Literal("")]

    def _segment(self, segment: str, is_open_ended: bool) -> list[t.Part]:
        if not segment.startswith("~"):
            return [t.Literal(segment)]
        user, slash, _ = segment[1:].partition("/")
        if is_open_ended and not slash:
            raise self.cursor.refuse("quoted or dynamic tilde prefix")
        if user and not _USER.fullmatch(user):
            raise self.cursor.refuse("tilde prefix")
        return [t.Tilde(user), t.Literal(segment[1 + len(user) :])]

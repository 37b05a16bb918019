"""Brace expansion: one written word to the words bash makes of it, before all other expansions.

May touch: the atoms of a word. Braces that bash would leave alone stay literal characters.
Source: Bash Reference Manual §3.5.1; braces.c where the manual is silent.
"""

import itertools
import re
from dataclasses import dataclass

import policy.shell.tree as t
from policy.shell.cursor import MAX_DEPTH, MAX_WORK, Cursor, RefusalError

MAX_BRACE_WORDS = 256
MAX_BRACE_ATOMS = 512

_RANGE = re.compile(
    r"(?:(-?\d{1,9})\.\.(-?\d{1,9})|([a-z])\.\.([a-z])|([A-Z])\.\.([A-Z]))"
    r"(?:\.\.(-?\d{1,9}))?\Z"
)
_PADDED = re.compile(r"-?0\d")


@dataclass(frozen=True, slots=True)
class Bare:
    """Unquoted literal characters: here `{`, `,`, `}` and `~` still mean something."""

    text: str


Atom = t.Part | Bare
_Atoms = tuple[Atom, ...]


def has_brace(atoms: list[Atom]) -> bool:
    """Return whether an unquoted `{` is in the word."""
    return any(isinstance(atom, Bare) and "{" in atom.text for atom in atoms)


def expanded(atoms: list[Atom], cursor: Cursor) -> list[_Atoms]:
    """Return the words that the braces of one word make of it, at most MAX_BRACE_WORDS.

    Raises:
        RefusalError: too many, or braces whose reading by bash is not plain.
    """
    items = list[Atom]()
    for atom in atoms:
        cursor.spend(MAX_WORK if len(items) > MAX_BRACE_ATOMS else 0)
        items.extend(map(Bare, atom.text) if isinstance(atom, Bare) else [atom])
    words = _Braces(cursor).expand(items, MAX_DEPTH)
    # A word that braces leave without a character or a quote is no word: `{/,}` is `/`.
    return [word for word in words if any(atom != Bare("") for atom in word)]


class _Braces:
    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor

    def expand(self, items: list[Atom], depth: int) -> list[_Atoms]:
        results, index = list[_Atoms]([()]), 0
        while index < len(items):
            if items[index] != Bare("{"):
                stop = next(
                    (i for i in range(index, len(items)) if items[i] == Bare("{")), len(items)
                )
                results = [(*result, *items[index:stop]) for result in results]
                index = stop
                continue
            close, commas = self._closing(items, index, depth)
            inner = items[index + 1 : close]
            options = self._options(inner, [comma - index - 1 for comma in commas], depth)
            self._bound(len(results) * len(options))
            results = [left + right for left, right in itertools.product(results, options)]
            index = close + 1
        return results

    def _bound(self, words: int) -> None:
        if words > MAX_BRACE_WORDS:
            raise self._refuse("brace expansion too large")
        self.cursor.spend(words)

    def _refuse(self, reason: str) -> RefusalError:
        return self.cursor.refuse(reason)

    def _closing(self, items: list[Atom], start: int, depth: int) -> tuple[int, list[int]]:
        """Return the index of the `}` that closes the `{` at `start`, and of the commas between."""
        level, commas = 0, list[int]()
        for index in range(start, len(items)):
            item = items[index]
            text = item.text if isinstance(item, Bare) else ""
            level += {"{": 1, "}": -1}.get(text, 0)
            if not level:
                return index, commas
            if level > depth:
                break
            if text == "," and level == 1:
                commas.append(index)
        raise self._refuse("unbalanced brace")

    def _options(self, inner: list[Atom], commas: list[int], depth: int) -> list[_Atoms]:
        if commas:
            edges = [-1, *commas, len(inner)]
            pieces = [inner[a + 1 : b] for a, b in itertools.pairwise(edges)]
            return [one for piece in pieces for one in self.expand(piece, depth - 1)]
        if Bare("{") in inner:
            raise self._refuse("braces inside braces without a comma")
        plain = "".join(atom.text if isinstance(atom, Bare) else "\0" for atom in inner)
        if found := _RANGE.match(plain):
            return [(Bare(value),) for value in self._range(found)]
        if ".." in plain and "\0" not in plain:
            raise self._refuse("brace range")
        return [(t.Literal("{"), *inner, t.Literal("}"))]

    def _range(self, found: re.Match[str]) -> list[str]:
        first, last, *letters, written = found.groups()
        step = abs(int(written or 1)) or 1
        if first is None:
            low, high = (ord(letter) for letter in letters if letter)
            return [chr(code) for code in _count(low, high, step)]
        numbers = _count(int(first), int(last), step)
        self._bound(len(numbers))
        is_padded = _PADDED.match(first) or _PADDED.match(last)
        width = max(len(first), len(last)) if is_padded else 0
        return [f"{number:0{width}d}" for number in numbers]


def _count(first: int, last: int, step: int) -> range:
    return range(first, last + 1, step) if first <= last else range(first, last - 1, -step)

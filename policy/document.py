"""YAML text to plain values that know their place; strict, so that a mistake is seen at load.

May touch: PyYAML's event parser. May not touch: what the keys mean (load.py).
Every scalar is text: `on`, `no` and `007` stay words. Repeated keys, anchors, aliases, tags and
second documents are errors, so nothing in a file is read in two ways.
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from typing import NoReturn, Protocol

import yaml
from yaml import events

_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
MAX_DEPTH = 16
MAX_CHARACTERS = 262_144


class PolicyError(Exception):
    """The policy room could not do its job; the message starts with a place if there is one."""


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar; `plain` when it was written without quotes."""

    place: str
    value: str
    plain: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A sequence."""

    place: str
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping with the place of each key, in the order written."""

    place: str
    entries: tuple[tuple[Text, "Node"], ...]


Node = Text | Listing | Mapping


def refuse(place: str, what: str) -> NoReturn:
    """Raise the error every unusable file ends in."""
    raise PolicyError(f"{place}: {what}")


def read(name: str, text: str, shape: str = "a mapping is expected here") -> Mapping:
    """Return the top mapping of one YAML document; `shape` is said where it is something else.

    Raises:
        PolicyError: not YAML, not one mapping, or a construct this project does not read.
    """
    if len(text) > MAX_CHARACTERS:
        refuse(f"{name}:1:1", f"the file is longer than {MAX_CHARACTERS} characters; split it")
    try:
        return _Reader(name, text, shape).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(name, mark)
        refuse(place, f"not YAML: {error.problem}; correct it")
    except yaml.YAMLError as error:
        refuse(f"{name}:1:1", f"not YAML: {error}; correct it".replace("\n", " "))


class _Reader:
    def __init__(self, name: str, text: str, shape: str) -> None:
        self._name, self._shape = name, shape
        self._events: Iterator[events.Event] = iter(yaml.parse(text, Loader=_LOADER))

    def document(self) -> Mapping:
        start, first = next(self._events), next(self._events)
        if isinstance(first, events.StreamEndEvent):
            refuse(self._place(start), f"the file is empty; {self._shape}")
        top = self._node(next(self._events), depth=0)
        if not isinstance(top, Mapping):
            refuse(top.place, self._shape)
        next(self._events)
        end = next(self._events)
        if not isinstance(end, events.StreamEndEvent):
            refuse(self._place(end), "a second document; a file holds one, remove the `---`")
        return top

    def _node(self, event: events.Event, depth: int) -> Node:
        place = self._place(event)
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None):
            refuse(place, "anchors and aliases are not read; write the value out")
        if getattr(event, "tag", None) not in (None, "!"):
            refuse(place, "tags are not read; remove it")
        if depth > MAX_DEPTH:
            refuse(place, "nested too deeply; nothing here has such a value")
        if isinstance(event, events.ScalarEvent):
            return Text(place, event.value, plain=not event.style)
        if isinstance(event, events.SequenceStartEvent):
            return Listing(place, tuple(self._items(depth)))
        return Mapping(place, tuple(self._entries(depth)))

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _entries(self, depth: int) -> Iterator[tuple[Text, Node]]:
        seen: set[str] = set()
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Text):
                refuse(key.place, "a key is a word; remove the brackets")
            if key.value in seen:
                refuse(key.place, f"key {key.value!r} appears twice; keep one")
            seen.add(key.value)
            yield key, self._node(next(self._events), depth + 1)

    def _place(self, event: events.Event) -> str:
        return _place(self._name, event.start_mark)


class _Mark(Protocol):
    line: int
    column: int


def _place(name: str, mark: _Mark | None) -> str:
    """Return `file:line:column`; an event without a mark is at the start."""
    return f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{name}:1:1"


def words(node: Node, what: str) -> tuple[Text, ...]:
    """Return the texts of a list that is not empty.

    Raises:
        PolicyError: not a list, an empty one, or something else than text in it.
    """
    if not isinstance(node, Listing) or not node.items:
        refuse(node.place, f"{what} is a list with at least one entry; write [one, two]")
    return tuple(one_text(item, f"an entry of {what}") for item in node.items)


def words_in(fields: AbstractMapping[str, Node], key: str) -> tuple[Text, ...]:
    """Return the texts of the list that a key holds, none if it is not there."""
    return words(fields[key], key) if key in fields else ()


def text_in(fields: AbstractMapping[str, Node], key: str) -> str:
    """Return the text that a key holds, empty if it is not there."""
    return one_text(fields[key], key).value if key in fields else ""


def one_text(node: Node, what: str) -> Text:
    """Return a text that is not empty.

    Raises:
        PolicyError: anything else.
    """
    if not isinstance(node, Text) or not node.value.strip():
        refuse(node.place, f"{what} is text; write a word or a quoted sentence")
    return node


def positive(node: Node, what: str, *, digits: int = 6) -> int:
    """Return a whole number from 1 on, of at most so many digits.

    Raises:
        PolicyError: anything else.
    """
    number = rf"[1-9][0-9]{{0,{digits - 1}}}"
    if isinstance(node, Text) and node.plain and re.fullmatch(number, node.value):
        return int(node.value)
    refuse(node.place, f"{what} is a whole number from 1 on; write it without quotes")

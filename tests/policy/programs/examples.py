"""The examples beside the entries of programs: command lines, and what dev-safe decides of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

from policy.programs.index import Programs
from policy.programs.nodes import EFFECTS, NodeReader


@dataclass(frozen=True, slots=True)
class Example:
    """A command line of an entry, and what the pack dev-safe decides of it."""

    place: str  # file:line:column
    effect: str  # allow, ask or deny
    command: str


def examples(source: str, text: str) -> Mapping[tuple[str, ...], tuple[Example, ...]]:
    """Return the examples of every entry of a file, by the names it describes.

    Raises:
        SpecError: they are not lists of command lines.
    """
    reader, nodes = Programs({source: text}).file(source)
    names: dict[int, tuple[str, ...]] = {}
    for name, node in nodes.items():
        names[id(node)] = (*names.get(id(node), ()), name)
    return {many: tuple(_examples(reader, nodes[many[0]])) for many in names.values()}


def _examples(reader: NodeReader, node: yaml.Node) -> Iterator[Example]:
    """Yield the examples of one entry, without those of an entry it merges."""
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if key.value not in EFFECTS:
            continue
        if not isinstance(value, yaml.SequenceNode) or not value.value:
            raise reader.error(value, f"{key.value}: expected a list of command lines; write one")
        for line in value.value:
            yield Example(reader.place(line), key.value, reader.scalar(line))

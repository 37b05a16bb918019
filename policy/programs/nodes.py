"""YAML nodes read strictly: mappings, names and lines, each error with its place.

May touch: YAML nodes. May not touch: files; what the keys mean is spec_reader.py's.
"""

import yaml

from policy.programs.spec import SpecError

Entry = tuple[yaml.ScalarNode, yaml.Node]
EFFECTS = frozenset({"allow", "ask", "deny"})  # the keys of examples


class NodeReader:
    """Reads the nodes of one file; `source` is its name in messages."""

    def __init__(self, source: str) -> None:
        self._source = source

    def error(self, node: yaml.Node, what: str) -> SpecError:
        """Return the error for a node, with its place."""
        return SpecError(f"{self.place(node)}: {what}")

    def entries(self, node: yaml.Node) -> list[Entry]:
        """Return a mapping's entries in order, those of merge keys (`<<: *anchor`) first."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "expected a mapping of names; indent it below the key")
        merged: list[Entry] = []
        own: list[Entry] = []
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, "a key must be plain words; write names between spaces")
            if key.value in seen:
                raise self.error(key, f"{key.value!r} is given twice; join the two")
            seen.add(key.value)
            if key.value == "<<":
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                merged += [
                    one
                    for part in parts
                    for one in self.entries(part)
                    if one[0].value not in EFFECTS
                ]
                continue
            own.append((key, value))
        return merged + own

    def names(self, key: yaml.ScalarNode) -> list[str]:
        """Return the names that one key holds."""
        if '"' in key.value or (key.style is None and "'" in key.value):
            raise self.error(
                key, f"{key.value!r} holds a quotation mark; put the quotes around the whole key"
            )
        names = str(key.value).split()
        if not names:
            raise self.error(key, "the key names nothing; write a name or remove the entry")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self.error(key, f"{twice!r} is named twice in one key; keep one")
        return names

    def place(self, node: yaml.Node) -> str:
        """Return where a node begins: file:line:column."""
        mark = node.start_mark
        return f"{self._source}:{mark.line + 1}:{mark.column + 1}"

    def scalar(self, node: yaml.Node) -> str:
        """Return the one line of text that a node is."""
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise self.error(node, "expected one line of text")
        return str(node.value)

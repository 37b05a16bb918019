"""From a program's name to its spec, built when it is first asked for.

May touch: the packaged `*.yaml` of this folder, once. May not touch: commands. Composing every
file would cost the command line a tenth of its time, so the names are found in the text and a file
is composed when one of its programs is asked for.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files

import yaml
from typing_extensions import override

from policy.programs.spec import Spec, SpecError
from policy.programs.spec_reader import SpecReader, entries_of

# Every scalar is text to us, so no time is spent on telling numbers and booleans from words.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Programs(Mapping[str, Spec]):
    """The specs of all programs by name; a file is composed when one of its programs is needed."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Find where every program is described; `sources` are texts by file name."""
        self._sources = sources
        self._readers: dict[str, tuple[SpecReader, dict[str, yaml.Node]]] = {}
        self._where = {name: file for file, text in sources.items() for name in heads(text)}
        self._specs: dict[str, Spec] = {}  # by name
        self._shared: dict[int, Spec] = {}  # by node: names of one entry share one spec

    @override
    def __getitem__(self, name: str) -> Spec:
        spec = self._specs.get(name)
        if spec is None:
            reader, nodes = self.file(self._where[name])
            node = nodes[name]
            spec = self._shared.get(id(node)) or reader.program(node)
            self._specs[name] = self._shared[id(node)] = spec
        return spec

    def file(self, source: str) -> tuple[SpecReader, dict[str, yaml.Node]]:
        """Return the entries of one file as nodes, and their reader.

        Raises:
            SpecError: the file is not YAML, is empty, or names a program twice.
        """
        if source not in self._readers:
            reader = SpecReader(source)
            nodes = entries_of(reader, _composed(source, self._sources[source]))
            self._readers[source] = reader, nodes
        return self._readers[source]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    @override
    def __len__(self) -> int:
        return len(self._where)

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._where


def _composed(source: str, text: str) -> yaml.Node:
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{mark.line + 1}:{mark.column + 1}" if mark else "1:1"
        raise SpecError(f"{source}:{place}: not YAML: {error.problem}; correct the file") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{source}:1:1: not YAML: {error}; correct the file") from None
    if root is None:
        raise SpecError(f"{source}:1:1: the file is empty; describe a program or remove it")
    return root


def heads(text: str) -> Iterator[str]:
    """Yield the names that a file's entries begin with, without reading the entries.

    An entry begins in the first column: `a b:`, `"a b":`, or `? a b` on several lines until `:`.
    """
    many = ""
    for line in text.split("\n"):
        first = line[:1]
        if many and first != ":":
            many += line
        elif first == "?":
            many = line[1:]
        elif first == ":":
            yield from many.split()
            many = ""
        elif first == '"':
            yield from line[1:].partition('"')[0].split()
        elif first not in ("", " ", "#"):
            yield from line.partition(":")[0].split()


@cache
def packaged() -> Programs:
    """Return the programs that come with Permitgate; a test holds every file to the language."""
    entries = files("policy.programs").iterdir()
    return Programs(
        {one.name: one.read_text(encoding="utf-8") for one in entries if one.name.endswith(".yaml")}
    )

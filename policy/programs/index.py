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

from policy.programs.spec import Example, Spec, SpecError
from policy.programs.spec_reader import SpecReader, entries_of

# Every scalar is text to us, so no time is spent on telling numbers and booleans from words.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class Programs(Mapping[str, Spec]):
    """The specs of all programs, by name."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Read the names of every entry; `sources` are texts by file name.

        Raises:
            SpecError: a file is not YAML, is empty, or names a program that another one names.
        """
        self._entries: dict[str, tuple[SpecReader, yaml.Node]] = {}
        self._specs: dict[int, Spec] = {}
        for source, text in sorted(sources.items()):
            reader = SpecReader(source)
            for name, node in entries_of(reader, _composed(source, text)).items():
                if name in self._entries:
                    raise reader.error(
                        node, f"program {name!r} is described in another file too; keep one"
                    )
                self._entries[name] = (reader, node)

    @override
    def __getitem__(self, name: str) -> Spec:
        reader, node = self._entries[name]
        spec = self._specs.get(id(node))
        if spec is None:
            spec = self._specs[id(node)] = reader.program(node)
        return spec

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    @override
    def __len__(self) -> int:
        return len(self._entries)

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def examples(self) -> Mapping[tuple[str, ...], tuple[Example, ...]]:
        """Return the examples of every entry, by the names it describes.

        Raises:
            SpecError: they are not lists of command lines.
        """
        names: dict[int, tuple[str, ...]] = {}
        for name, (_, node) in self._entries.items():
            names[id(node)] = (*names.get(id(node), ()), name)
        return {
            many: tuple(reader.examples(node))
            for many in names.values()
            for reader, node in (self._entries[many[0]],)
        }


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


class Library(Mapping[str, Spec]):
    """Many files, of which one is composed when a program in it is first asked for."""

    def __init__(self, sources: Mapping[str, str]) -> None:
        """Find where every program is described, from the lines that begin an entry."""
        self._sources = sources
        self._files: dict[str, Programs] = {}
        self._specs: dict[str, Spec] = {}
        self._where = {name: file for file, text in sources.items() for name in heads(text)}

    @override
    def __getitem__(self, name: str) -> Spec:
        spec = self._specs.get(name)
        if spec is None:
            source = self._where[name]
            programs = self._files.get(source)
            if programs is None:
                programs = self._files[source] = Programs({source: self._sources[source]})
            spec = self._specs[name] = programs[name]
        return spec

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    @override
    def __len__(self) -> int:
        return len(self._where)

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._where


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
def packaged() -> Library:
    """Return the programs that come with Permitgate; a test holds every file to the language."""
    entries = files("policy.programs").iterdir()
    return Library(
        {one.name: one.read_text(encoding="utf-8") for one in entries if one.name.endswith(".yaml")}
    )

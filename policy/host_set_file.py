"""Hosts in a policy file: the items of `hosts`, and the sets that `@name` stands for.

May touch: YAML nodes, the packaged sets. May not touch: rules, accesses, files of the machine.
Sets are written out when a file is loaded, so a rule holds hosts and nothing else.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final

from policy.document import Mapping as Entries
from policy.document import Node, Text, read, refuse, words
from policy.globs import GlobError, expand_braces, policy_glob
from policy.host_globs import spelled
from policy.host_sets import HostSets
from policy.rules import Source, variables_in

A_SET: Final = "@"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_HOW: Final = "write a host such as example.com or *.example.com, an address or a network"


def globs_of(text: Text) -> tuple[str, ...]:
    """Return the globs that one text becomes.

    Raises:
        PolicyError: one of them cannot be used.
    """
    try:
        globs = expand_braces(text.value)
        for glob in globs:
            policy_glob(glob)
    except GlobError as error:
        refuse(text.place, f"{error}; correct the glob")
    return globs


def host_items(text: Text, globs: Iterable[str], sets: HostSets) -> tuple[str, ...]:
    """Return what one entry of a rule's `hosts` names, sets written out.

    Raises:
        PolicyError: it names a set that no file defines.
    """
    found: list[str] = []
    for glob in globs:
        if glob.startswith(A_SET):
            found += _items_of(text, glob.removeprefix(A_SET), sets)
        else:
            known = None if variables_in(glob) else spelled(glob)
            found.append(known or glob.lower())
    return tuple(found)


def _items_of(text: Text, name: str, sets: HostSets) -> tuple[str, ...]:
    if name not in sets:
        known = ", ".join(sorted(sets))
        what = f"no file defines the host set {name!r}, there are {known}"
        how = "write it below host_sets, or let `permitgate policy hosts` write it from what this"
        refuse(text.place, f"{what}; {how} machine's tools are configured with")
    return sets[name]


def read_host_sets(source: Source, node: Node | None) -> dict[str, tuple[str, ...]]:
    """Return the sets that one file defines.

    Raises:
        PolicyError: a mistake in them, or a project's file that has any.
    """
    if node is None:
        return {}
    if source.tightens_only:
        what = "a project's policy may only tighten: it defines no host sets; remove them"
        refuse(node.place, what)
    if not isinstance(node, Entries) or not node.entries:
        refuse(node.place, "host_sets is a mapping; write {inside: [git.example.com]}")
    for key, _ in node.entries:
        if not _NAME.fullmatch(key.value):
            what = f"host set {key.value!r}: use lower-case letters, digits and dashes"
            refuse(key.place, what)
    return {key.value: _items(value, key.value) for key, value in node.entries}


def _items(node: Node, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for text in words(node, name):
        for glob in globs_of(text):
            item = spelled(glob)
            if item is None:
                refuse(text.place, f"{glob!r} of host set {name!r} is no host; {_HOW}")
            found[item] = None
    return tuple(found)


def united(many: Iterable[Mapping[str, tuple[str, ...]]]) -> HostSets:
    """Return all sets together; those of one name hold what any of them does, sorted."""
    found: dict[str, set[str]] = {}
    for sets in many:
        for name, items in sets.items():
            found.setdefault(name, set()).update(items)
    return MappingProxyType({name: tuple(sorted(found[name])) for name in sorted(found)})


@lru_cache(maxsize=1)
def packaged_sets() -> HostSets:
    """Return the sets that come with Permitgate."""
    folder = resources.files("policy").joinpath("packs", "sets")
    files = [Source(one.name, one.read_text(encoding="utf-8")) for one in folder.iterdir()]
    tops = [(file, dict(read(file.name, file.text).entries)) for file in files]
    return united(
        read_host_sets(file, node)
        for file, top in tops
        for key, node in top.items()
        if key.value == "host_sets"
    )

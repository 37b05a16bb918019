"""What past actions touched, as globs a rule can name: how often, and in which records.

May touch: accesses, past actions. May not touch: what becomes of a fact (learn.py), YAML.
A path is written below `${workspace}` or `~` of its own context. What a shell may still expand is
written as wide as it may become, and no wider.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from policy.globs import escape
from policy.model import PATH_OPERATIONS, Access, Context
from policy.programs.words import HOLE
from policy.replay import Past

UNKNOWN_PATH: Final = "<unknown path>"
_WILD = re.compile(r"[*?\[]")
_CLASS = re.compile(r"\[[^]]*\]?|\*+")


@dataclass(frozen=True, slots=True)
class Place:
    """One glob of one operation; `folder` and `name` are set for a plain path, which may have
    siblings, and `path` is that path on the machine where it was."""

    operation: str
    glob: str
    folder: str = ""
    name: str = ""
    path: str = ""


@dataclass(slots=True)
class Seen:
    """How often a place was touched, in which records, by which programs."""

    records: list[int] = field(default_factory=list)
    programs: set[str] = field(default_factory=set)


Facts = dict[Place, Seen]


def facts(touched: Iterable[tuple[Past, Access]]) -> Facts:
    """Return every place that was touched; one record counts once for each."""
    found: Facts = {}
    for past, access in touched:
        for place in places(access, past.context):
            seen = found.setdefault(place, Seen())
            seen.programs.add(access.program)
            if not seen.records or seen.records[-1] != past.seq:
                seen.records.append(past.seq)
    return found


def places(access: Access, context: Context) -> Iterator[Place]:
    """Yield the globs that hold all that one access may become."""
    operation, resource = access.operation, access.resource
    if operation not in PATH_OPERATIONS or resource[:1] == "<":
        text = resource if access.how == "exact" else resource.replace("…", HOLE)
        yield Place(operation, escape(text).replace(HOLE, "*"))
    elif resource.startswith(HOLE):
        yield Place(operation, UNKNOWN_PATH)
    elif access.how == "exact":
        near = _near(resource, context)
        folder, _, name = near.rpartition("/")
        yield Place(operation, near, folder, name, resource)
    else:
        yield Place(operation, _widest(access, context))


def _widest(access: Access, context: Context) -> str:
    """Return the glob of a path with wildcards or with parts nobody knows."""
    path = access.resource
    if HOLE in path:
        known = path[: path.index(HOLE)].rpartition("/")[0]
        return _near(known or "/", context).rstrip("/") + "/**"
    cut = _WILD.search(path)
    head = path[: cut.start()].rpartition("/")[0] if cut else path
    tail = "/".join(map(_shell_name, path[len(head) + 1 :].split("/"))) if cut else ""
    glob = _near(head or "/", context).rstrip("/") + (f"/{tail}" if tail else "")
    return glob if access.how == "pattern" else f"{glob}/**"


def _shell_name(name: str) -> str:
    """Return a name of a shell pattern as a policy glob: what a class may be is anything."""
    if name == "**":
        return name
    parts = _CLASS.split(name)
    return "*".join(escape(part).replace("\\?", "?") for part in parts)


def _near(path: str, context: Context) -> str:
    """Return a path as a glob, below the workspace or the home where it lies there."""
    for root, short in ((context.workspace, "${workspace}"), (context.home, "~")):
        if path == root or path.startswith(f"{root}/"):
            return short + escape(path[len(root) :])
    return escape(path)

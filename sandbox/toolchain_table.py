"""toolchains.yaml, read for one owner: which paths of this home each toolchain means.

May touch: the table beside this module, and ~/.npmrc for the one line that names a directory.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import cast

import yaml

_BRACES = re.compile(r"\{([^{}]*)\}")
_VARIABLE = re.compile(r"\$([A-Z_]+)")
_NPM_PREFIX = re.compile(r"^prefix\s*=\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One toolchain of the table; every path is absolute, with at most one `*` for a name."""

    name: str
    show: tuple[tuple[str, str], ...]  # (path, the file that must be in it, if any)
    secret: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    searched: tuple[str, ...] = ()


@cache
def _table() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    text = Path(__file__).with_name("toolchains.yaml").read_text(encoding="utf-8")
    # Our own file, of one shape that its test holds it to.
    data = yaml.CSafeLoader(text).get_single_data()
    return cast("tuple[dict[str, str], dict[str, dict[str, str]]]", tuple(data.values()))


def names() -> tuple[str, ...]:
    """Return the name of every toolchain that the table knows."""
    return tuple(_table()[1])


def variables(environ: Mapping[str, str], home: str) -> tuple[tuple[str, str], ...]:
    """Return the owner's own variables that say where a toolchain is: name and absolute path."""
    given = dict(environ)
    prefix = _npm_prefix(home)
    if prefix:
        given.setdefault("NPM_CONFIG_PREFIX", prefix)
    return tuple(
        (name, given[name].rstrip("/"))
        for name in _table()[0]
        if given.get(name, "").startswith("/") and os.path.isdir(given[name])  # noqa: PTH112  # says no where looking is refused
    )


def _npm_prefix(home: str) -> str:
    try:
        found = _NPM_PREFIX.search(Path(home, ".npmrc").read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return ""
    prefix = found[1].strip("\"'") if found else ""
    return re.sub(r"^(~|\$\{HOME\})(?=/)", lambda _: home, prefix)


def entries(home: str, given: tuple[tuple[str, str], ...]) -> tuple[Entry, ...]:
    """Return the table for a home and the variables that `variables` found."""
    defaults, rows = _table()
    places = {**defaults, **dict(given)}

    def paths(text: str) -> tuple[str, ...]:
        for _ in range(2):  # a variable's default may name another
            text = _VARIABLE.sub(lambda found: places[found[1]], text)
        return tuple(
            dict.fromkeys(
                home + path.removeprefix("~") if path.startswith("~/") else path
                for word in text.split()
                for path in _alternatives(word)
            )
        )

    return tuple(
        Entry(
            name,
            tuple((path, sign) for path, _, sign in (p.partition("?") for p in paths(row["show"]))),
            paths(row.get("secret", "")),
            paths(row.get("settings", "")),
            paths(row.get("links", "")),
            tuple(row.get("programs", "").split()),
            tuple(row.get("needs", "").split()),
            paths(row.get("searched", "")),
        )
        for name, row in rows.items()
    )


def _alternatives(word: str) -> Iterator[str]:
    found = _BRACES.search(word)
    if found is None:
        yield word
        return
    for part in found[1].split(","):
        yield from _alternatives(word[: found.start()] + part + word[found.end() :])

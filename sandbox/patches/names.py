"""Names in the heads of a diff: git's quoting, and what stands behind a name.

Pure. Source: git's quote.c as git-config documents it under core.quotePath; GNU diffutils manual,
"Detailed Unified"; `svn help diff`.
"""

import re
from datetime import UTC, datetime

from sandbox.patches.lines import DiffError

_SHOWN = 60
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE = re.compile(rb'\\([abtnvfr"\\]|[0-3][0-7]{2}|)')
_ESCAPES = dict(zip(b'abtnvfr"\\', b'\a\b\t\n\v\f\r"\\', strict=True))
_TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: ?[+-]\d\d:?\d\d)?"
_SPACED_TIME = re.compile(rf"(\S.*?) +({_TIME})", re.DOTALL)
_EPOCH = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.0+)? ?([+-]\d\d):?(\d\d)")


def name_in(line: tuple[int, str] | None) -> str:
    """Return the name in a --- or +++ line, "" without one: quoted, or up to a tab or a time.

    Raises:
        DiffError: bad quoting, or a name that is not UTF-8.
    """
    if line is None:
        return ""
    at_line, text = line
    name = _parted(text)[0]
    if name.startswith('"') and not _QUOTED.fullmatch(name):
        raise DiffError(f"diff line {at_line}", f"the quoted name {text[:_SHOWN]!r} does not end")
    return unquoted(at_line, name) if name.startswith('"') else name


def says_absent(line: tuple[int, str], words: frozenset[str]) -> bool:
    """Return whether the stamp of a name says that no such file is there.

    That is the epoch for GNU diff -N, or one of `words`.
    """
    stamp = _parted(line[1])[1]
    match = _EPOCH.fullmatch(stamp)
    if match is None:
        return stamp in words
    day, hour, zone, minutes = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{hour}{zone}:{minutes}")
    except ValueError:
        return False
    return moment == datetime.fromtimestamp(0, UTC)


def unquoted(at_line: int, text: str) -> str:
    """Return a text with each name in it that git quoted as the name it stands for.

    Raises:
        DiffError: an unknown escape, or a name that is not UTF-8.
    """

    def escaped(match: re.Match[bytes]) -> bytes:
        escape = match.group(1)
        if not escape:
            raise DiffError(f"diff line {at_line}", f"{text[:_SHOWN]!r} has an unknown escape")
        return bytes([int(escape, 8) if len(escape) == 3 else _ESCAPES[escape[0]]])  # noqa: PLR2004  # three octal digits

    def name(match: re.Match[str]) -> str:
        return _ESCAPE.sub(escaped, match.group(1).encode()).decode()

    try:
        return _QUOTED.sub(name, text)
    except UnicodeError as error:
        message = f"the name {text[:_SHOWN]!r} is not UTF-8"
        raise DiffError(f"diff line {at_line}", message) from error


def _parted(text: str) -> tuple[str, str]:
    """Return a name and what stands behind it, such as its time."""
    name, tab, behind = text.partition("\t")
    match = None if tab else _SPACED_TIME.fullmatch(text)
    return (match[1], match[2]) if match else (name, behind)

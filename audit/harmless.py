"""Strings of a log as a person may be shown them: nothing a terminal or a page would act on.

May touch: values. An agent chose most of these strings: escapes, bidirectional marks and invisible
letters are written out, and one of 60 kB does not bury the line after it.
"""

import base64
import binascii
import shlex
from collections.abc import Mapping, Sequence

from audit.canonical import Json

GAP = " … "


def harmless(text: str) -> str:
    """Return text in which every character that is not plainly visible is written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shortened(text: str, limit: int) -> str:
    """Return text with its middle left out where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    head = (limit - len(GAP)) * 2 // 3
    return f"{text[:head]}{GAP}{text[head + len(GAP) - limit :]}"


def words(value: Json) -> str:
    """Return a value of a record as one line; OS bytes and redactions in words."""
    match value:
        case None:
            text = ""
        case str():
            text = harmless(value)
        case {"$redacted": {"kind": str(kind)}}:
            text = f"[redacted:{harmless(kind)}]"
        case {"$b64": str(encoded)}:
            text = _bytes(encoded)
        case Mapping():
            text = ", ".join(f"{key} {words(item)}" for key, item in value.items())
        case Sequence():
            text = " ".join(map(words, value))
        case _:
            text = str(value)
    return text


def vector(value: Json) -> str:
    """Return an argument vector as a shell would be told it."""
    items = value if isinstance(value, list | tuple) else [value]
    return " ".join(
        shlex.quote(harmless(item)) if isinstance(item, str) else words(item) for item in items
    )


def _bytes(encoded: str) -> str:
    try:
        return harmless(base64.b64decode(encoded, validate=True).decode("utf-8", "surrogateescape"))
    except (binascii.Error, ValueError):
        return harmless(encoded)

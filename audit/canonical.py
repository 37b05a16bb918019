"""The one byte form of a record: RFC 8785 within a small domain, both ways and strictly.

May touch: bytes and json. May not touch: files, clocks, keys.
Domain: keys of `[a-z0-9_.$@-]`, integers below 2^53, Unicode scalars, no floats, 32 levels. In
this domain sorting by code point equals RFC 8785's sorting by UTF-16, and no number needs rounding.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TypeAlias

from audit.errors import RecordRefused

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_DEPTH = 32
INTEGER_BOUND = 1 << 53
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.$@-")
_ENCODER = json.JSONEncoder(
    ensure_ascii=False,
    sort_keys=True,
    separators=(",", ":"),
    check_circular=False,  # depth is already bounded
    allow_nan=False,
)


def encode(value: Json) -> bytes:
    """Return the canonical bytes of a value.

    Raises:
        RecordRefused: the value is outside the domain; the message names the place in it.

    Source: RFC 8785 §3.2.
    """
    plain = value if _is_plain(value) else _checked(value, "record", 0)
    return _ENCODER.encode(plain).encode()


def decode(data: bytes) -> Json:
    """Return the value whose canonical bytes are exactly `data`.

    Raises:
        RecordRefused: not JSON, a repeated key, outside the domain, or not in canonical form.
    """
    try:
        value = json.loads(data.decode(), object_pairs_hook=_without_repeats, parse_float=_no_float)
    except RecordRefused:
        raise
    except (ValueError, RecursionError) as error:
        raise RecordRefused(f"not JSON: {error}") from None
    if encode(value) != data:
        raise RecordRefused("not in canonical form (RFC 8785): spaces, order or escapes differ")
    return value  # type: ignore[no-any-return]  # encode() has just checked every level of it


def decode_object(data: bytes) -> dict[str, Json]:
    """Return the object whose canonical bytes are exactly `data`.

    Raises:
        RecordRefused: as `decode`, or the value is not an object.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise RecordRefused("not a JSON object")
    return value


def os_value(data: bytes) -> Json:
    """Return OS bytes as text where they are UTF-8, else as `{"$b64": …}`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"$b64": base64.b64encode(data).decode()}


def _is_plain(value: Json) -> bool:
    """Return whether a value is in the domain as it stands; False says only to look closer.

    Most records are, and every record is encoded once before it is durable: this is the short way.
    """
    level, keys = [value], set[object]()
    for _ in range(MAX_DEPTH):
        below: list[Json] = []
        for one in level:
            if isinstance(one, dict):
                keys.update(one)
                below += one.values()
            elif isinstance(one, (list, tuple)):
                below += one
            elif not (one.isascii() if isinstance(one, str) else _is_plain_other(one)):
                return False
        if not below:
            return all(map(_is_known_key, keys))
        level = below
    return False


def _is_plain_other(value: Json) -> bool:
    return value is None or (isinstance(value, int) and -INTEGER_BOUND < value < INTEGER_BOUND)


@lru_cache(4096)
def _is_known_key(key: object) -> bool:
    return _is_key(key)


def _checked(value: Json, place: str, depth: int) -> Json:
    if depth > MAX_DEPTH:
        raise RecordRefused(f"{place}: more than {MAX_DEPTH} levels deep")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _integer(value, place)
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, Mapping):
        return _mapping(value, place, depth)
    if isinstance(value, (list, tuple)):
        return [_checked(item, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    raise RecordRefused(f"{place}: {type(value).__name__} has no place in a record")


def _integer(value: int, place: str) -> int:
    if not -INTEGER_BOUND < value < INTEGER_BOUND:
        raise RecordRefused(f"{place}: the integer is not below 2^53; write it as text")
    return value


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise RecordRefused(f"{place}: lone surrogate; OS bytes go through os_value") from None
    return value


def _mapping(value: Mapping[str, Json], place: str, depth: int) -> Json:
    for key in value:
        if not _is_key(key):
            raise RecordRefused(f"{place}: key {key!r} is not of [a-z0-9_.$@-]")
    return {key: _checked(item, f"{place}.{key}", depth + 1) for key, item in value.items()}


def _is_key(key: object) -> bool:
    return isinstance(key, str) and bool(key) and _KEY_CHARACTERS.issuperset(key)


def _without_repeats(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise RecordRefused(f"duplicate key {repeated!r}")
    return found


def _no_float(text: str) -> Json:
    raise RecordRefused(f"number {text[:40]!r} is not an integer")

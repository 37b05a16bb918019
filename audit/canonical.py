"""The one byte form of a record: RFC 8785 within a small domain, both ways and strictly.

May touch: bytes and json. May not touch: files, clocks, keys.
Domain: keys of `[a-z0-9_.$@-]`, integers below 2^53, Unicode scalars, no floats, 32 levels. In
this domain sorting by code point equals RFC 8785's sorting by UTF-16, and no number needs rounding.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring
from typing import TypeAlias

from audit.errors import RecordRefused

Json: TypeAlias = "bool | int | str | Sequence[Json] | Mapping[str, Json] | None"

MAX_DEPTH = 32
INTEGER_BOUND = 1 << 53
MAX_FORMS = 4096
_KEY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_.$@-")
_OUTSIDE = "outside the domain"


class Spelled(dict[str, str]):
    """A record's members, each as its canonical text: the log adds its own and joins them."""

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the whole record."""
        form, names = _FORMS[tuple(self)]
        return (form % tuple(map(self.__getitem__, names))).encode()


class Speller:
    """Spells values in one walk over them; `text` spells texts, perhaps from memory."""

    def __init__(self, text: Callable[[str], str] = encode_basestring) -> None:
        self._spellings = _Spellings(
            {
                str: text,
                int: _integer,
                bool: {True: "true", False: "false"}.__getitem__,
                type(None): {None: "null"}.__getitem__,
                dict: self._mapping,
                list: self.array,
                tuple: self.array,
            }
        )

    def spell(self, record: Mapping[str, Json]) -> Spelled:
        """Return a record's members in canonical form.

        Raises:
            RecordRefused: it is outside the domain; the message names the place in it.
        """
        spellings = self._spellings
        try:
            found = Spelled({key: spellings[type(one)](one) for key, one in record.items()})
            _check("".join([_FORMS[tuple(found)][0], *found.values()]), record)
        except (RecordRefused, RecursionError, UnicodeEncodeError):
            raise RecordRefused(_reason(record, "record", 0)) from None
        return found

    def value(self, value: Json) -> str:
        """Return the canonical text of a value.

        Raises:
            RecordRefused: as `spell`.

        Source: RFC 8785 §3.2.
        """
        try:
            spelled = self._spellings[type(value)](value)
            _check(spelled, value)
        except (RecordRefused, RecursionError, UnicodeEncodeError):
            raise RecordRefused(_reason(value, "record", 0)) from None
        return spelled

    def array(self, values: Sequence[Json]) -> str:
        """Return the canonical text of a list; a subclass may look at what is in one."""
        spellings = self._spellings
        return ",".join([spellings[type(one)](one) for one in values]).join("[]")

    def _mapping(self, values: Mapping[str, Json]) -> str:
        form, names = _FORMS[tuple(values)]
        spellings, ordered = self._spellings, map(values.__getitem__, names)
        return form % tuple([spellings[type(one)](one) for one in ordered])


def spell(record: Mapping[str, Json]) -> Spelled:
    """Return a record's members in canonical form.

    Raises:
        RecordRefused: it is outside the domain; the message names the place in it.
    """
    return _PLAIN.spell(record)


def encode(value: Json) -> bytes:
    """Return the canonical bytes of a value.

    Raises:
        RecordRefused: the value is outside the domain; the message names the place in it.
    """
    return _PLAIN.value(value).encode()


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


class _Spellings(dict[type, Callable[..., str]]):
    """How values are spelled, by their type; of other types than JSON's as their base is."""

    def __missing__(self, kind: type) -> Callable[..., str]:
        for base, known in ((str, str), (int, int), (Mapping, dict), (list, list), (tuple, tuple)):
            if issubclass(kind, base):
                return self[known]
        raise RecordRefused(_OUTSIDE)


class _Forms(dict[tuple[str, ...], tuple[str, Sequence[str]]]):
    """The text of an object around its values, and the order of these, by the keys it has."""

    def __missing__(self, keys: tuple[str, ...]) -> tuple[str, Sequence[str]]:
        if not all(map(_is_key, keys)):
            raise RecordRefused(_OUTSIDE)
        names = sorted(keys)
        form = ",".join(f'"{name}":%s' for name in names).join("{}")
        if len(self) >= MAX_FORMS:
            self.clear()
        self[keys] = form, names
        return form, names


_FORMS = _Forms()


def _check(spelled: str, value: Json) -> None:
    """Return unless what was spelled may be too deep, and is, or holds a lone surrogate."""
    if spelled.count("[") + spelled.count("{") > MAX_DEPTH and _reason(value, "", 0):
        raise RecordRefused(_OUTSIDE)
    if not spelled.isascii():
        spelled.encode()


def _integer(value: int) -> str:
    if not -INTEGER_BOUND < value < INTEGER_BOUND:
        raise RecordRefused(_OUTSIDE)
    return int.__repr__(value)


def _reason(value: Json, place: str, depth: int) -> str:
    """Return where a value is outside the domain, and why; nothing where it is not."""
    if depth > MAX_DEPTH:
        return f"{place}: more than {MAX_DEPTH} levels deep"
    if value is None:
        return ""
    if isinstance(value, int):
        is_small = -INTEGER_BOUND < value < INTEGER_BOUND
        return "" if is_small else f"{place}: the integer is not below 2^53; write it as text"
    if isinstance(value, str):
        return _lone_surrogate(value, place)
    if isinstance(value, (Mapping, list, tuple)):
        return next(filter(None, _reasons(value, place, depth + 1)), "")
    return f"{place}: {type(value).__name__} has no place in a record"


def _reasons(values: Mapping[str, Json] | Sequence[Json], place: str, depth: int) -> Iterator[str]:
    if isinstance(values, Mapping):
        wrong = (key for key in values if not _is_key(key))
        yield from (f"{place}: key {key!r} is not of [a-z0-9_.$@-]" for key in wrong)
        yield from (_reason(one, f"{place}.{key}", depth) for key, one in values.items())
    else:
        yield from (_reason(one, f"{place}[{i}]", depth) for i, one in enumerate(values))


def _lone_surrogate(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        return f"{place}: lone surrogate; OS bytes go through os_value"
    return ""


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


_PLAIN = Speller()

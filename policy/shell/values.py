"""What bash makes of a known value: operators of `${ }`, and `read` of one line.

May touch: strings. None wherever locale, options or a pattern make the result less than certain.
Source: Bash Reference Manual §3.5.3, and `read` in §4.2.
"""

import re

_MOST_CHARACTERS = 256  # of a value that is matched against a pattern
_MOST_STARS = 3
_BLANKS = re.compile(r"[ \t]+")


def computed(value: str, operator: str, operand: str) -> str | None:
    """Return what `${name<operator><operand>}` is for a value, or None if that is not certain."""
    match operator:
        case "-" | ":-" | "?" | ":?" | "+" | ":+":
            return _defaulted(value, operator, operand)
        case "%" | "%%" | "#" | "##":
            return _cut(value, operator, operand)
        case _:
            # What a character is depends on the locale.
            return _character_by_character(value, operator, operand) if value.isascii() else None


def _defaulted(value: str, operator: str, operand: str) -> str | None:
    is_set = bool(value) or operator[0] != ":"
    if operator[-1] == "+":
        return operand if is_set else ""
    return value if is_set else operand if operator == ":-" else None


def _character_by_character(value: str, operator: str, operand: str) -> str | None:
    match operator:
        case "length":
            return None if operand else str(len(value))
        case "/" | "//":
            return _replaced(value, operator, operand)
        case ":":
            first, _, length = operand.partition(":")
            return value[int(first) :][: int(length) if length else None]
        case _:
            return _cased(value, operator)


def _cased(value: str, operator: str) -> str:
    match operator:
        case "^":
            return value[:1].upper() + value[1:]
        case ",":
            return value[:1].lower() + value[1:]
        case _:
            return value.upper() if operator == "^^" else value.lower()


def _replaced(value: str, operator: str, operand: str) -> str | None:
    old, _, new = operand.partition("/")
    if "*" in old or "?" in old:
        return None
    return value.replace(old, new, -1 if operator == "//" else 1)


def _cut(value: str, operator: str, pattern: str) -> str | None:
    """Return a value without the shortest or longest end (or start) that a pattern matches."""
    if len(value) > _MOST_CHARACTERS or pattern.count("*") > _MOST_STARS:
        return None
    matches = re.compile(
        "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern), re.S
    ).fullmatch
    places = range(len(value) + 1)
    if operator in ("#", "##"):
        order = places if operator == "#" else reversed(places)
        return next((value[place:] for place in order if matches(value, 0, place)), value)
    order = reversed(places) if operator == "%" else places
    return next((value[:place] for place in order if matches(value, place)), value)


def fields(line: str, names: int) -> list[str]:
    """Return what `read -r` puts into so many names from the first line of its input."""
    rest, found = line.partition("\n")[0].strip(" \t"), list[str]()
    for _ in range(names - 1):
        one, rest = [*_BLANKS.split(rest, maxsplit=1), ""][:2]
        found.append(one)
    return [*found, rest]

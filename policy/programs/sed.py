"""What sed text reaches beyond its input: the commands e, w, W, r, R and the flags of s.

May touch: strings. The text is read command by command; what does not parse is unknown.
Source: GNU sed 4.9 manual.
"""

import re
from collections.abc import Iterator

from policy.programs.findings import Finding, Runs, Touches, Unknown

_SPACE = re.compile(r"[\s;]*")
_ONE = re.compile(r"(?:[0-9]+(?:~[0-9]+)?|\$|[+~][0-9]+)")
# INVARIANT: the alternatives begin with different characters, or a hostile text takes for ever.
_REGEX = re.compile(r"/(?:\\.|\[\^?\]?[^\]/]*\]|[^/\\\[])*/[IM]*", re.S)
_OTHER = re.compile(r"\\(.)(?:\\.|(?!\1)[^\\])*\1[IM]*", re.S)
_COMMA = re.compile(r"\s*,\s*")
_BANG = re.compile(r"[\s!]*")
_FLAGS = re.compile(r"(?P<flags>[gpiIMm0-9e]*)(?P<file>w[^\n]*)?")
_BRACKET = re.compile(r"\[\^?\]?(?:\[:\w+:\]|[^\]])*\]")
_LINE = re.compile(r"[^\n]*")
_SILENT = {
    "a": re.compile(r"(?:\\\n|\\.|[^\n\\])*", re.S),
    "b": re.compile(r"[^\n;}]*"),
    "q": re.compile(r"\s*\d*"),
    "#": _LINE,
}
_SILENT |= {"i": _SILENT["a"], "c": _SILENT["a"], "t": _SILENT["b"], "T": _SILENT["b"]}
_SILENT |= {":": _SILENT["b"], "Q": _SILENT["q"], "l": _SILENT["q"], "L": _SILENT["q"]}
_SILENT |= {"v": _SILENT["b"]}
_PLAIN = frozenset("{}=dDgGhHnNpPxzF")


def sed(text: str) -> Iterator[Finding]:
    """Yield what the text of a sed program reaches beyond its input."""
    at = _addressed(text, 0)
    while at < len(text):
        command, at = text[at], at + 1
        if command in "sy":
            findings, end = _substitute(text, at, command)
            yield from findings
        elif command in "wWrRe":
            line = _LINE.match(text, at)
            rest = line[0].strip() if line else ""
            yield _file(command, rest)
            end = line.end() if line else at
        elif command in _SILENT:
            skipped = _SILENT[command].match(text, at)
            end = skipped.end() if skipped else at
        elif command in _PLAIN:
            end = at
        else:
            yield Unknown(f"sed command {command!r}")
            return
        if end < 0:
            yield Unknown("sed text that does not parse")
            return
        at = _addressed(text, end)


def _file(command: str, rest: str) -> Finding:
    if command == "e":
        return Runs(rest) if rest else Unknown("sed e")
    return Touches("fs.write" if command in "wW" else "fs.read", rest)


def _addressed(text: str, at: int) -> int:
    """Return where the next command's letter is, past separators and addresses."""
    at = _end(_SPACE, text, at)
    for _ in range(2):
        at = _end(_ONE, text, at)
        at = _end(_REGEX, text, at)
        if text[at : at + 1] == "\\":
            at = _end(_OTHER, text, at)
        comma = _COMMA.match(text, at)
        if comma is None:
            break
        at = comma.end()
    return _end(_BANG, text, at)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _substitute(text: str, at: int, command: str) -> tuple[list[Finding], int]:
    end = _parts_end(text, at, command)
    if end < 0 or command == "y":
        return [], end
    found = _FLAGS.match(text, end)
    findings: list[Finding] = []
    if found and "e" in found["flags"]:
        findings.append(Unknown("sed s///e"))
    if found and found["file"]:
        findings.append(Touches("fs.write", found["file"][1:].strip()))
    return findings, found.end() if found else end


def _parts_end(text: str, at: int, command: str) -> int:
    """Return where the flags begin after `s/…/…/`; -1 if a part is not closed."""
    delimiter, at = text[at : at + 1], at + 1
    if delimiter in ("", "\n", "\\"):
        return -1
    for part in range(2):
        while at < len(text) and text[at] != delimiter:
            if text[at] == "\\":
                at += 1
            elif text[at] == "[" and part == 0 and command == "s":
                closing = _BRACKET.match(text, at)
                if closing and delimiter in closing[0]:
                    return -1  # GNU sed and others differ on where this part ends
                at = closing.end() - 1 if closing else at
            at += 1
        if at >= len(text):
            return -1
        at += 1
    return at

"""What simple text commands print when their input is known: `echo … | base64 -d | sh` shows text.

May touch: strings. A command or option that is not listed has unknown output; nothing is run.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence

_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\",
    "e": "\x1b", "'": "'", '"': '"',
}  # fmt: skip
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{1,2}|u[0-9A-Fa-f]{1,4}|0?[0-7]{1,3}|.)", re.S)
_PIECE = re.compile(r"%%|%[-+ #0-9.]*[a-zA-Z]|[^%]+|%")
_LIMIT = 64 * 1024
_NEW_NAME = "/tmp/mktemp"  # noqa: S108 - what mktemp's entry calls every name that it makes
_WIDEST = 255  # the longest range of characters that is followed

Words = Sequence[str]
_Printer = Callable[[Words, str | None], str | None]


def output(argv: Words, stdin: str | None) -> str | None:
    """Return what the command prints, or None when that is not known."""
    printer = _PRINTERS.get(argv[0].rpartition("/")[2])
    printed = None if printer is None else printer(argv[1:], stdin)
    return None if printed is None or len(printed) > _LIMIT else printed


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_one_escape, text)


def _one_escape(match: re.Match[str]) -> str:
    body = match[1]
    if body[0] in "xu" and len(body) > 1:
        return chr(int(body[1:], 16))
    if body[0] in "01234567":
        # No argument can hold NUL: it parts names, as the end of a line does.
        return chr(int(body, 8) & 0xFF).replace("\0", "\n")
    return _ESCAPES.get(body, "\\" + body)


def _echo(words: Words, _: str | None) -> str:
    decode, rest = False, list(words)
    while rest and re.fullmatch(r"-[neE]+", rest[0]):
        decode = decode or "e" in rest[0]
        rest.pop(0)
    text = " ".join(rest)
    return _unescaped(text) if decode else text


def _printf(words: Words, _: str | None) -> str | None:
    if not words or words[0].startswith("-"):
        return None
    pieces, queue, printed = _PIECE.findall(words[0]), list(words[1:]), list[str]()
    consumes = any(piece in ("%s", "%b") for piece in pieces)
    while True:
        for piece in pieces:
            one = _piece(piece, queue)
            if one is None:
                return None
            printed.append(one)
        if not queue or not consumes:
            return "".join(printed)


def _piece(piece: str, queue: list[str]) -> str | None:
    if piece in ("%s", "%b"):
        value = queue.pop(0) if queue else ""
        return _unescaped(value) if piece == "%b" else value
    if piece == "%%":
        return "%"
    return None if piece.startswith("%") else _unescaped(piece)


def _dirname(words: Words, _: str | None) -> str | None:
    if len(words) != 1 or words[0].startswith("-"):
        return None
    folder = words[0].rstrip("/").rpartition("/")[0]
    return folder or ("/" if words[0].startswith("/") else ".")


def _basename(words: Words, _: str | None) -> str | None:
    if len(words) != 1 or words[0].startswith("-"):
        return None
    return words[0].rstrip("/").rpartition("/")[2]


def _mktemp(words: Words, _: str | None) -> str | None:
    return _NEW_NAME if all(word in ("-d", "-q", "-u") for word in words) else None


def _cat(words: Words, stdin: str | None) -> str | None:
    return stdin if all(word == "-" for word in words) else None


def _rev(words: Words, stdin: str | None) -> str | None:
    if words or stdin is None:
        return None
    return "\n".join(line[::-1] for line in stdin.split("\n"))


def _tr(words: Words, stdin: str | None) -> str | None:
    if stdin is None or len(words) != 2 or words[0].startswith("-"):  # noqa: PLR2004 - two sets
        return None
    left, right = _characters(words[0]), _characters(words[1])
    if not left or not right:
        return None
    right += right[-1] * (len(left) - len(right))
    return stdin.translate({ord(a): b for a, b in reversed(list(zip(left, right, strict=False)))})


def _characters(text: str) -> str:
    spans = re.findall(r"(.)-(.)", text)
    if "[:" in text or "\\" in text or any(ord(b) - ord(a) > _WIDEST for a, b in spans):
        return ""
    return re.sub(r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1))), text)


def _xxd(words: Words, stdin: str | None) -> str | None:
    letters = {letter for word in words for letter in word[1:]}
    if stdin is None or not {"r", "p"} <= letters or not _reads_stdin(words):
        return None
    return _decoded(lambda: bytes.fromhex(re.sub(r"\s", "", stdin)))


def _decoder(decode: Callable[[str], bytes]) -> _Printer:
    def printer(words: Words, stdin: str | None) -> str | None:
        if stdin is None or not _decodes(words):
            return None
        return _decoded(lambda: decode(stdin))

    return printer


def _openssl(words: Words, stdin: str | None) -> str | None:
    if stdin is None or "-d" not in words or not {"base64", "-base64", "-a"} & set(words):
        return None
    if not set(words) <= {"enc", "base64", "-base64", "-a", "-A", "-d"}:
        return None
    return _decoded(lambda: base64.b64decode(stdin))


def _decodes(words: Words) -> bool:
    decode = r"-[iw]*[dD][i]*|--d(?:e(?:c(?:o(?:de?)?)?)?)?"
    return _reads_stdin(words) and any(re.fullmatch(decode, word) for word in words)


def _reads_stdin(words: Words) -> bool:
    """Return whether no word names a file: then what is decoded came through the pipe."""
    values = {at + 1 for at, word in enumerate(words) if word in ("-w", "--wrap")}
    return all(word[:1] == "-" or at in values for at, word in enumerate(words))


def _decoded(decode: Callable[[], bytes]) -> str | None:
    try:
        return decode().decode("utf-8", "replace").rstrip("\n")
    except (ValueError, binascii.Error):
        return None


_PRINTERS: Mapping[str, _Printer] = {
    "echo": _echo, "printf": _printf, "dirname": _dirname, "basename": _basename, "cat": _cat,
    "tee": _cat, "rev": _rev, "tr": _tr, "xxd": _xxd, "base64": _decoder(base64.b64decode),
    "base32": _decoder(lambda text: base64.b32decode(text.strip())), "openssl": _openssl,
    "mktemp": _mktemp,
}  # fmt: skip
PRINTED = frozenset(_PRINTERS)

"""What follows a `$` or a backquote, and `$'..'`: read exactly as bash reads it, or refused.

The grammar above (grammar.py) supplies `substituted`, the commands inside `$( )`.
Source: Bash Reference Manual §3.1.2.4 and §3.5.3 to §3.5.5; subst.c where the manual is silent.
"""

import re
from abc import ABC, abstractmethod

import policy.shell.tree as t
from policy.shell.cursor import MAX_DEPTH, Cursor
from policy.shell.tildes import Context

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[1-9@*#?$!]")
_SAFE = r"[A-Za-z0-9_./:@%+=,-]*"
_PARAMETER = re.compile(
    r"(?P<length>\#)?(?P<name>[A-Za-z_][A-Za-z0-9_]*|[1-9][0-9]?|[@*#?$!])"
    r"(?:(?P<default>:?[-+?]|%%?|\#\#?)(?P<operand>[A-Za-z0-9_./:@%+=,*?-]*)"
    r"|(?P<case>\^\^?|,,?)"
    r"|(?P<index>\[(?:[@*]|0|[1-9][0-9]{0,2})\])"
    rf"|(?P<replace>//?)(?P<change>[A-Za-z0-9_.:@+=,*?-]+(?:/{_SAFE})?)"
    r"|(?P<slice>:)(?P<range>[0-9]+(?::[0-9]+)?))?\}"
)
_ARITHMETIC = re.compile(r"(?:[A-Za-z0-9_ \t+\-*/%<>=!&|^~?:,]|\$(?!\())+|[()]")
# What these hold depends on how the shell was started, or on the script's own text or layout.
_SHOWS_TEXT = re.compile(
    r"BASH(?!PID$|_VERSION$|_REMATCH$)|LINENO$|FUNCNAME$|HISTCMD$|PS[0-4]$|_$|SHELLOPTS$"
)
_ESCAPES = {
    "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r",
    "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"', "?": "?",
}  # fmt: skip
_ANSI = re.compile(
    r"[^\\']+|\\(?:(?P<letter>[abeEfnrtv\\'\"?])|(?P<octal>[0-7]{1,3})"
    r"|x(?P<byte>[0-9A-Fa-f]{1,2})|(?:u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})))"
)
_ASCII, _BYTE, _LAST_CHARACTER = 0x80, 0xFF, 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)


class ExpansionReader(Cursor, ABC):
    """Reads one expansion at the cursor."""

    @abstractmethod
    def substituted(self, closing: str) -> t.Sequence:
        """Read commands from just inside `$(`, `<(` or a backquote to just after `closing`."""

    def dollar(self, *, quoted: bool, context: Context) -> t.Part:
        """Read what a `$` or a backquote begins."""
        never_split = quoted or context is Context.VALUE
        if self.at("`"):
            return self._backquoted(never_split)
        if found := _NAME.match(self.text, self.pos + 1):
            name = self._shown(found.group(), never_split and not quoted)
            self.pos = found.end()
            return t.Variable(name, never_split)
        if self.took("$(("):
            inner = list[t.Substitution]()
            return t.Arithmetic(self.arithmetic(inner), never_split, tuple(inner))
        if self.took("$("):
            return t.Substitution(self.substituted(")"), never_split)
        if self.at("${"):
            return self._parameter(never_split, never_split and not quoted)
        return self._lone_dollar(quoted)

    def _lone_dollar(self, quoted: bool) -> t.Literal:
        follower = self.text[self.pos + 1 : self.pos + 2]
        if follower == "'" and not quoted:
            return self._ansi_quoted()
        if follower == '"' and not quoted:
            raise self.refuse("translated string")
        if follower and follower in "[-0":
            raise self.refuse(f"${follower}")
        self.pos += 1
        return t.Literal("$")

    def _shown(self, name: str, is_bare_value: bool) -> str:
        if _SHOWS_TEXT.match(name):
            raise self.refuse("variable that shows the script")
        if is_bare_value and name in "@*":
            raise self.refuse(f"unquoted ${name} in a value")
        return name

    def _backquoted(self, quoted: bool) -> t.Substitution:
        self.spend(4)
        close = self.text.find("`", self.pos + 1)
        inside = self.text[self.pos + 1 : close]
        if close < 0 or "\\" in inside or (quoted and '"' in inside):
            raise self.refuse("quoting inside backquotes")
        self.pos += 1
        return t.Substitution(self.substituted("`"), quoted)

    def _parameter(self, quoted: bool, is_bare_value: bool) -> t.Part:
        found = _PARAMETER.match(self.text, self.pos + 2)
        if not found or (found["length"] and found["name"] == "#"):
            raise self.refuse("parameter expansion")
        if found["index"]:
            return self._element(found, quoted, is_bare_value)
        name = self._shown(found["name"], is_bare_value)
        operator = found["default"] or found["case"] or found["replace"] or found["slice"] or ""
        operand = found["operand"] or found["change"] or found["range"] or ""
        if operator and (found["length"] or name in "@*#?$!"):
            raise self.refuse("parameter expansion")
        if operator[-1:] in ("-", "+", "?") and ("*" in operand or "?" in operand):
            raise self.refuse("pattern in a default")
        self.pos = found.end()
        if not operator and not found["length"]:
            return t.Variable(name, quoted)
        return t.Parameter(name, operator or "length", operand, quoted)

    def _element(self, found: re.Match[str], quoted: bool, is_bare_value: bool) -> t.Parameter:
        """Read an element of an array, or all of them."""
        name, index = self._shown(found["name"], False), found["index"]
        is_list = index in ("[@]", "[*]")
        if (
            not name.isidentifier()
            or (is_bare_value and is_list)
            or (found["length"] and not is_list)
        ):
            raise self.refuse("array element")
        self.pos = found.end()
        operator, operand = ("length", "[@]") if found["length"] else (index, "")
        return t.Parameter(name, operator, operand, quoted)

    def arithmetic(self, inner: list[t.Substitution] | None = None) -> str:
        """Read an expression from just inside it to just after the `))` that closes it.

        Substitutions in it are added to `inner`; without one they are refused.
        """
        start, depth, read = self.pos, 0, list[str]()
        self.counts = True
        while 0 <= depth <= MAX_DEPTH:
            if inner is not None and self.at("$(") and not self.at("$(("):
                self.pos += len("$(")
                inner.append(t.Substitution(self.substituted(")"), quoted=True))
                read.append("$()")
                continue
            found = _ARITHMETIC.match(self.text, self.pos)
            if not found:
                break
            if not depth and self.took("))"):
                return "".join(read).strip(" \t")
            depth += {"(": 1, ")": -1}.get(found.group(), 0)
            self.pos = found.end()
            read.append(found.group())
        raise self.refuse("arithmetic", start)

    def _ansi_quoted(self) -> t.Literal:
        pos, decoded = self.pos + 2, list[str]()
        while found := _ANSI.match(self.text, pos):
            decoded.append(self._ansi_piece(found))
            pos = found.end()
        if not self.text.startswith("'", pos):
            raise self.refuse("$'..' quote")
        self.pos = pos + 1
        # INVARIANT: bytes written one by one join to the characters they encode, so equal
        # strings are equal values.
        joined = "".join(decoded).encode("utf-8", "surrogateescape")
        return t.Literal(joined.decode("utf-8", "surrogateescape"))

    def _ansi_piece(self, found: re.Match[str]) -> str:
        """Return a run, or one code: a byte for `\\nnn` and `\\xHH`, a character for `\\u`."""
        if found["letter"]:
            return _ESCAPES[found["letter"]]
        octal, byte, character = found["octal"], found["byte"], found["u"] or found["U"]
        if not (octal or byte or character):
            return found.group()
        code = int(octal, 8) if octal else int(byte or character, 16)
        if not code or code in _SURROGATES or code > (_LAST_CHARACTER if character else _BYTE):
            raise self.refuse("$'..' code", found.start())
        return chr(code) if character or code < _ASCII else chr(0xDC00 + code)

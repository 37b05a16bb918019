"""What awk text reaches beyond its input: commands, files, sockets, the environment.

May touch: strings. The text is tokenised, not searched: a `|` in a string is no pipe.
Source: POSIX.1-2024 awk; gawk 5.2 manual (|&, /inet, @load, indirect calls).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from policy.programs.findings import Finding, Runs, Touches, Unknown

_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<string>"(?:\\.|[^"\\])*")|(?P<name>@?[A-Za-z_][\w:]*)
    |(?P<number>\d[\w.]*|\.\d+)|(?P<space>\s+)
    |(?P<op>>>|\|&|\|\||&&|[<>=!+\-*/%^~]=|\+\+|--|\S)""",
    re.X | re.S,
)
# A slash inside brackets ends the expression for some awks and not for others: no match.
_REGEX = re.compile(r"/(?:\\.|\[\^?\]?(?:\\.|[^\]\\/\n])*\]|[^/\\\n\[])*/")
_REGEX_FOLLOWS = frozenset(["(", "{", ",", ";", "!", "~", "&&", "||", "!=", "==", "\n", "}", "?",
                            ":", "|", "=", "print", "in", "return", "!~"])  # fmt: skip
_LOADS = frozenset({"@load", "@include", "@namespace", "extension"})


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def literal(self) -> str | None:
        """Return what a string token says."""
        if self.kind != "string":
            return None
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), self.text[1:-1])


_END = _Token("end", "")


def awk(text: str) -> Iterator[Finding]:
    """Yield what the text of an awk program reaches beyond its input."""
    tokens = _tokens(text)
    if tokens is None:
        yield Unknown("awk text that does not parse")
        return
    scan = _Scan(tokens)
    for index in range(len(tokens)):
        yield from scan.at(index)


def _tokens(text: str) -> list[_Token] | None:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at] == "/" and (not tokens or tokens[-1].text in _REGEX_FOLLOWS):
            found = _REGEX.match(text, at)
            kind = "regex"
        else:
            found = _TOKEN.match(text, at)
            kind = (found.lastgroup if found else None) or "op"
        if found is None or found[0] == '"':
            return None
        if kind not in ("space", "comment"):
            tokens.append(_Token(kind, found[0]))
        elif "\n" in found[0]:
            tokens.append(_Token("op", "\n"))
        at = found.end()
    return tokens


class _Scan:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._printing, self._depth = tokens, False, 0

    def _near(self, index: int) -> _Token:
        return self._tokens[index] if 0 <= index < len(self._tokens) else _END

    def at(self, index: int) -> Iterator[Finding]:
        token = self._tokens[index]
        self._follow(token)
        if token.kind == "name":
            yield from self._name(index, token.text)
        elif token.kind == "op" and token.text == "@":
            yield Unknown("an awk function whose name is computed")
        elif token.kind == "op" and token.text in ("|", "|&"):
            yield self._pipe(index)
        elif token.text in (">", ">>") and self._printing and self._depth <= 0:
            yield self._file("fs.write", index)
        elif token.kind == "op" and token.text == "<" and self._after_getline(index):
            yield self._file("fs.read", index)
        elif (token.literal or "").startswith("/inet"):
            yield Touches("net.connect", token.literal or "")
            if self._commands_from_variables():
                yield Touches("code.exec", "<network>")

    def _follow(self, token: _Token) -> None:
        """Keep track of whether `>` is a redirection: inside print, outside parentheses."""
        if token.kind == "name" and token.text in ("print", "printf"):
            self._printing, self._depth = True, 0
        elif token.text in ("\n", ";", "}", "{"):
            self._printing = False
        elif token.text in ("(", "["):
            self._depth += 1
        elif token.text in (")", "]"):
            self._depth -= 1

    def _name(self, index: int, name: str) -> Iterator[Finding]:
        if name == "system" or name.endswith("::system"):
            text = self._near(index + 2).literal
            whole = self._near(index + 1).text == "(" and self._near(index + 3).text == ")"
            yield Runs(text) if text is not None and whole else Unknown("awk system")
        elif name == "ENVIRON":
            yield Touches("credential.read", "<a variable>")
        elif name in ("ARGV", "ARGC"):
            yield Unknown("awk changes its arguments")
        elif name in _LOADS or name.startswith("@"):
            yield Unknown(f"awk {name}")

    def _commands_from_variables(self) -> bool:
        """Return whether a second variable names what is read from, beside the socket's."""
        ends = [at - 2 for at, token in enumerate(self._tokens) if token.text == "getline"]
        return len({self._near(at).text for at in ends if self._near(at + 1).text == "|&"}) > 1

    def _pipe(self, index: int) -> Finding:
        before, after = self._near(index - 1).literal, self._near(index + 1)
        ends = self._near(index + 2).text in ("", ";", "}", "\n")
        if self._printing and after.literal is not None and ends:
            return Runs(after.literal)
        alone = self._near(index - 2).kind in ("op", "end")
        if after == _Token("name", "getline") and before is not None and alone:
            return Runs(before)
        return Unknown("awk pipe")

    def _file(self, operation: str, index: int) -> Finding:
        path = self._near(index + 1).literal
        more = self._near(index + 2)
        if path is None or more.kind in ("string", "name", "number") or more.text in ("(", "$"):
            return Unknown("awk opens a file whose name is computed")
        return Touches(operation, path)

    def _after_getline(self, index: int) -> bool:
        getline = _Token("name", "getline")
        return any(self._near(index - back) == getline for back in range(1, 8))

"""Characters to words: quoting, patterns, and the expansions inside them.

A cursor over the text that either reads exactly what bash reads or raises RefusalError. It never
skips a character: a word ends only at an unquoted metacharacter, so two readers cannot disagree on
its end.
Source: Bash Reference Manual 5.2, §3.1.2 Quoting, §3.5 Shell Expansions.
"""

import re

import policy.shell.tree as t
from policy.shell import braces
from policy.shell.braces import Atom, Bare
from policy.shell.expansions import ExpansionReader
from policy.shell.tildes import Context, finished

ODD_SPACES = (
    "\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f"
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+=,^-]+(?=[ \t\n;|&)]|\Z)")
_BARE = re.compile(rf"[^\s\\'\"$`*?\[{{}}~()<>|&;#{ODD_SPACES}]+|#")
_QUOTED = re.compile(r"[^\"\\$`]+")
_BODY = re.compile(r"[^\\$`]+")
_BRACKET = re.compile(r"\[[!^]?\]?(?:\[:[a-z]+:\]|[A-Za-z0-9_.,:@%+=^-])*\]")
_UNCLOSED = re.compile(r"[^\s\]'\"\\$`;|&)]{1,256}(?=[\s;|&)]|\Z)")
_ENDS = frozenset(" \t\n;|&)")


class WordReader(ExpansionReader):
    """Reads words at the cursor, one at a time."""

    def __init__(self, text: str, depth: int = 0) -> None:
        super().__init__(text, depth)
        self.line_bound = -1  # the newline after which a pending here-document starts
        self.heredoc_at = -1

    def word(self, context: Context) -> t.Word:
        """Read one word where bash does not expand braces."""
        return finished(self._atoms(context), context, self)

    def single_word(self, context: Context) -> t.Word:
        """Read one word where bash expands braces but several words would be an error."""
        start, atoms = self.pos, self._atoms(context)
        if braces.has_brace(atoms):
            raise self.refuse("brace where one word is expected", start)
        return finished(atoms, context, self)

    def arguments(self) -> list[t.Word]:
        """Read one written word; brace expansion may make several of it."""
        self.spend()
        if found := _PLAIN.match(self.text, self.pos):
            self.pos = found.end()
            return [t.Word((t.Literal(found.group()),))]
        start, atoms = self.pos, self._atoms(Context.ARGUMENT)
        if self.text[self.pos : self.pos + 1] in ("<", ">") and self.text[start] == "{":
            raise self.refuse("{name} before a redirection", start)
        if not braces.has_brace(atoms):
            return [finished(atoms, Context.ARGUMENT, self)]
        # What braces made is no assignment to bash: only a leading tilde counts, as in a pattern.
        made = braces.expanded(atoms, self)
        self.spend(sum(map(len, made)))
        return [finished(one, Context.PATTERN, self) for one in made]

    def body(self, start: int, close: int) -> t.Word:
        """Return the word that an unquoted here-document body is; the cursor stays."""
        resume = self.pos
        self.pos = start
        atoms = self._expandable(_BODY, "", close)
        if self.pos != close:
            raise self.refuse("here-document expansion", start)
        self.pos = resume
        return finished(atoms, Context.VALUE, self)

    def _atoms(self, context: Context) -> list[Atom]:
        start, atoms = self.pos, list[Atom]()
        while self.pos < self.end and (read := self._atom(context, start)) is not None:
            self.spend()
            atoms.extend(read)
        if not atoms:
            raise self.refuse("a word was expected")
        if start > self.heredoc_at >= 0 and start <= self.line_bound < self.pos:
            raise self.refuse("word across the line of a here-document", start)
        return atoms

    def _atom(self, context: Context, start: int) -> list[Atom] | None:
        """Read the next piece of the word; None at its end."""
        if found := _BARE.match(self.text, self.pos):
            self.pos = found.end()
            return [Bare(found.group())]
        char = self.text[self.pos]
        if char in _ENDS or (char in "<>" and not self.text.startswith("(", self.pos + 1)):
            return None
        if char in "'\"\\":
            return self._quoted(char)
        if char in "$`":
            return [self.dollar(quoted=False, context=context)]
        return self._marked(char, context, start)

    def _quoted(self, char: str) -> list[Atom]:
        match char:
            case "'":
                return [self._single_quoted()]
            case "\\":
                return self._escaped()
            case _:
                self.pos += 1
                return self._expandable(_QUOTED, '"', self.end) or [t.Literal("")]

    def _marked(self, char: str, context: Context, start: int) -> list[Atom]:
        match char:
            case "*" | "?" | "[":
                return [self._glob(char, context)]
            case "{" | "}" | "~":
                self.pos += 1
                return [Bare(char)]
            case "<" | ">" if self.pos == start:
                self.pos += 2
                return [t.ProcessSubstitution(char, self.substituted(")"))]
            case "<" | ">":
                raise self.refuse("process substitution inside a word")
            case "(":
                raise self.refuse("extended pattern, array or stray parenthesis")
            case _:
                raise self.refuse("space or invisible character outside quotes")

    def _single_quoted(self) -> t.Literal:
        close = self.text.find("'", self.pos + 1)
        if close < 0:
            raise self.refuse("unterminated quote")
        content, self.pos = self.text[self.pos + 1 : close], close + 1
        return t.Literal(content)

    def _escaped(self) -> list[Atom]:
        if self.pos + 1 >= self.end:
            raise self.refuse("backslash at the end")
        char, self.pos = self.text[self.pos + 1], self.pos + 2
        return [Bare("")] if char == "\n" else [t.Literal(char)]

    def _expandable(self, run: re.Pattern[str], close: str, stop: int) -> list[Atom]:
        """Read `"..."` after its opening, or a here-document body, up to `close` or to `stop`."""
        start, parts = self.pos, list[Atom]()
        while self.pos < stop:
            self.spend()
            if found := run.match(self.text, self.pos, stop):
                self.pos = found.end()
                parts.append(t.Literal(found.group()))
            elif self.at("\\"):
                parts.append(self._escaped_in_quotes(close))
            elif close and self.took(close):
                return parts
            else:
                parts.append(self.dollar(quoted=True, context=Context.VALUE))
        if close:
            raise self.refuse("unterminated quote", start)
        return parts

    def _escaped_in_quotes(self, close: str) -> t.Literal:
        char = self.text[self.pos + 1 : self.pos + 2]
        self.pos += 2
        if char == "\n":
            if not close:
                raise self.refuse("line continuation in a here-document")
            return t.Literal("")
        return t.Literal(char if char and char in "$`\\" + close else "\\" + char)

    def _glob(self, char: str, context: Context) -> t.Part:
        found = _BRACKET.match(self.text, self.pos) if char == "[" else None
        if char == "[" and not found:
            return self._stray_bracket()
        token = found.group() if found else char
        self.pos += len(token)
        return t.Literal(token) if context is Context.VALUE else t.Glob(token)

    def _stray_bracket(self) -> t.Literal:
        """Read a `[` that opens nothing: no `]` follows before the word surely ends."""
        self.spend(4)
        if not _UNCLOSED.match(self.text, self.pos):
            raise self.refuse("bracket expression")
        self.pos += 1
        return t.Literal("[")

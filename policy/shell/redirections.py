"""Blanks, redirections and here-documents.

A here-document's body lies after the line that names it: `bodies` remembers where, so that the
lines can be stepped over when reading gets there.
Source: Bash Reference Manual §3.6.
"""

import re

import policy.shell.tree as t
from policy.shell.tildes import Context
from policy.shell.words import WordReader

REDIRECT = re.compile(r"([0-9]{1,3})?(&>>|&>|<<<|<<-|<<|<>|<&|>>|>&|>\||<(?!\()|>(?!\())")
RESERVED = re.compile(
    r"(?:if|then|elif|else|fi|for|while|until|do|done|case|esac|function|select|time|coproc|in"
    r"|[!{}]|\[\[)(?=[ \t\n;|&()<>]|\\\n|\Z)"
)
_BLANK = re.compile(r"(?:[ \t]|\\\n)+")
_SKIPPED = (" ", "\t", "\\", "#")
_COMMENT = re.compile(r"#[^\n]*")
_DELIMITER = re.compile(
    r"(?:([A-Za-z0-9_.+%@-]+)|'([A-Za-z0-9_.+%@ -]*)'|\"([A-Za-z0-9_.+%@ -]*)\")"
    r"(?=[ \t\n;|&<>)]|\Z)"
)
_EXPANDS = re.compile(r"[\\$`]")
_LEADING_TABS = re.compile(r"(?m)^\t+")
_DESCRIPTOR = re.compile(r"[0-9]{1,3}-?|-")
_PLAIN_FILE = re.compile(r"[A-Za-z_./][A-Za-z0-9_./+@%:,=-]*")


class RedirectionReader(WordReader):
    """Reads redirections, and steps over blanks, comments, lines and here-document bodies."""

    def __init__(self, text: str, depth: int = 0) -> None:
        super().__init__(text, depth)
        self.bodies = dict[int, int]()  # here-document bodies: first character -> first after

    def blank(self) -> None:
        """Skip blanks and a comment."""
        if self.text[self.pos : self.pos + 1] not in _SKIPPED:
            return
        if found := _BLANK.match(self.text, self.pos):
            self.pos = found.end()
        if self.at("#") and (found := _COMMENT.match(self.text, self.pos)):
            self.pos = found.end()

    def lines(self) -> None:
        """Skip blanks, comments and newlines; step over here-document bodies."""
        self.blank()
        while self.at("\n"):
            self.pos = self.bodies.get(self.pos + 1, self.pos + 1)
            self.blank()

    def reserved(self) -> str:
        """Return the reserved word at the cursor, or nothing."""
        found = RESERVED.match(self.text, self.pos)
        return found.group() if found else ""

    def at_end(self) -> bool:
        """Return whether a simple command or a list of words ends here."""
        if self.pos >= self.end:
            return True
        return self.text[self.pos] in "\n;|&)" and not self.at("&>")

    def redirection(self, found: re.Match[str]) -> t.Redirect:
        """Read the rest of a redirection whose operator REDIRECT has matched."""
        self.spend(2)
        self.pos = found.end()
        fd, operator = int(found[1]) if found[1] else None, found[2]
        if fd is not None and operator.startswith("&"):
            raise self.refuse("descriptor before &>")
        if operator in ("<<", "<<-"):
            return self._here_document(fd, strip_tabs=operator == "<<-")
        self.blank()
        start = self.pos
        if operator == "<<<":
            return t.Redirect(fd, operator, self.word(Context.VALUE))
        target = self.single_word(Context.ARGUMENT)
        if operator in ("<&", ">&"):
            return self._duplicate(fd, operator, target, start)
        if any(isinstance(part, t.Glob) for part in target.parts):
            raise self.refuse("pattern as a redirection target", start)
        return t.Redirect(fd, operator, target)

    def _duplicate(self, fd: int | None, operator: str, target: t.Word, start: int) -> t.Redirect:
        written = self.text[start : self.pos]
        if _DESCRIPTOR.fullmatch(written):
            return t.Redirect(fd, operator, target)
        # `>& file` is an old spelling of `&> file`.
        if operator == ">&" and fd is None and _PLAIN_FILE.fullmatch(written):
            return t.Redirect(None, "&>", target)
        raise self.refuse("duplicated descriptor", start)

    def _here_document(self, fd: int | None, *, strip_tabs: bool) -> t.Redirect:
        operator_at = self.pos
        self.blank()
        found = _DELIMITER.match(self.text, self.pos)
        if not found:
            raise self.refuse("here-document delimiter")
        self.pos = found.end()
        start, close = self._body_bounds(found, operator_at, strip_tabs)
        written = self.text[start:close]
        if not written:
            return t.Redirect(fd, "<", t.Word((t.Literal("/dev/null"),)))
        if found[1] is None or not _EXPANDS.search(written):
            plain = _LEADING_TABS.sub("", written) if strip_tabs else written
            return t.Redirect(fd, "<<<", t.Word((t.Literal(plain[:-1]),)))
        if strip_tabs:
            raise self.refuse("expansion in a <<- here-document", operator_at)
        return t.Redirect(fd, "<<<", self._expanded_body(start, close))

    def _body_bounds(
        self, delimiter: re.Match[str], operator_at: int, strip_tabs: bool
    ) -> tuple[int, int]:
        """Return where the body begins and ends, and remember to step over it."""
        line_end = self.text.find("\n", self.pos)
        if line_end < 0:
            raise self.refuse("here-document without an end", operator_at)
        start = self.bodies.get(line_end + 1, line_end + 1)
        tabs = r"\t*" if strip_tabs else ""
        name = re.escape(next((group for group in delimiter.groups() if group is not None), ""))
        found = re.compile(rf"^{tabs}{name}(?:\n|\Z)", re.M).search(self.text, start)
        if not found:
            raise self.refuse("here-document without an end", operator_at)
        self.bodies[line_end + 1] = found.end()
        self.line_bound, self.heredoc_at = line_end, operator_at
        return start, found.start()

    def _expanded_body(self, start: int, close: int) -> t.Word:
        bound = self.line_bound, self.heredoc_at
        # A here-string adds the last newline again.
        word = self.body(start, close - 1)
        self.line_bound, self.heredoc_at = bound
        if any(map(is_list, word.parts)):
            raise self.refuse("list in a here-document", start)
        return word


def is_list(part: t.Part) -> bool:
    """Return whether an expansion is a list, which bash joins where it does not split."""
    match part:
        case t.Variable(name="@" | "*") | t.Parameter(operator="[@]" | "[*]"):
            return True
        case _:
            return False

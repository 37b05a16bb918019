"""Opaque text, searched generously for the simple commands that are in it.

What is found here can only make an answer stricter: text without a tree is never allowed, so a
command that is missed costs a denial that becomes a question, and no more. The scanner therefore
never refuses: it splits at every operator, looks into substitutions, quotes that bash may evaluate,
here-documents and the arguments of `eval`, and reads each word strictly if it can be, crudely if
not. Total and linear: tokens, fragments and word pieces are counted.
"""

import re
from collections import deque
from dataclasses import dataclass, field

import policy.shell.tree as t
from policy.shell.commands import Found
from policy.shell.cursor import MAX_BYTES, RefusalError
from policy.shell.grammar import Grammar

MAX_TOKENS = 1200
MAX_COMMANDS = 150
MAX_FRAGMENTS = 64
MAX_PIECES = 800
MAX_NESTING = 12
MAX_STRICT_WORD = 1000  # characters; longer words are read crudely

# Bash drops NUL; the others are not there for a reader's eye.
_INVISIBLE = re.compile("[\x00\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_ODD_BLANK = re.compile("[\x01-\x08\x0b-\x1f\x7f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_TOKEN = re.compile(
    r"(?P<part>\\.|'[^']*'|\$'(?:\\.|[^'\\])*'|[^\s\\'\"$`;|&()<>#]+)"
    r"|(?P<blank>[ \t]+|\\\n)|(?P<open>[$<>]\()|(?P<redirect>&>>?|<<<|<<-?|<>|[<>]&|>>|>\||[<>])"
    r"|(?P<end>[;|&(\n]+)|(?P<close>\))|(?P<tick>`)|(?P<quote>\")|(?P<comment>#[^\n]*)|(?P<other>.)",
    re.S,
)
_QUOTED = re.compile(
    r"(?P<part>\\.|[^\\\"$`]+)|(?P<open>\$\()|(?P<tick>`)|(?P<quote>\")|(?P<other>.)", re.S
)
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]]*\])?(\+?)=")
_CRUDE = re.compile(r"['\"\\]")
_COMPUTED = re.compile(r"[$`<>]")
_HIDES_CODE = re.compile(r"\$\(|`")
_LEADS = frozenset(
    {
        "if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "time", "coproc",
        "done", "fi", "esac",
    }
)  # fmt: skip
_NO_COMMAND = frozenset({"for", "select", "case", "[[", "function"})
_PREFIXES = frozenset({"command", "builtin", "exec"})
_RUNS_TEXT = frozenset(
    {
        "eval", "trap", "alias", "let", "bind", "complete", "compgen", "mapfile", "readarray",
        "fc", "declare", "typeset", "local", "export", "readonly",
    }
)  # fmt: skip
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ssh", "su", "sudo", "source", "eval"})


def found_in(text: str) -> list[Found]:
    """Return every simple command that can be found in text that has no tree. Never raises."""
    search = _Search(_ODD_BLANK.sub(" ", _INVISIBLE.sub("", text[:MAX_BYTES])))
    while search.fragments and search.goes_on():
        fragment, is_quoted = search.fragments.popleft()
        _Scan(search, fragment, is_quoted).run()
    return search.found


class _Search:
    """What all fragments of one text share."""

    def __init__(self, text: str) -> None:
        self.found = list[Found]()
        self.fragments = deque([(text, False)])
        self.budget = MAX_TOKENS
        self.pieces = MAX_PIECES
        self.added = 1

    def goes_on(self) -> bool:
        """Return whether more may be spent."""
        return self.budget > 0 and len(self.found) < MAX_COMMANDS

    def add(self, fragment: str, *, is_quoted: bool) -> None:
        """Search this text too; quoted, only its substitutions are commands."""
        if self.added < MAX_FRAGMENTS and fragment.strip():
            self.added += 1
            self.fragments.append((fragment, is_quoted))

    def words(self, written: str) -> list[t.Word]:
        """Return what one written word becomes: strictly read if it can be, crudely if not."""
        if self.pieces > 0 and len(written) <= MAX_STRICT_WORD:
            grammar = Grammar(written)
            try:
                words = grammar.arguments()
            except RefusalError:
                words = []
            self.pieces -= grammar.work
            if words and grammar.pos == grammar.end:
                return words
        return [_crude(written)]

    def looked_at(self, words: list[t.Word]) -> None:
        """Search what bash may evaluate again: quoted substitutions, arguments of `eval`."""
        literals = [word.literal or "" for word in words]
        for literal in literals:
            if _HIDES_CODE.search(literal):
                self.add(literal, is_quoted=True)
        while literals and literals[0] in _PREFIXES:
            literals = literals[1:]
        if literals and literals[0] == "eval":
            self.add(" ".join(literals[1:]), is_quoted=False)
        elif literals and literals[0] in _RUNS_TEXT:
            for literal in literals[1:]:
                self.add(literal[literal.find("=") + 1 :], is_quoted=False)


def _crude(written: str) -> t.Word:
    bare = _CRUDE.sub("", written)
    computed = _COMPUTED.search(bare)
    if not computed:
        return t.Word((t.Literal(bare),))
    lead = (t.Literal(bare[: computed.start()]),) if computed.start() else ()
    return t.Word((*lead, t.Variable("*", quoted=False)))


@dataclass(slots=True)
class _Frame:
    """A command being collected, inside the substitution or the quotes that `closing` ends."""

    closing: str
    start: int = -1  # where the current word begins
    redirect: tuple[int | None, str] | None = None
    words: list[str] = field(default_factory=list)
    redirects: list[tuple[int | None, str, str]] = field(default_factory=list)


class _Scan:
    """One pass over one fragment, with a stack of frames for what is inside what."""

    def __init__(self, search: _Search, text: str, is_quoted: bool) -> None:
        self.search, self.text, self.pos = search, text, 0
        self.frames = [_Frame("")]
        self.heredocs = list[tuple[str, bool]]()  # delimiters, and whether a shell reads the body
        if is_quoted:
            self._push("never")

    def run(self) -> None:
        """Scan to the end of the fragment or of the budget."""
        while self.pos < len(self.text) and self.search.goes_on():
            self.search.budget -= 1
            is_quoted = self.frames[-1].closing in ('"', "never")
            found = (_QUOTED if is_quoted else _TOKEN).match(self.text, self.pos)
            if not found:  # pragma: no cover - both patterns end in one that matches anything
                return
            self._token(found, is_quoted)
        while self.frames:
            self._end_command()
            self.frames.pop()

    def _token(self, found: re.Match[str], is_quoted: bool) -> None:
        start, self.pos = self.pos, found.end()
        match found.lastgroup:
            case "blank":
                self._end_word(start)
            case "end":
                self._ended(found, start)
            case "redirect":
                self._redirect(found.group(), start)
            case "comment" if self.frames[-1].start < 0:
                pass
            case "comment":
                self.pos = start + 1
            case "close" if self.frames[-1].closing != ")":
                self._end_word(start)
                self._end_command()
            case _:
                self._nesting(found.lastgroup, start, is_quoted)

    def _nesting(self, kind: str | None, start: int, is_quoted: bool) -> None:
        """Begin or go on with a word; enter or leave what may be nested in it."""
        if self.frames[-1].start < 0:
            self.frames[-1].start = start
        match kind:
            case "open":
                self._push(")")
            case "close":
                self._pop(start)
            case "tick" if self.frames[-1].closing == "`":
                self._pop(start)
            case "tick":
                self._push("`")
            case "quote" if is_quoted:
                self._pop(start)
            case "quote":
                self._push('"')
            case _:
                pass

    def _push(self, closing: str) -> None:
        if len(self.frames) < MAX_NESTING:
            self.frames.append(_Frame(closing))
        else:
            self._end_command()

    def _pop(self, at: int) -> None:
        if self.frames[-1].closing == "never":
            return
        self._end_word(at)
        self._end_command()
        self.frames.pop()

    def _ended(self, found: re.Match[str], start: int) -> None:
        self._end_word(start)
        self._end_command()
        if "\n" in found.group() and self.heredocs:
            self.pos = start + found.group().index("\n") + 1
            self._bodies()

    def _redirect(self, operator: str, start: int) -> None:
        frame = self.frames[-1]
        fd = None
        if frame.start >= 0 and self.text[frame.start : start].isdecimal():
            fd, frame.start = int(self.text[frame.start : start][:3]), -1
        self._end_word(start)
        frame.redirect = (fd, operator)

    def _end_word(self, at: int) -> None:
        frame = self.frames[-1]
        if frame.start < 0:
            return
        written, frame.start = self.text[frame.start : at], -1
        if frame.closing in ('"', "never"):
            return
        if frame.redirect:
            fd, operator = frame.redirect
            frame.redirect = None
            if operator in ("<<", "<<-"):
                self.heredocs.append((_CRUDE.sub("", written), _has_shell(frame.words)))
                return
            frame.redirects.append((fd, operator, written))
        elif written == "{":
            self._end_command()
        else:
            frame.words.append(written)

    def _end_command(self) -> None:
        frame = self.frames[-1]
        self._end_word(self.pos)
        written, redirects = frame.words, frame.redirects
        frame.words, frame.redirects, frame.redirect = [], [], None
        while written and written[0] in _LEADS:
            written = written[1:]
        if written and written[0] in _NO_COMMAND:
            return
        if written or redirects:
            self._found(written, redirects)

    def _found(self, written: list[str], redirects: list[tuple[int | None, str, str]]) -> None:
        assignments, words = list[t.Assignment](), list[t.Word]()
        for one in written:
            named = _ASSIGN.match(one) if not words else None
            if named:
                value = self.search.words(one[named.end() :] or "''")[0]
                assignments.append(t.Assignment(named[1], value, append=bool(named[2])))
            else:
                words.extend(self.search.words(one))
        targets = tuple(
            t.Redirect(fd, operator, self.search.words(target)[0])
            for fd, operator, target in redirects
        )
        self.search.looked_at([*words, *(one.value for one in assignments)])
        self.search.found.append(Found(tuple(words), tuple(assignments), targets))

    def _bodies(self) -> None:
        """Step over the here-documents that begin at this line, and search them."""
        for delimiter, is_script in self.heredocs:
            closing = re.compile(rf"^\t*{re.escape(delimiter)}$", re.M)
            found = closing.search(self.text, self.pos)
            end = found.start() if found else len(self.text)
            self.search.add(self.text[self.pos : end], is_quoted=not is_script)
            self.pos = min(found.end() + 1 if found else end, len(self.text))
        self.heredocs = []


def _has_shell(words: list[str]) -> bool:
    return any(word.rpartition("/")[2] in _SHELLS for word in words)

"""Opaque text to a generous tree of the commands that are in it.

What is found here can only make an answer stricter: text without a tree is never allowed, so what
is missed costs a denial that becomes a question, and no more. Nothing is refused: text whose only
fault is what bash would evaluate again is read by the grammar as it stands; the rest goes through
the scanner (scan.py). What bash may evaluate (a quoted substitution, an alias) is searched too.
Total and bounded: tokens, fragments and word pieces are counted over the whole text.
"""

import re
from collections import Counter
from collections.abc import Iterator

from typing_extensions import override

import policy.shell.tree as t
from policy.shell.blocks import HIDES_CODE, Item, Late
from policy.shell.cursor import MAX_BYTES, MAX_WORK, RefusalError
from policy.shell.grammar import Grammar
from policy.shell.scan import Scan
from policy.shell.walk import nodes

MAX_TOKENS = 1600
MAX_STATEMENTS = 150
_LAST_STATEMENTS = 50
_MOST_WORDS = 32  # of a chosen command, on average
MAX_FRAGMENTS = 64
MAX_PIECES = 350  # of words, by the grammar; twice: in whole texts, in single words
_MOST_EXACT = 1300  # characters
MAX_NESTING = 4  # fragments in fragments
MAX_STRICT_WORD = 1000  # characters; longer words are read crudely

# Bash drops NUL; the others are not there for a reader's eye.
_INVISIBLE = re.compile("[\x00\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_ODD_BLANK = re.compile("[\x01-\x08\x0b-\x1f\x7f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_EXTENDED = re.compile(r"[!*?@+]\([^()'\"$`]*\)")  # patterns that shells read only if told to
_CRUDE = re.compile(r"['\"\\]")
_COMPUTED = re.compile(r"[$`<>]")
_KEEPS_CODE = frozenset({"alias", "bind", "complete", "compgen"})
_SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ssh", "su", "sudo", "source"})


def searched(text: str) -> t.Sequence:
    """Return a tree of every command that can be found in text that has no tree. Never raises."""
    visible = _ODD_BLANK.sub(" ", _INVISIBLE.sub("", text[:MAX_BYTES]))
    search = _Search()
    chosen = _foremost(search.statements(visible))
    search.tokens = MAX_STATEMENTS * _MOST_WORDS  # for what was chosen
    return t.Sequence(Scan(search, "").settled(chosen))


def _foremost(statements: list[Late]) -> list[Late]:
    """Return as many statements as may be followed: the last, and the first of each program."""
    if len(statements) <= MAX_STATEMENTS:
        return statements
    times, ranked = Counter[str | int](), list[tuple[int, int]]()
    for place, statement in enumerate(statements[:-_LAST_STATEMENTS]):
        program = statement.partition(" ")[0] if isinstance(statement, str) else place
        ranked.append((times[program], place))
        times[program] += 1
    places = sorted(place for _, place in sorted(ranked)[: MAX_STATEMENTS - _LAST_STATEMENTS])
    return [*(statements[place] for place in places), *statements[-_LAST_STATEMENTS:]]


class _Lenient(Grammar):
    """Reads what bash would evaluate again, and shows it instead of refusing it."""

    def __init__(self, text: str, search: "_Search") -> None:
        super().__init__(text)
        self.search = search

    @override
    def checked(self, command: t.Command, start: int) -> t.Command:
        return self.search.evaluated(command)


class _Search:
    """What all fragments of one text share."""

    def __init__(self) -> None:
        self.tokens, self.fragments = MAX_TOKENS, MAX_FRAGMENTS
        self.exact, self.pieces = MAX_PIECES, MAX_PIECES
        self.nesting = 0

    def statements(self, text: str) -> list[Late]:
        """Return the statements of a text: exact if the grammar can read it, crude if not."""
        grammar = _Lenient(text, self)
        grammar.work = MAX_WORK - self.exact
        try:
            if len(text) <= _MOST_EXACT:
                return list(grammar.script().statements)
        except RefusalError:
            pass
        finally:
            self.exact = max(MAX_WORK - grammar.work, 0)
        return Scan(self, text).run()

    def words(self, written: str, inner: tuple[Item, ...]) -> list[t.Word]:
        """Return what one written word becomes: strictly read if it can be, crudely if not."""
        if "(" in written:
            written = _EXTENDED.sub("*", written)
        if self.pieces > 0 and len(written) <= MAX_STRICT_WORD:
            grammar = Grammar(written)
            try:
                words = grammar.arguments()
            except RefusalError:
                words = []
            self.pieces -= grammar.work
            if words and grammar.pos == grammar.end:
                return words
        return [_crude(written, inner)]

    def evaluated(self, command: t.Command) -> t.Command:
        """Return the command, together with the commands in what bash may evaluate of it."""
        if self.nesting >= MAX_NESTING:
            return command
        self.nesting += 1
        extra = [one for text, quoted in _texts(command) for one in self.fragment(text, quoted)]
        self.nesting -= 1
        return t.Group(t.Sequence((command, *extra))) if extra else command

    def fragment(self, text: str, is_quoted: bool) -> list[Item]:
        """Search this text too; quoted, only its substitutions are commands."""
        self.fragments -= 1
        if self.fragments < 0 or not text.strip():
            return []
        scan = Scan(self, text)
        return scan.quoted() if is_quoted else list(scan.settled(self.statements(text)))


def _crude(written: str, inner: tuple[Item, ...]) -> t.Word:
    bare = _CRUDE.sub("", written)
    computed = _COMPUTED.search(bare)
    if not computed and not inner:
        return t.Word((t.Literal(bare),))
    lead = bare[: computed.start()] if computed else bare
    rest = t.Substitution(t.Sequence(inner), False) if inner else t.Variable("*", quoted=False)
    return t.Word((*((t.Literal(lead),) if lead else ()), rest))


def _texts(command: t.Command) -> Iterator[tuple[str, bool]]:
    """Yield what bash may evaluate of a command, and whether only its substitutions count."""
    match command:
        case t.SimpleCommand(words=words, assignments=assignments, redirects=redirects):
            literals = [word.literal or "" for word in words]
            values = [one.value.literal or "" for one in assignments]
            yield from ((text, True) for text in (*literals, *values) if HIDES_CODE.search(text))
            if literals and literals[0] in _KEEPS_CODE:
                yield from ((text[text.find("=") + 1 :], False) for text in literals[1:])
            given = [one.target.literal for one in redirects if one.operator == "<<<"]
            if given and any(text.rpartition("/")[2] in _SHELLS for text in literals):
                yield from ((text, False) for text in given if text)
        case t.Declaration() | t.Conditional() | t.ArithmeticCommand():
            for node in nodes(command):
                held = node.text if isinstance(node, t.Literal | t.ArithmeticCommand) else ""
                if HIDES_CODE.search(held):
                    yield held, True
        case _:
            pass

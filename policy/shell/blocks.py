"""What is being collected while text is scanned: words, blocks, and what surrounds them.

May touch: values alone; scan.py moves through the text.
"""

import re
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import policy.shell.tree as t

One = TypeVar("One")
MAX_WORDS = 400  # of one command; of more, the first and the last

Item = t.Statement | t.Background
Late = Item | str  # a plain command stays text until it is chosen: most of a long text is not
# One word as written, and the commands inside it; None for a word that stands for itself.
Written = tuple[str, tuple[Item, ...] | None]
HIDES_CODE = re.compile(r"\$\(|`")
# Possessive only on single characters: a possessive group is misread by Python 3.11's `re`.
LITERAL = r"(?:[A-Za-z0-9_./:+,@%^=-]++|'[^'\n]*+'|\"[^\"\\$`\n]*+\")+"
_WRITTEN = re.compile(LITERAL)
_QUOTE = re.compile("'([^']*)'|\"([^\"]*)\"")


class Reading(Protocol):
    """What all scans of one text share."""

    tokens: int

    def words(self, written: str, inner: tuple[Item, ...]) -> list[t.Word]:
        """Return what one written word becomes."""
        ...

    def evaluated(self, command: t.Command) -> t.Command:
        """Return a command with what bash may evaluate of it."""
        ...

    def fragment(self, text: str, is_quoted: bool) -> list[Item]:
        """Return the commands of a text in the text; quoted, only of its substitutions."""
        ...


@dataclass(slots=True)
class Block:
    """The statements since a reserved word or parenthesis that something closes."""

    opener: str
    words: list[Written] = field(default_factory=list)  # of a `for`
    function: str = ""  # whose body this is
    defines: str = ""  # the function whose body the next block is
    condition: t.Sequence | None = None
    statements: list[Late] = field(default_factory=list)
    pipeline: list[t.Command] = field(default_factory=list)

    def flush(self, separator: str) -> None:
        """Make a statement of the commands that pipes join."""
        if not self.pipeline:
            return
        commands, self.pipeline = tuple(self.pipeline), []
        whole = commands[0] if len(commands) == 1 else t.Pipeline(commands)
        self.statements.append(t.Background(whole) if separator == "&" else whole)


@dataclass(slots=True)
class Frame:
    """A command being collected, inside the substitution or the quotes that `closing` ends."""

    closing: str
    start: int = -1  # where the current word begins
    redirect: tuple[int | None, str] | None = None
    words: list[Written] = field(default_factory=list)
    redirects: list[t.Redirect] = field(default_factory=list)
    inner: list[Item] = field(default_factory=list)  # the commands inside the current word
    blocks: list[Block] = field(default_factory=lambda: [Block("")])
    closed: t.Command | None = None  # a compound command that `)` has just ended
    is_data: bool = False  # an array or a pattern: its words are no commands


def plain_words(written: str) -> list[Written]:
    """Return the words of a plain command; of very many, the first and the last."""
    if "'" in written or '"' in written:
        words = [_QUOTE.sub(r"\1\2", word) for word in _WRITTEN.findall(written)]
    else:
        words = written.split()
    return [(word, None) for word in ends(words)]


def ends(words: list[One]) -> list[One]:
    """Return a list, or of a very long one its two ends."""
    return words if len(words) <= MAX_WORDS else words[: MAX_WORDS // 2] + words[-MAX_WORDS // 2 :]

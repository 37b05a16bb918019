"""The shape of an understood shell command line: a small, closed, frozen tree.

Holds only values. What cannot be said here cannot be understood, and is `Opaque`.
Normal forms, so that equal meaning is equal value: adjacent literals are one literal; a pipeline
of one plain command is that command; `a |& b` is `a 2>&1 | b`; a here-document is a here-string;
braces are expanded; where bash neither splits nor globs (assignments, here-strings, case subjects),
every expansion is written quoted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Opaque:
    """Text that only a human may vouch for; `byte` is where reading stopped."""

    reason: str
    byte: int


@dataclass(frozen=True, slots=True)
class Literal:
    """Characters that stand for themselves (surrogateescape for bytes that are not UTF-8)."""

    text: str


@dataclass(frozen=True, slots=True)
class Glob:
    """`*`, `?` or one bracket expression, unquoted: the word is a pattern."""

    text: str


@dataclass(frozen=True, slots=True)
class Tilde:
    """A home directory, at the start of a word or of a path in an assignment."""

    user: str


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`, also of a special parameter such as `?` or `1`."""

    name: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """`${name<operator><operand>}`; the operand has only characters that never need quoting.

    The operator is `length` for `${#name}`, and `[0]` or `[@]` for an element or all of an array;
    `${#name[@]}` has the operand `[@]`.
    """

    name: str
    operator: str
    operand: str
    quoted: bool


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """`$((text))` over integers and names that are provably integers.

    `$()` in the text stands for a substitution that prints a number; these are in order.
    """

    text: str
    quoted: bool
    inner: tuple[Substitution, ...] = ()


@dataclass(frozen=True, slots=True)
class Substitution:
    """`$( body )`, or the same in backquotes."""

    body: Sequence
    quoted: bool


@dataclass(frozen=True, slots=True)
class ProcessSubstitution:
    """`<( body )` or `>( body )`; `direction` is the first character."""

    direction: str
    body: Sequence


@dataclass(frozen=True, slots=True)
class Array:
    """`( words )`, the whole value of an assignment; subscripts 0, 1, 2, ... are left out."""

    words: tuple[Word, ...]


Part = (
    Literal
    | Glob
    | Tilde
    | Variable
    | Parameter
    | Arithmetic
    | Substitution
    | ProcessSubstitution
    | Array
)


@dataclass(frozen=True, slots=True)
class Word:
    """One written word; an unquoted expansion in it may become none or many."""

    parts: tuple[Part, ...]

    @property
    def literal(self) -> str | None:
        """Return the one string this word always is, or None."""
        if len(self.parts) != 1:
            return None
        part = self.parts[0]
        return part.text if type(part) is Literal else None


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name=value`, or `name+=value`."""

    name: str
    value: Word
    append: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """One redirection; `<<<` carries a here-string or the body of a here-document."""

    fd: int | None
    operator: str
    target: Word


Redirects = tuple[Redirect, ...]


@dataclass(frozen=True, slots=True)
class SimpleCommand:
    """A program or builtin with its words; without words, assignments to this shell."""

    assignments: tuple[Assignment, ...] = ()
    words: tuple[Word, ...] = ()
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Declaration:
    """`export`, `declare`, ...: bash parses their assignments, so the keyword stays bare."""

    keyword: str
    arguments: tuple[Word | Assignment, ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Subshell:
    """`( body )`."""

    body: Sequence
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class Group:
    """`{ body; }`."""

    body: Sequence
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class If:
    """`if ...; then ...; elif ...; else ...; fi`; each branch is (condition, body)."""

    branches: tuple[tuple[Sequence, Sequence], ...]
    otherwise: Sequence | None
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class For:
    """`for name in words; do body; done`."""

    name: str
    words: tuple[Word, ...]
    body: Sequence
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class ArithmeticFor:
    """`for ((first; test; step)); do body; done`."""

    header: tuple[str, str, str]
    body: Sequence
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class While:
    """`while` or `until`."""

    condition: Sequence
    body: Sequence
    until: bool
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class CaseItem:
    """`pattern | pattern) body ;;`."""

    patterns: tuple[Word, ...]
    body: Sequence


@dataclass(frozen=True, slots=True)
class Case:
    """`case subject in items esac`."""

    subject: Word
    items: tuple[CaseItem, ...]
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class FunctionDef:
    """`name () { ...; }`: nothing runs until the name is called."""

    name: str
    body: Group | Subshell


@dataclass(frozen=True, slots=True)
class UnaryTest:
    """`-f file` inside `[[ ]]`."""

    operator: str
    operand: Word


@dataclass(frozen=True, slots=True)
class BinaryTest:
    """`left == right` inside `[[ ]]`; the right side may be a pattern."""

    left: Word
    operator: str
    right: Word


@dataclass(frozen=True, slots=True)
class NotTest:
    """`! operand` inside `[[ ]]`."""

    operand: TestExpression


@dataclass(frozen=True, slots=True)
class BothTests:
    """`left && right` or `left || right` inside `[[ ]]`."""

    left: TestExpression
    operator: str
    right: TestExpression


TestExpression = UnaryTest | BinaryTest | NotTest | BothTests


@dataclass(frozen=True, slots=True)
class Conditional:
    """`[[ expression ]]`."""

    expression: TestExpression
    redirects: Redirects = ()


@dataclass(frozen=True, slots=True)
class ArithmeticCommand:
    """`(( text ))`."""

    text: str
    redirects: Redirects = ()


Compound = (
    Subshell | Group | If | For | ArithmeticFor | While | Case | Conditional | ArithmeticCommand
)
Command = SimpleCommand | Declaration | FunctionDef | Compound


@dataclass(frozen=True, slots=True)
class Pipeline:
    """`! a | b | c`; one command alone only if it is negated or timed."""

    commands: tuple[Command, ...]
    negated: bool = False
    timed: bool = False


@dataclass(frozen=True, slots=True)
class AndOr:
    """`first && second || third`: equal precedence, left to right."""

    first: Command | Pipeline
    rest: tuple[tuple[str, Command | Pipeline], ...]


Statement = Command | Pipeline | AndOr


@dataclass(frozen=True, slots=True)
class Background:
    """`body &`."""

    body: Statement


@dataclass(frozen=True, slots=True)
class Sequence:
    """Statements one after another; a whole script, or the body of something."""

    statements: tuple[Statement | Background, ...]


CommandTree = Sequence

NODES: tuple[type, ...] = (
    Literal, Glob, Tilde, Variable, Parameter, Arithmetic, Substitution, ProcessSubstitution, Array,
    Word, Assignment, Redirect, SimpleCommand, Declaration, Subshell, Group, If, For, ArithmeticFor,
    While, CaseItem, Case, FunctionDef, UnaryTest, BinaryTest, NotTest, BothTests, Conditional,
    ArithmeticCommand, Pipeline, AndOr, Background, Sequence,
)  # fmt: skip
_SCALARS = frozenset({"str", "bool", "int | None", "tuple[str, str, str]"})
FIELDS: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind)) for kind in NODES
}
# The fields of each kind of node that may hold nodes.
BRANCHES: dict[type, tuple[str, ...]] = {
    kind: tuple(field.name for field in fields(kind) if field.type not in _SCALARS)
    for kind in NODES
}

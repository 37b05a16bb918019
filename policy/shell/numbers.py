"""Where bash reads the value of a name as an arithmetic expression, and what proves it a number.

`x='a[$(cmd)]'; echo $((x))` runs cmd, so a name is a number only if the text assigns it integers
and nothing else: written ones, computed ones, or what a program prints that prints nothing else.
The caller's environment holds none: bash starts with a fixed one.
Source: Bash Reference Manual §6.5; bash 5.2 expr.c; wc(1), date(1), grep(1), stat(1), id(1).
"""

import re
from collections.abc import Iterable, Iterator

import policy.shell.tree as t
from policy.shell.builtins import NUMERIC, NUMERIC_TESTS, RULES, may_split, split_names
from policy.shell.walk import nodes

_ERRORS = 2
_BLANKS = re.compile(r"\s+")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+|\$[0-9@*!?$#-]?(?![A-Za-z_])|[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNED = re.compile(r"([A-Za-z_][A-Za-z0-9_]*) *=(?!=)")
# What prints a number and nothing else, by its words; `<` stands for input that is no operand.
_PRINTS_NUMBER = re.compile(
    r"wc -[clmwL] <|nproc|date(?: -u)? \+%[sNYmdHMSjuVw]|id -[ug]|tput (?:cols|lines)"
    r"|pgrep -c [^-]\S*"
    r"|grep -[ivwxEFP]*c[ivwxEFP]* [^-]\S*(?: [^-]\S*| <)|stat -c %[sXYZWhugib] [^-]\S*"
    r"|git rev-list --count [^-]\S*"
)
# Bash computes these itself, and nothing may assign or unset them (builtins.py).
_COMPUTED = frozenset({"RANDOM", "SRANDOM", "SECONDS", "EPOCHSECONDS", "UID", "EUID", "PPID"})


def is_number(word: t.Word) -> bool:
    """Return whether a word is an integer, provided that a name in it is one (see `unproven`)."""
    match word.parts:
        case (t.Literal(text=text),):
            return bool(_INTEGER.fullmatch(text))
        case (t.Variable(name=name),):
            return name in NUMERIC or bool(_IDENTIFIER.fullmatch(name))
        case (t.Arithmetic() | t.Parameter(operator="length"),):
            return True
        case (t.Substitution(body=body),):
            return bool(_printer(body))
        case _:
            return False


def _printer(body: t.Sequence) -> str:
    """Return the program that makes a substitution a number, or nothing."""
    match body.statements:
        case (t.SimpleCommand() as command,):
            is_fed = False
        case (t.Pipeline(commands=(*_, t.SimpleCommand() as command), negated=False),):
            is_fed = True
        case _:
            return ""
    for one in command.redirects:
        is_fed |= one.fd in (None, 0) and one.operator in ("<", "<<<")
        if one.operator[0] != "<" and one.fd != _ERRORS:
            return ""
    words = [_plainly(word) for word in command.words]
    if command.assignments or not all(words):
        return ""
    return words[0] if _PRINTS_NUMBER.fullmatch(" ".join(words) + " <" * is_fed) else ""


def _plainly(word: t.Word) -> str:
    """Return a word without blanks; of one that is not known, what it begins with, and a `…`."""
    first = word.parts[0]
    text = first.text if isinstance(first, t.Literal) and not may_split(word) else ""
    return _BLANKS.sub("_", text) + "…" * (bool(text) and word.literal is None)


def unproven(tree: t.CommandTree) -> str | None:
    """Return a name that is used as a number although the text does not make it an integer."""
    proof = _Proof()
    for node in nodes(tree):
        proof.uses(node)
        proof.assigns(node)
    return min(proof.bad(), default=None)


class _Proof:
    def __init__(self) -> None:
        self.used, self.integers, self.others = set[str](), set[str](), set[str]()
        self.split = set[str]()  # used where `IFS` would split it
        self.printers, self.functions = set[str](), set[str]()
        self.may_assign_any = False

    def bad(self) -> set[str]:
        if self.may_assign_any:
            return self.used - _COMPUTED
        if mistaken := self.printers & self.functions:
            return mistaken
        if "IFS" in self.integers | self.others and self.split:
            return self.split
        return (self.used - self.integers - _COMPUTED) | (self.used & self.others)

    def uses(self, node: object) -> None:
        match node:
            case t.Arithmetic(text=text, inner=inner):
                self.used.update(_names(text.replace("$()", "")))
                self.used.update("$(" for one in inner if not _printer(one.body))
            case t.Substitution(body=body):
                self.printers.add(_printer(body))
            case t.FunctionDef(name=name):
                self.functions.add(name)
            case t.ArithmeticCommand(text=text):
                self.used.update(_names(text))
                first = _ASSIGNED.match(text)
                self.integers.update(first.groups() if first else ())
            case t.ArithmeticFor(header=header):
                self.used.update(_names(";".join(header)))
                self.integers.update(_ASSIGNED.findall(header[0]))
            case t.SimpleCommand(words=words) if names := split_names(words):
                self.used |= names
                self.split |= names
            case t.BinaryTest(left=left, operator=kind, right=right) if kind in NUMERIC_TESTS:
                parts = (*left.parts, *right.parts)
                self.used |= {p.name for p in parts if isinstance(p, t.Variable)} - NUMERIC
            case _:
                pass

    def assigns(self, node: object) -> None:
        match node:
            case t.Assignment(name=name, value=value, append=append):
                self._assign(name, (value,) if not append else ())
            case t.For(name=name, words=words):
                self._assign(name, words)
            case t.SimpleCommand(words=(program, *arguments)):
                self.may_assign_any |= program.literal is None
                if program.literal in RULES:
                    self.others.update(word.literal for word in arguments if word.literal)
            case _:
                pass

    def _assign(self, name: str, values: Iterable[t.Word]) -> None:
        values = list(values)
        is_proven = bool(values) and all(map(_is_given_number, values))
        (self.integers if is_proven else self.others).add(name)


def _is_given_number(word: t.Word) -> bool:
    is_given = isinstance(word.parts[0], t.Literal | t.Arithmetic | t.Substitution)
    return is_given and is_number(word)


def _names(text: str) -> Iterator[str]:
    """Yield every name in an expression, and `$1`-like parameters, which are never proven."""
    for found in _NAMES.finditer(text):
        if not found.group()[0].isdecimal():
            yield found.group()

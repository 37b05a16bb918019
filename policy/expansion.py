"""Words of a shell tree to the arguments a program would see.

May touch: trees. What a substitution prints and what a variable holds is asked of the traversal.
Source: Bash Reference Manual §3.5.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Protocol, assert_never

import policy.shell.tree as t
from policy.programs.words import FETCHED, HOLE, Argument
from policy.shell.builtins import NUMERIC
from policy.shell.values import computed

NUMBER = Argument("[-0-9]*", "pattern")
_ALL = (t.Variable("@", quoted=True),)
_PATTERN = frozenset("*?[")
_SPECIAL = re.compile(r"[*?\[]")


class Known(Protocol):
    """What words depend on besides themselves."""

    home: str
    user: str

    @property
    def variables(self) -> Mapping[str, Argument]:
        """Return what is known of some variables."""
        ...

    @property
    def parameters(self) -> Sequence[Argument] | None:
        """Return what `"$@"` is; None where that is not known."""
        ...

    def printed(self, body: t.Sequence) -> Argument:
        """Return what a command substitution prints, as far as it is known."""
        ...

    def reads(self, name: str) -> None:
        """Take note of a variable whose value is not known."""
        ...

    def fed(self, body: t.Sequence) -> str:
        """Return a hole for what can be read from `<( )`."""
        ...

    def feeds(self, body: t.Sequence) -> None:
        """Take note of `>( )`, whose commands read what the command writes."""
        ...


def arguments(word: t.Word, around: Known) -> list[Argument]:
    """Return the arguments one written word becomes; one that may be several says so."""
    if (literal := word.literal) is not None:
        return [Argument(literal)]
    if word.parts == _ALL and around.parameters is not None:
        return list(around.parameters)
    pieces = [_piece(part, around) for part in word.parts]
    if len(pieces) == 1 and pieces[0].several and _is_known(word.parts[0], pieces[0]):
        return [
            Argument(
                text, "pattern" if _PATTERN & set(text) else "exact", computed=pieces[0].computed
            )
            for text in pieces[0].text.split()
        ]
    return [_joined(pieces)]


def parted(words: Sequence[t.Word]) -> list[t.Word]:
    """Return words as the shell parts them where `$IFS` stands for a blank; none if none does."""
    if not any(map(_is_blank, (part for word in words for part in word.parts))):
        return []
    found = list[t.Word]()
    for word in words:
        runs = groupby(word.parts, _is_blank)
        found += [t.Word(tuple(parts)) for is_blank, parts in runs if not is_blank]
    return found


def _is_blank(part: t.Part) -> bool:
    return isinstance(part, t.Variable | t.Parameter) and part.name == "IFS" and not part.quoted


def argument(word: t.Word, around: Known) -> Argument:
    """Return the one argument a word becomes where bash does not split it."""
    return _joined([_piece(part, around) for part in word.parts])


def _is_known(part: t.Part, piece: Argument) -> bool:
    """Return whether bash splits a value that is known: a command's output, or a variable's."""
    if isinstance(part, t.Substitution):
        return piece.how != "dynamic"
    return isinstance(part, t.Variable) and piece.how == "exact"


def _joined(pieces: list[Argument]) -> Argument:
    is_pattern = any(piece.how == "pattern" for piece in pieces)
    text = "".join(_within(piece, is_pattern) for piece in pieces)
    return Argument(
        text,
        "dynamic" if HOLE in text else "pattern" if is_pattern else "exact",
        several=any(piece.several for piece in pieces),
        computed=any(piece.computed for piece in pieces),
    )


def _within(piece: Argument, is_pattern: bool) -> str:
    """Return a piece inside a longer word; what was quoted in a pattern stands for itself."""
    if piece.how != "exact":
        return piece.text
    if piece.several and piece.computed and _changes(piece.text):
        return HOLE  # known text that bash would split or expand again
    return _SPECIAL.sub(r"[\g<0>]", piece.text) if is_pattern else piece.text


def _changes(text: str) -> bool:
    return not text or any(letter.isspace() or letter in _PATTERN for letter in text)


def _piece(part: t.Part, around: Known) -> Argument:
    match part:
        case t.Literal(text=text):
            return Argument(text)
        case t.Glob(text=text):
            return Argument(text, "pattern", several=True)
        case t.Tilde(user=user):
            return Argument(_home(user, around))
        case t.Variable(name=name, quoted=quoted):
            return _variable(name, quoted, around)
        case _:
            return _computed(part, around)


def _computed(
    part: t.Parameter | t.Arithmetic | t.Substitution | t.ProcessSubstitution | t.Array,
    around: Known,
) -> Argument:
    match part:
        case t.Parameter():
            return _parameter(part, around)
        case t.Substitution(body=body, quoted=quoted):
            printed = around.printed(body)
            return Argument(printed.text, printed.how, several=not quoted, computed=True)
        case t.ProcessSubstitution(direction="<", body=body):
            return Argument("/dev/fd/" + around.fed(body), "dynamic")
        case t.ProcessSubstitution(body=body):
            around.feeds(body)
            return Argument("/dev/fd/" + HOLE, "dynamic")
        case t.Arithmetic(inner=inner):
            for one in inner:
                around.printed(one.body)
            return NUMBER
        case t.Array(words=words):
            items = [one for word in words for one in arguments(word, around)]
            known = all(one.how == "exact" and not one.several for one in items)
            return Argument.of(" ".join(one.text for one in items) if known else HOLE)
        case _:
            assert_never(part)


def _parameter(part: t.Parameter, around: Known) -> Argument:
    around.reads(part.name)
    several = part.operator == "[@]" or (not part.quoted and part.operator != "length")
    held = around.variables.get(part.name, Argument(HOLE, "dynamic"))
    cut = _cut(held, part.operator, part.operand)
    # INVARIANT: a pattern whose beginning was cut off could turn out to be an option.
    if held.how != "dynamic" and cut is not None and cut[:1] not in ("", *_PATTERN):
        return Argument(cut, held.how, several=several and (_changes(cut) or held.several))
    return Argument(FETCHED if FETCHED in held.text else HOLE, "dynamic", several=several)


def _cut(held: Argument, operator: str, operand: str) -> str | None:
    """Return what `${name%.txt}` and its kind leave of a value, where that is certain."""
    text = held.text
    if held.how != "pattern":
        cut = computed(text, operator, operand)
        # Of `/x` nothing is left: what is done to that is taken to be done to the root.
        return cut or ("/" if (operator, operand) == ("%", "/*") else cut)
    is_fixed = bool(operand) and not _PATTERN & set(operand)
    if operator in ("%", "%%") and is_fixed and text.endswith(operand):
        return text.removesuffix(operand)
    if operator in ("#", "##") and is_fixed and text.startswith(operand):
        return text.removeprefix(operand)
    return None


def _variable(name: str, quoted: bool, around: Known) -> Argument:
    several = name == "@" or (not quoted and name not in NUMERIC)
    held = around.variables.get(name)
    if held is None:
        around.reads(name)
        return Argument(HOLE, "dynamic", several=several)
    stays_one = held.how == "exact" and not _changes(held.text)
    return Argument(held.text, held.how, several=several and not stays_one)


def _home(user: str, around: Known) -> str:
    if user in ("", around.user):
        return around.home
    return "/root" if user == "root" else f"/home/{user}"

"""Tree to canonical bash text: the only text a shell is ever given.

Law: read(render(tree)) == tree. Every literal byte is inside single quotes (`$'..'` for control
bytes and bytes that are not UTF-8), so nothing in it can be a keyword, an alias, an option of the
shell or an expansion. Bare are only: reserved words and declaration keywords, names of variables
and functions, patterns, `~`, and the `=` `:` `/` that a tilde needs to be seen by bash.
"""

import fnmatch
import re
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import policy.shell.tree as t
from policy.shell.walk import is_flat, rebuilt

_NEEDS_ANSI = re.compile("[\x00-\x08\x0b-\x1f\x7f\udc80-\udcff]")
_FIRST_BYTE, _BYTES = 0xDC80, 0xDC00
_Expansion = t.Variable | t.Parameter | t.Arithmetic | t.Substitution
_TILDE_LEAD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")


def render(tree: t.CommandTree) -> str:
    """Return the canonical script: one line unless a literal holds a newline."""
    return _sequence(tree)


def anchored(
    tree: t.CommandTree, has_dangerous_options: Callable[[str | None], bool]
) -> t.CommandTree:
    """Return the tree with `./` before every pattern that could expand to an option.

    A loop's words are anchored if any program in its body has dangerous options.

    Args:
        tree: what was read.
        has_dangerous_options: asked with a program's name, None when it is computed.

    A change of the tree, not of its text, so that what is decided, shown and run is the same value.
    """
    return rebuilt(tree, _Anchor(has_dangerous_options).change)


class _Anchor:
    def __init__(self, has_dangerous_options: Callable[[str | None], bool]) -> None:
        self.has_dangerous_options = has_dangerous_options
        self.danger_found = False

    def change(self, node: object) -> object:
        if is_flat(node):
            return node
        if isinstance(node, t.For):
            return self._loop(node)
        changed = rebuilt(node, self.change)
        if isinstance(changed, t.SimpleCommand) and changed.words:
            if not self.has_dangerous_options(changed.words[0].literal):
                return changed
            self.danger_found = True
            return replace(changed, words=tuple(map(_anchored_word, changed.words)))
        return changed

    def _loop(self, loop: t.For) -> t.For:
        outside, self.danger_found = self.danger_found, False
        changed = rebuilt(loop, self.change)
        if self.danger_found:
            changed = replace(changed, words=tuple(map(_anchored_word, changed.words)))
        self.danger_found |= outside
        return changed


def _anchored_word(word: t.Word) -> t.Word:
    match word.parts:
        case (t.Glob(text=text), *_) if fnmatch.fnmatchcase("-", text.replace("[^", "[!")):
            return t.Word((t.Literal("./"), *word.parts))
        case (t.Literal(text=""), _, *_):
            rest = t.Word(word.parts[1:])
            inner = _anchored_word(rest)
            return word if inner == rest else inner
        case _:
            return word


def quote(text: str) -> str:
    """Return `text` as one single-quoted (or `$'..'`) shell word."""
    if text.isprintable() or not _NEEDS_ANSI.search(text):
        return "'" + text.replace("'", "'\\''") + "'"
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _NEEDS_ANSI.sub(_octal, escaped) + "'"


def _octal(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\{code - _BYTES if code >= _FIRST_BYTE else code:03o}"


def render_word(value: t.Word) -> str:
    """Return one word; the `=`, `:` or `/` next to a tilde stays bare, or bash would not see it."""
    if (literal := value.literal) is not None:
        return quote(literal)
    shown, last = list[str](), len(value.parts) - 1
    is_after_tilde = False
    for index, part in enumerate(value.parts):
        if isinstance(part, t.Literal):
            is_before = index < last and isinstance(value.parts[index + 1], t.Tilde)
            shown.append(_literal(part.text, is_after_tilde, is_before))
        else:
            shown.append(_part(part))
        is_after_tilde = isinstance(part, t.Tilde)
    return "".join(shown)


def _literal(text: str, is_after_tilde: bool, is_before_tilde: bool) -> str:
    head = tail = ""
    if is_after_tilde and text[:1] in ("/", ":"):
        head, text = text[0], text[1:]
    if is_before_tilde and text.endswith(":"):
        tail, text = ":", text[:-1]
    elif is_before_tilde and text.endswith("="):
        return head + text
    if is_before_tilde and (lead := _TILDE_LEAD.match(text)):
        head, text = lead.group(), text[lead.end() :]
    return head + (quote(text) if text or not (head or tail) else "") + tail


def _part(part: t.Glob | t.Tilde | t.ProcessSubstitution | t.Array | _Expansion) -> str:
    match part:
        case t.Glob(text=text):
            return text
        case t.Tilde(user=user):
            return "~" + user
        case t.Array(words=words):
            return "(" + " ".join(map(render_word, words)) + ")"
        case t.ProcessSubstitution(direction=direction, body=body):
            return direction + "( " + _sequence(body) + " )"
        case _:
            text = _expansion(part)
            return f'"{text}"' if part.quoted else text


def _expansion(part: _Expansion) -> str:
    match part:
        case t.Variable(name=name):
            return "${" + name + "}"
        case t.Parameter(name=name, operator="length", operand=operand):
            return "${#" + name + operand + "}"
        case t.Parameter(name=name, operator=operator, operand=operand):
            return "${" + name + operator + operand + "}"
        case t.Arithmetic(text=text, inner=inner):
            pieces = [*map(_expansion, inner), ""]
            told = zip(text.split("$()"), pieces, strict=True)
            return "$((" + "".join(one for pair in told for one in pair) + "))"
        case t.Substitution(body=body):
            return "$( " + _sequence(body) + " )"
        case _:
            assert_never(part)


def _assignment(value: t.Assignment) -> str:
    return value.name + ("+=" if value.append else "=") + render_word(value.value)


def _redirect(value: t.Redirect) -> str:
    fd = "" if value.fd is None else str(value.fd)
    if value.operator in ("<&", ">&"):
        return fd + value.operator + (value.target.literal or "")
    return f"{fd}{value.operator} {render_word(value.target)}"


def _sequence(value: t.Sequence) -> str:
    shown = [_statement(statement) for statement in value.statements]
    ends = [text if text.endswith(" &") else text + ";" for text in shown[:-1]]
    return " ".join([*ends, *shown[-1:]])


def _closed(value: t.Sequence) -> str:
    """Return a body that a closing reserved word may follow."""
    text = _sequence(value)
    return text if isinstance(value.statements[-1], t.Background) else text + ";"


def _statement(value: t.Statement | t.Background) -> str:
    match value:
        case t.Background(body=body):
            return _statement(body) + " &"
        case t.AndOr(first=first, rest=rest):
            return _statement(first) + "".join(f" {op} {_statement(item)}" for op, item in rest)
        case t.Pipeline(commands=commands, negated=negated, timed=timed):
            lead = ("time " if timed else "") + ("! " if negated else "")
            return lead + " | ".join(map(_command, commands))
        case _:
            return _command(value)


def _command(value: t.Command) -> str:
    if isinstance(value, t.FunctionDef):
        return f"{value.name} () {_command(value.body)}"
    redirects = [_redirect(redirect) for redirect in value.redirects]
    return " ".join([*filter(None, [_without_redirects(value)]), *redirects])


def _without_redirects(value: t.SimpleCommand | t.Declaration | t.Compound) -> str:
    match value:
        case t.SimpleCommand(assignments=assignments, words=words):
            return " ".join([*map(_assignment, assignments), *map(render_word, words)])
        case t.Declaration(keyword=keyword, arguments=arguments):
            shown = [
                _assignment(one) if isinstance(one, t.Assignment) else render_word(one)
                for one in arguments
            ]
            return " ".join([keyword, *shown])
        case t.Subshell() | t.Group() | t.Conditional() | t.ArithmeticCommand():
            return _enclosed(value)
        case _:
            return _branching(value)


def _enclosed(value: t.Subshell | t.Group | t.Conditional | t.ArithmeticCommand) -> str:
    match value:
        case t.Conditional(expression=expression):
            return f"[[ {_test(expression)} ]]"
        case t.ArithmeticCommand(text=text):
            return f"(({text}))"
        case t.Subshell(body=body):
            return f"( {_sequence(body)} )"
        case t.Group(body=body):
            return f"{{ {_closed(body)} }}"
        case _:
            assert_never(value)


def _branching(value: t.If | t.For | t.ArithmeticFor | t.While | t.Case) -> str:
    match value:
        case t.If(branches=branches, otherwise=otherwise):
            arms = [f"if {_closed(test)} then {_closed(body)}" for test, body in branches]
            last = [] if otherwise is None else [f"else {_closed(otherwise)}"]
            return " ".join([" el".join(arms), *last, "fi"])
        case t.For(name=name, words=words, body=body):
            items = "".join(" " + render_word(item) for item in words)
            return f"for {name} in{items}; do {_closed(body)} done"
        case t.ArithmeticFor(header=header, body=body):
            return f"for (({';'.join(header)})); do {_closed(body)} done"
        case t.While(condition=condition, body=body, until=until):
            lead = "until" if until else "while"
            return f"{lead} {_closed(condition)} do {_closed(body)} done"
        case t.Case(subject=subject, items=items):
            return f"case {render_word(subject)} in {''.join(map(_case_item, items))}esac"
        case _:
            assert_never(value)


def _case_item(value: t.CaseItem) -> str:
    patterns = "|".join(map(render_word, value.patterns))
    body = _sequence(value.body) + " " if value.body.statements else ""
    return f"({patterns}) {body};; "


def _test(value: t.TestExpression) -> str:
    match value:
        case t.UnaryTest(operator=operator, operand=operand):
            return f"{operator} {render_word(operand)}"
        case t.BinaryTest(left=left, operator=operator, right=right):
            return f"{render_word(left)} {operator} {render_word(right)}"
        case t.NotTest(operand=operand):
            return f"! {_test_atom(operand)}"
        case t.BothTests(left=left, operator=operator, right=right):
            return f"{_test_atom(left)} {operator} {_test_atom(right)}"
        case _:
            assert_never(value)


def _test_atom(value: t.TestExpression) -> str:
    text = _test(value)
    return f"( {text} )" if isinstance(value, t.BothTests) else text

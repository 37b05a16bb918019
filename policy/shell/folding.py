"""A tree with its provable constants put in their places, split as bash would split them.

A variable is constant only when the whole text assigns it exactly once (or more often, one by one
at the top level and nowhere else), to a constant, in a plain assignment at the top level that comes
before the use, and nothing that could assign it unseen (a computed program, `source`, `read`,
arithmetic) is in the text. Everything else stays dynamic. The
folded tree is for deciding; what runs is rendered from the tree that was read.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import policy.shell.tree as t
from policy.shell import values
from policy.shell.builtins import BUILTINS
from policy.shell.tildes import joined
from policy.shell.walk import Node, nodes, rebuilt

_PIECES = re.compile(r"[ \t\n]+|[^ \t\n]+")
_PATTERN = re.compile(r"[*?\[\\]")
_NAME = r"([A-Za-z_][A-Za-z0-9_]*)"
_CHANGES = re.compile(
    rf"{_NAME}\s*(?:[-+*/%&|^]|<<|>>)?=(?!=)|{_NAME}\s*(?:\+\+|--)|(?:\+\+|--)\s*{_NAME}"
)
_SETTING_OPTIONS = re.compile(r"-[axrg]+")
# Bash changes these itself.
_SHELL_STATE = frozenset(
    {
        "IFS", "PWD", "OLDPWD", "HOME", "REPLY", "OPTARG", "SHLVL", "CDPATH", "LINES", "COLUMNS",
        "MAPFILE", "PATH",
    }
)  # fmt: skip
_ASSIGNING = frozenset(
    {
        "read", "mapfile", "readarray", "printf", "unset", "getopts", "wait", "command", "builtin",
    }
)  # fmt: skip
_UNSEEN = frozenset({None, "eval", "source", "."})
_CHANGES_DIRECTORY = frozenset({"cd", "pushd", "popd"})
_EXPANSIONS = (t.Variable, t.Parameter)
_Assigns = (
    t.Assignment | t.For | t.Arithmetic | t.ArithmeticCommand | t.ArithmeticFor | t.Declaration
)
_MANY = 2  # how an assignment counts that may happen more than once, or not at all


def folded(tree: t.CommandTree, known: Mapping[str, str] | None = None) -> t.CommandTree:
    """Return the tree with every provable constant in place of its variable.

    Args:
        tree: what was read.
        known: what the run will find in its environment: HOME, PWD, USER.
    """
    every = nodes(tree)
    used = {node.name for node in every if isinstance(node, _EXPANSIONS)}
    if not used:
        return tree
    counted = Census(every)
    constants = counted.environment(known or {})
    settled = counted.settled(tree)
    if used.isdisjoint(constants) and used.isdisjoint(settled):
        return tree
    scope = _Scope(counted.once, settled, constants, splits="IFS" not in counted.times)
    result = t.Sequence(tuple(scope.statement(statement) for statement in tree.statements))
    is_unseen = any(isinstance(one, t.SimpleCommand) and _runs_unseen(one) for one in nodes(result))
    return tree if is_unseen else result


class Census:
    """How often a text assigns each name, and whether it may assign names unseen."""

    def __init__(self, every: Iterable[object]) -> None:
        self.times = Counter[str]()
        self.is_unseen = self.moves = False
        self._others = set(_SHELL_STATE)  # names that may hold something else than a number
        for node in every:
            if isinstance(node, t.SimpleCommand):
                self._ran(node)
            elif isinstance(node, _Assigns):
                self._assigned(node)
        self.once = frozenset(
            name for name, times in self.times.items() if times == 1 and name not in _SHELL_STATE
        )

    @property
    def numbers(self) -> frozenset[str]:
        """Return the names that only ever hold a number."""
        return frozenset(self.times.keys() - self._others)

    def environment(self, known: Mapping[str, str]) -> dict[str, str]:
        """Return the known values that nothing in the text can change."""
        return {
            name: value
            for name, value in known.items()
            if not self.times[name] and not (name == "PWD" and self.moves)
        }

    def settled(self, tree: t.CommandTree) -> frozenset[str]:
        """Return the names whose value is known at each place of the top level: those that are
        assigned once, or several times but nowhere else than there, one by one.
        """
        there = Counter[str]()
        for statement in tree.statements:
            match statement:
                case t.SimpleCommand(
                    assignments=(t.Assignment(value=t.Word(parts=(first, *_))) as one,),
                    words=(),
                    redirects=(),
                ) if not isinstance(first, t.Array):
                    there[one.name] += _weight(one)
                case _:
                    pass
        several = (name for name, times in there.items() if times == self.times[name])
        return self.once | (frozenset(several) - _SHELL_STATE)

    def _assigned(self, node: _Assigns) -> None:
        match node:
            case t.Assignment(name=name, value=value, append=append):
                self.times[name] += _weight(node)
                if append or not _is_number(value):
                    self._others.add(name)
            case t.For(name=name):
                self._many([name])
            case t.Arithmetic(text=text) | t.ArithmeticCommand(text=text):
                self._many(_changed(text))
            case t.ArithmeticFor(header=header):
                self._many(_changed(";".join(header)))
            case _:
                self._many(one.literal for one in node.arguments if isinstance(one, t.Word))

    def _ran(self, node: t.SimpleCommand) -> None:
        if not node.words:
            return
        program = node.words[0].literal
        self._many(assignment.name for assignment in node.assignments)
        if read := _read(node):
            self.times.update(read)
            self._others.update(read)
            return
        self.is_unseen |= _runs_unseen(node)
        self.moves |= program in _CHANGES_DIRECTORY
        if program in _ASSIGNING:
            self._many(word.literal for word in node.words[1:])
            self.moves |= any(word.literal in _CHANGES_DIRECTORY for word in node.words)

    def _many(self, names: Iterable[str | None]) -> None:
        several = dict.fromkeys(filter(None, names), _MANY)
        self.times.update(several)
        self._others |= several.keys()


def _runs_unseen(command: t.SimpleCommand) -> bool:
    """Return whether a command could assign any name: a computed program, `eval`, `source`."""
    return bool(command.words) and command.words[0].literal in _UNSEEN


def _is_number(value: t.Word) -> bool:
    literal = value.literal
    return isinstance(value.parts[0], t.Arithmetic) if literal is None else literal.isdecimal()


def _weight(assignment: t.Assignment) -> int:
    return _MANY if assignment.append else 1


def _read(command: t.SimpleCommand) -> list[str]:
    """Return the names that a `read` or `printf -v` surely sets, to what the text says."""
    literals = [word.literal or "" for word in command.words]
    match literals, command.redirects:
        case ["read", *names], [t.Redirect(fd=None | 0, operator="<<<")]:
            names = names[1:] if names[:1] == ["-r"] else names
            return (
                [] if command.assignments or any(one[:1] in ("", "-") for one in names) else names
            )
        case ["printf", "-v", name, "%s", _], []:
            return [] if command.assignments else [name]
        case _:
            return []


def _changed(arithmetic: str) -> Iterator[str]:
    return (name for groups in _CHANGES.findall(arithmetic) for name in groups)


class _Scope:
    """What is known at one place of the text, and the folding of what stands there."""

    def __init__(
        self, once: frozenset[str], settled: frozenset[str], known: dict[str, str], *, splits: bool
    ) -> None:
        self.once, self.settled, self.known, self.splits = once, settled, known, splits
        self.arrays = dict[str, list[str]]()

    def statement(self, statement: t.Statement | t.Background) -> t.Statement | t.Background:
        """Fold one statement of the top level, and learn what it assigns."""
        if isinstance(statement, t.AndOr):
            # A plain assignment does not fail, so what follows it knows its value.
            first = self.fold(statement.first)
            self._learn(first)
            return t.AndOr(first, self.fold(statement.rest))
        changed = self.fold(statement)
        self._learn(changed)
        return changed

    def fold(self, node: Node) -> Node:
        """Return a node with what is known in its place."""
        return cast(Node, self._changed(node))

    def _changed(self, node: object) -> object:
        match node:
            case t.Word():
                words = self._split(node)
                return words[0] if len(words) == 1 else node
            case t.SimpleCommand(words=words):
                assignments, redirects = self.fold(node.assignments), self.fold(node.redirects)
                return t.SimpleCommand(assignments, self._argv(words), redirects)
            case t.Array(words=words):
                return t.Array(self._words(words))
            case t.FunctionDef():
                return self._body(node)
            case t.For(words=words):
                return replace(rebuilt(node, self._changed), words=self._words(words))
            case _:
                return rebuilt(node, self._changed)

    def _learn(self, statement: object) -> None:
        assignments: tuple[t.Word | t.Assignment, ...] = ()
        match statement:
            case t.SimpleCommand(assignments=plain, words=(), redirects=()):
                assignments = plain
            case t.Declaration(keyword=keyword, arguments=arguments, redirects=()):
                assignments = arguments if _only_sets(keyword, arguments) else ()
            case t.SimpleCommand() if names := _read(statement):
                self._learn_read(statement, names)
            case _:
                pass
        for one in assignments:
            if isinstance(one, t.Assignment) and one.name in self.settled:
                before = self.known.pop(one.name, None)
                self._keep_value(one, self.fold(one.value), before)

    def _body(self, function: t.FunctionDef) -> t.FunctionDef:
        """Fold what a function does when it is called: names assigned again may be others then."""
        outside = self.known
        self.known = {
            name: value
            for name, value in outside.items()
            if name in self.once or name not in self.settled
        }
        changed = rebuilt(function, self._changed)
        self.known = outside
        return changed

    def _keep_value(self, assignment: t.Assignment, value: t.Word, before: str | None) -> None:
        name = assignment.name
        if not isinstance(array := value.parts[0], t.Array):
            text = self._at_home(value)
            if assignment.append:
                text = None if before is None or text is None else before + text
            self._keep(name, text)
        else:
            items = [self._at_home(word) for word in array.words]
            known = [item for item in items if item is not None]
            if len(known) == len(items):
                self.arrays[name] = known
                self._keep(name, known[0] if known else None)

    def _learn_read(self, command: t.SimpleCommand, names: list[str]) -> None:
        given = (command.redirects[0].target if command.redirects else command.words[-1]).literal
        if given is None:
            return
        if command.words[0].literal == "printf":
            self._keep(names[0], given)
        elif self.splits and "\\" not in given:
            for name, value in zip(names, values.fields(given, len(names)), strict=True):
                self._keep(name, value)

    def _keep(self, name: str, value: str | None) -> None:
        if value is not None and name in self.settled:
            self.known[name] = value

    def _at_home(self, word: t.Word) -> str | None:
        """Return the value of a word whose `~` are the known home."""
        texts = [
            part.text
            if isinstance(part, t.Literal)
            else self.known.get("HOME")
            if part == t.Tilde("")
            else None
            for part in word.parts
        ]
        known = [text for text in texts if text is not None]
        return "".join(known) if len(known) == len(texts) else None

    def _argv(self, words: tuple[t.Word, ...]) -> tuple[t.Word, ...]:
        """Fold the words of a command; a builtin that a constant names stays dynamic.

        The reader looked at the arguments of builtins it saw, not of those named by a variable.
        """
        program = self._split(words[0]) if words else ()
        if program != words[:1] and program and program[0].literal in BUILTINS:
            program = words[:1]
        return program + self._words(words[1:])

    def _words(self, words: tuple[t.Word, ...]) -> tuple[t.Word, ...]:
        return tuple(one for word in words for one in self._split(word))

    def _split(self, word: t.Word) -> tuple[t.Word, ...]:
        """Return the words that `word` becomes, split as bash would split them."""
        if word.literal is not None:
            return (word,)
        fields = list[list[t.Part]]([[]])
        for part in word.parts:
            self._part(part, fields)
        return tuple(t.Word(joined(parts)) for parts in fields if parts)

    def _part(self, part: t.Part, fields: list[list[t.Part]]) -> None:
        match part:
            case t.Parameter(name=name, operator="[@]") if name in self.arrays:
                self._all(part, self.arrays[name], fields)
            case _:
                value, is_quoted = self._value(part)
                self._put(self.fold(part) if value is None else part, value, is_quoted, fields)

    def _all(self, part: t.Parameter, items: list[str], fields: list[list[t.Part]]) -> None:
        """Put the words of an array one after another."""
        if not part.quoted and not all(map(self._splits, items)):
            fields[-1].append(part)
            return
        for place, item in enumerate(items):
            fields += [[]] if place else []
            self._put(part, item, part.quoted, fields)

    def _splits(self, value: str) -> bool:
        """Return whether it is known how bash splits an unquoted value."""
        return self.splits and not _PATTERN.search(value)

    def _put(
        self, part: t.Part, value: str | None, is_quoted: bool, fields: list[list[t.Part]]
    ) -> None:
        if value is None or not (is_quoted or self._splits(value)):
            fields[-1].append(part)
        elif is_quoted:
            fields[-1].append(t.Literal(value))
        else:
            for piece in _PIECES.findall(value):
                if not piece.isspace():
                    fields[-1].append(t.Literal(piece))
                elif fields[-1]:
                    fields.append([])

    def _value(self, part: t.Part) -> tuple[str | None, bool]:
        """Return what an expansion surely is, and whether it stays one word."""
        match part:
            case t.Variable(name=name, quoted=quoted):
                return self.known.get(name), quoted
            case t.Parameter(name=name, operator=operator, operand=operand, quoted=quoted):
                if operand == "[@]" or operator[:1] == "[":
                    return self._element(name, operator[1:-1], operand), quoted or bool(operand)
                return self._computed(name, operator, operand), quoted
            case _:
                return None, False

    def _computed(self, name: str, operator: str, operand: str) -> str | None:
        held = self.known.get(name)
        text = None if held is None else values.computed(held, operator, operand)
        # Where the home lies is not for sure: of `${HOME%/*}` nothing is left only below `/`.
        return text or (text if name in self.settled else None)

    def _element(self, name: str, index: str, operand: str) -> str | None:
        items = self.arrays.get(name)
        if items is None:
            return None
        if operand:
            return str(len(items))
        if index == "*":
            return " ".join(items) if self.splits else None
        return items[int(index)] if int(index) < len(items) else None


def _only_sets(keyword: str, arguments: tuple[t.Word | t.Assignment, ...]) -> bool:
    """Return whether a declaration assigns: `-p` prints, `-f` names functions."""
    options = [one.literal or "" for one in arguments if isinstance(one, t.Word)]
    if keyword == "export" and any("a" in option for option in options):
        return False
    return keyword != "local" and all(map(_SETTING_OPTIONS.fullmatch, options))

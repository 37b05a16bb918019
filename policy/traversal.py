"""A shell tree walked in order: which command runs where, after what, fed by what.

May touch: trees. May not touch: what a simple command means (invocation.py), rules.
INVARIANT: every command of the tree, those in substitutions too, adds its accesses at least once;
where the order or the directory is not certain, every possibility is walked.
Source: Bash Reference Manual §3.2.
"""

import re
from typing import assert_never

from typing_extensions import override

import policy.shell.tree as t
from policy.expansion import argument, arguments
from policy.invocation import Invocations
from policy.model import Access
from policy.programs.environment import poison
from policy.programs.words import HOLE, Argument, Stdin
from policy.shell.walk import nodes
from policy.surroundings import After, Places, Setting

_SINGLE = (t.SimpleCommand, t.Declaration)
_MOST_PLACES = 4
_MOST_LOOP_WORDS = 16
_ONCE: tuple[Argument | None, ...] = (None,)  # a body walked once, for a value not known
# Programs that choose among lines, with the options by which they change none.
_CHOOSES = {
    **dict.fromkeys(("grep", "egrep", "fgrep"), re.compile(r"-[EFPivwxze]+|--")),
    **dict.fromkeys(("head", "tail"), re.compile(r"-n?\d*")),
    "sort": re.compile(r"-[furnVz]+"),
    **dict.fromkeys(("uniq", "tac", "cat"), re.compile(r"--")),
}
_NAMES_FILES = ({"diff", "--name-only"}, {"ls-files"})
_OTHER_TREE = re.compile(
    r"-C|--git-dir.*|--work-tree.*|--no-index|--format.*|-s|--stage|--pretty.*"
)
_FILE_TESTS = frozenset("abcdefghkprsuwxGLNOS")
_COMPARES_FILES = frozenset({"-nt", "-ot", "-ef"})
_ASSIGNING = frozenset({"read", "mapfile", "readarray", "printf", "getopts", "source", "."})


class Traversal(Invocations):
    """Walks control flow; `sequence` on a whole tree leaves everything in `found`."""

    @override
    def sequence(self, body: t.Sequence, setting: Setting) -> After:
        if len(body.statements) == 1 and isinstance(body.statements[0], t.SimpleCommand):
            return self.command(body.statements[0], setting)
        after = After(setting.places, setting.places, "")
        printed: list[str | None] = []
        for statement in body.statements:
            here = _in(setting, after.places)
            if isinstance(statement, t.FunctionDef) and body is self.top:
                self.defined.add(statement.name)
            if isinstance(statement, t.Background):
                self._statement(statement.body, here)
                printed.append(None)
                after = After(here.places, here.places)
            else:
                after = self._statement(statement, here)
                printed.append(after.printed)
        known = [text for text in printed if text is not None]
        whole = "\n".join(filter(None, known)) if len(known) == len(printed) else None
        return after if after.printed == whole else After(after.success, after.failure, whole)

    def _statement(self, statement: t.Statement, setting: Setting) -> After:
        if not isinstance(statement, t.AndOr):
            return self._pipeline(statement, setting)
        after = self._pipeline(statement.first, setting)
        for operator, item in statement.rest:
            if operator == "&&":
                then = self._pipeline(item, _in(setting, after.success))
                after = After(then.success, _either(after.failure, then.failure))
            else:
                then = self._pipeline(item, _in(setting, after.failure))
                after = After(_either(after.success, then.success), then.failure)
        return after

    def _pipeline(self, statement: t.Command | t.Pipeline, setting: Setting) -> After:
        if not isinstance(statement, t.Pipeline):
            return self.command(statement, setting)
        here, start = setting, len(self.found)
        for command in statement.commands[:-1]:
            own = len(self.found)
            after = self.command(command, here)
            network = here.stdin.network or self.connected(start)
            origins = self.origins(own)
            if not origins:
                origins = _names_of_git(command, here) or _names_passed(command, here.stdin)
            stdin = Stdin(after.printed, True, network, origins)
            here = Setting(here.places, stdin)
        after = self.command(statement.commands[-1], here)
        if len(statement.commands) > 1:
            return After(setting.places, setting.places, after.printed)
        return After(after.failure, after.success) if statement.negated else after

    @override
    def command(self, command: t.Command, setting: Setting) -> After:
        if isinstance(command, t.FunctionDef):
            return After(setting.places, setting.places, "")
        self.spend(1)
        start, step = len(self.found), len(self.steps)
        outer, self._fed = self._fed, []
        here = self.redirected(command.redirects, setting) if command.redirects else setting
        if isinstance(command, t.SimpleCommand):
            after = self.simple(command, here)
        elif isinstance(command, t.Declaration):
            after = self._declaration(command, here)
        else:
            after = self._compound(command, here)
        if isinstance(command, _SINGLE) or command.redirects:
            self.stepped(start, step, here)
        self._fed = outer
        if command.redirects and any(one.operator[0] != "<" for one in command.redirects):
            self.wrote(command.redirects, after.printed, here)
            return After(after.success, after.failure)
        return after

    def _declaration(self, command: t.Declaration, setting: Setting) -> After:
        self._setting = setting
        self.names[command.keyword] = None
        self.assign(
            one
            for one in command.arguments
            if isinstance(one, t.Assignment) or not (one.literal or "").startswith("-")
        )
        self.keep(command, command.arguments)
        options = [one.literal or "" for one in command.arguments if isinstance(one, t.Word)]
        if any(option.startswith("-") and "f" in option for option in options):
            # A shell started later would find the function in its environment.
            self.found.append(Access("env.poison", "an exported function", "exact"))
        if not command.arguments or "-p" in options:
            self.found.append(Access("credential.read", "<environment>", "exact", command.keyword))
        return After(setting.places, setting.places)

    def _compound(self, command: t.Compound, setting: Setting) -> After:
        match command:
            case t.Subshell(body=body):
                after = self.sequence(body, setting)
                return After(setting.places, setting.places, after.printed)
            case t.Group(body=body):
                return self.sequence(body, setting)
            case t.If():
                return self._if(command, setting)
            case t.For() | t.ArithmeticFor() | t.While():
                return self._loop(command, setting)
            case t.Case():
                return self._case(command, setting)
            case t.Conditional(expression=expression):
                self._test(expression, setting)
            case t.ArithmeticCommand():
                pass
            case _:
                assert_never(command)
        return After(setting.places, setting.places, "")

    def _if(self, command: t.If, setting: Setting) -> After:
        places: Places = ()
        here = setting
        for condition, body in command.branches:
            tested = self.sequence(condition, here)
            then = _in(setting, tested.success)
            places += self.sequence(body, then).places
            here = _in(setting, tested.failure)
        if command.otherwise is not None:
            places += self.sequence(command.otherwise, here).places
        else:
            places += here.places
        return After(_bounded(places), _bounded(places))

    def _case(self, command: t.Case, setting: Setting) -> After:
        self._setting = setting
        argument(command.subject, self)
        places = setting.places
        for item in command.items:
            self._setting = setting
            for pattern in item.patterns:
                argument(pattern, self)
            places += self.sequence(item.body, setting).places
        return After(_bounded(places), _bounded(places))

    # Loops

    def _loop(self, loop: t.For | t.ArithmeticFor | t.While, setting: Setting) -> After:
        """Walk a loop until no new place turns up: what it does later may happen elsewhere."""
        if isinstance(loop, t.While) and _endless(loop):
            self.found.append(Access("resource.exhaust", "a loop without end", "exact"))
            if any(isinstance(node, t.Background) for node in nodes(loop.body)):
                self.found.append(Access("resource.exhaust", "processes without end", "exact"))
        values = self._values(loop, setting) if isinstance(loop, t.For) else list(_ONCE)
        places, grown = Places(), setting.places
        # INVARIANT: places only grow, and many of them become the one that is not known.
        while grown != places:
            places = grown
            after = self._round(loop, values, Setting(places, setting.stdin))
            grown = _bounded(places + after)
        return After(places, places)

    def _round(
        self,
        loop: t.For | t.ArithmeticFor | t.While,
        values: list[Argument | None],
        setting: Setting,
    ) -> Places:
        places: Places = ()
        if isinstance(loop, t.While):
            tested = self.sequence(loop.condition, setting)
            places, setting = tested.places, _in(setting, tested.places)
        for value in values:
            if isinstance(loop, t.For) and value is not None:
                self.variables[loop.name] = value
            places += self.sequence(loop.body, setting).places
        if isinstance(loop, t.For):
            self.variables.pop(loop.name, None)
        return places

    def _values(self, loop: t.For, setting: Setting) -> list[Argument | None]:
        """Return what the loop's variable may hold in turn; None when that is not known."""
        self._setting = setting
        self.found += poison(loop.name, HOLE)
        words = [one for word in loop.words for one in arguments(word, self)]
        fetched = next((one for one in words if "\1" in one.text), None)
        known = all(one.how != "dynamic" for one in words) and len(words) <= _MOST_LOOP_WORDS
        if fetched is not None:
            return [fetched]
        if not known or not words or _assigns(loop.body, loop.name):
            return [None]
        return list(words)

    # [[ … ]]

    def _test(self, expression: t.TestExpression, setting: Setting) -> None:
        self._setting = setting
        match expression:
            case t.NotTest(operand=operand):
                self._test(operand, setting)
            case t.BothTests(left=left, right=right):
                self._test(left, setting)
                self._test(right, setting)
            case t.UnaryTest(operator=operator, operand=word):
                self._looked_at([word], setting, operator[1:] in _FILE_TESTS)
            case t.BinaryTest(left=one, operator=operator, right=two):
                self._looked_at([one, two], setting, operator in _COMPARES_FILES)
            case _:
                assert_never(expression)

    def _looked_at(self, words: list[t.Word], setting: Setting, is_file: bool) -> None:
        for word in words:
            path = argument(word, self)
            for place in setting.places if is_file else ():
                found = place.resolve(path)
                self.found.append(Access("fs.list", found.text, found.how, "[["))


def _names_passed(command: t.Command, stdin: Stdin) -> tuple[Argument, ...]:
    """Return the names that a command prints which prints lines that it reads, each as it is."""
    match command:
        case t.SimpleCommand(words=(name, *words)) if name.literal in _CHOOSES:
            chooses = _CHOOSES[name.literal].fullmatch
            options = [word.literal or "" for word in words]
            return stdin.origins if all(one[:1] != "-" or chooses(one) for one in options) else ()
        case _:
            return ()


def _names_of_git(command: t.Command, setting: Setting) -> tuple[Argument, ...]:
    """Return the files whose names git prints: those of the repository it is called in."""
    words = command.words if isinstance(command, t.SimpleCommand) else ()
    options = {word.literal or "" for word in words[1:]}
    is_list = any(map(options.issuperset, _NAMES_FILES)) and words[0].literal == "git"
    if not is_list or any(map(_OTHER_TREE.fullmatch, options)):
        return ()
    places = (place for place in setting.places if place.how == "exact")
    return tuple(Argument(f"{place.cwd}/{HOLE}", "pattern") for place in places)


def _in(setting: Setting, places: Places) -> Setting:
    """Return the setting with other places."""
    return setting if places == setting.places else Setting(_bounded(places), setting.stdin)


def _either(one: Places, other: Places) -> Places:
    return one if one == other else one + other


def _bounded(places: Places) -> Places:
    """Return the places once each; too many of them are one that is not known."""
    once = places if len(places) == 1 else tuple(dict.fromkeys(places))
    if len(once) <= _MOST_PLACES:
        return once
    return (once[0].lost(),)


def _endless(loop: t.While) -> bool:
    match loop.condition.statements:
        case (t.SimpleCommand(words=(word,)),):
            return word.literal == ("false" if loop.until else "true") or (
                word.literal == ":" and not loop.until
            )
        case _:
            return False


def _assigns(body: t.Sequence, name: str) -> bool:
    """Return whether a loop's body may change its variable."""
    for node in nodes(body):
        match node:
            case t.Assignment(name=assigned) | t.For(name=assigned) if assigned == name:
                return True
            # What other names hold are numbers, which assign nothing in turn.
            case t.Arithmetic(text=text) | t.ArithmeticCommand(text=text) if re.search(
                rf"\b{name}\b", text
            ):
                return True
            case t.Declaration() | t.ArithmeticFor():
                return True
            case t.SimpleCommand(words=(t.Word(parts=(t.Literal(text="printf"),)), word, *_)) if (
                word.literal or "-"
            )[0] != "-":
                continue
            case t.SimpleCommand(words=(word, *_)) if word.literal in _ASSIGNING:
                return True
            case _:
                continue
    return False

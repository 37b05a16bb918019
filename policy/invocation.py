"""One simple command of a shell tree: its words, assignments, functions, what it starts.

May touch: trees and program specs. May not touch: rules, or the order of commands (traversal.py).
INVARIANT: a word that cannot be known before the run is never taken for a harmless one.
"""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TypeGuard

import policy.shell.tree as t
from policy.aftermath import LINKERS, links_made, stood_for
from policy.expansion import NUMBER, argument, arguments, parted
from policy.hardening import unhardened
from policy.model import Access, Context
from policy.programs.environment import command_in, is_own_code, leads_outside, poison
from policy.programs.interpret import interpret
from policy.programs.known_output import PRINTED, output
from policy.programs.output_shapes import SHAPED, part_of_pattern, shape
from policy.programs.spec import Spec
from policy.programs.touching import ENDLESS, ENDLESS_FILE, copies_little
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin
from policy.shell.folding import Census, folded
from policy.shell.reader import read
from policy.shell.search import searched
from policy.shell.walk import nodes
from policy.surroundings import After, Places, Setting, SpentError, Surroundings

_DEPTH = 12
_COPIES = frozenset({"cat", "dd", "tee", "pv"})  # all of what they are given
_MOVES = frozenset({"cd", "pushd", "popd"})
_ASSIGNS = frozenset({"read", "mapfile", "readarray", "printf", "getopts", "unset"})
_UNSEEN = _ASSIGNS | {None, "command", "builtin", "eval", "source", "."}
_PRINTS = PRINTED | SHAPED
_OWN_PATH = (t.Variable("PATH", quoted=True), t.Variable("PATH", quoted=False))
_HEADER = re.compile(
    r"(-H ?|--header=)?(?:(?:Proxy-)?Authorization|PRIVATE-TOKEN|X-[A-Za-z-]+|Api-Key):"
)
_NEED_NO_OPTION = frozenset({"http", "https", "xh", "xhs"})
_SEPARATED = re.compile(r"[:,; ]+")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHIFTS = frozenset({"shift", "set"})
_PARAMETERS = _SHIFTS | {"source", "."}  # change what `$1` is
_UNKNOWN = Argument(HOLE, "dynamic", several=True)


class Invocations(Surroundings):
    """Reads simple commands and the programs that they start."""

    def __init__(self, programs: Mapping[str, Spec], context: Context) -> None:
        super().__init__(context)
        self.programs = programs
        self.names: dict[str, None] = {}  # of the programs, in order
        self.words: dict[str, list[Sequence[Argument]]] = {}  # by the last part of their names
        self.functions: dict[str, list[t.FunctionDef]] = {}
        self.defined: set[str] = set()  # functions that nothing but a call can be meant by
        self.top: t.Sequence | None = None  # where a definition is certain to happen
        self.trees: list[t.Sequence] = []  # of every text
        self.unread = ""  # the texts that had none
        self._certain: tuple[t.Command, ...] = ()
        self._once = self._numbers = frozenset[str]()  # names so assigned
        self._calling: list[str] = []
        self._searching = False  # whether a value is good if it only may be so
        self._fixed: Mapping[str, Argument] = {}  # supposed values, whatever is assigned
        self.held: dict[str, dict[Argument, None]] = {}  # the values that were assigned to each

    @abstractmethod
    def command(self, command: t.Command, setting: Setting) -> After:
        """Walk one command."""

    def suppose(self, values: Mapping[str, Argument]) -> None:
        """Take what is assigned for what is held, and some names for one value all the time."""
        self._searching, self._fixed = True, values
        self.variables |= values

    # What interpret.py asks: programs that start programs

    def knows(self, name: str) -> bool:
        """Return whether a program is described."""
        return name in self.programs

    def argv(self, words: Sequence[Argument], place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of an argument vector."""
        self.spend(1 + len(words))
        if words[0].how == "exact":
            self.names[words[0].text] = None
        if place.depth > _DEPTH:
            return [Access("opaque", "programs start programs, deeper than is followed", "dynamic")]
        words = unhardened(words)
        first = words[0]
        name = first.text if first.how == "exact" else ""
        name = name.rpartition("/")[2] if "/" in name else name
        self.words.setdefault(name, []).append(words)
        if name in LINKERS:
            self.links += links_made(words, place)
        below, bounded = place.deeper(), stdin.bounded()
        found = interpret(words, below, bounded, self.programs, self)
        for other in stood_for(first, place, self.links) if self.links else ():
            called = [Argument(other), *words[1:]]
            found += interpret(called, below, bounded, self.programs, self)
        if name in _COPIES and stdin.file is not None and ENDLESS.fullmatch(stdin.file.text):
            found.append(Access("resource.exhaust", ENDLESS_FILE, "exact", name))
        if name == "dd" and copies_little(words):
            found = [one for one in found if one.resource != ENDLESS_FILE]
        return found

    def guess(self, words: Sequence[Argument], place: Place) -> list[Access]:
        """Return the accesses of a vector that may not even run: nothing if it costs too much."""
        try:
            return self.argv(words, place, Stdin())
        except SpentError:
            return []

    def text(
        self,
        text: Argument,
        place: Place,
        stdin: Stdin,
        given: Sequence[Argument] | None = None,
    ) -> list[Access]:
        """Return the accesses of text that a new shell is given, with the words after it."""
        start = len(self.found)
        outer = self._setting, self._fed, self.variables, self.functions, self.defined, self.top
        inner = self._certain, self.parameters
        known = dict(self.variables) if self._searching else {}
        self._fed, self.variables, self.functions, self.defined = [], known, {}, set()
        self._certain = ()
        if given is not None:
            self._bind(given[1:])
        elif not self._searching:  # there, `eval` reads it in the shell that is
            self.parameters = None
        if HOLE in text.text:
            fetched = FETCHED in text.text
            unseen = "<network>" if fetched else "<shell text that is not known>"
            self.found.append(Access("code.exec", unseen, "dynamic"))
        self.spend(16 + len(text.text) // 32)
        seen = text.text.replace(FETCHED, "${unseen}").replace(HOLE, "${unseen}")
        self.script(seen, Setting((place.deeper(),), stdin))
        self._setting, self._fed, self.variables, self.functions, self.defined, self.top = outer
        self._certain, self.parameters = inner
        taken = self.found[start:]
        del self.found[start:]
        return taken

    def script(self, text: str, setting: Setting) -> None:
        """Walk a whole text; what has no tree is searched, and said to be opaque."""
        if setting.places[0].depth > _DEPTH:
            self.found.append(Access("opaque", "text nested deeper than is followed", "dynamic"))
            return
        tree = read(text)
        if isinstance(tree, t.Opaque):
            self.opaque(text, tree, setting)
        else:
            self.tree(tree, text, setting)

    def tree(self, tree: t.CommandTree, text: str, setting: Setting) -> None:
        """Walk the tree of a text; its constants are not yet in their places."""
        self.trees.append(tree)
        if "$" in text:
            known = {"HOME": self.home, "USER": self.user}
            if setting.places[0].how == "exact":
                known["PWD"] = setting.places[0].cwd
            tree = folded(tree, known)
        if any(sign in text for sign in ("$", "(", "function")):
            self._noted(tree)
            if "=" in text and not self._searching:
                self._certain = _certain(tree)
                census = Census(nodes(tree) if self._certain or self.functions else ())
                is_known = not census.is_unseen
                self._once = census.once if is_known else frozenset()
                self._numbers = census.numbers if is_known else frozenset()
        if "HOME" not in self.assigned:
            self.variables["HOME"] = Argument(self.home)
        self.top = tree
        if self.parameters and not self._keeps_parameters(tree, self.parameters):
            self.parameters, self.variables = None, _named(self.variables)
        self.sequence(tree, setting)

    def _noted(self, tree: t.CommandTree) -> None:
        """Keep in mind the functions of a tree, and the names that it gives a value."""
        for node in nodes(tree):
            if isinstance(node, t.FunctionDef):
                self.functions.setdefault(node.name, []).append(node)
            elif isinstance(node, t.Assignment | t.For):
                self.assigned.add(node.name)
            elif isinstance(node, t.SimpleCommand) and node.words:
                # It could assign any name unseen.
                self.assigned |= {"HOME"} if node.words[0].literal in _UNSEEN else set()

    def opaque(self, text: str, why: t.Opaque, setting: Setting) -> None:
        """Add what can be found in text that has no tree."""
        self.found.append(Access("opaque", f"{why.reason} at byte {why.byte}", "dynamic"))
        self.unread += f"{text} "
        outer, self._searching = self._searching, True
        self.tree(searched(text), text, setting)
        self._searching = outer

    # One simple command

    def simple(self, command: t.SimpleCommand, setting: Setting) -> After:
        """Walk a simple command whose redirections are already followed."""
        self._setting = setting
        reads = bool(command.words) and command.words[0].literal == "read"
        # `IFS=, read` splits one line otherwise, and nothing after it.
        self.assign(one for one in command.assignments if not (reads and one.name == "IFS"))
        if command.assignments:
            self._given(command)
        words = self._arguments(command)
        self._with_blanks(command, setting)
        if not words:
            return After(setting.places, setting.places, "")
        if words[0].text in _PARAMETERS:
            self._shift(command)
        called = self._call(words, setting)
        if called is None or words[0].text in self.programs or not self._is_call(words[0]):
            for place in setting.places:
                self.found += self.argv(words, place, setting.stdin)
        moved = self._moved(words, setting)
        if called is not None:
            return After(called.success + moved.success, called.failure + moved.failure)
        return moved

    def _arguments(self, command: t.SimpleCommand) -> list[Argument]:
        words = list[Argument]()
        for at, word in enumerate(command.words):
            if (literal := word.literal) is not None:
                words.append(Argument(literal))
                continue
            self.in_header = _is_header(command.words, at)
            words += arguments(word, self)
        self.in_header = False
        return words

    def _with_blanks(self, command: t.SimpleCommand, setting: Setting) -> None:
        """Add what a command does besides if `$IFS` in its words is a blank, as it is at first."""
        blanks = parted(command.words)
        words = [argument(word, self) for word in blanks]
        for place in setting.places if words else ():
            self.found += self.argv(words, place, setting.stdin)

    def _given(self, command: t.SimpleCommand) -> None:
        """Look at what a program is given, or keep values that are certain and not made again."""
        if not command.words:
            self.keep(command, command.assignments)
            return
        for one in command.assignments:
            value = argument(one.value, self)
            if leads_outside(one.name, value.text, self.context.workspace):
                self.found.append(Access("env.poison", one.name))

    def keep(self, command: t.Command, assignments: Iterable[t.Assignment | t.Word]) -> None:
        """Keep values that are certain and not made again."""
        if not any(command is one for one in self._certain):
            return
        found: Iterable[tuple[str, Argument]] = (
            (one.name, argument(one.value, self))
            for one in assignments
            if isinstance(one, t.Assignment) and not isinstance(one.value.parts[0], t.Array)
        )
        # `local a=1 b=$a` knows all values before it assigns one; `a=1 b=$a` does not.
        for name, value in list(found) if isinstance(command, t.Declaration) else found:
            if name in self._numbers:
                self.variables[name] = NUMBER
            elif name in self._once and value.how != "dynamic":
                self.variables[name] = value

    def _is_call(self, name: Argument) -> bool:
        """Return whether a name means its function, and no program of that name."""
        return name.text in self.defined and "unset" not in self.names

    def assign(self, assignments: Iterable[t.Assignment | t.Word]) -> None:
        """Add the poison of assignments, and keep in mind which hold what the network sent."""
        for one in assignments:
            if isinstance(one, t.Word):
                name = argument(one, self).text
                self.found += poison(name, HOLE)
                continue
            value = argument(one.value, self)
            self.found += self._steered(one.name, self._with_path(one, value))
            if FETCHED in value.text or (self._searching and value.how == "exact"):
                # Where what is found is only added, a guess can only show more.
                held = value if self._searching else Argument(FETCHED, "dynamic")
                self._holds(one, held)

    def _holds(self, one: t.Assignment, value: Argument) -> None:
        before = self.variables.get(one.name)
        if one.append and before is not None and self._searching:
            value = Argument.of(before.text + value.text)
        self.held.setdefault(one.name, {})[value] = None
        if one.name not in self._fixed:
            self.variables[one.name] = value

    def _with_path(self, one: t.Assignment, value: Argument) -> Argument:
        """Return what is put into PATH, where its own value before is as good as the system's."""
        if one.name != "PATH" or value.how == "exact":
            return value
        parts = (
            "/usr/bin" if part in _OWN_PATH else argument(t.Word((part,)), self).text
            for part in one.value.parts
        )
        return Argument.of("".join(parts))

    def _steered(self, name: str, value: Argument) -> Iterable[Access]:
        """Return what setting a variable means: code of the project, or poison."""
        own = f"{self.context.workspace}/"
        inside = all(f"{place.cwd}/".startswith(own) for place in self._setting.places)
        if inside and value.how == "exact" and is_own_code(name, value.text):
            return (Access("code.exec", self.context.workspace),)
        found = poison(name, value.text)
        if found and (command := command_in(value.text, self.knows)):
            for place in self._setting.places:
                found += tuple(self.text(Argument.of(command), place, Stdin()))
        if not found or value.how != "exact" or "/" not in value.text:
            return found
        # What steers a program is code, or leads to it: `LD_PRELOAD=./x.so`.
        paths = [path for path in _SEPARATED.split(value.text) if "/" in path]
        places = self._setting.places
        code = [place.resolve(Argument(path)).text for place in places for path in paths]
        return (*found, *(Access("code.exec", path) for path in code if path.startswith(own)))

    def _call(self, words: Sequence[Argument], setting: Setting) -> After | None:
        """Walk the bodies of a function that the first word may name."""
        name = words[0].text
        bodies = self.functions.get(name)
        if bodies is None:
            return None
        self.spend(len(words))
        if name in self._calling:
            self.found.append(Access("resource.exhaust", f"function {name}", "exact", name))
            return After(setting.places, setting.places)
        self._calling.append(name)
        places = tuple(place for body in bodies for place in self._body(body, words[1:], setting))
        self._calling.pop()
        self._setting = setting
        return After(places, places)

    def _body(self, function: t.FunctionDef, given: Sequence[Argument], setting: Setting) -> Places:
        """Walk the body of a function as one call finds it; what it assigns is forgotten."""
        variables, parameters, certain = self.variables, self.parameters, self._certain
        self.parameters, self.variables = None, _named(self.variables)
        if self._keeps_parameters(function.body.body, given):
            self._bind(given)
            self._certain = (*certain, *_certain(function.body.body))
        else:
            self.assigned |= {str(number) for number, _ in enumerate(given, 1)}
        places = self.command(function.body, setting).places
        kept = _named(self.variables) if self._searching else {}
        self.variables, self.parameters, self._certain = variables | kept, parameters, certain
        return places

    def _keeps_parameters(self, body: t.Sequence, given: Sequence[Argument]) -> bool:
        """Return whether a body finds these parameters, but for what its own `shift`s drop."""
        if self._searching:
            return True
        are_plain = _SHIFTS.isdisjoint(word.text for word in given)  # `"$1"` may run one
        return are_plain and not _changes_parameters(body)

    def _bind(self, given: Sequence[Argument]) -> None:
        """Take words for `$1`, `$2` and so on, up to one that may become none or many."""
        self.parameters = tuple(given)
        single = tuple(takewhile(lambda word: not word.several, given))
        if len(given) == len(single) + 1 and given[-1].how == "pattern":
            single += (given[-1]._replace(several=False),)  # the first name that it matches
        self.variables = _named(self.variables)
        self.variables |= {str(number): word for number, word in enumerate(single, 1)}
        is_known = all(word.how != "pattern" for word in given) and len(single) == len(given)
        if is_known and (self._searching or "IFS" not in self.assigned):
            self.variables["*"] = Argument.of(" ".join(word.text for word in single))

    def _shift(self, command: t.SimpleCommand) -> None:
        """Follow a written `shift`; what else changes the parameters leaves none that is known."""
        words = [word.literal or "" for word in command.words]
        known, count = self.parameters or (), words[1] if len(words) > 1 else "1"
        is_plain = words[0] == "shift" and count.isdecimal()
        gone = known[: int(count)] if is_plain else known
        # More than there are, and none is gone.
        is_known = is_plain and int(count) == len(gone) and not any(word.several for word in gone)
        self._bind(known[len(gone) :] if is_known else [_UNKNOWN])

    def _moved(self, words: list[Argument], setting: Setting) -> After:
        """Return where a builtin leaves the shell, and what the command printed."""
        places, rest = setting.places, words
        while len(rest) > 1 and rest[0].text in ("command", "builtin"):
            rest = rest[1:]
        name, self.shape = rest[0].text, None
        if name in _MOVES:
            moved = tuple(_moved_to(rest, place) for place in places)
            return After(moved, places, "")
        if name in _ASSIGNS:
            self._assigned_by(rest, setting.stdin)
        printed = self._printed_by(words, setting) if name in _PRINTS else None
        return After(places, places, printed)

    def _printed_by(self, words: list[Argument], setting: Setting) -> str | None:
        """Return what a command prints, or leave its shape in mind."""
        if any(word.how != "exact" or word.several for word in words):
            self.shape = part_of_pattern(words)
            return None
        argv = [word.text for word in unhardened(words)]
        printed = output(argv, setting.stdin.text)
        self.shape = shape(argv) if printed is None else None
        return printed

    def _assigned_by(self, words: list[Argument], stdin: Stdin) -> None:
        for word in words[1:]:
            if not _IDENTIFIER.fullmatch(word.text):
                continue
            self.found += poison(word.text, HOLE, words[0].text)
            if stdin.network:
                self.variables[word.text] = Argument(FETCHED, "dynamic")
        if stdin.network:
            self.variables |= {"REPLY": Argument(FETCHED, "dynamic")}


def _named(variables: Mapping[str, Argument]) -> dict[str, Argument]:
    """Return the variables that are no parameters of a function."""
    return {name: value for name, value in variables.items() if name.isidentifier()}


def _certain(tree: t.Sequence) -> tuple[t.Command, ...]:
    """Return the plain assignments that happen whatever else does."""
    firsts = (one.first if isinstance(one, t.AndOr) else one for one in tree.statements)
    return tuple(one for one in firsts if _only_assigns(one))


def _only_assigns(statement: object) -> TypeGuard[t.SimpleCommand | t.Declaration]:
    if isinstance(statement, t.Declaration):
        return statement.keyword == "local"
    return isinstance(statement, t.SimpleCommand) and not statement.words


def _changes_parameters(body: t.Sequence) -> bool:
    """Return whether a body may change `$1` otherwise than by a `shift` among its statements."""
    followed = {id(one) for one in body.statements if _runs(one) == ["shift"]}
    changing = (node for node in nodes(body) if not _PARAMETERS.isdisjoint(_runs(node)))
    return any(id(node) not in followed for node in changing)


def _runs(node: object) -> list[str | None]:
    """Return the program of a simple command; behind `command` and its like, all of its words."""
    words = [word.literal for word in node.words] if isinstance(node, t.SimpleCommand) else []
    return words if words[:1] in (["command"], ["builtin"]) else words[:1]


def _is_header(words: Sequence[t.Word], at: int) -> bool:
    """Return whether a word is a header that says who asks; a secret in it is where it belongs."""
    first = words[at].parts[0]
    found = _HEADER.match(first.text) if isinstance(first, t.Literal) else None
    takes_it = words[at - 1].literal in ("-H", "--header") or words[0].literal in _NEED_NO_OPTION
    return found is not None and (found[1] is not None or takes_it)


def _moved_to(words: Sequence[Argument], place: Place) -> Place:
    """Return where `cd` leads from one place; a directory that is not known stays so."""
    operands = [word for word in words[1:] if word.text not in ("-L", "-P", "-e", "--", "-n")]
    if words[0].text == "cd" and not operands:
        return place.at(Argument(place.context.home))
    if words[0].text == "popd" or len(operands) != 1 or operands[0].text[:1] in ("-", "+"):
        return place.lost()
    return place.at(operands[0])

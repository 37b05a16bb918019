"""One simple command of a shell tree: its words, assignments, redirections, what it starts.

May touch: trees and program specs. May not touch: rules, or the order of commands (traversal.py).
INVARIANT: a word that cannot be known before the run is never taken for a harmless one.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import policy.shell.tree as t
from policy.expansion import argument, arguments
from policy.hardening import unhardened
from policy.model import Access, Context
from policy.programs.environment import poison
from policy.programs.interpret import interpret
from policy.programs.known_output import output
from policy.programs.run import SOCKET, is_harmless_file
from policy.programs.spec import Spec
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin
from policy.shell.commands import Found
from policy.shell.folding import folded
from policy.shell.reader import read
from policy.shell.search import found_in
from policy.shell.walk import nodes

Places = tuple[Place, ...]
NETWORK = frozenset({"net.connect", "remote.exec"})
_WORK = 2000  # words that are interpreted before the text counts as not understood
_DEPTH = 12
_MOVES = frozenset({"cd", "pushd", "popd"})
_ASSIGNS = frozenset({"read", "mapfile", "readarray", "printf", "getopts", "unset"})
_UNSEEN = _ASSIGNS | {None, "command", "builtin", "eval", "source", "."}
_LISTS = frozenset({"fs.list", "fs.read"})
_SECRET = re.compile(
    r"[A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY"
    r"|CREDENTIALS?)[A-Z0-9_]*"
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SOCKET_FOLDERS = ("/dev/tcp/", "/dev/udp/")


class SpentError(Exception):
    """The work budget of one text is spent: it is not understood."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a command may run, and what it is fed."""

    places: Places
    stdin: Stdin = field(default_factory=Stdin)


@dataclass(frozen=True, slots=True)
class After:
    """Where the next command may run, by whether this one succeeded; what it printed if known."""

    success: Places
    failure: Places
    printed: str | None = None

    @property
    def places(self) -> Places:
        """Return where the next command may run if nobody asks how this one ended."""
        return tuple(dict.fromkeys(self.success + self.failure))


@dataclass(frozen=True, slots=True)
class Step:
    """The accesses of one command, kept apart to see what one writes and another runs."""

    accesses: tuple[Access, ...]
    connected: bool


class Invocations(ABC):
    """Reads simple commands; what they touch is gathered in `found`, in order."""

    def __init__(self, programs: Mapping[str, Spec], context: Context) -> None:
        self.programs, self.context = programs, context
        self.home, self.user = context.home, context.user
        self.found: list[Access] = []
        self.names: dict[str, None] = {}  # of the programs, in order
        self.steps: list[Step] = []
        self.variables: dict[str, Argument] = {}
        self.functions: dict[str, list[t.FunctionDef]] = {}
        self.defined: set[str] = set()  # functions that nothing but a call can be meant by
        self.top: t.Sequence | None = None  # where a definition is certain to happen
        self._calling: list[str] = []
        self._setting = Setting(())
        self._fed: list[t.Sequence] = []
        self._work = 0
        self._sockets = False  # whether a redirection opened one
        self._searching = False  # whether the text had no tree
        self._assigned: set[str] = set()  # names that the text gives a value
        self._pipes: list[str | None] = []  # what each `<( )` prints, if known

    @abstractmethod
    def sequence(self, body: t.Sequence, setting: Setting) -> After:
        """Walk the statements of a body in order."""

    @abstractmethod
    def command(self, command: t.Command, setting: Setting) -> After:
        """Walk one command."""

    def spend(self, amount: int) -> None:
        """Count work.

        Raises:
            SpentError: it is more than any ordinary text takes.
        """
        self._work += amount
        if self._work > _WORK:
            raise SpentError

    # What expansion.py asks: substitutions

    def printed(self, body: t.Sequence) -> Argument:
        """Walk a command substitution and return what it prints."""
        setting, start = self._setting, len(self.found)
        after = self.sequence(body, setting)
        self._setting = setting
        if after.printed is not None:
            return Argument.of(after.printed.rstrip("\n"))
        return Argument(FETCHED if self._connected(start) else HOLE, "dynamic")

    def fed(self, body: t.Sequence) -> str:
        """Walk `<( )` and return a hole for what is read from it."""
        setting, start = self._setting, len(self.found)
        after = self.sequence(body, setting)
        self._setting = setting
        connected = self._connected(start)
        self._pipes.append(None if connected else after.printed)
        return (FETCHED if connected else HOLE) + str(len(self._pipes) - 1)

    def piped(self, path: str) -> str | None:
        """Return what can be read from the file of a `<( )`, if that is known."""
        number = path.rpartition(HOLE)[2]
        known = number.isdigit() and int(number) < len(self._pipes)
        return self._pipes[int(number)] if known else None

    def reads(self, name: str) -> None:
        """Add the access of a variable whose value comes from outside the text."""
        if _SECRET.fullmatch(name) and name not in self._assigned:
            self.found.append(Access("credential.read", "<a secret variable>", "exact", "$"))

    def feeds(self, body: t.Sequence) -> None:
        """Keep `>( )` until it is known what its command connects to."""
        self._fed.append(body)

    def _connected(self, start: int) -> bool:
        return any(access.operation in NETWORK for access in self.found[start:])

    # What interpret.py asks: programs that start programs

    def argv(self, words: Sequence[Argument], place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of an argument vector."""
        self.spend(1 + len(words))
        if words[0].how == "exact":
            self.names[words[0].text] = None
        if place.depth > _DEPTH:
            return [Access("opaque", "programs start programs, deeper than is followed", "dynamic")]
        words = unhardened(words)
        return interpret(words, place.deeper(), stdin.bounded(), self.programs, self)

    def text(self, text: Argument, place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of text that a new shell is given."""
        start = len(self.found)
        outer = self._setting, self._fed, self.variables, self.functions, self.defined, self.top
        self._fed, self.variables, self.functions, self.defined = [], {}, {}, set()
        if HOLE in text.text:
            fetched = FETCHED in text.text
            unseen = "<network>" if fetched else "<shell text that is not known>"
            self.found.append(Access("code.exec", unseen, "dynamic"))
        self.spend(8 + len(text.text) // 32)
        known = text.text.replace(FETCHED, "${unseen}").replace(HOLE, "${unseen}")
        self.script(known, Setting((place.deeper(),), stdin))
        self._setting, self._fed, self.variables, self.functions, self.defined, self.top = outer
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
        if "$" in text:
            known = {"HOME": self.home, "USER": self.user}
            if setting.places[0].how == "exact":
                known["PWD"] = setting.places[0].cwd
            tree = folded(tree, known)
        if any(sign in text for sign in ("$", "(", "function")):
            self._noted(tree)
        if "HOME" not in self._assigned:
            self.variables["HOME"] = Argument(self.home)
        self.top = tree
        self.sequence(tree, setting)

    def _noted(self, tree: t.CommandTree) -> None:
        """Keep in mind the functions of a tree, and the names that it gives a value."""
        for node in nodes(tree):
            if isinstance(node, t.FunctionDef):
                self.functions.setdefault(node.name, []).append(node)
            elif isinstance(node, t.Assignment | t.For):
                self._assigned.add(node.name)
            elif isinstance(node, t.SimpleCommand) and node.words:
                # It could assign any name unseen.
                self._assigned |= {"HOME"} if node.words[0].literal in _UNSEEN else set()

    def opaque(self, text: str, why: t.Opaque, setting: Setting) -> None:
        """Add what can be found in text that has no tree."""
        self.found.append(Access("opaque", f"{why.reason} at byte {why.byte}", "dynamic"))
        outer, self._searching = self._searching, True
        for one in found_in(text):
            self.command(_as_simple(one), setting)
        self._searching = outer

    # One simple command

    def simple(self, command: t.SimpleCommand, setting: Setting) -> After:
        """Walk a simple command whose redirections are already followed."""
        self._setting = setting
        reads = bool(command.words) and command.words[0].literal == "read"
        # `IFS=, read` splits one line otherwise, and nothing after it.
        self.assign(one for one in command.assignments if not (reads and one.name == "IFS"))
        words = [one for word in command.words for one in arguments(word, self)]
        if not words:
            return After(setting.places, setting.places, "")
        called = self._call(words, setting)
        if called is None or words[0].text in self.programs or not self._is_call(words[0]):
            for place in setting.places:
                self.found += self.argv(words, place, setting.stdin)
        moved = self._moved(words, setting)
        if called is not None:
            return After(called.success + moved.success, called.failure + moved.failure)
        return moved

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
            self.found += poison(one.name, value.text)
            if FETCHED in value.text or (self._searching and value.how == "exact"):
                # Where nothing is allowed anyway, a guess can only show more.
                held = value if self._searching else Argument(FETCHED, "dynamic")
                self.variables[one.name] = held

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
        places: Places = ()
        for definition in bodies:
            places += self.command(definition.body, setting).places
        self._calling.pop()
        self._setting = setting
        return After(places, places)

    def _moved(self, words: list[Argument], setting: Setting) -> After:
        """Return where a builtin leaves the shell, and what the command printed."""
        places = setting.places
        rest = words
        while len(rest) > 1 and rest[0].text in ("command", "builtin"):
            rest = rest[1:]
        name = rest[0].text
        if name in _MOVES:
            moved = tuple(_moved_to(rest, place) for place in places)
            return After(moved, places, "")
        if name in _ASSIGNS:
            self._assigned_by(rest, setting.stdin)
        if any(word.how != "exact" or word.several for word in words):
            return After(places, places)
        return After(places, places, output([word.text for word in words], setting.stdin.text))

    def _assigned_by(self, words: list[Argument], stdin: Stdin) -> None:
        for word in words[1:]:
            if not _IDENTIFIER.fullmatch(word.text):
                continue
            self.found += poison(word.text, HOLE, words[0].text)
            if stdin.network:
                self.variables[word.text] = Argument(FETCHED, "dynamic")
        if stdin.network:
            self.variables |= {"REPLY": Argument(FETCHED, "dynamic")}

    # Redirections

    def redirected(self, redirects: t.Redirects, setting: Setting) -> Setting:
        """Add what redirections open, and return the setting with the new standard input."""
        self._setting = setting
        for redirect in redirects:
            setting = replace(setting, stdin=self._redirect(redirect, setting))
        return setting

    def _redirect(self, redirect: t.Redirect, setting: Setting) -> Stdin:
        target, stdin = argument(redirect.target, self), setting.stdin
        reads_stdin = redirect.fd in (None, 0)
        match redirect.operator:
            case "<<<":
                known = target.text if target.how == "exact" else None
                given = Stdin(known, connected=True, network=FETCHED in target.text)
                return given if reads_stdin else stdin
            case "<&" | ">&" if re.fullmatch(r"[0-9]+-?|-", target.text):
                if redirect.fd == 0 or (redirect.operator == "<&" and reads_stdin):
                    return Stdin(connected=True, network=stdin.network or self._sockets)
                return stdin
            case "<" | "<>":
                if redirect.operator == "<>":
                    self._open("fs.write", target, setting)
                self._open("fs.read", target, setting)
                network = FETCHED in target.text or _may_connect(target.text)
                opened = Stdin(connected=True, network=network, file=target)
                return opened if reads_stdin else stdin
            case _:
                self._open("fs.write", target, setting)
                return stdin

    def _open(self, operation: str, target: Argument, setting: Setting) -> None:
        if SOCKET.fullmatch(target.text):
            # Any descriptor may be this socket from now on.
            self._sockets = True
            self.found.append(Access("net.connect", target.text, target.how))
            return
        if _may_connect(target.text):
            self.found.append(Access("opaque", "a redirection to a file not known", "dynamic"))
        for place in setting.places:
            path = place.resolve(target)
            if not is_harmless_file(path.text):
                self.found.append(Access(operation, path.text, path.how))

    # Around a command

    def stepped(self, start: int, step: int, setting: Setting) -> None:
        """Feed the `>( )` of a command that ended, and keep its accesses apart as one step."""
        connected = self._connected(start) or setting.stdin.network
        fed, self._fed = self._fed, []
        for body in fed:
            stdin = Stdin(connected=True, network=connected)
            self.sequence(body, replace(setting, stdin=stdin))
        inner = {access for one in self.steps[step:] for access in one.accesses}
        own = tuple(access for access in self.found[start:] if access not in inner)
        if own:
            self.steps.append(Step(own, connected))

    def origins(self, start: int) -> tuple[str, ...]:
        """Return what the commands since `start` looked at: names they print lie below."""
        looked = (one for one in self.found[start:] if one.operation in _LISTS)
        return tuple(dict.fromkeys(one.resource for one in looked if one.how == "exact"))[:4]


def _as_simple(found: Found) -> t.SimpleCommand:
    return t.SimpleCommand(found.assignments, found.words, found.redirects)


def _may_connect(text: str) -> bool:
    """Return whether a target could turn out to be a socket: bash looks after expanding it."""
    head, hole, _ = text.partition(HOLE)
    if not hole:
        return SOCKET.fullmatch(text) is not None
    return any(one.startswith(head) or head.startswith(one) for one in _SOCKET_FOLDERS)


def _moved_to(words: Sequence[Argument], place: Place) -> Place:
    """Return where `cd` leads from one place; a directory that is not known stays so."""
    operands = [word for word in words[1:] if word.text not in ("-L", "-P", "-e", "--", "-n")]
    if words[0].text == "cd" and not operands:
        return place.at(Argument(place.context.home))
    if words[0].text == "popd" or len(operands) != 1 or operands[0].text[:1] in ("-", "+"):
        return place.lost()
    return place.at(operands[0])

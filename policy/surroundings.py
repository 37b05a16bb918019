"""What a command finds around it: redirections, substitutions, variables, and what came before.

May touch: trees. May not touch: what a program's arguments mean (invocation.py asks for that).
INVARIANT: what was or may have been fetched from the network stays marked until something runs it.
Source: Bash Reference Manual §3.5.4, §3.5.6, §3.6.
"""

import re
from abc import ABC, abstractmethod
from typing import NamedTuple

import policy.shell.tree as t
from policy.aftermath import Link, Step
from policy.expansion import argument
from policy.model import Access, Context
from policy.programs.touching import SOCKET, is_harmless_file
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin

Places = tuple[Place, ...]
_NETWORK = frozenset({"net.connect", "remote.exec"})
_WORK = 1200  # words that are interpreted before the text counts as not understood
_LONGEST_NAME = 128  # of a variable; matching takes the square of it
_LEAVES = frozenset({"fs.write", "fs.create", "code.exec"})  # what a step is kept for
_LISTS = frozenset({"fs.list", "fs.read"})
_SECRET = re.compile(
    r"[A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY"
    r"|CREDENTIALS?)[A-Z0-9_]*"
)
_SOCKET_FOLDERS = ("/dev/tcp/", "/dev/udp/")


class SpentError(Exception):
    """The work budget of one text is spent: it is not understood."""


class Setting(NamedTuple):
    """Where a command may run, and what it is fed."""

    places: Places
    stdin: Stdin = Stdin()


class After(NamedTuple):
    """Where the next command may run, by whether this one succeeded; what it printed if known."""

    success: Places
    failure: Places
    printed: str | None = None

    @property
    def places(self) -> Places:
        """Return where the next command may run if nobody asks how this one ended."""
        if self.success == self.failure:
            return self.success
        return tuple(dict.fromkeys(self.success + self.failure))


class Surroundings(ABC):
    """Everything a command depends on besides its words; accesses gather in `found`, in order."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.home, self.user = context.home, context.user
        self.found: list[Access] = []
        self.steps: list[Step] = []
        self.links: list[Link] = []
        self.texts: dict[str, str] = {}  # what the text writes to files, where that is known
        self.variables: dict[str, Argument] = {}
        self.parameters: tuple[Argument, ...] | None = None  # "$@", inside a call
        self.assigned: set[str] = set()  # names that the text gives a value
        self.missed: set[str] = set()  # of these, the used ones whose value is not certain
        self.in_header = False  # whether the word that is read is where a secret belongs
        self.work = 0
        self.shape: str | None = None  # what the last command prints, as a pattern
        self._setting = Setting(())
        self._fed: list[t.Sequence] = []  # the bodies of `>( )` of this command
        self._pipes: list[str | None] = []  # what each `<( )` prints, if known
        self._sockets = False  # whether a redirection opened one

    @abstractmethod
    def sequence(self, body: t.Sequence, setting: Setting) -> After:
        """Walk the statements of a body in order."""

    def spend(self, amount: int) -> None:
        """Count work.

        Raises:
            SpentError: it is more than any ordinary text takes.
        """
        self.work += amount
        if self.work > _WORK:
            raise SpentError

    # What expansion.py asks: substitutions

    def printed(self, body: t.Sequence) -> Argument:
        """Walk a command substitution and return what it prints."""
        setting, start = self._setting, len(self.found)
        after = self.sequence(body, setting)
        self._setting = setting
        if after.printed is not None:
            return Argument.of(after.printed.rstrip("\n"))
        match body.statements:
            case (t.SimpleCommand(),) if self.shape is not None:
                return Argument(self.shape, "pattern")
            case _:
                pass
        return Argument(FETCHED if self.connected(start) else HOLE, "dynamic")

    def fed(self, body: t.Sequence) -> str:
        """Walk `<( )` and return a hole for what is read from it."""
        setting, start = self._setting, len(self.found)
        after = self.sequence(body, setting)
        self._setting = setting
        connected = self.connected(start)
        self._pipes.append(None if connected else after.printed)
        return (FETCHED if connected else HOLE) + str(len(self._pipes) - 1)

    def piped(self, path: str) -> str | None:
        """Return what can be read from the file of a `<( )`, if that is known."""
        number = path.rpartition(HOLE)[2]
        known = number.isdigit() and int(number) < len(self._pipes)
        return self._pipes[int(number)] if known else None

    def written(self, path: str) -> str | None:
        """Return the text that an earlier command wrote to a file, if that is known."""
        return self.texts.get(path)

    def reads(self, name: str) -> None:
        """Add the access of a variable whose value comes from outside the text."""
        if name in self.assigned:
            self.missed.add(name)
        elif _SECRET.fullmatch(name[:_LONGEST_NAME]):
            where = " in a header" if self.in_header else ""
            secret = f"<a secret variable{where}>"
            self.found.append(Access("credential.read", secret, "exact", "$"))

    def feeds(self, body: t.Sequence) -> None:
        """Keep `>( )` until it is known what its command connects to."""
        self._fed.append(body)

    def connected(self, start: int) -> bool:
        """Return whether an access since `start`, or a socket kept open, connected to something."""
        return self._sockets or any(access.operation in _NETWORK for access in self.found[start:])

    # Redirections

    def redirected(self, redirects: t.Redirects, setting: Setting) -> Setting:
        """Add what redirections open, and return the setting with the new standard input."""
        self._setting = setting
        for redirect in redirects:
            setting = Setting(setting.places, self._redirect(redirect, setting))
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

    def wrote(self, redirects: t.Redirects, printed: str | None, setting: Setting) -> None:
        """Keep the text that a command prints to a file: another may run it."""
        for one in redirects:
            if one.operator in (">", ">>", ">|", "&>") and one.fd in (None, 1) and printed:
                for place in setting.places:
                    path = place.resolve(argument(one.target, self)).text
                    before = self.texts.get(path, "") if one.operator == ">>" else ""
                    self.texts[path] = f"{before}{printed}\n"

    # Around a command

    def stepped(self, start: int, step: int, setting: Setting) -> None:
        """Feed the `>( )` of a command that ended, and keep its accesses apart as one step."""
        if not self._fed and not any(one.operation in _LEAVES for one in self.found[start:]):
            return
        connected = self.connected(start) or setting.stdin.network
        fed, self._fed = self._fed, []
        for body in fed:
            stdin = Stdin(connected=True, network=connected)
            self.sequence(body, Setting(setting.places, stdin))
        inner = {access for one in self.steps[step:] for access in one.accesses}
        own = tuple(access for access in self.found[start:] if access not in inner)
        if own:
            self.steps.append(Step(own, connected, setting.stdin.network))

    def origins(self, start: int) -> tuple[Argument, ...]:
        """Return the names that the commands since `start` may print, by what they looked at."""
        looked = [one for one in self.found[start:] if one.operation in _LISTS]
        named = [Argument(one.resource, "pattern") for one in looked if one.how == "pattern"]
        folders = (one.resource.rstrip("/") for one in looked if one.how == "exact")
        below = [Argument(f"{folder}/{HOLE}", "dynamic") for folder in folders]
        return tuple(dict.fromkeys(named or below))[:4]


def _may_connect(text: str) -> bool:
    """Return whether a target could turn out to be a socket: bash looks after expanding it."""
    head, hole, _ = text.partition(HOLE)
    if not hole:
        return SOCKET.fullmatch(text) is not None
    return any(one.startswith(head) or head.startswith(one) for one in _SOCKET_FOLDERS)

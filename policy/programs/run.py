"""One role applied to one value: the step at which a word becomes an access.

May touch: arguments and the place they are read in. What a value starts in turn goes to Nested.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from policy.model import PATH_OPERATIONS, Access, How
from policy.programs.environment import poison
from policy.programs.findings import Finding, Runs, Touches, Unknown
from policy.programs.scripts import SCANNERS
from policy.programs.spec import Does, Role
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin, shown

HARMLESS_DEVICE = re.compile(r"/dev/(null|full|zero|u?random|stdin|stdout|stderr|tty|fd/\d+)")
SOCKET = re.compile(r"/dev/(tcp|udp)/.*", re.S)
FOUND = "<what it finds>"
_LONGEST_SCRIPT = 4096
_ELSEWHERE = re.compile(r"(?:^|[=:,;|@ ])((?:/[^/=:,;|@ ]+/|~/|\.\./)[^=:,;|@ ]*)")
# Nobody's to write but the administrator's; or no files at all.
_FOREIGN = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/etc/", "/dev/", "/proc/", "/sys/")
_ENDLESS = re.compile(r"/dev/(zero|full|u?random)")
_REMOTE = re.compile(r"[\w.@*-]+:(?!\\)|[a-z][a-z0-9+.-]*://|\[[0-9a-f:]+\]:", re.S)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SET_ID = re.compile(r"[+=][rwxXst]*s|^0*[2-7][0-7]{3}$")
_OPEN_TO_ALL = re.compile(
    r"^0?[0-7]{2}[2367]$|(?:^|,)[ug]*[oa][ugoa]*[+=][rxXst]*w|(?:^|,)\+[rx]*w"
)
_PIPE_FILE = re.compile(r"/dev/fd/" + HOLE + ".*", re.S)


class Nested(Protocol):
    """Classifies what a program starts in turn."""

    def text(self, text: Argument, place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of shell text."""
        ...

    def argv(self, words: Sequence[Argument], place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of an argument vector."""
        ...

    def spend(self, amount: int) -> None:
        """Count work; raises what ends the walk when it is too much."""
        ...

    def piped(self, path: str) -> str | None:
        """Return what can be read from the file of a `<( )`, if that is known."""
        ...

    def written(self, path: str) -> str | None:
        """Return what the text wrote to a file before, if that is known."""
        ...


@dataclass(slots=True)
class Run:
    """One program while its arguments are read; `accesses` grows in the order found."""

    program: str
    place: Place
    stdin: Stdin
    nested: Nested
    accesses: list[Access] = field(default_factory=list)
    reads: Role = Role("shell")  # noqa: RUF009 - frozen; how it reads a program it is given
    starts: Sequence[Argument] = ()  # where find and its kind begin
    builds: bool = False  # whether it runs the project's code, and settings of it
    named: list[Argument] = field(default_factory=list)  # what find and its kind look for
    placeholders: list[str] = field(default_factory=list)
    added: list[Argument] | None = None  # the words that xargs puts after its command

    def add(self, operation: str, resource: str, how: How = "dynamic") -> None:
        """Record an access of this program."""
        self.accesses.append(Access(operation, shown(resource), how, self.program))

    def does(self, does: Does) -> None:
        """Record what a spec says without a value."""
        if does.resource == FOUND:
            role = Role(does.operation)
            for file in (*self.found_files(), *(() if self.named else self.starts)):
                self.operation(role, file)
        elif does.resource is None or does.is_named:
            self.add(does.operation, does.resource or self.program, "exact")
        else:
            self.operation(Role(does.operation), Argument(does.resource))

    def value(self, role: Role, value: Argument | list[Argument]) -> None:
        """Apply one role to one value."""
        if isinstance(value, list):
            if role.name == "command;":
                self._command_per_file(value)
            else:
                self.argv(value)
        elif role.name.startswith("script:"):
            self._script(role.name.removeprefix("script:"), value)
        elif role.name == "name":
            self.named.append(value)
        elif role.name == "project":
            self.operation(Role("code.exec"), value)
        else:
            self._word(role, value)

    def _word(self, role: Role, word: Argument) -> None:
        match role.name:
            case "placeholder":
                self.placeholders.append(word.text)
            case "cd":
                self.place = self.place.at(word)
            case "shell":
                self.shell(word)
            case "mode":
                self._mode(word)
            case "rest" if word.text.startswith(("/", "~")):
                # Arguments of code that nobody read: a path among them is at least looked at.
                self.operation(Role("fs.read"), word)
            case "text" | "rest" | "flag" | "words":
                self._at_file(word)
                self._code_elsewhere(role, word)
            case "command" | "command;":
                self.argv([word])
            case _:
                self.operation(role, word)

    def _code_elsewhere(self, role: Role, word: Argument) -> None:
        """A path outside the workspace that a build or test tool is given may be code to it."""
        if not self.builds or role.name == "rest" or word.how != "exact":
            return
        own = f"{self.place.context.workspace}/"
        for found in _ELSEWHERE.finditer(word.text):
            path = self.place.resolve(Argument(found[1]))
            if not f"{path.text}/".startswith((own, *_FOREIGN)):
                self.operation(Role("code.exec"), path)

    def operation(self, role: Role, word: Argument) -> None:
        """Record a role that is an operation: on a path, a remote name, or any other resource."""
        name, text = role.name, word.text
        if role.other is not None and _REMOTE.match(text):
            name = role.other
        if text[:5].lower() == "file:" and name in ("net.connect", "fs.read"):
            start = len("file://") if text[5:7] == "//" else len("file:")
            self._path("fs.read", word.after(start))
        elif name not in PATH_OPERATIONS:
            self.accesses.append(Access(name, shown(text), word.how, self.program))
            self._at_file(word)
        elif text in ("-", "/dev/stdin"):
            if name == "code.exec":
                self.standard_input(self.reads)
        else:
            self._path(name, word)
            if name == "fs.read":
                self._code_elsewhere(role, word)

    def _path(self, name: str, word: Argument) -> None:
        text = word.text
        if name == "fs.read" and text.startswith("/dev/") and SOCKET.fullmatch(text):
            self.add("net.connect", text, word.how)
            return
        if text.startswith("@") and len(text) > 1:
            self._at_file(word)
            if name == "fs.read" and text[1] not in "{~^":
                self.add("opaque", f"arguments from the file {text[1:]}")
        path = self.place.resolve(word)
        if name == "code.exec":
            settled = self._is_code_elsewhere(text, path)
        else:
            settled = path.text.startswith("/dev/") and self._is_harmless_device(name, path.text)
        if not settled:
            self.accesses.append(Access(name, path.text, path.how, self.program))
            if "/../" in text:
                self._linked(name, word, path)

    def _is_harmless_device(self, name: str, path: str) -> bool:
        # head ends by itself.
        if name == "fs.read" and self.program != "head" and _ENDLESS.fullmatch(path):
            self.add("resource.exhaust", "an endless file", "exact")
        return name in ("fs.read", "fs.write", "fs.list") and is_harmless_file(path)

    def _is_code_elsewhere(self, text: str, path: Argument) -> bool:
        """Run what comes out of `<( )` as if it were on standard input."""
        if FETCHED in text or "://" in text:
            self.add("code.exec", "<network>")
        if not _PIPE_FILE.fullmatch(path.text):
            written = self.nested.written(path.text)
            if written is not None:
                outer, self.stdin = self.stdin, Stdin(written, connected=True)
                self.standard_input(self.reads)
                self.stdin = outer
            return False
        known = self.nested.piped(path.text)
        self.stdin = Stdin(known, connected=True, network=FETCHED in path.text)
        self.standard_input(self.reads)
        return True

    def _linked(self, name: str, word: Argument, path: Argument) -> None:
        """Add what a path that leaves the directory may mean too, when a link is on its way."""
        inside = path.text.startswith(f"{self.place.cwd}/")
        linked = None if inside else self.place.through_links(word)
        if linked is not None and linked.text != path.text:
            self.accesses.append(Access(name, linked.text, linked.how, self.program))

    def _at_file(self, word: Argument) -> None:
        """`@FILE` and `name=@FILE` are read by many programs; assume all of them do."""
        text = word.text
        if "@" not in text:
            return
        at = text.find("=@") + 1
        if not text.startswith("@") and not at:
            return
        file = word.after(1 if text.startswith("@") else at + 1)
        if file.text not in ("", "-"):
            path = self.place.resolve(file)
            self.accesses.append(Access("fs.read", path.text, path.how, self.program))

    def _mode(self, value: Argument) -> None:
        if value.how != "exact" or _SET_ID.search(value.text):
            self.add("privilege.escalate", "<set-user-id>", "exact")
        elif _OPEN_TO_ALL.search(value.text):
            self.add("privilege.escalate", "<world-writable>", "exact")

    # What a program starts

    def shell(self, text: Argument) -> None:
        """Read a value as shell text."""
        self.accesses += self.nested.text(self._filled(text), self.place, self.stdin)

    def argv(self, words: Sequence[Argument]) -> None:
        """Read the words of a command that this program starts."""
        rest = list(words)
        while rest and _ASSIGNMENT.match(rest[0].text):
            name, _, value = rest.pop(0).text.partition("=")
            self.accesses += poison(name, value, self.program)
        if self.added is not None and not self.placeholders:
            rest += self.added
        if rest and rest[0].text in ("-", "--"):
            rest.pop(0)
        if len(rest) > 1 and rest[0].text in ("-c", "--command"):
            self.shell(rest[1])
            return
        if rest:
            filled = [self._filled(word) for word in rest]
            self.accesses += self.nested.argv(filled, self.place, self.stdin)

    def _command_per_file(self, words: list[Argument]) -> None:
        """Read the command of `find -exec`: `{}` is some file below where find started."""
        if not words:
            return
        for file in self.found_files():
            named = [_with_file(word, file) for word in words]
            if not any("{}" in word.text for word in words):
                named.append(file)
            self.accesses += self.nested.argv(named, self.place, self.stdin)

    def found_files(self) -> list[Argument]:
        """Return what find and its kind find: by the names asked for below where they start."""
        starts = [word for word in self.starts if word.text[:1] not in "(!"] or [Argument(".")]
        roots = [start.text.rstrip("/") for start in starts]
        known = all(word.how == "exact" for word in (*self.starts, *self.named))
        if not known or any(word.text == "!" for word in self.starts):
            return [Argument.of(f"{root}/{HOLE}") for root in roots]
        below = [text for word in self.named for text in _below(word.text)] or [f"/{HOLE}"]
        return [Argument(root + text, "pattern") for root in roots for text in below]

    def _filled(self, word: Argument) -> Argument:
        braces = ["{}"] if self.added is not None else []
        for placeholder in filter(None, (*self.placeholders, *braces)):
            if placeholder in word.text:
                known = self.stdin.text
                text = self._unseen() if known is None else known.strip()
                word = Argument.of(word.text.replace(placeholder, text))
        return word

    def _unseen(self) -> str:
        return FETCHED if self.stdin.network else HOLE

    # Programs in other languages, and standard input

    def _script(self, language: str, text: Argument) -> None:
        if text.how == "dynamic":
            fetched = FETCHED in text.text
            self.add("code.exec", "<network>" if fetched else f"<{language} text not known>")
            return
        if len(text.text) > _LONGEST_SCRIPT:
            self.add("code.exec", f"<{language} text longer than is read>")
            return
        for finding in SCANNERS[language](text.text):
            self.nested.spend(2)
            self._found(finding)

    def _found(self, finding: Finding) -> None:
        match finding:
            case Runs(shell=shell):
                self.shell(Argument.of(shell))
            case Touches(operation=operation, resource=resource):
                if resource.startswith("<") or operation not in PATH_OPERATIONS:
                    self.add(operation, resource)
                else:
                    self.operation(Role(operation), Argument.of(resource))
            case Unknown(what=what):
                self.add("code.exec", f"<{what}>")
                if self.stdin.network:
                    self.add("code.exec", "<network>")
            case _:
                assert_never(finding)

    def standard_input(self, role: Role) -> None:
        """Apply the spec's `stdin` role to what is on standard input."""
        stdin = self.stdin
        if role.name == "words":
            hole = self._unseen()
            names = [Argument(one.text.replace(HOLE, hole), one.how) for one in stdin.origins]
            words = [Argument(text) for text in (stdin.text or "").split()]
            self.added = (names or [Argument.of(hole)]) if stdin.text is None else words
        elif stdin.network:
            self.add("code.exec", "<network>")
        elif stdin.file is not None:
            self._path("code.exec", stdin.file)
        elif stdin.text is not None and role.name == "shell":
            self.stdin = Stdin("")
            self.shell(Argument.of(stdin.text))
        elif stdin.text is not None and role.name.startswith("script:"):
            self.value(role, Argument.of(stdin.text))
        else:
            self.add("code.exec", "<standard input>" if stdin.connected else "<a terminal>")


def is_harmless_file(path: str) -> bool:
    """Return whether reading or writing the file changes and shows nothing of the machine."""
    return path.startswith("/dev/") and bool(
        HARMLESS_DEVICE.fullmatch(path) or _PIPE_FILE.fullmatch(path)
    )


def _with_file(word: Argument, file: Argument) -> Argument:
    if "{}" not in word.text:
        return word
    text = word.text.replace("{}", file.text)
    return Argument(text, file.how if word.text.startswith("{}") else Argument.of(text).how)


def _below(name: str) -> Iterator[str]:
    """Yield the paths below a folder that a name or a path pattern of find means."""
    for text in dict.fromkeys((name, name.lower())):  # -iname
        if "/" in text:
            yield "/" + "/".join("**" if part == "*" else part for part in text.split("/"))
        elif text[:1] in ("*", "?", "["):
            yield f"/{HOLE}{text}"  # find's wildcards begin hidden names too
        else:
            yield f"/{HOLE}/{text}"

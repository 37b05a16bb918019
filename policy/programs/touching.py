"""What a program does to a resource: a word in a role becomes an access.

May touch: arguments and the place they are read in. What a program starts is run.py's.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from policy.model import PATH_OPERATIONS, Access, How
from policy.programs.spec import Does, Role
from policy.programs.words import FETCHED, HOLE, Argument, Place, Stdin, shown

HARMLESS_DEVICE = re.compile(r"/dev/(null|full|zero|u?random|stdin|stdout|stderr|tty|fd/\d+)")
SOCKET = re.compile(r"/dev/(tcp|udp)/.*", re.S)
FOUND = "<what it finds>"
_NOT_NAMED = {
    "net.connect": "<a host that is not named>",
    "pkg.install": "<this machine's packages>",
}
_ELSEWHERE = re.compile(r"(?:^|[=:,;|@ ])((?:/[^/=:,;|@ ]+/|~/|\.\./)[^=:,;|@ ]*)")
# Nobody's to write but the administrator's; or no files at all.
_FOREIGN = ("/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/etc/", "/dev/", "/proc/", "/sys/")
ENDLESS = re.compile(r"/dev/(zero|full|u?random)")
_REPLACES = frozenset({"mv", "ln", "install"})  # the file they are given, whatever it is
_SIZE = re.compile(r"[+<>]?(\d{1,19})\s?([kmgtpezy]?)(?:i?b)?", re.I)
_DD_BLOCK = 512
_MOST_LISTED = 8
# Any character, a set or a group, and how often: a pattern's star.
_WILD_REGEX = re.compile(r"(?:(?<!\\)\.|\[[^]]*\]|\\?\([^()]*\\?\))\\?[*+?]?|.\\?[*+?](?![*+?])")
ENDLESS_FILE = "an endless file"
_MOST_BYTES = 2 << 30  # of one file: what is larger may fill the disk
_REMOTE = re.compile(r"[\w.@*-]+:(?!\\)|[a-z][a-z0-9+.-]*://|\[[0-9a-f:]+\]:", re.S)
_SET_ID = re.compile(r"([ugoa]*)[+=][rwxXt]*s[rwxXst]*|0*([2-7])[0-7]{3}")
_OPEN_TO_ALL = re.compile(
    r"^0?[0-7]{2}[2367]$|(?:^|,)[ug]*[oa][ugoa]*[+=][rxXst]*w|(?:^|,)\+[rx]*w"
)
_ADDRESS = re.compile(r"(?!file:)[A-Za-z][A-Za-z0-9+.-]*://")
_PIPE_FILE = re.compile(r"/dev/fd/" + HOLE + ".*", re.S)


class Nested(Protocol):
    """Classifies what a program starts in turn."""

    def text(
        self,
        text: Argument,
        place: Place,
        stdin: Stdin,
        given: Sequence[Argument] | None = None,
    ) -> list[Access]:
        """Return the accesses of shell text; `given` are `$0`, `$1` and so on, where known."""
        ...

    def argv(self, words: Sequence[Argument], place: Place, stdin: Stdin) -> list[Access]:
        """Return the accesses of an argument vector."""
        ...

    def knows(self, name: str) -> bool:
        """Return whether a program is described."""
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
class Touching(ABC):
    """One program while its arguments are read; `accesses` grows in the order found."""

    program: str
    place: Place
    stdin: Stdin
    nested: Nested
    accesses: list[Access] = field(default_factory=list)
    unnamed: list[Access] = field(default_factory=list)  # what it does to nothing in particular
    reads: Role = Role("shell")  # noqa: RUF009 - frozen; how it reads a program it is given
    starts: Sequence[Argument] = ()  # where find and its kind begin
    named: list[Argument] = field(default_factory=list)  # what they look for
    limited: bool = False  # what they find is not all that is there
    builds: bool = False  # whether it runs the project's code, and settings of it
    bounded: bool = False  # whether its words say how much it reads, and that is not much

    @abstractmethod
    def standard_input(self, role: Role) -> None:
        """Apply a role to what is on standard input."""

    def add(self, operation: str, resource: str, how: How = "dynamic") -> None:
        """Record an access of this program."""
        self.accesses.append(Access(operation, shown(resource), how, self.program))

    def does(self, does: Does) -> None:
        """Record what a spec says without a value."""
        if does.resource == FOUND:
            role = Role(does.operation)
            whole = () if self.named or self.limited else self.starts or (Argument("."),)
            for file in (*self.found_files(), *whole):
                self.operation(role, file)
        elif does.resource is None:
            bare = Access(
                does.operation, _NOT_NAMED.get(does.operation, self.program), "exact", self.program
            )
            self.accesses.append(bare)
            self.unnamed.append(bare)
        elif does.is_named:
            self.add(does.operation, does.resource, "exact")
        else:
            self.operation(Role(does.operation), Argument(does.resource))

    def settle(self) -> list[Access]:
        """Return all accesses, without those to nothing in particular where others are named."""
        for bare in self.unnamed:
            alike = (one for one in self.accesses if one.operation == bare.operation)
            if any(one not in self.unnamed for one in alike):
                self.accesses.remove(bare)
        return self.accesses

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
        elif name == "fs.read" and "://" in text and _ADDRESS.match(text):
            name = "net.connect"
        if text[:5].lower() == "file:" and name in ("net.connect", "fs.read"):
            start = len("file://") if text[5:7] == "//" else len("file:")
            self._path("fs.read", word.after(start))
        elif name not in PATH_OPERATIONS:
            self._no_path(name, word)
        elif text in ("-", "/dev/stdin"):
            if name == "code.exec" or self.reads.name == "script:include":
                self.standard_input(self.reads)
        else:
            self._path(name, word)
            if name == "fs.read":
                self._code_elsewhere(role, word)

    def _no_path(self, name: str, word: Argument) -> None:
        match name:
            case "names":
                self._listed_in(word)
            case "regex":
                self.named += _globs(word.text)
            case "mode":
                self._mode(word)
            case "size":
                self._size(word)
            case _:
                self.accesses.append(Access(name, shown(word.text), word.how, self.program))
                self._at_file(word)

    def _listed_in(self, file: Argument) -> None:
        """Read the files whose names a file holds, as they are and below each operand."""
        if file.text in ("-", "/dev/stdin"):
            known, names = self.stdin.text, self.stdin.origins or (Argument(HOLE, "dynamic"),)
        else:
            self._path("fs.read", file)
            known, names = self.nested.written(self.place.resolve(file).text), ()
        if known is not None:
            names = tuple(map(Argument, re.split(r"[\n\0]+", known.strip())))[:_MOST_LISTED]
        for name in names:
            self._path("fs.read", name)
            for start in self.starts[:_MOST_LISTED] if known is not None else ():
                self._path("fs.read", Argument.of(f"{start.text}/{name.text}"))

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
            how = path.how
            if name == "code.exec" and word.how != "exact" and not self.builds:
                how = "dynamic"  # which of the files runs is not known
            self.accesses.append(Access(name, path.text, how, self.program))
            if "/../" in text:
                self._linked(name, word, path)

    def _is_harmless_device(self, name: str, path: str) -> bool:
        if name != "fs.read" and self.program in _REPLACES:
            return False
        if name == "fs.read" and ENDLESS.fullmatch(path) and not self._ends(path):
            self.add("resource.exhaust", ENDLESS_FILE, "exact")
        return name in ("fs.read", "fs.write", "fs.list") and is_harmless_file(path)

    def _ends(self, path: str) -> bool:
        """Return whether reading ends by itself: there are no lines in zeros."""
        return self.bounded or (self.program == "head" and "random" in path)

    def _size(self, word: Argument) -> None:
        """Take note of how much a program reads or writes, where that is known."""
        size = size_in(word.text)
        self.bounded = size is not None and size <= _MOST_BYTES
        if size is not None and not self.bounded:
            self.add("resource.exhaust", "a huge file", "exact")

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
        becomes = _set_id(value.text) if value.how == "exact" else "<set-user-id>"
        if becomes:
            self.add("privilege.escalate", becomes, "exact")
        elif _OPEN_TO_ALL.search(value.text):
            self.add("privilege.escalate", "<world-writable>", "exact")

    def found_files(self) -> list[Argument]:
        """Return what find and its kind find: by the names asked for below where they start."""
        starts = [word for word in self.starts if word.text[:1] not in "(!"] or [Argument(".")]
        roots = [start.text.rstrip("/") for start in starts]
        known = all(word.how == "exact" for word in (*self.starts, *self.named))
        if not known or any(word.text == "!" for word in self.starts):
            return [Argument.of(f"{root}/{HOLE}") for root in roots]
        # What is limited is not the folder itself.
        below = [text for word in self.named for text in _below(word.text)]
        below = below or [f"/{HOLE}?" if self.limited else f"/{HOLE}"]
        return [Argument(root + text, "pattern") for root in roots for text in below]


def copies_little(words: Sequence[Argument]) -> bool:
    """Return whether the words of dd bound what it copies: `bs=1K count=4`."""
    sizes = {"bs": _DD_BLOCK, "ibs": _DD_BLOCK}
    for word in words[1:]:
        name, _, value = word.text.partition("=")
        if name in ("bs", "ibs", "count"):
            size = size_in(value)
            if size is None:
                return False
            sizes[name] = size
    return "count" in sizes and max(sizes["bs"], sizes["ibs"]) * sizes["count"] <= _MOST_BYTES


def size_in(text: str) -> int | None:
    """Return the bytes that a size means, as `10M`, `+1TiB` or `4096`; None if it is no size."""
    found = _SIZE.fullmatch(text)
    return int(found[1]) << 10 * " kmgtpezy".index(found[2].lower() or " ") if found else None


def is_harmless_file(path: str) -> bool:
    """Return whether reading or writing the file changes and shows nothing of the machine."""
    return path.startswith("/dev/") and bool(
        HARMLESS_DEVICE.fullmatch(path) or _PIPE_FILE.fullmatch(path)
    )


def _below(name: str) -> Iterator[str]:
    """Yield the paths below a folder that a name or a path pattern of find means."""
    for text in dict.fromkeys((name, name.lower())):  # -iname
        if "/" in text:
            yield "/" + "/".join("**" if part == "*" else part for part in text.split("/"))
        elif text[:1] in ("*", "?", "["):
            yield f"/{HOLE}{text}"  # find's wildcards begin hidden names too
        else:
            yield f"/{HOLE}/{text}"


def _globs(regex: str) -> Iterator[Argument]:
    """Yield what a regular expression over whole paths matches, as a path pattern of find."""
    if "|" not in regex and "{" not in regex:
        whole = _WILD_REGEX.sub("*", regex)
        yield Argument(re.sub(r"\\(.)", r"\1", whole))


def _set_id(mode: str) -> str:
    """Return whose rights a mode hands out, or nothing."""
    found = [match for clause in mode.split(",") if (match := _SET_ID.fullmatch(clause))]
    if not found:
        return ""
    group = all(match[1] == "g" or match[2] in ("2", "3") for match in found)
    return "<set-group-id>" if group else "<set-user-id>"

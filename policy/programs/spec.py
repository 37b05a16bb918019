"""What a program's entry says, as frozen values: options, roles, modes and sub-commands.

Holds only values. The YAML they are read from is spec_reader.py's; what they mean for a command
line is interpret.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

ROLES_WITHOUT_OPERATION = frozenset(
    {
        "flag", "text", "mode", "rest", "command", "module", "command;", "shell", "cd",
        "placeholder", "words", "project", "name", "change", "moved", "size",
    }
)  # fmt: skip
LANGUAGES = frozenset(
    {
        "awk", "sed", "code", "socat", "jq", "paths", "bang", "mount", "perl", "setting", "sql",
        "upload", "include",
    }
)  # fmt: skip
NO_COMMAND = "_"  # the entry for a command line that ends before a sub-command
ANY_VALUE = "*"
# What an option may lead to that its value alone does not show.
STRONG = frozenset(
    {
        "shell", "command", "module", "command;", "code.exec", "fs.write", "fs.create", "fs.delete",
        "net.connect", "device.write", "fs.perm", "persistence", "placeholder", "project",
        "change", "moved",
    }
)  # fmt: skip

_REST = frozenset({"rest", "command", "module"})
LOOKS = frozenset({"fs.read", "fs.list", "git.read", "sys.inspect", "proc.inspect"})


class SpecError(Exception):
    """A spec file that cannot be used; the message starts with its place."""


class Role(NamedTuple):
    """What happens to a value: an operation on it, or one of ROLES_WITHOUT_OPERATION."""

    name: str
    other: str | None = None  # the operation instead, for host:path and scheme://
    repeats: bool = False
    optional: bool = False

    @property
    def takes_the_rest(self) -> bool:
        """Return whether every word from here on is this role's, options too."""
        return self.name in _REST or (self.name == "shell" and self.repeats)

    @property
    def starts(self) -> bool:
        """Return whether the words are a program's; `module` may also be a name of the project."""
        return self.name in ("command", "module")


@dataclass(frozen=True, slots=True)
class Does:
    """An access that needs no value: an operation, and the resource if the spec names one."""

    operation: str
    resource: str | None = None

    @property
    def is_named(self) -> bool:
        """Return whether the resource is no path but a name for people."""
        return self.resource is None or self.resource.startswith("<")


@dataclass(frozen=True, slots=True)
class Option:
    """What an option takes, does by itself, and the mode it chooses.

    `values` says what it means besides by its value: globs in the order they are tried. An option
    of several words has the roles of the others in `more`.
    """

    takes: Role | None = None
    does: tuple[Does, ...] = ()
    mode: str | None = None
    values: tuple[tuple[str, "Option"], ...] = ()
    more: tuple[Role, ...] = ()  # the roles of the words after its value

    @property
    def acts(self) -> bool:
        """Return whether it could make its program write, run or send."""
        roles = (*self.more, self.takes) if self.takes is not None else ()
        strong = any(role.name in STRONG for role in roles)
        does = any(one.operation not in LOOKS for one in self.does)
        return does or strong or any(option.acts for _, option in self.values)


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """One program, sub-command or mode, with the outer one's options and `unknown` merged in."""

    options: Mapping[str, Option] = field(default_factory=dict)
    long_names: tuple[str, ...] = ()  # the options that begin with --, sorted
    args: tuple[Role, ...] | None = None
    words: tuple[tuple[str, Option], ...] = ()  # positionals with a meaning of their own, by glob
    plain_words: Mapping[str, Option] = field(default_factory=dict)  # those of them without * ? [
    does: tuple[Does, ...] = ()
    commands: Mapping[str, "Spec"] = field(default_factory=dict)
    modes: Mapping[str, "Spec"] = field(default_factory=dict)
    clusters: bool = True  # letters behind one dash may be several options
    harmless: bool = False  # an option that is not listed only changes the output
    stdin: Role | None = None
    acts: bool = False  # some option could make it write, run or send
    runs_code: bool = False  # it runs code of its own, whatever its options say
    builds: bool = False  # that code is the project's
    greedy: int | None = None  # which of `args` takes every word from there on
    has_commands: bool = False  # besides the one for none given
    finds: bool = False  # some option says by which names it looks for files
    lists: bool = False  # and what it prints is their names

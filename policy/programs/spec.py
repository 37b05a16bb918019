"""The language of program specs: YAML nodes read strictly into frozen values.

May touch: YAML nodes handed in by index.py. May not touch: files, commands, rules.
Every error starts with file:line:column and says what to do; nothing unknown is ignored. Scalars
are words as written: `no` and `on` stay words.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import yaml

from policy.model import OPERATIONS

ROLES_WITHOUT_OPERATION = frozenset(
    {
        "flag", "text", "mode", "rest", "command", "command;", "shell", "cd", "placeholder",
        "words",
    }
)  # fmt: skip
LANGUAGES = frozenset({"awk", "sed", "code", "socat", "jq", "paths", "bang"})
NO_COMMAND = "_"  # the entry for a command line that ends before a sub-command
# What an option may lead to that its value alone does not show.
STRONG = frozenset(
    {
        "shell", "command", "command;", "code.exec", "fs.write", "fs.create", "fs.delete",
        "net.connect", "device.write", "fs.perm", "persistence", "placeholder",
    }
)  # fmt: skip
_SPEC_KEYS = frozenset({"options", "args", "does", "commands", "modes", "unknown", "stdin"})
_OPTION_KEYS = frozenset({"takes", "does", "as"})
_ROLE = re.compile(
    r"(?P<name>script:\w+|command;|[a-z]+(?:\.[a-z]+)?)"
    r"(?:\|(?P<other>[a-z]+\.[a-z]+))?(?P<count>\.\.\.|\?)?"
)


class SpecError(Exception):
    """A spec file that cannot be used; the message starts with its place."""


@dataclass(frozen=True, slots=True)
class Role:
    """What happens to a value: an operation on it, or one of ROLES_WITHOUT_OPERATION."""

    name: str
    other: str | None = None  # the operation instead, for host:path and scheme://
    repeats: bool = False
    optional: bool = False

    @property
    def takes_the_rest(self) -> bool:
        """Return whether every word from here on is this role's, options too."""
        return self.name in ("rest", "command") or (self.name == "shell" and self.repeats)


@dataclass(frozen=True, slots=True)
class Does:
    """An access that needs no value: an operation, and the resource if the spec names one."""

    operation: str
    resource: str | None = None


@dataclass(frozen=True, slots=True)
class Option:
    """What an option takes, does by itself, and the mode it chooses."""

    takes: Role | None = None
    does: tuple[Does, ...] = ()
    mode: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """One program, sub-command or mode, with the outer one's options and `unknown` merged in."""

    options: Mapping[str, Option] = field(default_factory=dict)
    long_names: tuple[str, ...] = ()  # the options that begin with --, sorted
    args: tuple[Role, ...] | None = None
    does: tuple[Does, ...] = ()
    commands: Mapping[str, "Spec"] = field(default_factory=dict)
    modes: Mapping[str, "Spec"] = field(default_factory=dict)
    harmless: bool = False  # an option that is not listed only changes the output
    stdin: Role | None = None
    acts: bool = False  # some option could make it write, run or send


_NOTHING = Spec()


class SpecReader:
    """Reads the entries of one file; `source` is its name in messages."""

    def __init__(self, source: str) -> None:
        self._source = source

    def program(self, node: yaml.Node) -> Spec:
        """Return the spec of one entry.

        Raises:
            SpecError: the entry breaks the language.
        """
        return self._spec(node, _NOTHING)

    def error(self, node: yaml.Node, what: str) -> SpecError:
        """Return the error for a node, with its place."""
        mark = node.start_mark
        return SpecError(f"{self._source}:{mark.line + 1}:{mark.column + 1}: {what}")

    def entries(self, node: yaml.Node) -> list[tuple[yaml.ScalarNode, yaml.Node]]:
        """Return a mapping's entries in order, those of merge keys (`<<: *anchor`) first."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, "expected a mapping of names; indent it below the key")
        merged: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        own: list[tuple[yaml.ScalarNode, yaml.Node]] = []
        seen: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, "a key must be plain words; write names between spaces")
            if key.value in seen:
                raise self.error(key, f"{key.value!r} is given twice; join the two")
            seen.add(key.value)
            if key.value == "<<":
                parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
                merged += [entry for part in parts for entry in self.entries(part)]
                continue
            own.append((key, value))
        return merged + own

    def names(self, key: yaml.ScalarNode) -> list[str]:
        """Return the names that one key holds."""
        if '"' in key.value or (key.style is None and "'" in key.value):
            raise self.error(
                key, f"{key.value!r} holds a quotation mark; put the quotes around the whole key"
            )
        names = str(key.value).split()
        if not names:
            raise self.error(key, "the key names nothing; write a name or remove the entry")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise self.error(key, f"{twice!r} is named twice in one key; keep one")
        return names

    def _fields(self, node: yaml.Node, allowed: frozenset[str]) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in self.entries(node):
            if key.value not in allowed:
                known = ", ".join(sorted(allowed))
                raise self.error(key, f"unknown key {key.value!r}; known here: {known}")
            found[key.value] = value
        return found

    def _scalar(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or not node.value:
            raise self.error(node, "expected one line of text")
        return str(node.value)

    def _spec(self, node: yaml.Node, outer: Spec) -> Spec:
        found = self._fields(node, _SPEC_KEYS)
        own = self._options(found["options"]) if "options" in found else {}
        options = {**outer.options, **own}
        stdin = found.get("stdin")
        partial = Spec(
            options=options,
            long_names=tuple(sorted(name for name in options if name.startswith("--"))),
            args=self._roles(found["args"]) if "args" in found else None,
            does=self._does(found["does"]) if "does" in found else (),
            harmless=self._harmless(found.get("unknown"), outer),
            stdin=None if stdin is None else self._role(stdin, self._scalar(stdin)),
            acts=any(map(_acts, options.values())),
        )
        modes = self._children(found.get("modes"), partial)
        self._check_modes(found, own, modes.keys() | outer.modes.keys())
        commands = self._children(found.get("commands"), partial)
        self._check_args(found, partial, commands)
        return _with_children(partial, commands, modes)

    def _harmless(self, node: yaml.Node | None, outer: Spec) -> bool:
        if node is None:
            return outer.harmless
        value = self._scalar(node)
        if value not in ("harmless", "opaque"):
            raise self.error(node, f"unknown: {value!r} is not one of harmless, opaque")
        return value == "harmless"

    def _check_modes(
        self, found: Mapping[str, yaml.Node], own: Mapping[str, Option], modes: AbstractSet[str]
    ) -> None:
        for name, option in own.items():
            if option.mode is not None and option.mode not in modes:
                raise self.error(
                    found["options"],
                    f"option {name} chooses mode {option.mode!r}; describe it under modes",
                )

    def _check_args(
        self, found: Mapping[str, yaml.Node], spec: Spec, commands: Mapping[str, Spec]
    ) -> None:
        greedy = any(role.repeats or role.takes_the_rest for role in spec.args or ())
        if greedy and commands.keys() - {NO_COMMAND}:
            raise self.error(
                found["args"],
                "with sub-commands, args cannot repeat: which word names the sub-command "
                "would not be decidable",
            )

    def _children(self, node: yaml.Node | None, outer: Spec) -> dict[str, Spec]:
        children: dict[str, Spec] = {}
        for key, value in self.entries(node) if node is not None else ():
            spec = self._spec(value, outer)
            for name in self.names(key):
                if name in children:
                    raise self.error(key, f"{name!r} is described twice; join the two")
                children[name] = spec
        return children

    def _options(self, node: yaml.Node) -> dict[str, Option]:
        # INVARIANT: a later entry refines an earlier one only across `<<` or within one mapping
        # whose second key is written out, so the nearest wins as in YAML merges.
        options: dict[str, Option] = {}
        for key, value in self.entries(node):
            option = self._option(value)
            for name in self.names(key):
                if not (name[0] in "-+" or name.endswith("=")):
                    raise self.error(
                        key,
                        f"{name!r} is not an option: begin it with - or +, or end it with =",
                    )
                options[name] = option
        return options

    def _option(self, node: yaml.Node) -> Option:
        if isinstance(node, yaml.ScalarNode):
            role = self._role(node, self._scalar(node))
            return Option() if role.name == "flag" else Option(takes=role)
        found = self._fields(node, _OPTION_KEYS)
        takes = found.get("takes")
        mode = found.get("as")
        return Option(
            takes=None if takes is None else self._role(takes, self._scalar(takes)),
            does=self._does(found["does"]) if "does" in found else (),
            mode=None if mode is None else self._scalar(mode),
        )

    def _does(self, node: yaml.Node) -> tuple[Does, ...]:
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        built = []
        for item in items:
            operation, _, resource = self._scalar(item).partition(" ")
            self._check_operation(item, operation)
            built.append(Does(operation, resource or None))
        return tuple(built)

    def _roles(self, node: yaml.Node) -> tuple[Role, ...]:
        roles = tuple(self._role(node, text) for text in self._scalar(node).split())
        if sum(role.repeats or role.takes_the_rest for role in roles) > 1:
            raise self.error(
                node, "only one role may repeat; which words go to which is not decidable otherwise"
            )
        return roles

    def _role(self, node: yaml.Node, text: str) -> Role:
        match = _ROLE.fullmatch(text)
        if match is None:
            raise self.error(
                node, f"{text!r} is not a role; write an operation such as fs.read, text, flag"
            )
        name, other = match["name"], match["other"]
        language = name.removeprefix("script:")
        if language == name and name not in ROLES_WITHOUT_OPERATION:
            self._check_operation(node, name)
        if other is not None:
            self._check_operation(node, other)
        if language != name and language not in LANGUAGES:
            known = ", ".join(sorted(LANGUAGES))
            raise self.error(node, f"no scanner for {language!r}; known: {known}")
        count = match["count"]
        return Role(name, other, repeats=count == "...", optional=count == "?")

    def _check_operation(self, node: yaml.Node, name: str) -> None:
        if name not in OPERATIONS:
            known = ", ".join(sorted(OPERATIONS))
            raise self.error(node, f"{name!r} is not an operation; operations: {known}")


def _acts(option: Option) -> bool:
    return bool(option.does) or (option.takes is not None and option.takes.name in STRONG)


def _with_children(spec: Spec, commands: Mapping[str, Spec], modes: Mapping[str, Spec]) -> Spec:
    return Spec(
        options=spec.options,
        long_names=spec.long_names,
        args=spec.args,
        does=spec.does,
        commands=commands,
        modes=modes,
        harmless=spec.harmless,
        stdin=spec.stdin,
        acts=spec.acts or any(any(map(_acts, mode.options.values())) for mode in modes.values()),
    )


def entries_of(reader: SpecReader, root: yaml.Node) -> dict[str, yaml.Node]:
    """Return the node of every program named at the top of a file.

    Raises:
        SpecError: a key breaks the language or names a program again.
    """
    nodes: dict[str, yaml.Node] = {}
    for key, value in reader.entries(root):
        for name in reader.names(key):
            if name in nodes:
                raise reader.error(key, f"program {name!r} is described twice; keep one")
            nodes[name] = value
    return nodes

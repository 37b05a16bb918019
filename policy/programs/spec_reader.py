"""The language of program specs: YAML nodes read strictly into the values of spec.py.

May touch: YAML nodes handed in by index.py. May not touch: files, commands, rules.
Every error starts with file:line:column and says what to do; nothing unknown is ignored. Scalars
are words as written: `no` and `on` stay words.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import yaml

from policy.model import OPERATIONS
from policy.programs.nodes import EFFECTS, NodeReader
from policy.programs.spec import (
    ANY_VALUE,
    LANGUAGES,
    NO_COMMAND,
    ROLES_WITHOUT_OPERATION,
    Does,
    Option,
    Role,
    Spec,
)

_SPEC_KEYS = frozenset(
    {
        "options", "args", "words", "does", "commands", "modes", "unknown", "stdin", "clusters",
    }
)  # fmt: skip
_OPTION_KEYS = frozenset({"takes", "does", "as", "values"})
_VALUE_KEYS = frozenset({"takes", "does"})
_ROLE = re.compile(
    r"(?P<name>script:\w+|command;|[a-z]+(?:\.[a-z]+)?)"
    r"(?:\|(?P<other>[a-z]+\.[a-z]+))?(?P<count>\.\.\.|\?)?"
)
_MAY_BE_OFF = "--[no-]"  # the option, and a flag that switches it off
_NOTHING = Spec()
_NAMING_ROLES = frozenset({"names", "regex"})  # a file that lists files; what find looks for
_WILD = frozenset("*?[")


class SpecReader(NodeReader):
    """Reads the entries of one file."""

    def program(self, node: yaml.Node) -> Spec:
        """Return the spec of one entry, without its examples.

        Raises:
            SpecError: the entry breaks the language.
        """
        return self._spec(node, _NOTHING, _SPEC_KEYS | EFFECTS)

    def _fields(self, node: yaml.Node, allowed: frozenset[str]) -> dict[str, yaml.Node]:
        found: dict[str, yaml.Node] = {}
        for key, value in self.entries(node):
            if key.value in EFFECTS - allowed:
                raise self.error(key, f"{key.value!r} is for whole programs; move it up to its own")
            if key.value not in allowed:
                known = ", ".join(sorted(allowed))
                raise self.error(key, f"unknown key {key.value!r}; known here: {known}")
            found[key.value] = value
        return found

    # Entries, sub-commands and modes

    def _spec(self, node: yaml.Node, outer: Spec, allowed: frozenset[str]) -> Spec:
        found = self._fields(node, allowed)
        own = self._options(found["options"]) if "options" in found else {}
        options = {**outer.options, **own}
        stdin = found.get("stdin")
        args = self._roles(found["args"]) if "args" in found else None
        does = self._does(found["does"]) if "does" in found else ()
        mine = self._by_glob(found.get("words"))
        words = (*mine, *(one for one in outer.words if one[0] not in dict(mine)))
        partial = Spec(
            options=options,
            long_names=tuple(sorted(name for name in options if name.startswith("--"))),
            args=args,
            words=words,
            plain_words={text: one for text, one in reversed(words) if not _WILD & set(text)},
            does=does,
            harmless=self._harmless(found.get("unknown"), outer),
            clusters=self._clusters(found.get("clusters"), outer),
            stdin=None if stdin is None else self._role(stdin, self.scalar(stdin)),
            acts=outer.acts or any(option.acts for option in own.values()),
            lists=any(role.name == "fs.list" for role in args or ()),
            finds=any(_is_name(option.takes) for option in own.values()),
            builds=any(one.operation == "code.exec" and not one.is_named for one in does),
            runs_code=any(one.operation == "code.exec" for one in does)
            or any(role.name == "code.exec" for role in args or ()),
            greedy=next((at for at, role in enumerate(args or ()) if role.takes_the_rest), None),
        )
        modes = self._children(found.get("modes"), partial, _SPEC_KEYS)
        self._check_modes(found, own, modes)
        commands = self._children(found.get("commands"), partial, _SPEC_KEYS)
        self._check_args(found, partial, commands)
        acts = partial.acts or any(mode.acts for mode in modes.values())
        return replace(
            partial,
            commands=commands,
            modes=modes,
            acts=acts,
            has_commands=bool(commands.keys() - {NO_COMMAND}),
        )

    def _harmless(self, node: yaml.Node | None, outer: Spec) -> bool:
        if node is None:
            return outer.harmless
        value = self.scalar(node)
        if value not in ("harmless", "opaque"):
            raise self.error(node, f"unknown: {value!r} is not one of harmless, opaque")
        return value == "harmless"

    def _clusters(self, node: yaml.Node | None, outer: Spec) -> bool:
        if node is not None and self.scalar(node) != "none":
            raise self.error(node, f"clusters: {node.value!r} is not none; remove it if they exist")
        return outer.clusters and node is None

    def _check_modes(
        self, found: Mapping[str, yaml.Node], own: Mapping[str, Option], modes: Mapping[str, Spec]
    ) -> None:
        for name, option in own.items():
            for chosen in (option, *(one for _, one in option.values)):
                if chosen.mode is not None and chosen.mode not in modes:
                    raise self.error(
                        found["options"],
                        f"option {name} chooses mode {chosen.mode!r}; describe it under modes",
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

    def _children(
        self, node: yaml.Node | None, outer: Spec, allowed: frozenset[str]
    ) -> dict[str, Spec]:
        children: dict[str, Spec] = {}
        for key, value in self.entries(node) if node is not None else ():
            spec = self._spec(value, outer, allowed)
            for name in self.names(key):
                if name in children:
                    raise self.error(key, f"{name!r} is described twice; join the two")
                children[name] = spec
        return children

    # Options, and words with a meaning of their own

    def _options(self, node: yaml.Node) -> dict[str, Option]:
        # INVARIANT: a later entry refines an earlier one only across `<<` or within one mapping
        # whose second key is written out, so the nearest wins as in YAML merges.
        options: dict[str, Option] = {}
        for key, value in self.entries(node):
            option = self._option(value, _OPTION_KEYS)
            for name in self.names(key):
                if not (name[0] in "-+" or name.endswith("=")):
                    raise self.error(
                        key, f"{name!r} is not an option: begin it with - or +, or end it with ="
                    )
                if _MAY_BE_OFF in name:
                    options.setdefault(name.replace(_MAY_BE_OFF, "--no-"), Option())
                    options[name.replace(_MAY_BE_OFF, "--")] = option
                else:
                    options[name] = option
        return options

    def _option(self, node: yaml.Node, allowed: frozenset[str]) -> Option:
        if isinstance(node, yaml.ScalarNode):
            role, *more = self._taken(node)
            return Option() if role.name == "flag" else Option(takes=role, more=tuple(more))
        found = self._fields(node, allowed)
        takes, mode, values = found.get("takes"), found.get("as"), found.get("values")
        roles = [] if values is None else [Role("text")]
        roles = roles if takes is None else list(self._taken(takes))
        if values is not None and any(map(_is_many, roles)):
            raise self.error(values, "values are of one word; remove them, or takes")
        return Option(
            takes=roles[0] if roles else None,
            more=tuple(roles[1:]),
            does=self._does(found["does"]) if "does" in found else (),
            mode=None if mode is None else self.scalar(mode),
            values=self._by_glob(values, _VALUE_KEYS | {"as"}),
        )

    def _taken(self, node: yaml.Node) -> tuple[Role, ...]:
        roles = tuple(self._role(node, text) for text in self.scalar(node).split())
        if len(roles) > 1 and any(_is_many(role) or role.optional for role in roles):
            raise self.error(node, "each of several roles takes one word; write plain roles")
        return roles

    def _by_glob(
        self, node: yaml.Node | None, allowed: frozenset[str] = _VALUE_KEYS
    ) -> tuple[tuple[str, Option], ...]:
        """Return what single words mean, by the globs they are tried against in order."""
        found: dict[str, Option] = {}
        for key, value in self.entries(node) if node is not None else ():
            option = self._option(value, allowed)
            if _is_many(option.takes) or option.more:
                raise self.error(
                    value, "the role is for many words, and this is one; choose another"
                )
            for name in self.names(key):
                if name in found:
                    raise self.error(key, f"{name!r} is described twice; join the two")
                if ANY_VALUE in found:
                    raise self.error(key, f"{name!r} comes after *; no word is left for it")
                found[name] = option
        return tuple(found.items())

    def _does(self, node: yaml.Node) -> tuple[Does, ...]:
        items = node.value if isinstance(node, yaml.SequenceNode) else [node]
        built = []
        for item in items:
            operation, _, resource = self.scalar(item).partition(" ")
            self._check_operation(item, operation)
            built.append(Does(operation, resource or None))
        return tuple(built)

    def _roles(self, node: yaml.Node) -> tuple[Role, ...]:
        roles = tuple(self._role(node, text) for text in self.scalar(node).split())
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
        if language == name and name not in ROLES_WITHOUT_OPERATION | _NAMING_ROLES:
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


def _is_name(role: Role | None) -> bool:
    return role is not None and role.name == "name"


def _is_many(role: Role | None) -> bool:
    many = ("rest", "command", "module", "command;", "words")
    return role is not None and (role.repeats or role.name in many)


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

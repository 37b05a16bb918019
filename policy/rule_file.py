"""One rule of a policy file: which keys there are, what each may hold, and what it becomes.

May touch: YAML nodes. May not touch: files as a whole (load.py), accesses.
INVARIANT: a key that is accepted is enforced (narrowing.py, match.py, obligations.py); any other,
and any value that could not be enforced, refuses the file with its place and what to do instead.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from policy.document import (
    Listing,
    Node,
    Text,
    one_text,
    positive,
    refuse,
    text_in,
    words,
    words_in,
)
from policy.document import Mapping as Entries
from policy.host_set_file import globs_of, host_items
from policy.host_sets import HostSets
from policy.model import OPERATIONS, PATH_OPERATIONS, Effect, Obligations
from policy.obligations import LEVELS, LIMITS, NONE, WITHIN
from policy.ports import LAST
from policy.rules import FIXED_VARIABLES, Example, Rule, Source, variables_in

EFFECTS: Final = {"allow": Effect.ALLOW, "ask": Effect.ASK, "deny": Effect.DENY}
HOST_OPERATIONS: Final = frozenset({"net.connect", "remote.exec"})
PORT_OPERATIONS: Final = frozenset({"net.connect", "net.listen"})
METHOD_OPERATIONS: Final = frozenset({"net.connect"})
RULE_KEYS: Final = frozenset(EFFECTS) | {
    "id", "resources", "except", "with", "programs", "args", "tools", "subjects", "hosts", "ports",
    "methods", "remote_hosts", "lifts", "reason", "instead", "match", "not_match",
}  # fmt: skip
ALLOW_KEYS: Final = frozenset(
    {"operations", "sandbox", "network", "limits", "env", "redact", "preview", "hold"}
)
ASK_KEYS: Final = ALLOW_KEYS | {"level", "quorum", "timeout_s", "grantable"}
# The language has these too; nothing here could enforce them, so they are refused, with a way out.
NOT_YET: Final = MappingProxyType(
    {
        "users": "which user a command acts as is not known of its accesses; "
        "narrow privilege.escalate by programs and args, remote.exec by hosts",
        "roles": "who must say yes belongs to how many; write quorum: {approve: 2, roles: [...]}",
    }
)
REDACT_CHARACTERS: Final = 256
HOLD_NUMBERS: Final = frozenset({"deletions", "bytes"})
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]{0,31}")
_PORTS = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PATH_START = re.compile(r"/|~(/|$)|\*\*/|\$\{\w+\}(/|$)|<")
_BAD_NAME = re.compile(r"(^|/)(\.\.?|[^/]*(?<!\\)\*\*[^/]+|[^/]+(?<!\\)\*\*[^/]*)(/|$)")
_ALLOW_MEANS_ALL = "names no resources, so it would allow all of them; name the resources"


def fields_of(entries: Entries, known: frozenset[str], what: str) -> dict[str, Node]:
    """Return a mapping's values by key.

    Raises:
        PolicyError: a key that is not among those known.
    """
    for key, _ in entries.entries:
        if key.value in known:
            continue
        if key.value in NOT_YET:
            refuse(key.place, f"key {key.value!r} cannot be enforced: {NOT_YET[key.value]}")
        listed = ", ".join(sorted(known))
        refuse(key.place, f"{what} has no key {key.value!r}; use one of {listed}")
    return {key.value: value for key, value in entries.entries}


def rule_id(fields: Mapping[str, Node], place: str) -> str:
    """Return the name of a rule that begins at `place`.

    Raises:
        PolicyError: it has none, or one that cannot be used.
    """
    if "id" not in fields:
        refuse(place, "the rule has no id; add `id: its-name`")
    text = one_text(fields["id"], "id")
    if not _ID.fullmatch(text.value):
        refuse(text.place, f"id {text.value!r}: use lower-case letters, digits and dashes")
    return text.value


def examples_in(fields: Mapping[str, Node]) -> tuple[Example, ...]:
    """Return what a rule must match, and must not."""
    return tuple(
        Example(text.place, text.value, key == "match")
        for key in ("match", "not_match")
        for text in words_in(fields, key)
    )


class RuleReader:
    """One rule, read step by step; every problem ends in an error at its own place."""

    def __init__(
        self, source: Source, node: Node, variables: tuple[tuple[str, str], ...], sets: HostSets
    ) -> None:
        if not isinstance(node, Entries):
            refuse(node.place, "a rule is a mapping; begin it with `- id: its-name`")
        self._source, self._place, self._variables = source, node.place, variables
        self._sets = sets
        self._fields = fields_of(node, RULE_KEYS, "a rule")
        self._known = FIXED_VARIABLES | {name for name, _ in variables}
        self._paths = False

    def rule(self) -> Rule:
        """Return the rule, or raise PolicyError."""
        verb, name = self._verb(), rule_id(self._fields, self._place)
        operations, obligations, grantable = self._operations(verb, name)
        self._paths = bool(operations & PATH_OPERATIONS)
        self._check_only("hosts", operations, HOST_OPERATIONS)
        self._check_only("ports", operations, PORT_OPERATIONS)
        self._check_only("methods", operations, METHOD_OPERATIONS)
        resources = self._globs("resources") if "resources" in self._fields else None
        exceptions = self._globs("except")
        self._paths = False
        rule = Rule(
            id=name,
            place=self._place,
            effect=EFFECTS[verb],
            operations=operations,
            resources=resources,
            exceptions=exceptions,
            together_with=_operations(words_in(self._fields, "with")),
            programs=self._texts("programs"),
            args=self._globs("args"),
            tools=self._texts("tools"),
            subjects=self._globs("subjects"),
            hosts=self._hosts(),
            ports=tuple(map(_port_range, words_in(self._fields, "ports"))),
            methods=frozenset(map(_method, words_in(self._fields, "methods"))),
            remote_hosts=self._globs("remote_hosts"),
            lifts=self._texts("lifts"),
            obligations=obligations,
            grantable=grantable,
            reason=text_in(self._fields, "reason"),
            instead=text_in(self._fields, "instead"),
            examples=examples_in(self._fields),
            variables=self._variables,
            tightens_only=self._source.tightens_only,
        )
        return self._checked(rule)

    def _checked(self, rule: Rule) -> Rule:
        if rule.effect is not Effect.ALLOW:
            if rule.lifts:
                refuse(self._fields["lifts"].place, "lifts is for allow alone; remove it")
            return rule
        if self._source.tightens_only:
            refuse(self._place, "a project's policy may only tighten: write ask or deny")
        if "opaque" in rule.operations:
            refuse(self._place, "text that was not understood is never allowed; remove opaque")
        if rule.instead:
            what = "instead is for ask and deny: nothing is said beside an allow; remove it"
            refuse(self._fields["instead"].place, what)
        if rule.operations & PATH_OPERATIONS and rule.resources is None:
            refuse(self._place, f"rule {rule.id!r} {_ALLOW_MEANS_ALL}")
        return rule

    def _verb(self) -> str:
        verbs = [key for key in self._fields if key in EFFECTS]
        if len(verbs) != 1:
            what = "a rule has one of allow, ask, deny, rewrite"
            refuse(self._place, f"{what}; this one has {len(verbs)}")
        return verbs[0]

    def _operations(self, verb: str, name: str) -> tuple[frozenset[str], Obligations, bool]:
        node = self._fields[verb]
        if verb == "deny" or not isinstance(node, Entries):
            return _operations(words(node, verb)), NONE, False
        fields = fields_of(node, ASK_KEYS if verb == "ask" else ALLOW_KEYS, verb)
        if "operations" not in fields:
            refuse(node.place, f"{verb} has no operations; add `operations: [...]`")
        operations = _operations(words(fields.pop("operations"), "operations"))
        network = self._network(fields.pop("network")) if "network" in fields else ()
        grantable = self._grantable(fields.pop("grantable")) if "grantable" in fields else False
        found = _obligations(fields, place := f"{name} at {self._place}")
        if network:
            found = replace(found, network=network, places=(*found.places, ("network", place)))
        return operations, found, grantable

    def _grantable(self, node: Node) -> bool:
        _true(node, "grantable")
        if self._source.tightens_only:
            refuse(node.place, "a project's policy may only tighten: remove grantable")
        return True

    def _texts(self, key: str) -> frozenset[str]:
        return frozenset(text.value for text in words_in(self._fields, key))

    def _check_only(self, key: str, operations: frozenset[str], allowed: frozenset[str]) -> None:
        if key in self._fields and operations - allowed:
            what = f"{key} narrows only {' and '.join(sorted(allowed))}; split the rule"
            refuse(self._fields[key].place, what)

    def _globs(self, key: str) -> tuple[str, ...]:
        named = words_in(self._fields, key)
        return tuple(glob for text in named for glob in self._expanded(text))

    def _hosts(self) -> tuple[str, ...]:
        return self._hosts_of(words_in(self._fields, "hosts"))

    def _hosts_of(self, listed: Iterable[Text]) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for text in listed:
            found |= dict.fromkeys(host_items(text, self._expanded(text), self._sets))
        return tuple(found)

    def _network(self, node: Node) -> tuple[tuple[str, ...], ...]:
        if not isinstance(node, Text):
            return (self._hosts_of(words(node, "network")),)
        if node.value != "none":
            refuse(node.place, f"network {node.value!r} is not none or a list of hosts")
        return ((),)

    def _expanded(self, text: Text) -> tuple[str, ...]:
        unknown = variables_in(text.value) - self._known
        if unknown:
            known = ", ".join(sorted(self._known))
            refuse(text.place, f"unknown variable {sorted(unknown)[0]!r}; use one of {known}")
        globs = globs_of(text)
        for glob in globs if self._paths else ():
            _check_path_glob(text, glob)
        return globs


def _check_path_glob(text: Text, glob: str) -> None:
    if not _PATH_START.match(glob):
        what = "begin it with /, ~/, ${workspace} or **/"
        refuse(text.place, f"{glob!r} is not an absolute path glob; {what}")
    if glob[0] != "<" and _BAD_NAME.search(glob):
        what = "** stands alone between slashes, and . and .. are not names"
        refuse(text.place, f"{glob!r}: {what}; correct it")


def _operations(texts: Sequence[Text]) -> frozenset[str]:
    for text in texts:
        if text.value not in OPERATIONS:
            listed = ", ".join(sorted(OPERATIONS))
            refuse(text.place, f"no operation is called {text.value!r}; use one of {listed}")
    return frozenset(text.value for text in texts)


def _port_range(text: Text) -> tuple[int, int]:
    found = _PORTS.fullmatch(text.value)
    first = int(found[1]) if found else 0
    last = int(found[2] or first) if found else 0
    if not 1 <= first <= last <= LAST:
        refuse(text.place, f"{text.value!r} is no port; write 443, or a range such as 8000-8999")
    return first, last


def _method(text: Text) -> str:
    if not _METHOD.fullmatch(text.value):
        refuse(text.place, f"{text.value!r} is no method of HTTP; write GET, in capitals")
    return text.value


# --- obligations --------------------------------------------------------------------------------


def _obligations(fields: Mapping[str, Node], rule: str) -> Obligations:
    """Return what the mapping under `allow` or `ask` demands besides its operations."""
    if not fields:
        return NONE
    level = one_text(fields["level"], "level") if "level" in fields else None
    if level is not None and level.value not in LEVELS:
        refuse(level.place, f"level {level.value!r} is not one of {', '.join(LEVELS)}")
    if "preview" in fields:
        _true(fields["preview"], "preview")
    hold = _hold(fields["hold"]) if "hold" in fields else ((), ())
    quorum, roles = _quorum(fields["quorum"]) if "quorum" in fields else (1, ())
    named = (*fields, *(["roles"] if roles else []))
    return Obligations(
        level=LEVELS[level.value] if level else 1,
        quorum=quorum,
        roles=roles,
        timeout_s=positive(fields["timeout_s"], "timeout_s") if "timeout_s" in fields else None,
        sandbox=_sandbox(fields["sandbox"]) if "sandbox" in fields else None,
        limits=_limits(fields["limits"]) if "limits" in fields else (),
        env=_env(fields["env"]) if "env" in fields else None,
        redact=_redact(fields["redact"]) if "redact" in fields else (),
        preview="preview" in fields,
        hold=hold[0],
        hold_names=hold[1],
        places=tuple(sorted((key, rule) for key in named)),
    )


def _quorum(node: Node) -> tuple[int, tuple[tuple[str, ...], ...]]:
    """Return how many people must say yes, and the roles of which each of them must hold one."""
    if not isinstance(node, Entries):
        return positive(node, "quorum"), ()
    fields = fields_of(node, frozenset({"approve", "roles"}), "quorum")
    if "roles" not in fields:
        refuse(node.place, "quorum as a mapping names roles; write a number, or roles: [...]")
    roles = words_in(fields, "roles")
    for text in roles:
        if not _ID.fullmatch(text.value):
            refuse(text.place, f"role {text.value!r}: use lower-case letters, digits and dashes")
    approve = positive(fields["approve"], "approve") if "approve" in fields else 1
    return approve, (tuple(sorted({text.value for text in roles})),)


def _sandbox(node: Node) -> frozenset[str]:
    text = one_text(node, "sandbox")
    if text.value not in WITHIN:
        refuse(text.place, f"sandbox {text.value!r} is not one of {', '.join(WITHIN)}")
    return WITHIN[text.value]


def _limits(node: Node) -> tuple[tuple[str, int], ...]:
    if not isinstance(node, Entries) or not node.entries:
        refuse(node.place, "limits is a mapping; write {timeout_s: 60}")
    fields = fields_of(node, frozenset(LIMITS), "limits")
    limits = {name: positive(value, name, digits=15) for name, value in fields.items()}
    for name, value in limits.items():
        if value < LIMITS[name]:
            refuse(fields[name].place, f"{name} {value} lets nothing start; write {LIMITS[name]}")
    return tuple(sorted(limits.items()))


def _true(node: Node, key: str) -> None:
    text = one_text(node, key)
    if text.value != "true":
        refuse(text.place, f"{key} {text.value!r}: write true, or leave the key out")


def _hold(node: Node) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Return the numbers beyond which changes wait for a person, and the names that always do."""
    if not isinstance(node, Entries) or not node.entries:
        refuse(node.place, "hold is a mapping; write {deletions: 50, names: ['*.lock']}")
    fields = fields_of(node, HOLD_NUMBERS | {"names"}, "hold")
    numbers = {
        name: positive(value, name, digits=15) for name, value in fields.items() if name != "names"
    }
    names = words_in(fields, "names")
    for text in names:
        if text.value.startswith(("!", "#")) or not text.value.strip() or "\n" in text.value:
            refuse(text.place, f"{text.value!r} names nothing; write a pattern as in .gitignore")
    return tuple(sorted(numbers.items())), tuple(sorted({text.value for text in names}))


def _env(node: Node) -> frozenset[str]:
    if isinstance(node, Listing) and not node.items:
        return frozenset()  # no name at all
    names = words(node, "env")
    for name in names:
        if not _ENV_NAME.fullmatch(name.value):
            refuse(name.place, f"{name.value!r} is not a variable's name; write names, no values")
    return frozenset(name.value for name in names)


def _redact(node: Node) -> tuple[str, ...]:
    globs: set[str] = set()
    for text in words(node, "redact"):
        for glob in globs_of(text):
            if not glob.strip("*?") or len(glob) > REDACT_CHARACTERS or re.search(r"\s", glob):
                what = f"1 to {REDACT_CHARACTERS} characters without blanks, not only * and ?"
                refuse(text.place, f"{glob!r} cannot be redacted: a word's glob has {what}")
            globs.add(glob)
    return tuple(sorted(globs))

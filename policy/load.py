"""Policy files to a Policy: strict, pure, every mistake with its place and what to do about it.

May touch: policy texts and the packaged packs. May not touch: the file system (the caller reads).
INVARIANT: a key that is accepted is enforced by decide.py; any other key refuses the file, and a
refused file leaves the caller with the policy it has.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Final

from policy.document import (
    Listing,
    Node,
    PolicyError,
    Text,
    one_text,
    positive,
    read,
    refuse,
    words,
)
from policy.document import Mapping as Entries
from policy.examples import check_examples as run_examples
from policy.globs import GlobError, expand_braces, policy_glob
from policy.model import OPERATIONS, PATH_OPERATIONS, Effect, Obligations
from policy.rules import FIXED_VARIABLES, Example, Policy, Rule, Source, variables_in

EFFECTS: Final = {"allow": Effect.ALLOW, "ask": Effect.ASK, "deny": Effect.DENY}
LEVELS: Final = {"attested": 1, "owner": 2, "separate": 3, "present": 4}
HOST_OPERATIONS: Final = frozenset({"net.connect", "remote.exec"})
FILE_KEYS: Final = frozenset(
    {"version", "name", "description", "revision", "default", "variables", "rules"}
)
REVISION_DIGITS: Final = 15  # room for a date with its time
RULE_KEYS: Final = frozenset(EFFECTS) | {
    "id", "resources", "except", "with", "programs", "tools", "hosts",
    "reason", "instead", "match", "not_match",
}  # fmt: skip
ASK_KEYS: Final = frozenset({"operations", "level", "quorum", "timeout_s"})
# The policy language has these too; here nothing would enforce them.
PLANNED_KEYS: Final = frozenset(
    {
        "rewrite", "args", "ports", "users", "subjects", "roles", "remote_hosts", "preview", "hold",
        "sandbox", "network", "limits", "env", "redact",
    }
)  # fmt: skip
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PATH_START = re.compile(r"/|~(/|$)|\*\*/|\$\{\w+\}(/|$)|<")
_BAD_NAME = re.compile(r"(^|/)(\.\.?|[^/]*(?<!\\)\*\*[^/]+|[^/]+(?<!\\)\*\*[^/]*)(/|$)")
_ALLOW_MEANS_ALL = "names no resources, so it would allow all of them; name the resources"


def load(sources: Sequence[Source], *, check_examples: bool = True) -> Policy:
    """Return the policy of all sources together; their order changes nothing.

    `check_examples` runs the `match` and `not_match` of every rule, about half a millisecond each.

    Raises:
        PolicyError: any mistake in any source, as `file:line:column: what; what to do`.
    """
    if not sources:
        raise PolicyError("no policy was given, so nothing could be allowed; name a file or a pack")
    rules: list[Rule] = []
    defaults: list[tuple[Effect, str]] = []
    revisions: dict[str, int] = {}
    for source in sources:
        top = read(source.name, source.text)
        fields = _fields(top, FILE_KEYS, "a policy file")
        defaults.append(_header(top, fields))
        if "revision" in fields:
            number = positive(fields["revision"], "revision", digits=REVISION_DIGITS)
            revisions[source.name] = number
        rules.extend(_rules(source, fields))
    _refuse_repeated_ids(rules)
    default, place = max(defaults, key=lambda one: one[0])
    names = tuple(source.name for source in sources)
    policy = Policy(
        tuple(rules), default, place, _digest(sources), names, MappingProxyType(revisions)
    )
    if check_examples:
        run_examples(policy)
    return policy


def pack(name: str) -> Source:
    """Return a packaged starter policy.

    Raises:
        PolicyError: there is no pack of this name; the message lists those there are.
    """
    packs = {
        entry.name.removesuffix(".yaml"): entry
        for entry in resources.files("policy").joinpath("packs").iterdir()
        if entry.name.endswith(".yaml")
    }
    if name not in packs:
        raise PolicyError(f"no pack is called {name!r}; choose one of {', '.join(sorted(packs))}")
    return Source(f"{name}.yaml", packs[name].read_text(encoding="utf-8"))


def _digest(sources: Sequence[Source]) -> str:
    """Hash every name and text with its length, so no two lists of sources read alike."""
    digest = hashlib.sha256()
    for source in sources:
        for text in (source.name, source.text, str(source.tightens_only)):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _refuse_repeated_ids(rules: Sequence[Rule]) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.id in seen:
            refuse(rule.place, f"rule id {rule.id!r} is already at {seen[rule.id]}; choose another")
        seen[rule.id] = rule.place


def _fields(entries: Entries, known: frozenset[str], what: str) -> dict[str, Node]:
    for key, _ in entries.entries:
        if key.value in known:
            continue
        if key.value in PLANNED_KEYS:
            refuse(key.place, f"key {key.value!r} is not supported in this version; remove it")
        listed = ", ".join(sorted(known))
        refuse(key.place, f"{what} has no key {key.value!r}; use one of {listed}")
    return {key.value: value for key, value in entries.entries}


def _header(top: Entries, fields: Mapping[str, Node]) -> tuple[Effect, str]:
    for needed in ("version", "rules"):
        if needed not in fields:
            refuse(top.place, f"the key {needed!r} is missing; add it")
    version = one_text(fields["version"], "version")
    if version.value != "1":
        refuse(version.place, f"version {version.value!r} is not known; write 1")
    for key in ("name", "description"):
        if key in fields:
            one_text(fields[key], key)
    if "default" not in fields:
        return Effect.ASK, top.place
    default = one_text(fields["default"], "default")
    if default.value not in ("ask", "deny"):
        what = "what no rule mentions is never allowed; write ask or deny"
        refuse(default.place, f"default {default.value!r}: {what}")
    return EFFECTS[default.value], default.place


def _rules(source: Source, fields: Mapping[str, Node]) -> list[Rule]:
    listing = fields["rules"]
    if not isinstance(listing, Listing):
        refuse(listing.place, "rules is a list; begin each rule with `- id: its-name`")
    variables = _variables(source, fields.get("variables"))
    return [_Reading(source, node, variables).rule() for node in listing.items]


def _variables(source: Source, node: Node | None) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    if source.tightens_only:
        refuse(node.place, "a project's policy may only tighten: it sets no variables; remove them")
    if not isinstance(node, Entries):
        refuse(node.place, 'variables is a mapping; write {cache: "~/.cache"}')
    for key, _ in node.entries:
        if key.value in FIXED_VARIABLES or not _NAME.fullmatch(key.value):
            refuse(key.place, f"{key.value!r} cannot be a variable's name; choose another word")
    return tuple((key.value, one_text(value, key.value).value) for key, value in node.entries)


class _Reading:
    """One rule, read step by step; every problem ends in an error at its own place."""

    def __init__(self, source: Source, node: Node, variables: tuple[tuple[str, str], ...]) -> None:
        if not isinstance(node, Entries):
            refuse(node.place, "a rule is a mapping; begin it with `- id: its-name`")
        self._source, self._place, self._variables = source, node.place, variables
        self._fields = _fields(node, RULE_KEYS, "a rule")
        self._known = FIXED_VARIABLES | {name for name, _ in variables}
        self._paths = False

    def rule(self) -> Rule:
        """Return the rule, or raise PolicyError."""
        verb = self._verb()
        operations, obligations = self._operations(verb)
        self._paths = bool(operations & PATH_OPERATIONS)
        rule = Rule(
            id=self._id(),
            place=self._place,
            effect=EFFECTS[verb],
            operations=operations,
            resources=self._globs("resources") if "resources" in self._fields else None,
            exceptions=self._globs("except"),
            together_with=self._operation_names("with"),
            programs=frozenset(self._texts("programs")),
            tools=frozenset(self._texts("tools")),
            hosts=self._hosts(operations),
            obligations=obligations,
            reason=self._text("reason"),
            instead=self._text("instead"),
            examples=(*self._examples("match"), *self._examples("not_match")),
            variables=self._variables,
            tightens_only=self._source.tightens_only,
        )
        return self._checked(rule)

    def _checked(self, rule: Rule) -> Rule:
        if rule.effect is not Effect.ALLOW:
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

    def _id(self) -> str:
        if "id" not in self._fields:
            refuse(self._place, "the rule has no id; add `id: its-name`")
        text = one_text(self._fields["id"], "id")
        if not _ID.fullmatch(text.value):
            refuse(text.place, f"id {text.value!r}: use lower-case letters, digits and dashes")
        return text.value

    def _verb(self) -> str:
        verbs = [key for key in self._fields if key in EFFECTS]
        if len(verbs) != 1:
            refuse(self._place, f"a rule has one of allow, ask, deny; this one has {len(verbs)}")
        return verbs[0]

    def _operations(self, verb: str) -> tuple[frozenset[str], Obligations]:
        node = self._fields[verb]
        if verb != "ask" or not isinstance(node, Entries):
            return _operations(words(node, verb)), Obligations()
        fields = _fields(node, ASK_KEYS, "ask")
        if "operations" not in fields:
            refuse(node.place, "ask has no operations; add `operations: [...]`")
        level = one_text(fields["level"], "level") if "level" in fields else None
        if level is not None and level.value not in LEVELS:
            refuse(level.place, f"level {level.value!r} is not one of {', '.join(LEVELS)}")
        obligations = Obligations(
            level=LEVELS[level.value] if level else 1,
            quorum=positive(fields["quorum"], "quorum") if "quorum" in fields else 1,
            timeout_s=positive(fields["timeout_s"], "timeout_s") if "timeout_s" in fields else None,
        )
        return _operations(words(fields["operations"], "operations")), obligations

    def _operation_names(self, key: str) -> frozenset[str]:
        return _operations(words(self._fields[key], key)) if key in self._fields else frozenset()

    def _texts(self, key: str) -> tuple[str, ...]:
        return tuple(text.value for text in self._words(key))

    def _words(self, key: str) -> tuple[Text, ...]:
        return words(self._fields[key], key) if key in self._fields else ()

    def _text(self, key: str) -> str:
        return one_text(self._fields[key], key).value if key in self._fields else ""

    def _examples(self, key: str) -> list[Example]:
        return [Example(text.place, text.value, key == "match") for text in self._words(key)]

    def _hosts(self, operations: frozenset[str]) -> tuple[str, ...]:
        if "hosts" in self._fields and operations - HOST_OPERATIONS:
            what = f"hosts narrows only {' and '.join(sorted(HOST_OPERATIONS))}; split the rule"
            refuse(self._fields["hosts"].place, what)
        return tuple(glob.lower() for glob in self._globs("hosts"))

    def _globs(self, key: str) -> tuple[str, ...]:
        return tuple(glob for text in self._words(key) for glob in self._expanded(text))

    def _expanded(self, text: Text) -> tuple[str, ...]:
        unknown = variables_in(text.value) - self._known
        if unknown:
            known = ", ".join(sorted(self._known))
            refuse(text.place, f"unknown variable {sorted(unknown)[0]!r}; use one of {known}")
        try:
            globs = expand_braces(text.value)
            for glob in globs:
                policy_glob(glob)
        except GlobError as error:
            refuse(text.place, f"{error}; correct the glob")
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

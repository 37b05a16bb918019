"""Policy files to a Policy: strict, pure, every mistake with its place and what to do about it.

May touch: policy texts and the packaged packs. May not touch: the file system (the caller reads).
What one rule may say is rule_file.py's. A file with one mistake is refused whole, and a refused
file leaves the caller with the policy it has.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Final

from policy.document import Listing, Node, PolicyError, one_text, positive, read, refuse
from policy.document import Mapping as Entries
from policy.examples import check_examples as run_examples
from policy.model import Effect
from policy.rule_file import EFFECTS, RuleReader, fields_of
from policy.rules import FIXED_VARIABLES, Policy, Rule, Source

FILE_KEYS: Final = frozenset(
    {"version", "name", "description", "revision", "default", "variables", "rules"}
)
REVISION_DIGITS: Final = 15  # room for a date with its time
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


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
        fields = fields_of(top, FILE_KEYS, "a policy file")
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
    return [RuleReader(source, node, variables).rule() for node in listing.items]


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

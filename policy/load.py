"""Policy files to a Policy: strict, pure, every mistake with its place and what to do about it.

May touch: policy texts and the packaged packs. May not touch: the file system (the caller reads).
What one rule may say is rule_file.py's. A file with one mistake is refused whole, and a refused
file leaves the caller with the policy it has.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    text_in,
    words_in,
)
from policy.document import Mapping as Entries
from policy.examples import check_examples as run_examples
from policy.host_set_file import packaged_sets, read_host_sets, united
from policy.host_sets import HostSets
from policy.model import Effect
from policy.rewrite_file import is_rewrite, read_rewrite
from policy.rule_file import EFFECTS, RuleReader, fields_of
from policy.rules import FIXED_VARIABLES, Policy, Rewrite, Rule, Source

FILE_KEYS: Final = frozenset(
    {
        "version", "name", "description", "revision", "include", "without", "default", "variables",
        "rules", "host_sets",
    }
)  # fmt: skip
A_POLICY: Final = "a policy is a mapping; begin with `version: 1`"
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
    files = _opened(sources)
    own = (read_host_sets(file.source, file.fields.get("host_sets")) for file in files)
    sets = united([packaged_sets(), *own])
    by_source = {file.source: _rules(file, sets) for file in files}
    left_out = _left_out(files, sources)
    _check_left_out(files, by_source)
    read_rules = [
        rule
        for source, listed in by_source.items()
        for rule in listed
        if rule.id not in left_out[source]
    ]
    _refuse_repeated_ids(read_rules)
    rules = [rule for rule in read_rules if isinstance(rule, Rule)]
    _check_lifted(rules)
    default, place = max((_default(file) for file in files), key=lambda one: one[0])
    policy = Policy(
        tuple(rules),
        default,
        place,
        _digest([file.source for file in files]),
        tuple(file.source.name for file in files),
        MappingProxyType(
            {
                file.source.name: positive(
                    file.fields["revision"], "revision", digits=REVISION_DIGITS
                )
                for file in files
                if "revision" in file.fields
            }
        ),
        tuple(rule for rule in read_rules if isinstance(rule, Rewrite)),
        sets,
    )
    if check_examples:
        run_examples(policy)
    return policy


@dataclass(frozen=True, slots=True)
class _File:
    """One source with the keys at its top, their names known."""

    source: Source
    place: str
    fields: Mapping[str, Node]
    includes: tuple[Source, ...]
    without: tuple[Text, ...]  # ids of rules of what it includes


def _opened(sources: Sequence[Source]) -> list[_File]:
    """Return every source and, after them, each pack that one of them includes, once."""
    files: list[_File] = []
    waiting = list(sources)
    for source in waiting:
        files.append(_open(source))
        waiting += [one for one in files[-1].includes if one not in waiting]
    return files


def _open(source: Source) -> _File:
    top = read(source.name, source.text, A_POLICY)
    fields = fields_of(top, FILE_KEYS, "a policy file")
    for key in ("include", "without"):
        if key in fields and source.tightens_only:
            what = f"a project's policy may only tighten: it has no {key}; remove it"
            refuse(fields[key].place, what)
    _check_header(top.place, fields)
    includes = tuple(dict.fromkeys(map(_pack_at, words_in(fields, "include"))))
    return _File(source, top.place, fields, includes, words_in(fields, "without"))


def _pack_at(name: Text) -> Source:
    try:
        return pack(name.value)
    except PolicyError as error:
        refuse(name.place, str(error))


def _left_out(files: Sequence[_File], named: Sequence[Source]) -> Mapping[Source, frozenset[str]]:
    """Return the rules of each source that are left out on every way that leads to it."""
    by_source = {file.source: file for file in files}
    found: dict[Source, frozenset[str]] = {}
    waiting = [(source, frozenset[str]()) for source in named]
    while waiting:
        source, ids = waiting.pop()
        known = found.get(source)
        now = ids if known is None else known & ids
        if now != known:
            found[source] = now
            without = now | {text.value for text in by_source[source].without}
            waiting += [(one, without) for one in by_source[source].includes]
    return found


def _check_left_out(
    files: Sequence[_File], rules: Mapping[Source, Sequence[Rule | Rewrite]]
) -> None:
    """Refuse to leave out what is not there: a typing error would leave the rule in force."""
    by_source = {file.source: file for file in files}
    for file in files:
        below = list(file.includes)
        for source in below:
            below += [one for one in by_source[source].includes if one not in below]
        ids = {rule.id for source in below for rule in rules[source]}
        for text in file.without:
            if text.value not in ids:
                what = "which no rule of the packs that this file includes is called"
                refuse(text.place, f"without names {text.value!r}, {what}")


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


def _refuse_repeated_ids(rules: Sequence[Rule | Rewrite]) -> None:
    seen: dict[str, str] = {}
    for rule in rules:
        if rule.id in seen:
            refuse(rule.place, f"rule id {rule.id!r} is already at {seen[rule.id]}; choose another")
        seen[rule.id] = rule.place


def _check_lifted(rules: Sequence[Rule]) -> None:
    """Refuse an allow that lifts what is no ask: a deny stays, and a typing error shows."""
    by_id = {rule.id: rule for rule in rules}
    for rule in rules:
        for name in sorted(rule.lifts):
            other = by_id.get(name)
            if other is None:
                refuse(rule.place, f"rule {rule.id!r} lifts {name!r}, which no rule is called")
            if other.effect is not Effect.ASK:
                what = f"{name!r} at {other.place}, which is no ask; only asks can be lifted"
                refuse(rule.place, f"rule {rule.id!r} lifts {what}")


def _check_header(place: str, fields: Mapping[str, Node]) -> None:
    for needed in ("version", "rules"):
        if needed not in fields:
            refuse(place, f"the key {needed!r} is missing; add it")
    version = one_text(fields["version"], "version")
    if version.value != "1":
        refuse(version.place, f"version {version.value!r} is not known; write 1")
    for key in ("name", "description"):
        text_in(fields, key)


def _default(file: _File) -> tuple[Effect, str]:
    if "default" not in file.fields:
        return Effect.ASK, file.place
    default = one_text(file.fields["default"], "default")
    if default.value not in ("ask", "deny"):
        what = "what no rule mentions is never allowed; write ask or deny"
        refuse(default.place, f"default {default.value!r}: {what}")
    return EFFECTS[default.value], default.place


def _rules(file: _File, sets: HostSets) -> list[Rule | Rewrite]:
    source, listing = file.source, file.fields["rules"]
    if not isinstance(listing, Listing):
        refuse(listing.place, "rules is a list; begin each rule with `- id: its-name`")
    variables = _variables(source, file.fields.get("variables"))
    return [
        read_rewrite(source, node)
        if is_rewrite(node)
        else RuleReader(source, node, variables, sets).rule()
        for node in listing.items
    ]


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

"""The policy in force: frozen rules, by operation, and what they become in one context.

May touch: globs. May not touch: YAML (load.py), accesses (decide.py).
A rule is written once for every workspace and home; `bind` puts one context's paths into it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from policy.globs import Name, Path, escape, fixed_root, path_regex, policy_glob, text_regex
from policy.held import HELD_WRITES, is_held
from policy.host_globs import HostGlobs
from policy.model import Context, Effect, Obligations
from policy.obligations import NONE

FIXED_VARIABLES: Final = frozenset({"workspace", "home", "user", "host"})
_FIRST_NAMES: Final = 4  # of a path: what is near it is remembered by them
_REMEMBERED: Final = 256
_VARIABLE = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Source:
    """One policy file's text. A project's file `tightens_only`: nothing in it may allow."""

    name: str
    text: str
    tightens_only: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A command the rule must match, or must not."""

    place: str
    command: str
    matches: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as written; globs still hold `${variables}`, None means any resource.

    Every narrowing field that is set must hold for the rule to match.
    """

    id: str
    place: str
    effect: Effect
    operations: frozenset[str]
    resources: tuple[str, ...] | None = None
    exceptions: tuple[str, ...] = ()
    together_with: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    args: tuple[str, ...] = ()
    tools: frozenset[str] = frozenset()
    subjects: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()  # sets written out
    ports: tuple[tuple[int, int], ...] = ()  # first and last of each range
    methods: frozenset[str] = frozenset()  # of HTTP, in capitals
    remote_hosts: tuple[str, ...] = ()
    lifts: frozenset[str] = frozenset()  # ids of the asks that this allow silences
    obligations: Obligations = NONE
    grantable: bool = False  # its asks may be granted, whatever they are about (grantable.py)
    reason: str = ""
    instead: str = ""
    examples: tuple[Example, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    tightens_only: bool = False  # from a project's file

    @property
    def is_unconditional(self) -> bool:
        """Return whether its resources alone decide: then the sandbox can hold it by a mask."""
        return not (self.hosts or self.narrows)

    @property
    def narrows(self) -> bool:
        """Return whether something else than the resource must hold (narrowing.py)."""
        asked = self.tools or self.subjects or self.remote_hosts
        connected = self.ports or self.methods
        return bool(asked or self.together_with or self.programs or self.args or connected)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A rule that puts one argument vector in the place of another (rewriting.py).

    `args` and `argv` hold `{name}` for a whole word and `{name...}` for all that are left.
    """

    id: str
    place: str
    programs: tuple[tuple[str, ...], ...]  # the first words, such as ("git", "push")
    args: tuple[str, ...]  # what must follow: a capture, or a glob over one word
    argv: tuple[str, ...]
    tools: frozenset[str] = frozenset()
    reason: str = ""
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """Every rule in force; two policies are the same when their digests are."""

    rules: tuple[Rule, ...]
    default: Effect
    default_place: str
    digest: str  # sha256 hex over the names and texts of all sources
    names: tuple[str, ...]
    revisions: Mapping[str, int] = field(default_factory=dict)  # of the sources that state one
    rewrites: tuple[Rewrite, ...] = ()
    host_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Globs:
    """One list of globs in one context; expressions are made when first needed."""

    __slots__ = ("_near", "_path_re", "_paths", "_tells", "_text_re", "answers", "texts")

    def __init__(self, texts: tuple[str, ...]) -> None:
        self.texts = texts
        self._path_re: re.Pattern[str] | None = None
        self._text_re: re.Pattern[str] | None = None
        self._paths: tuple[Path, ...] | None = None
        # What match.py found out and will ask again, and what it cost.
        self.answers: dict[tuple[str, str, str], tuple[bool, int]] = {}
        self._tells: dict[int, str | None] = {}
        self._near: dict[tuple[str, ...], tuple[Path, ...]] = {}

    def has_path(self, path: str) -> bool:
        """Return whether a plain absolute path is inside one of them."""
        if self._path_re is None:
            self._path_re = path_regex([text for text in self.texts if text[0] != "<"])
        return self._path_re.fullmatch("" if path == "/" else path) is not None

    def has_text(self, text: str) -> bool:
        """Return whether a plain text is matched by one of them."""
        if self._text_re is None:
            self._text_re = text_regex(self.texts)
        return self._text_re.fullmatch(text) is not None

    def paths(self) -> tuple[Path, ...]:
        """Return the parts of each that is a path."""
        if self._paths is None:
            self._paths = tuple(policy_glob(text) for text in self.texts if text[0] != "<")
        return self._paths

    def paths_near(self, shape: Path) -> tuple[Path, ...]:
        """Return those that may share a path with `shape`, judged by its first names."""
        names = _first_names(shape)
        if not names:
            return self.paths()
        near = self._near.get(names)
        if near is None:
            near = tuple(path for path in self.paths() if _may_begin(path, names))
            if len(self._near) < _REMEMBERED:
                self._near[names] = near
        return near

    def telling(self, path: Path) -> str | None:
        """Return the last name of one of `paths` that is more than `*`, if it has no wildcard."""
        if not self._tells:
            self._tells = {id(one): _telling(one) for one in self.paths()}
        return self._tells[id(path)]

    def roots(self) -> tuple[str, ...]:
        """Return the fixed folder of each that has one; `**/x` and `/*/x` have none."""
        roots = [(text, fixed_root(text)) for text in self.texts if text[0] != "<"]
        return tuple(root for text, root in roots if root != "/" or text in ("/", "/**"))


_NO_GLOBS: Final = Globs(())
_NO_HOSTS: Final = HostGlobs(())


def _telling(path: Path) -> str | None:
    names = [part for part in path if isinstance(part, Name) and not part.is_any]
    return names[-1].literal if names else None


def _first_names(shape: Path) -> tuple[str, ...]:
    """Return the names that any path of this shape begins with, a few at most."""
    names: list[str] = []
    for part in shape[:_FIRST_NAMES]:
        if not isinstance(part, Name) or part.literal is None:
            break
        names.append(part.literal)
    return tuple(names)


def _may_begin(path: Path, names: tuple[str, ...]) -> bool:
    """Return whether a path of the glob may begin with these names."""
    for part, name in zip(path, names, strict=False):
        if not isinstance(part, Name):
            return True  # `**`
        if part.literal not in (None, name):
            return False
    return len(path) >= len(names)


@dataclass(frozen=True, slots=True, eq=False)
class BoundRule:
    """A rule with one context's paths in it."""

    rule: Rule
    narrows: bool
    resources: Globs | None
    unheld: Globs | None  # those of them that the sandbox does not hold (held.py)
    exceptions: Globs
    hosts: HostGlobs
    args: Globs
    subjects: Globs
    remote_hosts: Globs


@dataclass(frozen=True, slots=True, eq=False)
class Spoken:
    """The rules of one operation, denies first."""

    rules: tuple[BoundRule, ...] = ()
    others: tuple[BoundRule, ...] = ()  # without those that only stop what `named` holds
    named: Globs = _NO_GLOBS  # by these

    @staticmethod
    def of(rules: Sequence[BoundRule]) -> "Spoken":
        """Return the rules with what most of them name as one list."""
        others, texts = list[BoundRule](), dict[str, None]()
        for one in rules:
            # With `/**` among them the list would name everything.
            allows = one.rule.effect is Effect.ALLOW
            if allows or one.resources is None or "/**" in one.resources.texts:
                others.append(one)
            else:
                texts |= dict.fromkeys(one.resources.texts)
        return Spoken(tuple(rules), tuple(others), Globs(tuple(texts)))


_NO_RULES: Final = Spoken()


@dataclass(frozen=True, slots=True, eq=False)
class BoundPolicy:
    """A policy in one context: its rules by operation."""

    by_operation: Mapping[str, Spoken]
    lifts: bool  # whether any rule silences another

    def rules_for(self, operation: str) -> tuple[BoundRule, ...]:
        """Return the rules that speak of one operation."""
        return self.by_operation.get(operation, _NO_RULES).rules

    def rules_about(self, operation: str, resource: str, *, is_path: bool) -> tuple[BoundRule, ...]:
        """Return those that may speak of one plain resource, and of nothing below it."""
        spoken = self.by_operation.get(operation, _NO_RULES)
        named = spoken.named
        is_named = named.has_path(resource) if is_path else named.has_text(resource)
        return spoken.rules if is_named else spoken.others


@lru_cache(maxsize=32)
def bind(policy: Policy, context: Context) -> BoundPolicy:
    """Return the policy with this context's workspace, home, user and host filled in.

    Denies come first, by id: one of them may settle an access.
    """
    found: dict[str, list[BoundRule]] = {}
    for rule in sorted(policy.rules, key=lambda one: (-one.effect, one.id)):
        bound = _bound(placed(rule, context))
        for operation in rule.operations:
            found.setdefault(operation, []).append(bound)
    return BoundPolicy(
        MappingProxyType({key: Spoken.of(rules) for key, rules in found.items()}),
        lifts=any(rule.lifts for rule in policy.rules),
    )


def placed(rule: Rule, context: Context) -> Rule:
    """Return a rule with one context's paths in its globs."""
    values = {name: str(getattr(context, name)) for name in FIXED_VARIABLES}
    for name, value in rule.variables:
        values[name] = context.home + value[1:] if value[:2] in ("~", "~/") else value

    def filled(globs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_filled(glob, values) for glob in globs)

    return replace(
        rule,
        resources=filled(rule.resources) if rule.resources is not None else None,
        exceptions=filled(rule.exceptions),
        hosts=filled(rule.hosts),
        args=filled(rule.args),
        subjects=filled(rule.subjects),
        remote_hosts=filled(rule.remote_hosts),
        variables=(),
    )


def _bound(rule: Rule) -> BoundRule:
    resources = None if rule.resources is None else _globs(rule.resources)
    return BoundRule(
        rule=rule,
        narrows=rule.narrows,
        resources=resources,
        unheld=None if resources is None else _unheld(rule, resources),
        exceptions=_globs(rule.exceptions),
        hosts=HostGlobs(rule.hosts) if rule.hosts else _NO_HOSTS,
        args=_globs(rule.args),
        subjects=_globs(rule.subjects),
        remote_hosts=_globs(rule.remote_hosts),
    )


def _globs(texts: tuple[str, ...]) -> Globs:
    return Globs(texts) if texts else _NO_GLOBS


def _unheld(rule: Rule, globs: Globs) -> Globs:
    if rule.effect is Effect.ALLOW or not rule.operations & HELD_WRITES:
        return globs
    texts = tuple(text for text in globs.texts if not is_held(text))
    return globs if len(texts) == len(globs.texts) else Globs(texts)


def _filled(glob: str, values: Mapping[str, str]) -> str:
    if glob == "~" or glob.startswith("~/"):
        glob = "${home}" + glob[1:]
    return _VARIABLE.sub(lambda match: escape(values[match[1]]), glob)


def variables_in(glob: str) -> frozenset[str]:
    """Return the names of the variables a glob mentions."""
    return frozenset(_VARIABLE.findall(glob))

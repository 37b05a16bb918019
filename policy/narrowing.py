"""What narrows a rule besides its resources: who asks, through what, with which words and ports.

May touch: accesses, bound rules, the words of a command. May not touch: resources (match.py),
effects (decide.py). Three answers: an allow needs YES, an ask or a deny needs more than NO, and
MAYBE is why a human is asked where a rule would deny.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from policy.model import Access, Effect, Request, Ssh
from policy.overlap import text_inside, text_overlaps
from policy.ports import port_of
from policy.programs.words import Argument
from policy.rules import BoundRule, Globs, Rule

Words = Sequence[Argument]
UNKNOWN_PROGRAM: Final = "…"  # any of a command's, or one that it starts
_PLAIN_HTTP = re.compile(r"http://", re.I)
_MAX_CELLS: Final = 100_000  # of letters against letters in one decision; beyond it, MAYBE


class Truth(IntEnum):
    """Whether something holds; of several that must all hold, the least."""

    NO = 0
    MAYBE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What a rule may look at besides the accesses: who asks, through what, in which words."""

    tool: str = ""
    subject: str = ""  # with the uid: agent:<client>@<uid>
    remote_hosts: tuple[str, ...] = ()  # of the ssh tool, as configured
    words: Mapping[str, Sequence[Words]] = field(default_factory=dict, compare=False)
    method: str | None = None  # of a real connection, empty if it shows none; None for words
    beside: frozenset[str] = frozenset()  # operations of the command that are not decided here


def asked_by(request: Request, words: Mapping[str, Sequence[Words]]) -> Asked:
    """Return what rules may look at in a request; `words` are its programs' argument vectors."""
    subject, action = request.subject, request.action
    hosts = action.hosts if isinstance(action, Ssh) else ()
    return Asked(request.tool, f"{subject.name}@{subject.uid}", hosts, words)


class Narrowing:
    """Everything of one request that narrows rules; answers about words are remembered."""

    def __init__(self, asked: Asked, operations: frozenset[str]) -> None:
        self._asked, self._operations = asked, operations | asked.beside
        self._worded: dict[tuple[str, str], Truth] = {}
        self._cells = 0

    def holds(self, bound: BoundRule, access: Access) -> Truth:
        """Return whether a rule that narrows speaks of this access, its resource aside."""
        rule = bound.rule
        if not self._is_spoken_of(rule):
            return Truth.NO
        truth = self._hosts(bound)
        if bound.subjects.texts and not bound.subjects.has_text(self._asked.subject):
            return Truth.NO
        if rule.programs and truth:
            truth = min(truth, _program(rule, access.program))
        if rule.ports and truth:
            truth = min(truth, _ports(rule, access))
        if rule.methods and truth:
            truth = min(truth, self._method(rule, access))
        if bound.args.texts and truth:
            truth = min(truth, self._words(bound, access))
        return truth

    def _is_spoken_of(self, rule: Rule) -> bool:
        if rule.together_with and not rule.together_with & self._operations:
            return False
        return not rule.tools or self._asked.tool in rule.tools

    def _method(self, rule: Rule, access: Access) -> Truth:
        """Of words only the scheme is known, and the broker holds what an allow says of plain HTTP.

        What a connection does not show may be any method.
        """
        known = self._asked.method
        if known:
            return Truth.YES if known in rule.methods else Truth.NO
        is_held = known is None and access.how == "exact" and _PLAIN_HTTP.match(access.resource)
        return Truth.YES if rule.effect is Effect.ALLOW and is_held else Truth.MAYBE

    def _hosts(self, bound: BoundRule) -> Truth:
        """One call is for all its hosts: an allow needs all of them, a deny any."""
        if not bound.remote_hosts.texts:
            return Truth.YES
        named = [bound.remote_hosts.has_text(host) for host in self._asked.remote_hosts]
        if bound.rule.effect is Effect.ALLOW:
            return Truth.YES if named and all(named) else Truth.NO
        return Truth.YES if any(named) else Truth.NO

    def _words(self, bound: BoundRule, access: Access) -> Truth:
        if not access.program:
            return Truth.NO  # a redirection, or another tool than a command
        key = (bound.rule.id, access.program)
        if key not in self._worded:
            self._worded[key] = self._worded_anew(bound, access.program)
        return self._worded[key]

    def _worded_anew(self, bound: BoundRule, program: str) -> Truth:
        """Of several commands that could be the one, an allow needs all, a deny any."""
        name, *deeper = program.split(" ")
        vectors = self._asked.words.get(name, ())
        if not vectors:
            return Truth.MAYBE
        own = [words for words in vectors if _may_hold(words, deeper)] or vectors
        # One of the words must match; a word that is not known can be anything.
        truths = [
            max((self._one(word, bound.args) for word in words[1:]), default=Truth.NO)
            for words in own
        ]
        return min(truths) if bound.rule.effect is Effect.ALLOW else max(truths)

    def _one(self, word: Argument, globs: Globs) -> Truth:
        if word.how == "exact":
            return Truth.YES if globs.has_text(word.text) else Truth.NO
        self._cells += len(word.text) * sum(map(len, globs.texts))
        if (word.several and word.how == "dynamic") or self._cells > _MAX_CELLS:
            return Truth.MAYBE  # it may become many words, or none
        if not word.several and any(text_inside(word.text, glob) for glob in globs.texts):
            return Truth.YES
        overlaps = any(text_overlaps(word.text, glob) for glob in globs.texts)
        return Truth.MAYBE if overlaps else Truth.NO


def _may_hold(words: Words, names: Iterable[str]) -> bool:
    """Return whether a command may be of these sub-commands."""
    known = {word.text for word in words if word.how == "exact"}
    return any(word.how != "exact" for word in words) or all(name in known for name in names)


def _program(rule: Rule, program: str) -> Truth:
    if program == UNKNOWN_PROGRAM:
        return Truth.MAYBE
    named = (program == name or program.startswith(f"{name} ") for name in rule.programs)
    return Truth.YES if any(named) else Truth.NO


def _ports(rule: Rule, access: Access) -> Truth:
    port = port_of(access)
    if port is None:
        return Truth.MAYBE
    return Truth.YES if any(low <= port <= high for low, high in rule.ports) else Truth.NO

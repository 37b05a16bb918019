"""The policy in force while the server runs: read again when a file changes, kept when that fails.

May touch: policy files, the audit journal. INVARIANT: a policy is in force only after the log says
so; files that cannot be used change nothing but what people are told; a project's file, which an
agent may write, can only add to what it forbids until the next start.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from audit.errors import AuditError
from mcp_server.policies import PolicyFiles
from mcp_server.signed_policies import RevisionBook
from policy.document import PolicyError
from policy.load import load
from policy.rules import Policy, Rule, Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checks:
    """What stands between a readable policy and one in force."""

    reachable: Callable[[Policy], None]  # raises PolicyError for a level that nobody can reach
    note: Callable[[Mapping[str, object]], None]  # raises AuditError when it is not on disk
    book: RevisionBook


class LivePolicy:
    """One server's policy; `current` looks at the files' times, a few microseconds each."""

    def __init__(self, files: PolicyFiles, checks: Checks, *, is_server: bool) -> None:
        """Read the policy.

        Raises:
            PolicyError: it cannot be used; nothing may start on the strength of it.
            AuditError: the log cannot say so.
        """
        self._files, self._checks = files, checks
        self._projects: dict[str, Source] = {}
        self._stamp = files.stamp()
        self.problem = ""
        self.in_force = self._read(is_server=is_server)

    def current(self) -> Policy:
        """Return the policy in force, after reading it again if a file changed."""
        stamp = self._files.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._reload()
        return self.in_force

    def _reload(self) -> None:
        try:
            self.in_force, self.problem = self._read(is_server=True), ""
        except (PolicyError, AuditError) as error:
            self._keep(str(error))

    def _keep(self, why: str) -> None:
        self.problem = (
            f"{why} The policy in force is still that of digest {self.in_force.digest[:16]}."
        )
        logger.warning("%s", self.problem)
        try:
            self._checks.note({"event": "policy.refused", "error": why[:2000]})
        except AuditError as error:
            logger.warning("This could not be written to the audit log: %s", error)

    def _read(self, *, is_server: bool) -> Policy:
        trusted = self._files.trusted()
        projects = {one.name: one for one in self._files.projects()}
        for name, old in self._projects.items():
            new = projects.get(name, Source(name, "version: 1\nrules: []\n", tightens_only=True))
            if new.text != old.text and not _tightens(new, old):
                raise PolicyError(
                    f"{name}:1:1: a project's policy can only tighten while the server runs; put "
                    "its rules back, or restart the server to loosen it."
                )
        sources = [*(one for _, one in trusted), *projects.values()]
        policy = load(sources, check_examples=is_server or self._files.has_own(sources))
        self._checks.reachable(policy)
        if self._files.signers is not None:
            signed = [(path, one) for path, one in trusted if path is not None]
            self._checks.book.write(self._checks.book.check(signed, policy))
        self._checks.note(
            {
                "event": "policy.loaded",
                "policy": {"digest": policy.digest, "sources": list(policy.names)},
            }
        )
        self._projects = projects
        return policy


def _tightens(new: Source, old: Source) -> bool:
    """Return whether a project's new file says all that its old one said."""
    after, before = (load([one], check_examples=False) for one in (new, old))
    kept = {_meaning(rule) for rule in after.rules}
    return after.default >= before.default and all(_meaning(rule) in kept for rule in before.rules)


def _meaning(rule: Rule) -> Rule:
    return replace(rule, place="", examples=())

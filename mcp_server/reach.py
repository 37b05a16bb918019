"""Which channels the configuration opens, how strong an answer through each is, and who gives it.

May touch: settings, the files of signers and approvers they name, and the desk where they answer. A
rule that asks for more than any channel reaches is an error when the policy is loaded, not a
question nobody could answer.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from approvals.desk import Desk
from approvals.reach import Count
from approvals.request import ApprovalError, Level, Need
from approvals.store import Store
from approvals.voters import Voters
from approvals.web.approvers import approvers
from approvals.worth import counts_as
from mcp_server.config import ApprovalSettings
from mcp_server.journal import Journal
from policy.document import PolicyError
from policy.model import Effect
from policy.rules import Policy

Channel = Literal["elicitation", "terminal", "signature", "page", "api", "server"]
MOST_ELSEWHERE = 10  # people that another server may ask for one request


def voters(settings: ApprovalSettings) -> Voters:
    """Return who answers at the owner's socket, by word or by key."""
    return Voters(
        uid=os.geteuid(),
        signers=settings.signers,
        separate=frozenset(settings.separate),
    )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can say yes by some channel; who is one voter has one `voter`."""

    name: str
    voter: str
    level: Level


@dataclass(frozen=True, slots=True)
class Reach:
    """Who could answer at one moment: the channels that are open, and everybody behind them."""

    levels: Mapping[Channel, Level]  # the most that a yes through each counts as
    people: tuple[Person, ...]  # by each name they have

    @property
    def highest(self) -> Level:
        """Return the highest level that any channel reaches."""
        return max(self.levels.values(), default=Level.POLICY)

    @property
    def named(self) -> str:
        """Return the channels, for people."""
        return ", ".join(self.levels) or "none"


def reach(settings: ApprovalSettings) -> Reach:
    """Return who could answer now; reads the files of signers and approvers, each once.

    Raises:
        ApprovalError: one of them cannot be trusted or read.
    """
    signing = {
        name: counts_as(level, settings.owner_level)
        for name, level in voters(settings).reach(time.time()).items()
    }
    listed = approvers(settings.approvers) if settings.approvers is not None else ()
    named = [one.name for one in listed if one.role == "approver"]
    return Reach(_levels(settings, signing), tuple(_people(settings, signing, named)))


def _levels(settings: ApprovalSettings, signing: Mapping[str, Level]) -> dict[Channel, Level]:
    by_word: dict[Channel, Level] = {
        "elicitation": Level.ATTESTED,
        "terminal": settings.owner_level,
    }
    found: dict[Channel, Level] = {channel: by_word[channel] for channel in settings.channels}
    if signing:
        found["signature"] = max(signing.values())
    if settings.page is not None:
        found["page"] = settings.owner_level
    if settings.approvers is not None:
        found["api"] = Level.SEPARATE
    if settings.server is not None:
        found["server"] = Level.SEPARATE
    return found


def _people(
    settings: ApprovalSettings, signing: Mapping[str, Level], named: Sequence[str]
) -> Iterator[Person]:
    if "elicitation" in settings.channels:
        yield Person("", "the owner", Level.ATTESTED)
    if "terminal" in settings.channels:
        yield Person("owner", "the owner", settings.owner_level)
        yield Person("root", "root", Level.SEPARATE)
    if settings.page is not None and "terminal" not in settings.channels:
        yield Person("owner", "the owner", settings.owner_level)
    for name in named:
        yield Person(name, f"somebody else, {name}", Level.SEPARATE)
    if settings.server is not None:  # who they are is known there; none holds a role here
        for number in range(MOST_ELSEWHERE):
            yield Person("", f"somebody elsewhere, {number}", Level.SEPARATE)
    for name, level in signing.items():
        voter = f"somebody else, {name}" if name in settings.separate else "the owner"
        yield Person(name, voter, level)


def check_levels(policy: Policy, approvals: ApprovalSettings) -> None:
    """Return when every rule's level can be reached by some configured channel.

    Raises:
        PolicyError: one cannot, so what it asks for could never be answered.
    """
    try:
        found = reach(approvals)
    except ApprovalError as error:
        raise PolicyError(f"approvals: {error}") from None
    if approvals.unreachable == "deny":
        return  # then each such call is declined when it comes
    for rule in policy.rules:
        asked = rule.obligations
        if rule.effect is not Effect.ASK:
            continue
        if asked.level > found.highest:
            needed = Level(asked.level).name.lower()
            raise PolicyError(
                f"{rule.place}: rule {rule.id!r} asks for level {needed}, and approvals.channels "
                f"({found.named}) reaches {found.highest.name.lower()} at most; "
                "add a channel, or set approvals.unreachable to deny."
            )
        need = Need(Level(asked.level), asked.quorum, roles=asked.roles)
        if why := lacking(found.people, need, approvals.roles):
            raise PolicyError(
                f"{rule.place}: rule {rule.id!r} {why}; name more in approvals.signers and "
                "approvals.roles, or set approvals.unreachable to deny."
            )


def lacking(known: Sequence[Person], need: Need, roles: Mapping[str, Sequence[str]]) -> str:
    """Return why these people cannot give what is needed together; "" where they can."""
    able = {
        one.voter
        for one in known
        if one.level >= need.level
        and all(any(one.name in roles.get(role, ()) for role in each) for each in need.roles)
    }
    if len(able) >= need.quorum:
        return ""
    by = "".join(f" by {' or '.join(each)}" for each in need.roles)
    return (
        f"asks for {need.quorum} yes of level {need.level.name.lower()}{by}, and "
        f"{len(able)} of the configured people can give one"
    )


def desk_over(store: Store, journal: Journal, settings: ApprovalSettings, count: Count) -> Desk:
    """Return the desk where their answers count: in a server, and at the command line."""
    return Desk(
        store,
        journal.note,
        roles={role: frozenset(names) for role, names in settings.roles.items()},
        owner_level=settings.owner_level,
        count=count,
    )

"""Which channels the configuration opens, how strong an answer through each is, and who gives it.

May touch: settings, and the file of signers they name. A rule that asks for more than any channel
reaches is an error when the policy is loaded, not a question that nobody could answer.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from approvals.request import ApprovalError, Level, Need
from approvals.voters import Voters
from approvals.web.approvers import approvers
from mcp_server.config import ApprovalSettings
from policy.document import PolicyError
from policy.model import Effect
from policy.rules import Policy

Channel = Literal["elicitation", "terminal", "signature", "page", "api", "server"]
MOST_ELSEWHERE = 10  # people that another server may ask for one request


def voters(settings: ApprovalSettings) -> Voters:
    """Return who answers at the owner's socket, by word or by key."""
    return Voters(
        uid=os.geteuid(),
        owner_level=settings.owner_level,
        signers=settings.signers,
        separate=frozenset(settings.separate),
    )


def levels(settings: ApprovalSettings) -> dict[Channel, Level]:
    """Return the configured channels, and the most a yes through each of them counts as.

    Raises:
        ApprovalError: the file of signers cannot be trusted or read.
    """
    known = voters(settings)
    by_word: dict[Channel, Level] = {
        "elicitation": Level.ATTESTED,
        "terminal": known.owner_level,
    }
    found: dict[Channel, Level] = {channel: by_word[channel] for channel in settings.channels}
    signing = known.reach(time.time())
    if signing:
        found["signature"] = max(signing.values())
    if settings.page is not None:
        found["page"] = settings.owner_level
    if settings.approvers is not None:
        found["api"] = Level.SEPARATE
    if settings.server is not None:
        found["server"] = Level.SEPARATE
    return found


def highest_level(settings: ApprovalSettings) -> Level:
    """Return the highest level that any configured channel reaches.

    Raises:
        ApprovalError: as `levels`.
    """
    return max(levels(settings).values(), default=Level.POLICY)


def check_levels(policy: Policy, approvals: ApprovalSettings) -> None:
    """Return when every rule's level can be reached by some configured channel.

    Raises:
        PolicyError: one cannot, so what it asks for could never be answered.
    """
    try:
        reached = highest_level(approvals)
    except ApprovalError as error:
        raise PolicyError(f"approvals.signers: {error}") from None
    if approvals.unreachable == "deny":
        return  # then each such call is declined when it comes
    known = people(approvals)
    for rule in policy.rules:
        asked = rule.obligations
        if rule.effect is not Effect.ASK:
            continue
        if asked.level > reached:
            needed = Level(asked.level).name.lower()
            raise PolicyError(
                f"{rule.place}: rule {rule.id!r} asks for level {needed}, and approvals.channels "
                f"({', '.join(levels(approvals)) or 'none'}) reaches {reached.name.lower()} at "
                "most; add a channel, or set approvals.unreachable to deny."
            )
        need = Need(Level(asked.level), asked.quorum, roles=asked.roles)
        if why := lacking(known, need, approvals.roles):
            raise PolicyError(
                f"{rule.place}: rule {rule.id!r} {why}; name more in approvals.signers and "
                "approvals.roles, or set approvals.unreachable to deny."
            )


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can say yes by some channel; who is one voter has one `voter`."""

    name: str
    voter: str
    level: Level


def people(settings: ApprovalSettings) -> tuple[Person, ...]:
    """Return everybody who could say yes, by each name they have, and how strongly.

    Raises:
        ApprovalError: the file of signers cannot be trusted or read.
    """
    known = voters(settings)
    found = []
    if "elicitation" in settings.channels:
        found.append(Person("", "the owner", Level.ATTESTED))
    if "terminal" in settings.channels:
        found.append(Person("owner", "the owner", known.owner_level))
        found.append(Person("root", "root", Level.SEPARATE))
    if settings.page is not None and "terminal" not in settings.channels:
        found.append(Person("owner", "the owner", known.owner_level))
    if settings.approvers is not None:
        named = [one.name for one in approvers(settings.approvers) if one.role == "approver"]
        found += [Person(name, f"somebody else, {name}", Level.SEPARATE) for name in named]
    if settings.server is not None:  # who they are is known there; none holds a role here
        everybody = (f"somebody elsewhere, {number}" for number in range(MOST_ELSEWHERE))
        found += [Person("", voter, Level.SEPARATE) for voter in everybody]
    for name, level in known.reach(time.time()).items():
        voter = f"somebody else, {name}" if name in settings.separate else "the owner"
        found.append(Person(name, voter, level))
    return tuple(found)


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


def holders(settings: ApprovalSettings) -> dict[str, frozenset[str]]:
    """Return the names of those who hold each role."""
    return {role: frozenset(names) for role, names in settings.roles.items()}

"""Which channels the configuration opens, how strong an answer through each is, and who gives it.

May touch: settings, and the file of signers they name. A rule that asks for more than any channel
reaches is an error when the policy is loaded, not a question that nobody could answer.
"""

import os
import time
from typing import Literal

from approvals.request import ApprovalError, Level
from approvals.voters import Voters
from mcp_server.config import ApprovalSettings
from policy.document import PolicyError
from policy.model import Effect
from policy.rules import Policy

Channel = Literal["elicitation", "terminal", "signature"]


def voters(settings: ApprovalSettings) -> Voters:
    """Return who answers at the owner's socket, by word or by key."""
    return Voters(
        uid=os.geteuid(),
        owner_level=Level.ATTESTED if settings.strict_owner else Level.OWNER,
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
    for rule in policy.rules:
        if rule.effect is Effect.ASK and rule.obligations.level > reached:
            needed = Level(rule.obligations.level).name.lower()
            raise PolicyError(
                f"{rule.place}: rule {rule.id!r} asks for level {needed}, and approvals.channels "
                f"({', '.join(approvals.channels) or 'none'}) reaches {reached.name.lower()} at "
                "most; add a channel, or set approvals.unreachable to deny."
            )

"""The hosts that a person permitted for the rest of a session, besides the call they were asked in.

May touch: memory. A grant ends with its session, with the server, and with the policy it was given
under. INVARIANT: it stands for a yes to connections and to nothing else, at no higher level.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from approvals.request import Approval
from mcp_server.calls import Call, Frozen
from mcp_server.connections import covers
from policy.model import Decision, Effect
from policy.reach import Named

MOST_SESSIONS = 256
MOST_GRANTS = 256  # of one session


@dataclass(frozen=True, slots=True)
class _Grant:
    approval: Approval
    named: Named
    policy_digest: str


@dataclass(slots=True)
class HostGrants:
    """The grants of all sessions of one server."""

    _by_session: OrderedDict[str, list[_Grant]] = field(default_factory=OrderedDict)

    def add(self, call: Call, decision: Decision, frozen: Frozen, approval: Approval) -> None:
        """Keep a yes that was given for the session."""
        if frozen.connections is None:
            return
        kept = self._by_session.setdefault(call.request.subject.session, [])
        kept.append(_Grant(approval, frozen.connections.named, decision.policy_digest))
        del kept[:-MOST_GRANTS]
        while len(self._by_session) > MOST_SESSIONS:
            self._by_session.popitem(last=False)

    def approval(self, call: Call, decision: Decision, frozen: Frozen) -> Approval | None:
        """Return the yes that covers this call, if all it asks for are hosts of one grant."""
        reach = frozen.connections
        if reach is None or not is_grantable(decision, frozen):
            return None
        for grant in self._by_session.get(call.request.subject.session, ()):
            is_strong = grant.approval.level >= decision.obligations.level
            is_same = grant.policy_digest == decision.policy_digest
            if is_strong and is_same and set(reach.named.hosts) <= set(grant.named.hosts):
                return grant.approval
        return None

    def permits(self, session: str, policy_digest: str, host: str, port: int) -> bool:
        """Return whether a connection goes to a granted host."""
        return any(
            grant.policy_digest == policy_digest and covers(grant.named, host, port)
            for grant in self._by_session.get(session, ())
        )


def is_grantable(decision: Decision, frozen: Frozen) -> bool:
    """Return whether connections to known hosts are all that a person would be asked about."""
    asked = [one.access for one in decision.verdicts if one.effect is Effect.ASK]
    return (
        frozen.connections is not None
        and bool(frozen.connections.named.hosts)
        and not frozen.connections.network.is_anywhere
        and not frozen.needs_yes
        and decision.opaque is None
        and decision.obligations.quorum == 1
        and all(access.operation == "net.connect" for access in asked)
    )

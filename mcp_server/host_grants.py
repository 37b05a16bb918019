"""Hosts in grants: their keys, and whether one is permitted for the rest of a session.

May touch: the grants of the desk. A key holds the policy's digest, so a grant ends with the policy
it was given under. INVARIANT: it stands for a yes to connections and to nothing else; connections
that no call asked for are covered by what was permitted for the session alone, for there no use
could be taken before they are made.
"""

import json
from dataclasses import dataclass

from approvals.grants import Grants
from approvals.scope import Scope
from mcp_server.calls import Frozen
from mcp_server.connections import covers
from policy.model import Decision, Effect
from policy.reach import Named


@dataclass(frozen=True, slots=True)
class HostGrants:
    """The hosts that people permitted, as the broker asks about them."""

    grants: Grants

    def permits(self, session: str, policy_digest: str, host: str, port: int) -> bool:
        """Return whether a connection goes to a host that is permitted for this session."""
        return any(
            grant.scope is Scope.HOST
            and grant.uses is None
            and policy_digest in grant.keys
            and covers(_named(grant.keys), host, port)
            for grant in self.grants.of_session(session)
        )


def host_keys(decision: Decision, frozen: Frozen) -> tuple[str, ...]:
    """Return the keys of the hosts a command names, under the policy that decides."""
    named = frozen.connections.named.hosts if frozen.connections is not None else ()
    return (decision.policy_digest, *(json.dumps(one) for one in named))


def shown_hosts(frozen: Frozen) -> tuple[str, ...]:
    """Return the hosts a command names, for people."""
    reach = frozen.connections
    return tuple(f"connects-to {host}" for host in reach.network.hosts) if reach else ()


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


def _named(keys: tuple[str, ...]) -> Named:
    hosts = [json.loads(key) for key in keys if key.startswith("[")]
    return Named(
        tuple((host, tuple((first, last) for first, last in ports)) for host, ports in hosts),
        is_unknown=False,
    )

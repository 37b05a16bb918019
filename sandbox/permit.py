"""Permits: the only thing a runner accepts. Single use, in process, for one action digest.

May touch: nothing outside this process. INVARIANT: a Permit exists only because an office issued
it, names the digest of the frozen action inside it, and is spent by the first redemption.
"""

from dataclasses import dataclass
from typing import TypeVar, final

from typing_extensions import override

from sandbox.action import Action, digest
from sandbox.network.model import Asks, Destination, Word

A = TypeVar("A", bound=Action)
_ISSUE = object()  # only an office in this module holds it, so no caller can build a Permit


def no_connection(_: Destination) -> Word:
    """Refuse: whoever issued the permit said nothing of connections."""
    return Word(is_permitted=False, text="the permit says nothing of connections")


class SandboxError(Exception):
    """The sandbox could not do its job; nothing ran unless the message says so."""


class PermitError(SandboxError):
    """Something other than a fresh permit of this office was presented; nothing ran."""


@final
class Permit:
    """Leave to carry out one frozen action once; made by `PermitOffice.issue` alone."""

    __slots__ = ("action", "action_digest", "approval_id", "connects", "session")

    action: Action
    action_digest: str
    approval_id: str | None
    session: str  # whose /tmp and HOME a command may use
    connects: Asks  # policy's word on each connection of the command

    def __init__(
        self,
        seal: object,
        action: Action,
        approval_id: str | None,
        *,
        session: str,
        connects: Asks,
    ) -> None:
        if seal is not _ISSUE:
            raise PermitError("a permit can only be issued by the permit office")
        object.__setattr__(self, "action", action)
        object.__setattr__(self, "action_digest", digest(action))
        object.__setattr__(self, "approval_id", approval_id)
        object.__setattr__(self, "session", session)
        object.__setattr__(self, "connects", connects)

    @override
    def __setattr__(self, name: str, value: object) -> None:
        raise PermitError("a permit cannot be changed")

    @override
    def __reduce__(self) -> str:
        raise PermitError("a permit does not leave this process")


@dataclass(frozen=True, slots=True)
class _Open:
    permit: Permit  # kept, so its identity cannot be reused by another object


@final
class PermitOffice:
    """Issues permits and redeems each of them once; one office per server."""

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}

    def issue(
        self,
        action: Action,
        *,
        approved_digest: str,
        approval_id: str | None,
        session: str = "",
        connects: Asks = no_connection,
    ) -> Permit:
        """Return a permit for `action`.

        Raises:
            PermitError: `approved_digest` is not this action's digest.
        """
        permit = Permit(_ISSUE, action, approval_id, session=session, connects=connects)
        if permit.action_digest != approved_digest:
            raise PermitError(
                "approval_mismatch: the action is not the one that was decided; nothing ran"
            )
        self._open[id(permit)] = _Open(permit)
        return permit

    def redeem(self, permit: Permit, kind: type[A]) -> A:
        """Return the frozen action and spend the permit.

        Raises:
            PermitError: the permit is spent, foreign, or for another kind of action.
        """
        known = self._open.pop(id(permit), None)
        if known is None or known.permit is not permit:
            raise PermitError("no permit, no execution: this permit is spent or was never issued")
        if digest(permit.action) != permit.action_digest:
            raise PermitError("the permitted action was altered after the permit; nothing ran")
        if not isinstance(permit.action, kind):
            raise PermitError(
                f"the permit is for {type(permit.action).__name__}, not {kind.__name__}"
            )
        return permit.action

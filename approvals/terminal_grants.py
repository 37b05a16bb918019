"""Grants on the owner's socket: what is asked about them, and how one is shown.

May touch: values. Every text is printable ASCII before it leaves.
"""

from pydantic import BaseModel, ConfigDict, Field

from approvals.scope import Grant, Scope
from approvals.statement import visible

_ASCII = r"^[ -~]*$"


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class AskedTerms(_Line):
    """What an approver grants besides a yes, as it comes in; scope.py has the bounds."""

    scope: Scope
    uses: int
    minutes: int


class GrantRow(_Line):
    """One grant in a list; `uses` and `uses_left` are null where the session has no bound."""

    id: str = Field(pattern=_ASCII)
    approval_id: str = Field(pattern=_ASCII)
    scope: Scope
    covers: tuple[str, ...]
    session: str = Field(pattern=_ASCII)
    requester: str = Field(pattern=_ASCII)
    by: tuple[str, ...]
    level: int
    uses: int | None
    uses_left: int | None
    until_ms: int


def row(grant: Grant) -> GrantRow:
    """Return a grant as it is listed."""
    return GrantRow(
        id=grant.id,
        approval_id=grant.request,
        scope=grant.scope,
        covers=tuple(map(visible, grant.covers)),
        session=visible(grant.session, 80),
        requester=visible(grant.requester, 200),
        by=tuple(visible(one, 200) for one in grant.by),
        level=grant.level,
        uses=grant.uses,
        uses_left=grant.uses_left,
        until_ms=grant.until_ms,
    )

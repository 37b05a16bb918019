"""What crosses the wire about grants; one grant is shown as the owner's socket shows it.

May touch: values. INVARIANT: every text of a request is `visible` ASCII before it is put in here.
"""

from pydantic import BaseModel, ConfigDict, Field

from approvals.request import State
from approvals.scope import MAX_MINUTES, MAX_USES, Scope
from approvals.terminal_grants import GrantRow


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Offered(_Shape):
    """One scope of which a yes can make a grant, and what it would have covered."""

    scope: Scope
    covers: tuple[str, ...]
    covered: int | None = Field(
        description="Earlier requests in the log that it would have covered; null: not counted."
    )
    missed: int | None = Field(description="Those that it would not.")
    covered_such: tuple[str, ...] = Field(description="Some of those that it would have covered.")
    missed_such: tuple[str, ...]


class Offers(_Shape):
    """What a yes to one request can grant besides; empty: nothing."""

    offers: tuple[Offered, ...]
    left_out: str = Field(description="What was not counted, and why; empty: nothing.")


class Granting(_Shape):
    """A yes to one request, and what it grants besides."""

    seen_digest: str = Field(
        max_length=64, description="The `request_digest` of what was shown; another one is refused."
    )
    scope: Scope
    uses: int = Field(ge=1, le=MAX_USES)
    minutes: int = Field(ge=1, le=MAX_MINUTES)


class Granted(_Shape):
    """The state that the yes led to, and the grant."""

    id: str
    state: State
    grant: GrantRow


class Grants(_Shape):
    """The grants that could still be used."""

    grants: tuple[GrantRow, ...]

"""What a scanner of program text can say: it runs a command, touches something, or is not sure.

Holds only values.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Runs:
    """Text that a shell is given."""

    shell: str


@dataclass(frozen=True, slots=True)
class Touches:
    """One operation on one resource."""

    operation: str
    resource: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Code that was not followed: it may do anything."""

    what: str


Finding = Runs | Touches | Unknown

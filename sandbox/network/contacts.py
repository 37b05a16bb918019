"""What became of a command's connections, counted together and bounded.

May touch: nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from sandbox.network.model import Contact

MOST: Final = 256  # kinds of contact that are told apart
OTHERS: Final = "(others)"


@dataclass(slots=True)
class Contacts:
    """The connections of one command so far."""

    _found: dict[tuple[object, ...], Contact] = field(default_factory=dict)

    def add(self, one: Contact) -> None:
        """Count one contact with those to the same place that ended alike."""
        key: tuple[object, ...] = (
            one.host, one.port, one.protocol, one.verdict, one.address, one.reason
        )  # fmt: skip
        if key not in self._found and len(self._found) >= MOST:
            one = Contact(OTHERS, 0, one.verdict, one.protocol, "", "", one.connections,
                          one.sent_bytes, one.received_bytes, one.duration_ms)  # fmt: skip
            key = (one.host, one.protocol, one.verdict)
        known = self._found.get(key)
        self._found[key] = one if known is None else _together(known, one)

    def all(self) -> tuple[Contact, ...]:
        """Return what was counted, in the order it was first seen."""
        return tuple(self._found.values())


def _together(one: Contact, other: Contact) -> Contact:
    return replace(
        one,
        connections=one.connections + other.connections,
        sent_bytes=one.sent_bytes + other.sent_bytes,
        received_bytes=one.received_bytes + other.received_bytes,
        duration_ms=max(one.duration_ms, other.duration_ms),
    )

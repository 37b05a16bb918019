"""Moves of requests and grants in the log: announced before they happen, confirmed after.

May touch: the journal it is given, randomness for the names of moves. INVARIANT: a move without its
confirmation is a half move, whatever moved; what becomes of it, the desk and the grants decide when
they recover.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Generic, Literal, TypeVar

from approvals.statement import visible

SHORT = 200
Facts = Mapping[str, object]
Write = Callable[[Facts], None]
Half = TypeVar("Half")


class Moves(Generic[Half]):
    """The moves of one sort of thing."""

    def __init__(
        self,
        of: Literal["approval", "grant"],
        write: Write,
        read: Callable[[str, str, Facts], Half],
    ) -> None:
        """Build them.

        Args:
            of: the sort: the family of the events, and the key under which the facts stand.
            write: appends one record durably or raises, and then nothing moves.
            read: makes a half move of its kind, its name and its facts; for what is none of
                ours it raises KeyError, TypeError or ValueError.
        """
        self._of = of
        self._write = write
        self._read = read

    def announce(self, kind: str, session: str, facts: Facts) -> str:
        """Record what is about to happen; return the id of the move."""
        move = secrets.token_hex(8)
        event = {"event": f"{self._of}.{kind}", "move": move, "session": visible(session, SHORT)}
        self._write({**event, self._of: facts})
        return move

    def confirm(
        self, move: str, moved: str, state: str | None, decided: Facts = MappingProxyType({})
    ) -> None:
        """Record which state a move led to, and what it `decided`; None where it moved nothing."""
        facts = {**decided, "id": moved, "state": state or "lost"}
        self._write({"event": f"{self._of}.applied", "move": move, self._of: facts})

    def half(self, records: Iterable[Facts]) -> list[Half]:
        """Return the unconfirmed moves, in the order they were recorded.

        A record whose form is not ours is passed over: nothing moves by what nobody can read.
        """
        found: dict[str, Half] = {}
        for record in records:
            of, _, kind = str(record.get("event")).partition(".")
            move, facts = record.get("move"), record.get(self._of)
            if of != self._of or not isinstance(move, str):
                continue
            if kind == "applied":
                found.pop(move, None)
            elif isinstance(facts, Mapping):
                with suppress(KeyError, TypeError, ValueError):
                    found[move] = self._read(kind, move, facts)
        return list(found.values())

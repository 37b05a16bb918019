"""What is on the screen, what a key does to it, and how it is drawn.

May touch: rich's texts. INVARIANT: a yes goes to the request that is drawn, by its digest, after
all of it that must be read was drawn, and never sooner than a person can read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.text import Text

from approvals.request import Answer, Level, State
from approvals.terminal import Listed, Shown
from mcp_server.cli.watch.card import Card, Row, card

FASTEST_READER_S: Final = 0.5
MOST_LISTED: Final = 6  # rows of the list; the card needs the rest
KEYS: Final = "j k move   space read on   q quit"
_SAYS: Final = {
    "yes": Answer.APPROVE,
    "session": Answer.APPROVE_FOR_SESSION,
    "no": Answer.DENY,
}


@dataclass(frozen=True, slots=True)
class Say:
    """An answer to give: to which request, and the digest of what was drawn."""

    request_id: str
    digest: str
    answer: Answer


@dataclass(slots=True)
class Screen:
    """The list, the request that is looked at, and how far it was read."""

    width: int = 80
    height: int = 24
    rows: tuple[Listed, ...] = ()
    shown: Shown | None = None
    notice: str = ""
    _card: Card = field(default_factory=lambda: Card((), 0))
    _drawn_s: float | None = None  # since when the request is on the screen
    _top: int = 0  # the card's first row on the screen
    _read_to: int = 0

    def listed(self, rows: Sequence[Listed]) -> str:
        """Take a new list and return the id to look at; the one before, if it is still there."""
        before = [row.id for row in self.rows]
        self.rows = tuple(rows)
        ids = [row.id for row in rows]
        looked_at = self.shown.id if self.shown else ""
        if looked_at in ids or not ids:
            return looked_at if ids else ""
        at = before.index(looked_at) if looked_at in before else 0
        return ids[min(at, len(ids) - 1)]

    def show(self, shown: Shown | None) -> None:
        """Look at a request from its beginning."""
        self.shown, self._top, self._read_to, self._drawn_s = shown, 0, 0, None
        self._fold()

    def resize(self, width: int, height: int) -> None:
        """Take the size of the terminal; what was read stays read only if nothing moved."""
        if (width, height) != (self.width, self.height):
            self.width, self.height = width, height
            self._top = self._read_to = 0
            self._fold()

    def move(self, step: int) -> str:
        """Return the id of the request above or below, or ""."""
        ids = [row.id for row in self.rows]
        if self.shown is None or self.shown.id not in ids:
            return ids[0] if ids else ""
        return ids[max(0, min(ids.index(self.shown.id) + step, len(ids) - 1))]

    def scroll(self, name: str) -> None:
        """Move in the card: `more`, `back` or `end`."""
        page = max(self._room() - 1, 1)
        last = max(len(self._card.rows) - self._room(), 0)
        to = {"more": self._top + page, "back": self._top - page, "end": last}[name]
        if name == "end":
            self._read_to = len(self._card.rows)
        self._top = max(0, min(to, last))

    def answer(self, name: str, now_s: float) -> Say | None:
        """Return what to say, or None with a notice why the key was no answer."""
        shown, said = self.shown, _SAYS[name]
        if shown is None or shown.state is not State.PENDING:
            self.notice = "Nothing waits here."
        elif self._drawn_s is None or now_s - self._drawn_s < FASTEST_READER_S:
            self.notice = "This one came up just now. Look at it, then press again."
        elif said is Answer.APPROVE_FOR_SESSION and not shown.for_session:
            self.notice = "Nothing of this can be permitted for a session: y or n."
        elif said.is_yes and self._read_to < self._card.to_read:
            self.notice = "There is more to read: space. A no needs no reading."
        else:
            return Say(shown.id, shown.request_digest, said)
        return None

    def drawn(self, now_s: float) -> Text:
        """Return the screen, and remember that it is seen from now on."""
        visible = self._card.rows[self._top : self._top + self._room()]
        if self.shown is not None:
            self._drawn_s = now_s if self._drawn_s is None else self._drawn_s
            if self._top <= self._read_to:
                self._read_to = max(self._read_to, self._top + len(visible))
        blank = self._room() - len(visible)
        rows = [*self._head(now_s), *visible, *([Row("")] * blank), *self._foot()]
        text = Text(no_wrap=True, overflow="crop")
        for number, row in enumerate(rows):
            text.append("\n" * bool(number) + row.text[: self.width], row.style)
        return text

    def _fold(self) -> None:
        self._card = card(self.shown, self.width) if self.shown else Card((), 0)

    def _room(self) -> int:
        """Return how many rows the card has: without title, list, rules and foot."""
        return max(self.height - 2 - min(len(self.rows), MOST_LISTED) - 3, 1)

    def _head(self, now_s: float) -> Iterator[Row]:
        count = f"{len(self.rows)} wait for an answer" if self.rows else "Nothing waits."
        yield Row(f"permitgate approvals   {count}", "bold")
        ids = [row.id for row in self.rows]
        at = ids.index(self.shown.id) if self.shown and self.shown.id in ids else 0
        first = max(0, min(at - MOST_LISTED // 2, len(ids) - MOST_LISTED))
        for number, row in enumerate(self.rows[first : first + MOST_LISTED], start=first):
            left_s = max(0, int(row.expires_ms / 1000 - now_s))
            mark = ">" if number == at else " "
            line = f"{mark} {left_s // 60:3}:{left_s % 60:02}  {row.tool:8}  {row.summary}"
            yield Row(line, "reverse" if number == at else "")
        yield Row("-" * self.width, "dim")

    def _foot(self) -> Iterator[Row]:
        under = len(self._card.rows) - self._top - self._room()
        more = f" {under} more rows: space " if under > 0 else ""
        yield Row(more.center(self.width, "-"), "dim" if not more else "bold")
        yield Row(self.notice, "yellow")
        yield Row("   ".join((*self._offers(), KEYS)), "bold")

    def _offers(self) -> Iterator[str]:
        if self.shown is None:
            return
        (need,) = [row.level for row in self.rows if row.id == self.shown.id] or [0]
        if need > Level.OWNER:
            yield f"needs {Level(need).name.lower()}: approve {self.shown.id} --sign KEY"
        else:
            yield "y yes, once"
        if self.shown.for_session:
            yield "s yes, its hosts until the session ends"
        yield "n no"

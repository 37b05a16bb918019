"""A place in the text that only moves forward, and the bounds that keep reading linear.

Reading either follows bash exactly or raises RefusalError, which `reader.read` turns into a value.
"""

MAX_BYTES = 16 * 1024
MAX_DEPTH = 32
MAX_WORK = 1000  # pieces of words; reading costs a few microseconds for each


class RefusalError(Exception):
    """The text cannot be wholly understood; `place` is the character where reading stopped."""

    def __init__(self, reason: str, place: int) -> None:
        super().__init__(reason)
        self.reason, self.place = reason, place


class Cursor:
    """The text, the place in it, and what has been spent on it."""

    def __init__(self, text: str, depth: int = 0) -> None:
        self.text, self.end, self.pos = text, len(text), 0
        self.depth, self.work = depth, 0
        self.declares = False  # whether a value was read that bash may take for an array
        self.counts = False  # whether something was read that bash evaluates as a number

    def spend(self, pieces: int = 1) -> None:
        """Count work, which bounds the time that any text can cost."""
        self.work += pieces
        if self.work > MAX_WORK:
            raise self.refuse("work budget spent")

    def refuse(self, reason: str, place: int | None = None) -> RefusalError:
        """Return the error to raise, at `place` or here."""
        return RefusalError(reason, self.pos if place is None else place)

    def at(self, token: str) -> bool:
        """Return whether the text goes on with `token`."""
        return self.text.startswith(token, self.pos)

    def took(self, token: str) -> bool:
        """Step over `token` if the text goes on with it, and return whether it did."""
        found = self.text.startswith(token, self.pos)
        self.pos += len(token) * found
        return found

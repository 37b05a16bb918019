"""The lines of a diff, how far they are read, and the error that names one of them.

Pure. Only LF ends a line, so nothing that a reader elsewhere takes for a line end can hide one.
"""

from sandbox.permit import SandboxError


class DiffError(SandboxError):
    """A patch that cannot be applied exactly as written; nothing was changed."""

    def __init__(self, place: str, message: str, path: str = "") -> None:
        super().__init__(f"{place}: {message}")
        self.place = place
        self.message = message
        self.path = path  # the file it is about, where one is known


class Reader:
    """The lines of a diff, and how far they are read."""

    def __init__(self, diff: str) -> None:
        self.lines = diff.split("\n")
        if self.lines[-1] == "":
            self.lines.pop()
        self.index = 0

    @property
    def number(self) -> int:
        """The number of the next line, from 1."""
        return self.index + 1

    def is_done(self) -> bool:
        """Return whether no line is left."""
        return self.index >= len(self.lines)

    def peek(self, ahead: int = 0) -> str:
        """Return a coming line without its line end, or "" behind the last."""
        at = self.index + ahead
        return self.lines[at].removesuffix("\r") if at < len(self.lines) else ""

    def skip_blank(self) -> bool:
        """Skip empty lines; return whether anything is left."""
        while not self.is_done() and self.peek() == "":
            self.index += 1
        return not self.is_done()

    def refuse(self, message: str) -> DiffError:
        """Return the error for the next line."""
        return DiffError(f"diff line {self.number}", message)

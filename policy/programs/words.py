"""The words of this floor: an argument, the place a command runs in, what its standard input holds.

May touch: strings. Everything is frozen, so an answer depends on nothing else.
"""

import posixpath
import re
from dataclasses import dataclass, replace

from policy.model import Context, How

HOLE = "\0"  # text nobody knows before the command runs; no argument can contain NUL
FETCHED = HOLE + "\1"  # the same, and it came from the network
_STRICTER: dict[How, int] = {"exact": 0, "pattern": 1, "dynamic": 2}
_STDIN_LIMIT = 64 * 1024


def shown(text: str) -> str:
    """Return text for a message, with `…` where nobody knows what stands there."""
    return text.replace(FETCHED, "…").replace(HOLE, "…")


_NAME_THEN_UP = re.compile(r"(^|/)(?!\.{1,2}/)[^/]+/\.\./")


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument as the program would see it; HOLE marks a part that is not known."""

    text: str
    how: How = "exact"
    several: bool = False  # unquoted: it may become no word, or many
    computed: bool = False  # another command printed it, though we know what

    @staticmethod
    def of(text: str) -> "Argument":
        """Return the argument of a text that may hold holes."""
        return Argument(text, "dynamic" if HOLE in text else "exact")

    def after(self, count: int) -> "Argument":
        """Return what follows the first `count` characters."""
        return replace(self, text=self.text[count:])


@dataclass(frozen=True, slots=True)
class Stdin:
    """What a command finds on standard input."""

    text: str | None = None  # all of it, when that is known
    connected: bool = False  # another command's output
    network: bool = False  # some of it came from the network
    origins: tuple[str, ...] = ()  # what was listed before it: the names in it lie below
    file: Argument | None = None  # the file it was opened from

    def bounded(self) -> "Stdin":
        """Return the same without a text that grew too long to follow."""
        long = self.text is not None and len(self.text) > _STDIN_LIMIT
        return replace(self, text=None) if long else self


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs: everything that a relative word depends on."""

    cwd: str
    context: Context
    how: How = "exact"
    depth: int = 0  # how many programs started one another to get here

    def resolve(self, word: Argument) -> Argument:
        """Return the absolute path a word names, without `.`, `..`, `//`; links are not followed.

        Bytes the caller cannot know stay HOLE; a path that begins with one is only that.
        """
        text, how = word.text, word.how
        if text.startswith("~"):
            # A program may or may not expand a quoted tilde; `..` would tell the two apart.
            how = "dynamic" if "/.." in text else how
            text = self._home(text)
        if not text.startswith(("/", HOLE)):
            text, how = f"{self.cwd}/{text}", max(how, self.how, key=_STRICTER.__getitem__)
        if text.startswith(HOLE):
            return Argument(text, "dynamic")
        return _normal(text, how)

    def through_links(self, word: Argument) -> Argument | None:
        """Return what a path that climbs out of a name may mean too, when that name is a link.

        `..` after a link leaves the link's target, which can be anywhere, so what follows the last
        `..` may stand at the root. None where the path climbs only out of what it started in.
        """
        _, climbs, rest = word.text.rpartition("/../")
        if not climbs or HOLE in word.text or not _NAME_THEN_UP.search(word.text):
            return None
        return _normal("/" + rest, word.how)

    def at(self, word: Argument) -> "Place":
        """Return the place after a change of directory to `word`."""
        path = self.resolve(word)
        if path.text.startswith(HOLE):
            return self.lost()
        return replace(self, cwd=path.text, how=path.how)

    def lost(self) -> "Place":
        """Return the place in a directory nobody knows."""
        return replace(self, cwd=HOLE, how="dynamic")

    def deeper(self) -> "Place":
        """Return the same place, one program further down."""
        return replace(self, depth=self.depth + 1)

    def _home(self, text: str) -> str:
        user, slash, rest = text[1:].partition("/")
        if user in ("", self.context.user):
            home = self.context.home
        elif user == "root":
            home = "/root"
        else:
            home = f"/home/{user}"
        return home + slash + rest


def _normal(text: str, how: How) -> Argument:
    if HOLE not in text:
        return Argument(posixpath.normpath("/" + text.lstrip("/")), how)
    known, hole, rest = text.partition(HOLE)
    if ".." in rest.split("/"):
        return Argument(HOLE, "dynamic")  # what `..` leaves depends on what is not known
    folder, slash, name = known.rpartition("/")
    head = posixpath.normpath("/" + (folder + slash).lstrip("/"))
    return Argument(head.rstrip("/") + "/" + name + hole + rest, "dynamic")

"""The words of this floor: an argument, the place where a command runs, what its stdin holds.

May touch: strings. All is frozen, so an answer depends on nothing else. Named tuples, because many
are made for one command line and a frozen dataclass takes three times as long to make.
"""

import posixpath
import re
from typing import NamedTuple

from policy.model import Context, How

HOLE = "\0"  # text nobody knows before the command runs; no argument can contain NUL
FETCHED = HOLE + "\1"  # the same, and it came from the network
_STRICTER: dict[How, int] = {"exact": 0, "pattern": 1, "dynamic": 2}
_STDIN_LIMIT = 64 * 1024


def shown(text: str) -> str:
    """Return text for a message, with `…` where nobody knows what stands there."""
    return text.replace(FETCHED, "…").replace(HOLE, "…")


_UNCLEAN = re.compile(r"/\.{0,2}(?:/|$)")
_NAME_THEN_UP = re.compile(r"(^|/)(?!\.{1,2}/)[^/]+/\.\./")


class Argument(NamedTuple):
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
        return Argument(self.text[count:], self.how, self.several, self.computed)


class Stdin(NamedTuple):
    """What a command finds on standard input."""

    text: str | None = None  # all of it, when that is known
    connected: bool = False  # another command's output
    network: bool = False  # some of it came from the network
    origins: tuple[Argument, ...] = ()  # what the names in it may be, if they were listed
    file: Argument | None = None  # the file it was opened from

    def bounded(self) -> "Stdin":
        """Return the same without a text that grew too long to follow."""
        long = self.text is not None and len(self.text) > _STDIN_LIMIT
        return self._replace(text=None) if long else self


class Place(NamedTuple):
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
        return Place(path.text, self.context, path.how, self.depth)

    def lost(self) -> "Place":
        """Return the place in a directory nobody knows."""
        return Place(HOLE, self.context, "dynamic", self.depth)

    def deeper(self) -> "Place":
        """Return the same place, one program further down."""
        return Place(self.cwd, self.context, self.how, self.depth + 1)

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
        is_clean = _UNCLEAN.search(text) is None
        return Argument(text if is_clean else posixpath.normpath("/" + text.lstrip("/")), how)
    known, hole, rest = text.partition(HOLE)
    if ".." in rest.split("/"):
        return Argument(HOLE, "dynamic")  # what `..` leaves depends on what is not known
    folder, slash, name = known.rpartition("/")
    head = posixpath.normpath("/" + (folder + slash).lstrip("/"))
    how = "pattern" if how == "pattern" else "dynamic"
    return Argument(head.rstrip("/") + "/" + name + hole + rest, how)

"""Path and text globs: their parts, and one expression for many of them.

May touch: strings. May not touch: rules, accesses, the file system.
Two languages meet here. A *policy* glob has `*`, `?`, `[...]` inside a name and `**` for any number
of names (also none); it matches hidden names too. A *shell* pattern is what an access may still
become: its wildcards do not begin a hidden name, and HOLE is text nobody knows before the run.
Comparing the two is overlap.py's.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from policy.programs.words import HOLE

MAX_CELLS: Final = 65_536  # work of one name against one name; beyond it the careful answer holds
MAX_SPAN: Final = 512  # characters in one range of a class
_SPECIAL = re.compile(r"[\\*?\[\]{}]")
_BELOW: Final = "(?:/.*)?"  # `**` at the end
_ANYWHERE: Final = "(?=/).*"  # and before a name: the search skips to the slash that follows
_DOTTED: Final = r"[^/]*\."  # of many names with a suffix each, one search
_DEEPEST: Final = 32  # names that a glob may share with others
_SWEEP = re.compile(r"\*+(\.\w+)*|\.\*|\.\?\?\*|\.\[[!^]\.\]\*")


class GlobError(ValueError):
    """A glob that cannot be used; the message says why, without a place."""


@dataclass(frozen=True, slots=True)
class Chars:
    """A set of characters: those in `members`, or all but those when `negated`."""

    members: frozenset[str]
    negated: bool = False

    def meets(self, other: "Chars") -> bool:
        """Return whether some character is in both."""
        if self.negated and other.negated:
            return True
        if self.negated or other.negated:
            positive, negative = (other, self) if self.negated else (self, other)
            return bool(positive.members - negative.members)
        return not self.members.isdisjoint(other.members)

    def within(self, other: "Chars") -> bool:
        """Return whether every character of this set is in the other."""
        if self.negated:
            return other.negated and other.members <= self.members
        if other.negated:
            return self.members.isdisjoint(other.members)
        return self.members <= other.members


Token = Chars | None  # None is `*`: any text without a slash
ANY: Final = Chars(frozenset(), negated=True)


@dataclass(frozen=True, slots=True, eq=False)
class Name:
    """One name of a path glob. `literal` is set when it has no wildcard."""

    text: str
    tokens: tuple[Token, ...]
    literal: str | None
    hides: bool  # a shell wildcard at its start skips hidden names
    sweep: bool  # picks by nothing but a suffix: it passes by a name, it does not aim at it

    @property
    def is_any(self) -> bool:
        """Return whether it is `*`."""
        return self.tokens == (None,)


@dataclass(frozen=True, slots=True, eq=False)
class Many:
    """Any number of names; a shell's `**` skips hidden ones, a policy's and a hole's do not."""

    hides: bool = False


Part = Name | Many
Path = tuple[Part, ...]
EVERYTHING_BELOW: Final = Many()


def text_tokens(text: str, *, hidden: bool) -> tuple[Token, ...]:
    """Return the tokens of a whole text, slashes being characters like others."""
    return _name(text, hidden=hidden).tokens


def text_glob(glob: str) -> Path:
    """Return a glob over a whole text as one name, slashes being characters like others."""
    return (Name(glob, text_tokens(glob, hidden=True), None, hides=False, sweep=False),)


def escape(text: str) -> str:
    """Return a glob that matches exactly this text."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def expand_braces(glob: str, *, limit: int = 512) -> tuple[str, ...]:
    """Return the alternatives of every `{a,b}`; `${name}` is left alone.

    Raises:
        GlobError: more alternatives than `limit`.
    """
    done: list[str] = []
    todo = [glob]
    while todo:
        text = todo.pop()
        match = re.search(r"(?<![$\\])\{([^{}$]*)\}", text)
        if match is None:
            done.append(text)
        else:
            head, tail = text[: match.start()], text[match.end() :]
            todo.extend(head + part + tail for part in reversed(match[1].split(",")))
        if len(done) + len(todo) > limit:
            raise GlobError(f"its braces have more than {limit} alternatives")
    return tuple(done)


# --- reading ------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _name(text: str, *, hidden: bool) -> Name:
    tokens: list[Token] = []
    at = 0
    while at < len(text):
        token, at = _token(text, at, hidden=hidden)
        if token is not None or not tokens or tokens[-1] is not None:
            tokens.append(token)
    exact = all(
        token is not None and not token.negated and len(token.members) == 1 for token in tokens
    )
    literal = "".join("".join(token.members) for token in tokens if token) if exact else None
    hides = not hidden and text[:1] in ("*", "?", "[")
    if hides and tokens[0] is not None:
        first = tokens[0]
        dot = frozenset(".")
        tokens[0] = Chars(
            first.members | dot if first.negated else first.members - dot, first.negated
        )
        literal = None
    sweep = literal is None and (HOLE in text or _SWEEP.fullmatch(text) is not None)
    return Name(text, tuple(tokens), literal, hides, sweep)


def _token(text: str, at: int, *, hidden: bool) -> tuple[Token, int]:
    char = text[at]
    if char == "\\" and hidden and at + 1 < len(text):
        return Chars(frozenset(text[at + 1])), at + 2
    if char in ("*", HOLE):
        return None, at + 1
    if char == "?":
        return ANY, at + 1
    if char == "[":
        end = _class_end(text, at)
        if end:
            return _class(text[at + 1 : end], hidden=hidden), end + 1
        if hidden:
            raise GlobError(f"{text!r} has a [ without its ]; write \\[ for the character")
    return Chars(frozenset(char)), at + 1


def _class_end(text: str, at: int) -> int:
    """Return the index of the `]` that closes the class opened at `at`, or 0."""
    index = at + 1
    if text[index : index + 1] in ("!", "^"):
        index += 1
    index += text[index : index + 1] == "]"
    while index < len(text) and text[index] != "]":
        if text[index : index + 2] in ("[:", "[.", "[="):
            inner = text.find(text[index + 1] + "]", index + 2)
            index = inner + 1 if inner > 0 else index
        index += 2 if text[index] == "\\" else 1
    return index if index < len(text) else 0


def _class(body: str, *, hidden: bool) -> Chars:
    negated = body[0] in "!^"
    body = body[1:] if negated else body
    if re.search(r"\[[:.=]", body):
        if hidden:
            raise GlobError(f"[{body}] names a class; write its characters")
        return ANY  # what it holds depends on the locale
    members: set[str] = set()
    for match in re.finditer(r"\\?(.)-\\?(.)|\\?(.)", body, re.S):
        low, high = match[1] or match[3], match[2] or match[3]
        if ord(high) - ord(low) > MAX_SPAN:
            return _refuse(body) if hidden else ANY
        span = "".join(map(chr, range(ord(low), ord(high) + 1)))
        # A locale may sort upper and lower case together, so a shell's range may hold both.
        members |= set(
            span + span.swapcase() if not hidden and low != high and not negated else span
        )
    return Chars(frozenset(members), negated)


def _refuse(body: str) -> Chars:
    raise GlobError(f"[{body}] spans too many characters")


@lru_cache(maxsize=8192)
def policy_glob(glob: str) -> Path:
    """Return the parts of an absolute policy glob; `**/x` is `/**/x`.

    Raises:
        GlobError: a class that is not closed, or that names one.
    """
    parts = [part for part in glob.split("/") if part]
    return tuple(EVERYTHING_BELOW if part == "**" else _name(part, hidden=True) for part in parts)


def literal_path(path: str) -> Path:
    """Return the parts of a path that stands for itself."""
    return tuple(_literal(part) for part in path.split("/") if part)


def _literal(text: str) -> Name:
    return Name(
        text, tuple(Chars(frozenset(char)) for char in text), text, hides=False, sweep=False
    )


def shell_pattern(pattern: str) -> Path:
    """Return the parts of an absolute shell pattern; a hole is not expected in it."""
    return tuple(
        Many(hides=True) if part == "**" else _name(part, hidden=False)
        for part in pattern.split("/")
        if part
    )


def with_holes(path: str) -> tuple[Path, ...]:
    """Return what a path with unknown text may become: within one name, or over many.

    Everything between the first and the last hole counts as unknown. A hole is taken to stay below
    the folder before it; whoever allows on that ground must hold it by other means.
    """
    first, last = path.index(HOLE), path.rindex(HOLE)
    head, before = path[:first].rpartition("/")[::2]
    after, _, tail = path[last + 1 :].partition("/")
    start, end = shell_pattern(head), shell_pattern(tail)
    closing = _name(HOLE + after, hidden=False)
    if first == 0:
        return ((EVERYTHING_BELOW, closing, *end) if after else (EVERYTHING_BELOW, *end),)
    opening = _name(before + HOLE, hidden=False)
    one = (*start, _name(before + HOLE + after, hidden=False), *end)
    many = (*start, opening, EVERYTHING_BELOW, closing, *end)
    return (one, many) if before or after else (one, many, (*start, *end))


# --- many globs against one plain text ----------------------------------------------------------


def path_regex(globs: Sequence[str]) -> re.Pattern[str]:
    """Return one expression that fully matches each path inside any glob; `/` is written empty."""
    return re.compile(_any_of([policy_glob(glob) for glob in globs]) if globs else r"(?!)", re.S)


def _any_of(paths: Sequence[Path], depth: int = 0) -> str:
    """Return an expression for all paths; those that begin alike share their beginning."""
    if len(paths) == 1:
        return _path_source(paths[0])
    if depth > _DEEPEST:
        return f"(?:{'|'.join(map(_path_source, paths))})"
    named: dict[str, list[Path]] = {}
    anywhere: list[Path] = []
    for path in filter(None, paths):
        if isinstance(path[0], Name):
            named.setdefault(_source(path[0].tokens, "[^/]"), []).append(path[1:])
        elif all(isinstance(part, Many) for part in path):
            return _BELOW  # whatever the others match, too
        else:
            anywhere.append(path[1:])
    choices = [_ANYWHERE + _any_of(anywhere, depth + 1)] if anywhere else []
    if named:
        names = [name + _any_of(rest, depth + 1) for name, rest in named.items()]
        dotted = [name[len(_DOTTED) :] for name in names if name.startswith(_DOTTED)]
        plain = [name for name in names if not name.startswith(_DOTTED)]
        endings = [f"{_DOTTED}(?:{'|'.join(dotted)})"] if dotted else []
        choices.append(f"/(?:{'|'.join((*plain, *endings))})")
    return f"(?:{'|'.join(choices)}){'' if all(paths) else '?'}"


def _path_source(path: Path) -> str:
    following = (*path[1:], EVERYTHING_BELOW)
    return "".join(
        f"/{_source(part.tokens, '[^/]')}"
        if isinstance(part, Name)
        else _ANYWHERE
        if isinstance(then, Name)
        else _BELOW
        for part, then in zip(path, following, strict=False)
    )


def text_regex(globs: Sequence[str]) -> re.Pattern[str]:
    """Return one expression that fully matches the texts any glob matches; `*` crosses slashes."""
    sources = [_source(_name(glob, hidden=True).tokens, ".") for glob in globs]
    return re.compile("|".join(sources) if sources else r"(?!)", re.S)


def _source(tokens: Sequence[Token], any_char: str) -> str:
    # Each star but the last takes the nearest match for good: no backtracking over names.
    chunks = [""]
    for token in tokens:
        if token is None:
            chunks.append("")
        else:
            chunks[-1] += _chars_source(token, any_char)
    if len(chunks) == 1:
        return chunks[0]
    middle = "".join(f"(?>{any_char}*?{chunk})" for chunk in chunks[1:-1])
    return f"{chunks[0]}{middle}{any_char}*{chunks[-1]}"


def _chars_source(chars: Chars, any_char: str) -> str:
    if not chars.negated and len(chars.members) == 1:
        return re.escape("".join(chars.members))
    listed = "".join(re.escape(char) for char in sorted(chars.members))
    if not chars.negated:
        return f"[{listed}]"
    return f"[^/{listed}]" if any_char == "[^/]" else f"[^{listed}]" if listed else "."


def fixed_root(glob: str) -> str:
    """Return the folder or file before the first wildcard: `/usr` of `/usr/**`."""
    names: list[str] = []
    for part in policy_glob(glob):
        if not isinstance(part, Name) or part.literal is None:
            break
        names.append(part.literal)
    return "/" + "/".join(names)

"""What a command prints when only its shape is known: a date, a number, the last part of a pattern.

May touch: argument vectors. The shape is a shell pattern that matches whatever may be printed.
Source: date(1), nproc(1), wc(1), git-rev-parse(1), git-merge-base(1), git-log(1),
docker-ps(1), kubectl-get(1), pidof(1).
"""

import re
from collections.abc import Sequence

from policy.programs.words import HOLE, Argument

_DIGITS, _LETTERS = "[0-9]*", "[A-Za-z]*"
_HASH = "[0-9a-f]" * 40  # shortened ones too: how long it is matters to no rule
_CONVERSIONS = {
    **dict.fromkeys("YymdHIMSsjUVWuweNGgCkl", _DIGITS),
    **dict.fromkeys("aAbBhpPZ", _LETTERS),
    "F": f"{_DIGITS}-{_DIGITS}-{_DIGITS}",
    "T": f"{_DIGITS}:{_DIGITS}:{_DIGITS}",
    "R": f"{_DIGITS}:{_DIGITS}",
    "z": f"[-+]{_DIGITS}",
    "%": "%",
}
SHAPED = frozenset({"date", "nproc", "wc", "id", "git", "basename", "dirname"}) | {
    "docker",
    "podman",
    "kubectl",
    "pidof",
    "pgrep",
}
_ONLY_HASH = re.compile("--(?:format|pretty)=(?:t?format:)?%[Hh]")
_PICKS = re.compile(
    r"[^-].*|--|-[0-9]+|-n[0-9]*|--max-count=[0-9]+|--all|--(?:no-)?merges|--reverse"
    r"|--no-ext-diff|--no-textconv|--first-parent|--skip=[0-9]+|--(?:since|until|after|before|author|grep)=.*",
    re.S,
)
_PODS = frozenset({"po", "pod", "pods"})
_QUIET = re.compile(
    r"(?:container |image )?(?:ps|ls|images) (?:-[al] )?"
    r"(?:-a?qa?(?: -a)?(?: [^- ]\S*)?|--format[ =]\{\{ ?\.ID ?\}\})"
)
_CONVERSION = re.compile(r"%([-_0^#]?)(.)", re.S)


def shape(argv: Sequence[str]) -> str | None:
    """Return the pattern of what a command of known words prints, or None."""
    match argv:
        case ["date", *_, last] if last.startswith("+"):
            return _date(last[1:])
        case (
            ["nproc", *_]
            | ["wc", "-l" | "-c" | "-w" | "-m"]
            | ["id", "-u" | "-g"]
            | ["pidof" | "pgrep", _]
        ):
            return _DIGITS
        case ["kubectl", "get", kind, *_, "-o", "name"] | ["kubectl", "get", kind, *_, "-oname"]:
            return f"{'pod' if kind in _PODS else '[a-z]*'}/[a-z0-9]*"
        case [("git" | "docker" | "podman") as name, *words] if _prints_hashes(name, words):
            return _HASH
        case _:
            return None


def _prints_hashes(name: str, words: Sequence[str]) -> bool:
    """Return whether git prints nothing but names of commits, docker of containers and images."""
    if name != "git":
        return _QUIET.fullmatch(" ".join(words)) is not None
    match words:
        case ["rev-parse", *options, ("HEAD" | "@")]:
            return all(option.startswith("--short") for option in options)
        case ["merge-base", *options]:
            return not any(option.startswith("-") for option in options)
        case ["rev-list", *options]:
            return all(map(_PICKS.fullmatch, options))
        case ["log", *options] if any(map(_ONLY_HASH.fullmatch, options)):
            return all(_ONLY_HASH.fullmatch(word) or _PICKS.fullmatch(word) for word in options)
        case _:
            return False


def _date(text: str) -> str | None:
    letters = [match[2] for match in _CONVERSION.finditer(text)]
    if any(letter not in _CONVERSIONS for letter in letters) or set("*?[\\") & set(text):
        return None
    return _CONVERSION.sub(lambda match: _CONVERSIONS[match[2]], text)


def part_of_pattern(words: Sequence[Argument]) -> str | None:
    """Return what `basename` and `dirname` print of a pattern: its last part, or what is before."""
    match words:
        case [Argument(text="basename"), Argument(text=text, how="pattern")] if HOLE not in text:
            return text.rstrip("/").rpartition("/")[2]
        case [
            Argument(text="basename"),
            Argument(text=text, how="pattern"),
            Argument(text=ending, how="exact"),
        ] if HOLE not in text:
            return text.rstrip("/").rpartition("/")[2].removesuffix(ending)
        case [Argument(text="dirname"), Argument(text=text, how="pattern")] if HOLE not in text:
            return text.rstrip("/").rpartition("/")[0] or "."
        case _:
            return None

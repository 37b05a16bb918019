"""The head of a section: which file it is about, as git, GNU diff, Subversion and Mercurial say it.

Pure. Every line of a head must be known and agree with the others. A head is first read to its end
and then understood, so that a section that is refused still ends where it ends.
Source: git-diff-format, "Generating patch text with -p"; GNU diffutils manual, "Detailed Unified";
`svn help diff`.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from sandbox.dirfd import PathRefusedError, relative_parts
from sandbox.patches.lines import DiffError, Reader
from sandbox.patches.names import name_in, says_absent, unquoted

_SHOWN = 60
_EXTENDED = re.compile(
    r"(new file mode|deleted file mode|old mode|new mode|rename from|rename to|copy from|copy to"
    r"|similarity index|dissimilarity index|index) (.*)",
    re.DOTALL,
)
_BINARY = re.compile(r"Binary files .* differ", re.DOTALL)
_LITERAL = re.compile(r"(?:literal|delta) [0-9]+")
_ONLY_IN = re.compile(r"Only in .+: .+", re.DOTALL)
_INDEX_MODE = re.compile(r".* ([0-7]{6})", re.DOTALL)

# What stands before the two names: git's default, its mnemonic letters, both also reversed (-R).
_USUAL = ("a/", "b/")
_LETTERS = (_USUAL, ("i/", "w/"), ("c/", "w/"), ("c/", "i/"), ("o/", "w/"), ("1/", "2/"))
_PREFIXES = (*_LETTERS, *((new, old) for old, new in _LETTERS), ("", ""))
_PLAIN_PREFIXES = (_USUAL, ("", ""))
_NO_FILE = frozenset({"(nonexistent)"})  # Subversion's words behind a name
_NO_FILE_YET = _NO_FILE | {"(revision 0)"}
_MODES = {"100644": 0o644, "100755": 0o755}
_KINDS = {"120000": "a symbolic link", "160000": "a submodule", "040000": "a directory"}
# How a line begins that is no head of a section, and what to do about it.
_HINTS = (
    (("diff --cc ", "diff --combined ", "@@@"), "a combined diff of a merge; diff one parent"),
    (("@@ ",), "a hunk needs --- and +++ lines above it"),
    (("```", "~~~"), "send the diff without the fence"),
    (("*** Begin Patch", "*** Update File:"), "send a unified diff, or exact edits"),
    (("*** ",), "a context diff; make a unified one (diff -u)"),
    (("From ", "From: ", "Subject: ", "commit "), "send the diff without the message"),
    (("Property changes on",), "properties of Subversion are not applied; leave them out"),
    (("-- ",), "a mail's signature; send the diff alone"),
    (("--- ",), "the next line must be the +++ line"),
    (("+++ ",), "the line before must be the --- line"),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """The file of a section: `old` None is created, `new` None deleted; else both name it.

    With an `origin`, `new` is created from the content of `old`, which a rename then deletes.
    """

    old: str | None
    new: str | None
    mode: int | None  # of a created file, where the diff names one
    origin: Literal["rename", "copy"] | None = None


@dataclass(slots=True)
class Header:
    """The lines of one head, read and not yet understood; each as its line number and text."""

    at_line: int
    index_name: str | None = None
    git_names: str | None = None
    said: dict[str, tuple[int, str]] = field(default_factory=dict)
    old: tuple[int, str] | None = None
    new: tuple[int, str] | None = None
    refused: tuple[int, str] | None = None  # understood, but nothing that a patch can do

    @property
    def place(self) -> str:
        """Where the section begins."""
        return f"diff line {self.at_line}"


def starts_section(reader: Reader) -> bool:
    """Return whether the next line is the first of a section."""
    line, following = reader.peek(), reader.peek(1)
    if line.startswith(("diff --cc ", "diff --combined ")):
        return False
    return (
        line.startswith("diff -")
        or (line.startswith("--- ") and following.startswith("+++ "))
        or (line.startswith("Index: ") and following.startswith("==="))
        or _BINARY.fullmatch(line) is not None
        or _ONLY_IN.fullmatch(line) is not None
    )


def not_a_header(reader: Reader) -> DiffError:
    """Return the error for a line that should begin a section and does not."""
    line = reader.peek()
    hint = next((f"; {text}" for heads, text in _HINTS if line.startswith(heads)), "")
    return reader.refuse(
        f"expected a file header (diff --git, or --- and +++), found {line[:_SHOWN]!r}{hint}"
    )


def read_header(reader: Reader) -> Header:
    """Return the lines of the next head.

    Raises:
        DiffError: something that is no head stands there.
    """
    if not starts_section(reader):
        raise not_a_header(reader)
    header = Header(reader.number)
    if reader.peek().startswith("Index: "):
        header.index_name = reader.peek().removeprefix("Index: ")
        reader.index += 2
    if reader.peek().startswith("diff --git "):
        header.git_names = reader.peek().removeprefix("diff --git ")
        reader.index += 1
        _read_extended(header, reader)
    elif reader.peek().startswith("diff -") and starts_section(reader):
        reader.index += 1  # the command that made the diff; the names below are what counts
    _read_refused(header, reader)
    if header.refused is None and reader.peek().startswith("--- ") and starts_section(reader):
        header.old = reader.number, reader.peek()[4:]
        header.new = reader.number + 1, reader.peek(1)[4:]
        reader.index += 2
    return header


def _read_extended(header: Header, reader: Reader) -> None:
    while match := _EXTENDED.fullmatch(reader.peek()):
        word, value = match.groups()
        if word in header.said:
            raise reader.refuse(f"a second {word!r} line (first at line {header.said[word][0]})")
        header.said[word] = reader.number, value
        reader.index += 1


def _read_refused(header: Header, reader: Reader) -> None:
    """Read what is known and cannot be applied, to its end."""
    line, at_line = reader.peek(), reader.number
    if line == "GIT binary patch":
        reader.index += 1
        while _LITERAL.fullmatch(reader.peek()):
            while reader.peek():
                reader.index += 1
            reader.index += 1
    elif _BINARY.fullmatch(line):
        reader.index += 1
    elif line.startswith("Cannot display: file marked as a binary type"):
        reader.index += 1 + reader.peek(1).startswith("svn:mime-type")
    elif _ONLY_IN.fullmatch(line) and header.at_line == at_line:
        reader.index += 1
        why = "'Only in' lines say nothing of the content; make the diff with -N"
        header.refused = at_line, why
        return
    else:
        return
    header.refused = at_line, "binary patches are not applied; only text can be shown and approved"


def subject(header: Header, *, has_hunks: bool) -> Subject:
    """Return the one plain file, or the two of a rename or copy, that a head is about.

    Raises:
        DiffError: lines that contradict each other, or something else than regular files.
    """
    if header.refused is not None:
        raise DiffError(f"diff line {header.refused[0]}", header.refused[1])
    origin = _origin(header)
    old, new = _moved(header, origin) if origin else _sides(header, has_hunks=has_hunks)
    path = new or old or ""
    said = header.index_name
    if said is not None and not f"/{path}".endswith(f"/{said}"):
        raise DiffError(header.place, f"the Index line names {said!r}, the lines below {path!r}")
    try:
        for name in (old, new):
            if name is not None:
                relative_parts(name)
    except PathRefusedError as error:
        raise DiffError(header.place, str(error)) from error
    _require_files(header, path)
    return Subject(old, new, _mode_said(header, (old, new), origin), origin)


def named(header: Header) -> str:
    """Return the path that a refused section seems to be about, "" where it does not say."""
    try:
        for word in {"rename to", "copy to"} & header.said.keys():
            return unquoted(*header.said[word])
        if header.old is None:
            return _only_name(header)
        old, new = _sides(header, has_hunks=True)
    except DiffError:
        return ""
    return new or old or ""


def _origin(header: Header) -> Literal["rename", "copy"] | None:
    moves = [word for word in header.said if word.startswith(("rename ", "copy "))]
    match sorted(moves):
        case []:
            return None
        case ["rename from", "rename to"]:
            return "rename"
        case ["copy from", "copy to"]:
            return "copy"
        case _:
            raise DiffError(header.place, f"{' and '.join(moves)!r} lines do not make a pair")


def _moved(header: Header, origin: Literal["rename", "copy"]) -> tuple[str, str]:
    """Return the names of a rename or copy, which stand without prefixes in lines of their own."""
    old, new = (unquoted(*header.said[f"{origin} {end}"]) for end in ("from", "to"))
    if old == new:
        raise DiffError(header.place, f"{origin} of {old!r} to itself")
    names = unquoted(header.at_line, header.git_names or "")
    for before, after in _PREFIXES:
        if names == f"{before}{old} {after}{new}":
            shown = name_in(header.old), name_in(header.new)
            if shown not in {("", ""), (before + old, after + new)}:
                break
            return old, new
    raise DiffError(header.place, f"other lines do not name the {origin} of {old!r} to {new!r}")


def _sides(header: Header, *, has_hunks: bool) -> tuple[str | None, str | None]:
    """Return the path before and after; None on the side where the file is absent."""
    if header.old is None or header.new is None:
        return _sides_of_git(header, has_hunks=has_hunks)
    old, new = name_in(header.old), name_in(header.new)
    if old == new == "/dev/null":
        raise DiffError(header.place, "both names are /dev/null")
    if old == "/dev/null":
        return None, _path(header, None, new)
    if new == "/dev/null":
        return _path(header, old, None), None
    path = _path(header, old, new)
    if header.git_names is None and says_absent(header.old, _NO_FILE_YET):
        return None, path
    if header.git_names is None and says_absent(header.new, _NO_FILE):
        return path, None
    return path, path


def _path(header: Header, old: str | None, new: str | None) -> str:
    """Return the path that the names have in common behind their prefixes."""
    git = None if header.git_names is None else unquoted(header.at_line, header.git_names)
    fitting = ""
    for before, after in _PLAIN_PREFIXES if git is None else _PREFIXES:
        path = (old or "")[len(before) :] if new is None else new[len(after) :]
        if old in {None, before + path} and new in {None, after + path}:
            if git is None or git == f"{before}{path} {after}{path}":
                return path
            fitting = fitting or path
    if fitting:
        raise DiffError(header.place, f"the diff --git line names another file than {fitting!r}")
    raise DiffError(
        header.place,
        f"--- names {old!r} and +++ names {new!r}; that does not rename, git's `rename from` and "
        "`rename to` lines do; or delete the one and create the other",
    )


def _only_name(header: Header) -> str:
    """Return the one path in the diff --git line, or in Subversion's Index line."""
    names = unquoted(header.at_line, header.git_names or "")
    for before, after in _PREFIXES:
        length = (len(names) - len(before) - len(after) - 1) // 2
        path = names[len(before) : len(before) + max(length, 0)]
        if path and names == f"{before}{path} {after}{path}":
            return path
    if header.index_name and header.git_names is None:
        return header.index_name
    raise DiffError(header.place, "neither --- and +++ lines nor one name in the diff --git line")


def _sides_of_git(header: Header, *, has_hunks: bool) -> tuple[str | None, str | None]:
    """Return the paths where only the diff --git line has a name, as for empty files."""
    path = _only_name(header)
    if "new file mode" in header.said:
        return None, path
    if "deleted file mode" in header.said:
        return path, None
    if "new mode" in header.said or has_hunks:
        return path, path
    raise DiffError(header.place, f"{path!r} has no hunks")


def _require_files(header: Header, path: str) -> None:
    """Refuse every mode that is not a regular file's."""
    index = _INDEX_MODE.fullmatch(header.said.get("index", (0, ""))[1])
    modes = [value for word, (_, value) in header.said.items() if word.endswith("mode")]
    for mode in [*modes, *(index.groups() if index else ())]:
        if mode not in _MODES:
            kind = f" ({_KINDS[mode]})" if mode in _KINDS else ""
            raise DiffError(
                header.place,
                f"{path!r} has mode {mode!r}{kind}; only regular files, 100644 and 100755, are "
                "patched",
            )


def _mode_said(
    header: Header, sides: tuple[str | None, str | None], origin: str | None
) -> int | None:
    """Return the mode of what is created, None where none is said; no other mode may be said."""
    said = {word: place for word, place in header.said.items() if word.endswith("mode")}
    changes = said.keys() & {"old mode", "new mode"}
    if changes and origin is None:
        raise DiffError(
            f"diff line {min(said[word][0] for word in changes)}",
            "a patch does not change modes; use chmod, which is decided by itself",
        )
    fitting = {(True, False): "new file mode", (False, True): "deleted file mode"}
    if said.keys() - changes - {fitting.get((sides[0] is None, sides[1] is None))}:
        path = sides[1] or sides[0]
        raise DiffError(
            header.place, f"the mode lines of {path!r} do not fit the --- and +++ lines"
        )
    word = "new mode" if origin else "new file mode"
    return _MODES[said[word][1]] if word in said else None

"""What git itself may write to its configuration: lines of a closed table, in git's own form.

Pure: text in, reason out. A line that is new must be exactly what git would write, or it is not
git's own; lines that were there before stay as they are, however odd.
Source: git-config(1) "Syntax", gitmodules(5); the forms are those of git's `write_section` and
`write_pair`.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Check = Callable[[str], bool]
Table = Mapping[tuple[str, str], Check]  # (section, key), both in lower case; `x.*` has a name

MAX_BYTES = 1 << 20
_NAME = r"[A-Za-z][A-Za-z0-9-]*"
_HEADER = re.compile(rf'\[({_NAME})(?: "((?:[^"\\]|\\["\\])*)")?\]')
# A value that git quotes begins or ends with a space, or has one of ; and # in it.
_ENTRY = re.compile(
    rf'\t({_NAME}) = (?:"((?:[^"\\]|\\[nt"\\])*)"|((?:(?! )(?:[^"\\;#]|\\[nt"\\])+(?<! ))?))'
)
_ESCAPE = re.compile(r"\\(.)")
_MEANT = {"n": "\n", "t": "\t"}
_BLANK = " \t\r"
_BOM = "\ufeff"

_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")  # git runs git-remote-<helper> for it
_SCHEME = re.compile(r"([A-Za-z0-9+.-]*)://")
_SCHEMES = frozenset({"file", "ftp", "ftps", "git", "git+ssh", "http", "https", "ssh", "ssh+git"})
_DASHED = re.compile(r"(?:^|//|@)-")  # would be an option of ssh
_REFSPEC = re.compile(r"(?:\+|\^)?[^\s:+^-][^\s:]*(?::[^\s:-][^\s:]*)?")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a configuration and the section it belongs to."""

    section: str  # `branch "main"` as git writes it; an odd header as it stands
    text: str


class UnreadConfigError(ValueError):
    """A text whose lines cannot be told apart with certainty."""


def is_address(value: str) -> bool:
    """Return whether a remote's address starts no helper program and is no option."""
    scheme = _SCHEME.match(value)
    return (
        value.isprintable()
        and not _HELPER.match(value)
        and not _DASHED.search(value)
        and (scheme is None or scheme[1].lower() in _SCHEMES)
    )


def one_of(*values: str) -> Check:
    """Return a check for a closed set of values."""
    return frozenset(values).__contains__


def _is_plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not value.startswith("-")


def _is_path_below(value: str) -> bool:
    return _is_plain(value) and not {"", ".", "..", ".git"} & set(value.lower().split("/"))


def _is_refspec(value: str) -> bool:
    return value.isprintable() and _REFSPEC.fullmatch(value) is not None


def _is_text(_value: str) -> bool:
    return True  # a description is shown, nothing else; the line itself was plain


_IS_SAID = one_of("true", "false")
_SUBMODULE: Table = {
    ("submodule.*", "url"): is_address,
    ("submodule.*", "branch"): _is_plain,
    ("submodule.*", "ignore"): one_of("all", "dirty", "none", "untracked"),
    ("submodule.*", "fetchrecursesubmodules"): one_of("true", "false", "on-demand"),
    ("submodule.*", "update"): one_of("checkout", "merge", "none", "rebase"),  # never `!command`
}
EXISTING: Table = {
    ("branch.*", "remote"): is_address,
    ("branch.*", "pushremote"): is_address,
    ("branch.*", "merge"): _is_plain,
    ("branch.*", "rebase"): one_of("true", "false", "interactive", "merges"),
    ("branch.*", "description"): _is_text,
    ("remote.*", "url"): is_address,
    ("remote.*", "pushurl"): is_address,
    ("remote.*", "fetch"): _is_refspec,
    **_SUBMODULE,
    ("submodule.*", "active"): _IS_SAID,
    ("submodule", "active"): _is_plain,
    ("core", "sparsecheckout"): _IS_SAID,
    ("core", "sparsecheckoutcone"): _IS_SAID,
    ("index", "sparse"): _IS_SAID,
    ("extensions", "worktreeconfig"): _IS_SAID,
    ("core", "repositoryformatversion"): one_of("0", "1"),
}
NEW: Table = {
    **EXISTING,
    ("core", "bare"): one_of("false"),
    ("core", "filemode"): _IS_SAID,
    ("core", "ignorecase"): _IS_SAID,
    ("core", "logallrefupdates"): _IS_SAID,
    ("core", "precomposeunicode"): _IS_SAID,
    ("core", "symlinks"): _IS_SAID,
    ("extensions", "objectformat"): one_of("sha1", "sha256"),
}
GITMODULES: Table = {
    **_SUBMODULE,
    ("submodule.*", "path"): _is_path_below,
    ("submodule.*", "shallow"): _IS_SAID,
}
# `git remote remove`, `git branch -d` and `git submodule deinit` take whole sections away.
_MAY_GO = ("branch.*", "remote.*", "submodule.*")


def unexplained(before: bytes, after: bytes, table: Table) -> str:
    """Return why `after` is not what git makes of `before` by itself; "" when it is."""
    try:
        old, new = _lines(before), _lines(after)
    except UnreadConfigError as error:
        return str(error)
    # Git keeps remarks, and writes none.
    remarks = _remarks(new) - _remarks(old)
    if remarks:
        return f"the line {next(iter(remarks))!r} is new"
    return _difference(_kept(old, table), _kept(new, table))


def _difference(old: list[Line], new: list[Line]) -> str:
    """Return the first line that was added, moved, or taken from where nothing may be taken."""
    waiting = iter(old)
    for line in new:
        for known in waiting:
            if known == line:
                break
            if _general(known.section) not in _MAY_GO:
                return f"{_shown(known)} is gone or has moved"
        else:
            return f"{_shown(line)} is new"
    lost = next((line for line in waiting if _general(line.section) not in _MAY_GO), None)
    return f"{_shown(lost)} is gone" if lost else ""


def _kept(lines: list[Line], table: Table) -> list[Line]:
    """Return the lines that must stay as they are, in their order."""
    return [
        line
        for line in lines
        if line.text.strip(_BLANK)
        and not _is_remark(line)
        and not _HEADER.fullmatch(line.text)
        and not _is_gits(line, table)
    ]


def _remarks(lines: list[Line]) -> Counter[str]:
    return Counter(line.text for line in lines if _is_remark(line))


def _is_remark(line: Line) -> bool:
    return line.text.lstrip(_BLANK).startswith(("#", ";"))


def _is_gits(line: Line, table: Table) -> bool:
    entry = _ENTRY.fullmatch(line.text)
    if entry is None or not line.text[1:].isprintable():
        return False
    check = table.get((_general(line.section), entry[1].lower()))
    value = entry[3] if entry[2] is None else entry[2]
    return check is not None and check(_ESCAPE.sub(lambda m: _MEANT.get(m[1], m[1]), value))


def _general(section: str) -> str:
    """Return `branch.*` for `branch "main"`, `core` for itself; "" for an odd header."""
    header = _HEADER.fullmatch(f"[{section}]")
    if header is None or not section.isprintable():
        return ""
    return header[1].lower() if header[2] is None else f"{header[1].lower()}.*"


def _lines(text: bytes) -> list[Line]:
    """Return every line with its section.

    Raises:
        UnreadConfigError: a line goes on in the next one, or has a NUL byte in it.
    """
    lines, section = [], "(none)"
    for number, line in enumerate(text.decode("utf-8", "surrogateescape").split("\n")):
        stripped = (line.removeprefix(_BOM) if number == 0 else line).lstrip(_BLANK)
        if "\0" in line:
            raise UnreadConfigError(f"line {number + 1} has a NUL byte")
        if line.rstrip("\r").endswith("\\") and not _ENTRY.fullmatch(line):
            raise UnreadConfigError(f"line {number + 1} goes on in the next one")
        if stripped.startswith("["):
            section = line[1:-1] if _HEADER.fullmatch(line) else line
        lines.append(Line(section, line))
    return lines


def _shown(line: Line) -> str:
    return f"the line {line.text.strip()!r} in section [{line.section}]"

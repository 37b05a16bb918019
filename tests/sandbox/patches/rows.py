"""Our corpus of diffs: each with the tree it is for, and what the planner and git make of it.

May touch: the text files in `corpus`; `Tree.make` writes a tree. A file is one family. It begins
with `# ` lines that say what it holds, then the tree of all its rows:

    file PATH [MODE] [of N bytes]   its content follows, four spaces in
    link PATH -> TARGET
    hard PATH = OTHER
    fifo PATH

Then each row, which may add to the tree after its diff:

    accept: why, in one sentence.
        the diff, four spaces in
    => PATH [MODE]                  what becomes of a file: its content follows
    => PATH gone

    refuse PLACE: why, in one sentence.
        the diff
    => words of the refusal

`git OPTIONS [refuses|applies|differs: why]` says what git does when that is not the same as ours,
or not with `-p1` alone. In contents `<CR>`, `<TAB>`, `<NUL>`, `<SP>`, `<U+FEFF>` and `<0xE9>` stand
for themselves, and `<NO NEWLINE>` takes away the line end it follows.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

_HERE = Path(__file__).parent / "corpus"
_ROW = re.compile(r"(?:accept|refuse (\S.*?)): (\S.*\.)")
_FILE = re.compile(r"(?:file|=>) (\S.*?)(?: ([0-7]{3,4}))?(?: of ([0-9]+) bytes)?")
_GIT = re.compile(r"git((?: -[-\w]+)*)(?: (refuses|applies|differs): (\S.*\.))?")
_CODE = re.compile(rb"<(CR|TAB|NUL|SP|U\+[0-9A-F]{4,6}|0x[0-9A-F]{2})>")
_NAMED = {b"CR": b"\r", b"TAB": b"\t", b"NUL": b"\0", b"SP": b" "}
Seen = tuple[str, int, bytes]  # kind, mode, content or target


class RowError(Exception):
    """A file of rows is not in the format; the message begins with the place."""


@dataclass(slots=True)
class Tree:
    """Files by path with mode and content, and what else is there."""

    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    twins: dict[str, str] = field(default_factory=dict)
    fifos: list[str] = field(default_factory=list)

    def copy(self) -> "Tree":
        """Return a tree that can grow without this one."""
        return Tree(dict(self.files), dict(self.links), dict(self.twins), list(self.fifos))

    def make(self, root: Path) -> None:
        """Write the tree below a directory that exists."""
        for name, (mode, content) in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        for name, target in self.links.items():
            (root / name).symlink_to(target)
        for name, other in self.twins.items():
            os.link(root / other, root / name)
        for name in self.fifos:
            os.mkfifo(root / name)


@dataclass(slots=True)
class Row:
    """One diff and what is expected of it."""

    place: str  # file:line of its header
    why: str
    refused_at: str | None  # None: accepted
    diff: str = ""
    tree: Tree = field(default_factory=Tree)
    says: list[str] = field(default_factory=list)  # words of a refusal
    # What becomes of each file; a mode of None stays, or is that of any new file.
    makes: dict[str, tuple[int | None, bytes] | None] = field(default_factory=dict)
    git_options: tuple[str, ...] = ("-p1",)
    git: str = ""  # refuses, applies or differs, where that is not what we do
    git_why: str = ""

    @override
    def __str__(self) -> str:
        return f"{self.place} {self.why}"


def rows() -> tuple[Row, ...]:
    """Return every row of the corpus, in the order of files and lines."""
    return tuple(row for path in sorted(_HERE.glob("*.txt")) for row in _Family(path).rows())


def seen(root: Path) -> dict[str, Seen]:
    """Return every name below a root but its directories."""
    found: dict[str, Seen] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            found[str(path.relative_to(root))] = ("link", 0o777, os.fsencode(path.readlink()))
        elif path.is_file():
            found[str(path.relative_to(root))] = ("file", mode, path.read_bytes())
        elif not path.is_dir():
            found[str(path.relative_to(root))] = ("fifo", mode, b"")
    return found


class _Family:
    """One file of rows, line by line."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._lines = path.read_bytes().split(b"\n")
        self._at = 0
        self._tree = Tree()

    def rows(self) -> Iterator[Row]:
        row: Row | None = None
        while self._at < len(self._lines):
            place = f"{self._name}:{self._at + 1}"
            line = self._lines[self._at].decode()
            self._at += 1
            if header := _ROW.fullmatch(line):
                if row is not None:
                    yield row
                row = Row(place, header[2], header[1], self._block().decode(), self._tree.copy())
            elif line and not line.startswith("# "):
                known = self._gave(line, self._tree if row is None else row.tree)
                if not known and (row is None or not self._took(line, row)):
                    raise RowError(f"{place}: {line!r} is no row, no part of one and no comment")
        if row is not None:
            yield row

    def _gave(self, line: str, tree: Tree) -> bool:
        """Take in a line that adds to a tree; return whether it is one."""
        word, _, rest = line.partition(" ")
        if word == "file" and (said := _FILE.fullmatch(line)):
            content = self._block()
            if said[3]:
                content = (content * (int(said[3]) // len(content) + 1))[: int(said[3])]
            tree.files[said[1]] = (int(said[2] or "644", 8), content)
        elif word == "link":
            name, _, target = rest.partition(" -> ")
            tree.links[name] = target
        elif word == "hard":
            name, _, other = rest.partition(" = ")
            tree.twins[name] = other
        elif word == "fifo":
            tree.fifos.append(rest)
        else:
            return False
        return True

    def _took(self, line: str, row: Row) -> bool:
        """Take in what is expected of a row; return whether the line says that."""
        if said := _GIT.fullmatch(line):
            row.git_options = tuple(said[1].split()) or ("-p1",)
            row.git, row.git_why = said[2] or "", said[3] or ""
        elif row.refused_at is not None and line.startswith("=> "):
            row.says.append(line[3:])
        elif line.startswith("=> ") and line.endswith(" gone"):
            row.makes[line[3:-5]] = None
        elif line.startswith("=> ") and (said := _FILE.fullmatch(line)):
            row.makes[said[1]] = (int(said[2], 8) if said[2] else None, self._block())
        else:
            return False
        return True

    def _block(self) -> bytes:
        """Return the content below a line, without its four spaces."""
        began = self._at
        end = began
        while self._at < len(self._lines) and self._lines[self._at][:4] in {b"", b"    "}:
            self._at += 1
            if self._lines[self._at - 1]:
                end = self._at
        self._at = end
        content = b"".join(line[4:] + b"\n" for line in self._lines[began:end])
        return _CODE.sub(_decoded, content.replace(b"<NO NEWLINE>\n", b""))


def _decoded(code: re.Match[bytes]) -> bytes:
    name = code[1]
    if name.startswith(b"U+"):
        return chr(int(name[2:], 16)).encode()
    return bytes([int(name, 16)]) if name.startswith(b"0x") else _NAMED[name]

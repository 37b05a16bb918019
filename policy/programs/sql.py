"""SQL and the dot commands of sqlite3 and duckdb, searched for what leaves the database.

May touch: strings. A statement that reads or writes rows of the open file says nothing more than
the entry does; whatever could reach another file, a program or an extension is named or Unknown.
Source: sqlite.org/cli.html §3 to §20; duckdb.org/docs, "Dot Commands" and "Functions".
"""

import re
from collections.abc import Iterator
from typing import Final

from policy.programs.findings import Finding, Runs, Touches, Unknown

# Abbreviations are left out: `.s` is whatever the version at hand takes it for.
_HARMLESS_DOT: Final = frozenset(
    {
        "bail", "changes", "count", "databases", "dbinfo", "dump", "echo", "eqp", "exit", "explain",
        "fullschema", "header", "headers", "help", "indexes", "indices", "limit", "lint", "mode",
        "nullvalue", "print", "prompt", "quit", "schema", "separator", "show", "stats", "tables",
        "timeout", "timer", "version", "width",
    }
)  # fmt: skip
_READING_DOT: Final = frozenset({"read", "import", "restore", "open", "load"})
_WRITING_DOT: Final = frozenset({"output", "once", "backup", "save", "clone", "log", "archive"})
_RUNNING_DOT: Final = frozenset({"shell", "system"})
_STRING = re.compile(r"'(?:[^']|'')*'|--[^\n]*")
_NAMED = re.compile(r"'([^'\n]*[./][^'\n]*)'")
_OUT = re.compile(r"\b(?:to|into|export|writefile|edit)\b", re.I)
_REACHES = re.compile(
    r"""\b(?: load_extension | readfile | writefile | edit | fts3_tokenizer | zipfile | fsdir
        | attach | vacuum | copy | install | load | export | import | getenv
        | read_\w+ | parquet_\w+ | glob | sniff_csv | pragma \s+ \w*_directory )\b
      | \bfile \s* \(  | \bfrom \s+ '  | \bjoin \s+ ' """,
    re.I | re.X,
)
_LOSES = re.compile(r"\b(?:drop|delete|truncate|update|replace|alter)\b", re.I)


def sql(text: str) -> Iterator[Finding]:
    """Read the statements and dot commands given to an embedded database."""
    statements: list[str] = []
    for line in text.split("\n"):
        if line.strip()[:1] in (".", "\\", "!"):
            yield from _dot(line.strip())
        else:
            statements.append(line)
    rest = "\n".join(statements)
    bare = _STRING.sub("''", rest)
    if _REACHES.search(bare):
        yield Unknown("a statement that reaches files")
        for name in _NAMED.findall(rest):
            yield Touches("fs.read", name)
            if _OUT.search(bare):
                yield Touches("fs.write", name)
    if _LOSES.search(bare):
        yield Touches("fs.delete", "<rows of a database>")


def _dot(line: str) -> Iterator[Finding]:
    name, _, rest = line[1:].partition(" ")
    value = rest.strip().strip("'\"")
    if name in _HARMLESS_DOT:
        if "|" in rest or "/" in rest:
            yield Unknown("a database command with a path")
        return
    yield Unknown("a database command")
    if value.startswith("|"):
        yield Runs(value[1:])
    elif name in _READING_DOT and value:
        yield Touches("fs.read", value.split()[0])
    elif name in _WRITING_DOT and value:
        yield Touches("fs.write", value.split()[0])
    elif name in _RUNNING_DOT or line[0] != ".":
        yield Runs(line[1:] if line[0] != "." else rest)

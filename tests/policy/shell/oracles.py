"""What the reader is compared with: bash with recorders, bashlex, tree-sitter-bash.

May touch: the confinement. A text is `runnable` if running it with recorders in place of programs
ends, stays inside and does the same every time.
"""

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import tree_sitter
import tree_sitter_bash

import policy.shell.tree as t
from policy.shell.walk import nodes
from tests.policy.shell.commands import Found, commands
from tests.policy.shell.confinement import Observed, observe

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import bashlex
    import bashlex.ast
    import bashlex.errors

RUNS = 10
PREFIXES = {"command", "exec", "builtin", "--", "-p"}
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Reserved words, which other parsers take for programs behind `time` and `!`.
NOT_PROGRAMS = frozenset(
    {"time", "for", "do", "done", "if", "then", "fi", "while", "case", "esac", "in", "elif", "else"}
)
_CHANGING = frozenset(
    {
        "RANDOM", "SRANDOM", "SECONDS", "BASHPID", "PPID", "EPOCHSECONDS", "EPOCHREALTIME", "$",
        "!",
        "PWD", "OLDPWD",
    }
)  # fmt: skip
# They end the driver, wait, read a recorder, or print the script's own place, text or settings.
_NOT_RUN = frozenset(
    {
        "kill", "suspend", "ulimit", "type", "command", "times", "set", "wait", "umask", "source",
        ".",
        "pwd", "dirs", "jobs", "help", "history", "shopt",
    }
)  # fmt: skip


# Bash


def matches(start: tuple[bytes, ...], one: Found) -> bool:
    """Return whether a start is one that the announced words can become."""
    words = list(one.argv)
    while words and words[0] in PREFIXES:
        words = words[3:] if words[:2] == ["exec", "-a"] else words[1:]
    if words and words[0]:
        words[0] = words[0].rpartition("/")[2]
    written = "".join("(?:\1[^\1]*)*" if w is None else "\1" + re.escape(w) for w in words)
    argv = "".join("\1" + w.decode("utf-8", "surrogateescape") for w in start)
    return re.fullmatch(written, argv, re.S) is not None


def unannounced(text: str, tree: t.CommandTree, seen: Observed) -> list[object]:
    """Return the starts that bash made and `commands` did not announce."""
    found = commands(tree, {"HOME": "/home/u"})
    starts = [argv for argv, _, _ in seen.starts]
    return [(text, argv) for argv in starts if not any(matches(argv, one) for one in found)]


def never_alike(
    pairs: Sequence[tuple[str, str]], programs: Iterable[str], folder: Path
) -> list[tuple[str, str]]:
    """Return the pairs that no two of several runs agree on: the ends of a pipeline race.

    Where a text does not even do the same twice, because many processes write into one pipe, what
    they wrote there is left out and the argument vectors are compared.
    """
    folder.mkdir()
    runs = observe([one for pair in pairs for one in pair * RUNS], programs, folder)
    width = 2 * RUNS
    sides = [runs[index : index + width] for index in range(0, len(runs), width)]
    return [
        pair
        for pair, side in zip(pairs, sides, strict=True)
        if not set(side[::2]) & set(side[1::2])
        and (len(set(side[::2])) < RUNS / 2 or _vectors(side[::2]).isdisjoint(_vectors(side[1::2])))
    ]


def _vectors(runs: Sequence[Observed]) -> set[tuple[tuple[bytes, ...], ...]]:
    """Return which programs each run started, with their arguments alone."""
    return {tuple(sorted(start[0] for start in run.starts)) for run in runs}


def is_runnable(tree: t.CommandTree) -> bool:
    """Return whether both runs of a text can be compared: it ends, and is the same every time."""
    defined = {node.name for node in nodes(tree) if isinstance(node, t.FunctionDef)}
    return not any(_is_endless(node, defined) or _differs(node) for node in nodes(tree))


def _is_endless(node: object, defined: set[str]) -> bool:
    match node:
        case t.FunctionDef(body=body):
            called = {one.argv[0] for one in commands(t.Sequence((body,))) if one.argv}
            return None in called or bool(called & defined)
        case t.While(condition=t.Sequence(statements=(t.SimpleCommand(words=(first, *_)),))):
            return first.literal != "read"  # which ends with its input
        case t.ArithmeticFor(header=(_, test, step)):
            return not (test and step)
        case t.While():
            return True
        case _:
            return False


def _differs(node: object) -> bool:
    match node:
        case t.Variable(name=name) | t.Parameter(name=name):
            return name in _CHANGING
        case t.Arithmetic(text=text) | t.ArithmeticCommand(text=text):
            return any(name in text for name in _CHANGING)
        case t.SimpleCommand(words=words):
            return bool(words) and words[0].literal in _NOT_RUN
        case t.Declaration(arguments=arguments):
            return not any(isinstance(one, t.Assignment) for one in arguments)
        case _:
            return False


# Other parsers


class Programs(bashlex.ast.nodevisitor):
    """Collects the plain program word of every command that bashlex sees."""

    def __init__(self) -> None:
        self.names = Counter[str]()

    def visitcommand(self, node: object, parts: list) -> None:
        """Count the program of one command."""
        words = [part for part in parts if part.kind == "word"]
        if words and PLAIN.fullmatch(words[0].word):
            self.names[words[0].word] += 1


def by_bashlex(text: str) -> Counter[str]:
    """Return the programs that bashlex sees; none where it fails."""
    visitor = Programs()
    try:
        for tree in bashlex.parse(text):
            visitor.visit(tree)
    except Exception:  # noqa: BLE001  # it raises many kinds, and reads only a part of bash
        return Counter()
    return visitor.names


def by_tree_sitter(text: str) -> Counter[str]:
    """Return the programs that tree-sitter-bash sees; none where it lost its way."""
    names = Counter(_tree_sitter_names(text))
    # A continued line is two words to it, and a here-document may end in the middle of a line.
    is_lost = "\\\n" in text or re.search(r"<<-?[ \t]*['\"\w]", text)
    return Counter() if is_lost or NOT_PROGRAMS.intersection(names) else names


def _tree_sitter_names(text: str) -> Iterator[str]:
    language = tree_sitter.Language(tree_sitter_bash.language())
    query = tree_sitter.Query(language, "(command_name) @name")
    root = tree_sitter.Parser(language).parse(text.encode()).root_node
    if root.has_error:
        return
    for node in tree_sitter.QueryCursor(query).captures(root).get("name", []):
        name = (node.text or b"").decode()
        if PLAIN.fullmatch(name):
            yield name


def missed(text: str, tree: t.CommandTree) -> dict[str, set[str]]:
    """Return the programs that another parser sees and `commands` does not, by parser."""
    ours = {one.argv[0] for one in commands(tree) if one.argv}
    theirs = {"bashlex": by_bashlex(text), "tree-sitter-bash": by_tree_sitter(text)}
    # To bashlex, a substitution in single quotes behind `=` is one.
    unquoted = re.sub(r"'[^']*'", "", text)
    return {
        name: {one for one in set(seen) - ours - NOT_PROGRAMS if one in unquoted}
        for name, seen in theirs.items()
    }

"""bashlex and tree-sitter-bash find no program in understood text that the reader did not."""

import re
import warnings
from collections import Counter
from collections.abc import Iterator

import pytest
import tree_sitter
import tree_sitter_bash

import policy.shell.tree as t
from policy.shell.commands import commands
from policy.shell.reader import read
from tests.policy.shell.test_bash_oracle import understood_texts

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import bashlex
    import bashlex.ast
    import bashlex.errors

PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Reserved words, which they take for programs behind `time` and `!`.
NOT_PROGRAMS = frozenset(
    {"time", "for", "do", "done", "if", "then", "fi", "while", "case", "esac", "in", "elif", "else"}
)


class Programs(bashlex.ast.nodevisitor):
    """Collects the plain program word of every command that bashlex sees."""

    def __init__(self) -> None:
        self.names = Counter[str]()

    def visitcommand(self, node: object, parts: list) -> None:
        words = [part for part in parts if part.kind == "word"]
        if words and PLAIN.fullmatch(words[0].word):
            self.names[words[0].word] += 1


def by_bashlex(text: str) -> Counter[str]:
    visitor = Programs()
    try:
        for tree in bashlex.parse(text):
            visitor.visit(tree)
    except Exception:  # noqa: BLE001  # it raises many kinds, and reads only a part of bash
        return Counter()
    return visitor.names


def by_tree_sitter(text: str) -> Iterator[str]:
    language = tree_sitter.Language(tree_sitter_bash.language())
    query = tree_sitter.Query(language, "(command_name) @name")
    root = tree_sitter.Parser(language).parse(text.encode()).root_node
    if root.has_error:
        return
    for node in tree_sitter.QueryCursor(query).captures(root).get("name", []):
        name = (node.text or b"").decode()
        if PLAIN.fullmatch(name):
            yield name


@pytest.mark.threat("T01")
def test_other_parsers_find_no_other_program_in_understood_text() -> None:
    seen = Counter[str]()
    for text, tree in understood_texts():
        ours = Counter(one.argv[0] for one in commands(tree) if one.argv)
        continued = "\\\n" in text  # two words to tree-sitter
        theirs = Counter[str]() if continued else Counter(by_tree_sitter(text))
        theirs = Counter() if NOT_PROGRAMS.intersection(theirs) else theirs  # it lost its way
        for oracle, names in (("b", by_bashlex(text)), ("t", theirs)):
            seen[oracle] += names.total()
            more = {name for name in names if not ours[name]} - NOT_PROGRAMS
            assert not more, (oracle, text)
    assert min(seen["b"], seen["t"]) > 100


@pytest.mark.parametrize("text", ["a\\\nb", "a > x b", "a | b && c", "a &>x b"])
def test_where_tree_sitter_misreads_bash_is_followed(text: str) -> None:
    tree = read(text)
    assert isinstance(tree, t.Sequence)
    assert len(commands(tree)) == len(re.findall(r"\|\s|&&", text)) + 1

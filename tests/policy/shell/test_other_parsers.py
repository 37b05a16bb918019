"""bashlex and tree-sitter-bash find no program in understood text that the reader did not."""

import re

import pytest

import policy.shell.tree as t
from policy.shell.reader import read
from tests.policy.shell.commands import commands
from tests.policy.shell.oracles import by_bashlex, by_tree_sitter, missed
from tests.policy.shell.test_bash_oracle import understood_texts

pytestmark = pytest.mark.untraced


@pytest.mark.threat("T01")
def test_other_parsers_find_no_other_program_in_understood_text() -> None:
    texts = understood_texts()
    assert [
        (text, more) for text, tree in texts if any((more := missed(text, tree)).values())
    ] == []
    for parser in (by_bashlex, by_tree_sitter):
        assert sum(parser(text).total() for text, _ in texts) > 100


@pytest.mark.parametrize("text", ["a\\\nb", "a > x b", "a | b && c", "a &>x b"])
def test_where_tree_sitter_misreads_bash_is_followed(text: str) -> None:
    tree = read(text)
    assert isinstance(tree, t.Sequence)
    assert len(commands(tree)) == len(re.findall(r"\|\s|&&", text)) + 1

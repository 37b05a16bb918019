"""What people read where no rule speaks."""

import pytest

from policy.model import OPERATIONS, Context
from policy.phrases import PHRASES, unmentioned
from policy.programs.words import HOLE

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "box")


def test_every_operation_has_its_words():
    assert PHRASES.keys() == OPERATIONS


@pytest.mark.parametrize(
    ("operation", "resources", "sentence"),
    [
        ("fs.delete", ["/home/dev/work/src/old.py"], "It deletes src/old.py"),
        ("fs.read", ["/home/dev/.netrc", "/etc/x"], "It reads ~/.netrc, /etc/x"),
        ("fs.read", ["/home/dev/work", "/home/dev"], "It reads the workspace, ~"),
        ("fs.write", [f"/home/dev/work/{HOLE}"], "It writes …"),
        ("fs.write", ["/a", "/b", "/c", "/d"], "It writes /a, /b, /c and 1 more"),
        ("code.exec", ["<inline code>"], "It runs <inline code>"),
        ("net.connect", ["curl"], "It connects to the network with curl"),
    ],
)
def test_a_sentence_names_what_is_done_to_what(operation, resources, sentence):
    assert unmentioned(operation, resources, CONTEXT) == f"{sentence}, and no rule allows that."

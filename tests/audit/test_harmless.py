"""Whatever a record holds can be shown: no character steers, no text is without end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.harmless import GAP, harmless, shortened, vector, words

pytestmark = pytest.mark.threat("T24")


@given(st.text())
def test_nothing_but_printable_characters_is_left(text):
    assert harmless(text).isprintable()


def test_what_is_printable_stays_and_what_steers_is_written_out():
    assert harmless("naïve ✓ x = 'y'") == "naïve ✓ x = 'y'"
    assert harmless("a\x1b[2J\u202eb\0\n") == "a\\x1b[2J\\u202eb\\x00\\n"


@given(st.text(max_size=80), st.integers(8, 40))
def test_shortened_text_is_never_longer_and_keeps_both_ends(text, limit):
    found = shortened(text, limit)
    assert len(found) <= limit or found == text
    if len(text) > limit:
        assert GAP in found
        assert len(found) == limit
        assert text.startswith(found[:2])
        assert text.endswith(found[-1:])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, ""),
        (7, "7"),
        ("a\nb", "a\\nb"),
        ({"$redacted": {"kind": "aws\n-key", "sha256": "ab"}}, "[redacted:aws\\n-key]"),
        ({"$b64": "/2E="}, "\\udcffa"),
        ({"$b64": "!"}, "!"),
        ({"a": 1, "b": ["x", "y"]}, "a 1, b x y"),
        (["x", {"$redacted": {"kind": "k"}}], "x [redacted:k]"),
    ],
)
def test_a_value_is_one_line(value, said):
    assert words(value) == said


def test_a_vector_reads_as_a_shell_is_told_it():
    assert vector(["git", "commit", "-m", "a b", {"$redacted": {"kind": "k"}}]) == (
        "git commit -m 'a b' [redacted:k]"
    )
    assert vector("x y") == "'x y'"

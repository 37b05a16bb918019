"""Facts about linear patterns: they agree with `re` and never backtrack."""

import contextlib
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.linear_regex import Pattern, PatternError


def never() -> bool:
    return False


atoms = st.sampled_from(
    [
        r"a",
        r"b",
        r"_",
        r".",
        r"[ab]",
        r"[^a]",
        r"[a-c-]",
        r"\w",
        r"\W",
        r"\d",
        r"\s",
        r"^",
        r"$",
        r"\b",
        r"\B",
        r"\.",
        r"\x61",
        r"(?:ab)",
        r"(a|b)",
        r"(|a)",
        r"[]a]",
        r"[\d_]",
    ]
)
quantifiers = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,2}", "{1,}", "{,2}", "*?"])


@st.composite
def patterns(draw: st.DrawFn) -> str:
    def piece() -> str:
        atom = draw(atoms)
        return atom if atom in {"^", "$", r"\b", r"\B"} else atom + draw(quantifiers)

    rows = ["".join(piece() for _ in range(draw(st.integers(1, 4)))) for _ in range(2)]
    return draw(st.sampled_from(["{0}", "{0}|{1}", "(?:{0})+{1}", "(?i){0}"])).format(*rows)


@pytest.mark.untraced
@settings(max_examples=1500, deadline=None)
@given(patterns(), st.text("abcAB_ .1-]", min_size=1, max_size=8))
def test_a_pattern_finds_what_re_finds(pattern: str, line: str):
    assert Pattern(pattern).found(line, never) == (re.search(pattern, line) is not None)


@pytest.mark.threat("T06")
@pytest.mark.parametrize("pattern", ["(a*)*b", "(a|aa)+b", "(?:a+)+$", ".*.*.*.*x", "(?:a?){200}b"])
def test_a_hostile_pattern_takes_linear_time(pattern: str):
    started = time.monotonic()
    compiled = Pattern(pattern.replace("(?:a+)+$", "(?:a+)+$b"))
    assert not compiled.found("a" * 50_000, never)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        (r"(a)\1", "back-references"),
        ("(?=a)", "look-around"),
        ("(?P<x>a)", "names"),
        ("(a", "not closed"),
        ("a)", "closes nothing"),
        ("[a", "ends too early"),
        ("*a", "nothing to repeat"),
        ("a**", "repeat of a repeat"),
        ("a++", "repeat of a repeat"),
        ("^*", "assertion"),
        ("[z-a]", "ascend"),
        ("a{3,2}", "ascend"),
        ("a{5000}", "at most"),
        ("(?:(?:a{900}){900}){900}", "too large"),
        ("a" * 2000, "longer than"),
        ("(" * 200 + ")" * 200, "deeper"),
        (r"\q", "not supported"),
        (r"\x1", "hexadecimal"),
        ("\\", "ends too early"),
    ],
)
def test_a_pattern_outside_of_the_subset_is_refused(pattern: str, message: str):
    with pytest.raises(PatternError, match=message):
        Pattern(pattern)


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(pattern: str):
    with contextlib.suppress(PatternError):
        Pattern(pattern).found("abc", never)


def test_a_pattern_gives_up_when_time_is_over():
    line = "".join(chr(0x4E00 + n) for n in range(2000))
    with pytest.raises(TimeoutError):
        Pattern("x").found(line, lambda: True)

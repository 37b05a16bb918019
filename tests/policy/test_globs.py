"""Globs against brute force over small alphabets, and the words that aim at a name."""

import re
import time
from fnmatch import translate
from functools import cache
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.globs import (
    GlobError,
    escape,
    expand_braces,
    fixed_root,
    literal_path,
    path_regex,
    policy_glob,
    shell_pattern,
    text_regex,
    with_holes,
)
from policy.overlap import aims, inside, overlaps, text_inside, text_overlaps
from policy.programs.words import HOLE

NAMES = ("a", "b", "aa", "ab", "ba", "bb", ".a", ".b", "a.b")
PATHS = tuple("/" + "/".join(names) for n in (1, 2, 3) for names in product(NAMES, repeat=n))
PARTS = (
    "*", "?", "a", "ab", "a*", "*b", "[ab]", "[!a]", "[a-b]*", ".a", ".*", ".?", "?a", "**",
    "*.a", "*.b",
)  # fmt: skip
globs = st.lists(st.sampled_from(PARTS), min_size=1, max_size=4).map(lambda p: "/" + "/".join(p))


@cache
def name_re(glob: str) -> re.Pattern[str]:
    return re.compile(translate(glob))


def holds(glob: tuple[str, ...], path: tuple[str, ...], *, shell: bool) -> bool:
    """The meaning of a glob, written as directly as it can be."""
    if not glob:
        return not path
    if glob[0] == "**":
        skip = path and not (shell and path[0].startswith("."))
        return holds(glob[1:], path, shell=shell) or bool(
            skip and holds(glob, path[1:], shell=shell)
        )
    if not path or not name_re(glob[0]).match(path[0]):
        return False
    if shell and path[0].startswith(".") and not glob[0].startswith("."):
        return False
    return holds(glob[1:], path[1:], shell=shell)


@cache
def members(glob: str, *, shell: bool) -> frozenset[str]:
    parts = tuple(glob.split("/")[1:])
    return frozenset(
        path for path in PATHS if holds(parts, tuple(path.split("/")[1:]), shell=shell)
    )


@given(st.lists(globs, min_size=1, max_size=5))
def test_one_expression_matches_exactly_what_the_globs_mean(some):
    pattern = path_regex(some)
    meant = frozenset().union(*(members(glob, shell=False) for glob in some))
    assert {path for path in PATHS if pattern.fullmatch(path)} == meant


def test_globs_that_share_many_names_share_an_expression_only_so_far():
    shared = "/a" * 2000
    pattern = path_regex([f"{shared}/b", f"{shared}/c/**", f"{shared}/d/**/e/**/**"])
    assert pattern.fullmatch(f"{shared}/b")
    assert pattern.fullmatch(f"{shared}/c")
    assert pattern.fullmatch(f"{shared}/d/x/e")
    assert not pattern.fullmatch(f"{shared}/b/x")


@given(globs)
def test_a_plain_path_is_inside_exactly_what_the_glob_means(glob):
    found = {path for path in PATHS[:80] if inside(literal_path(path), policy_glob(glob))}
    assert found == members(glob, shell=False) & set(PATHS[:80])


@pytest.mark.threat("T02")
@given(globs, globs)
def test_two_globs_that_share_a_path_always_overlap(left, right):
    if members(left, shell=True) & members(right, shell=False):
        assert overlaps(shell_pattern(left), policy_glob(right))


@pytest.mark.threat("T02")
@given(globs, globs)
def test_a_pattern_is_inside_only_if_all_it_can_be_is(left, right):
    if inside(shell_pattern(left), policy_glob(right)):
        assert members(left, shell=True) <= members(right, shell=False)


@given(globs, globs)
def test_what_aims_also_overlaps(left, right):
    if aims(shell_pattern(left), policy_glob(right)):
        assert overlaps(shell_pattern(left), policy_glob(right))


@pytest.mark.threat("T02")
@given(globs, st.sampled_from(("", "a", "b", ".a", "a/b", "/ab", "a/.a/b")))
def test_whatever_a_hole_becomes_was_foreseen(glob, text):
    path = f"/ab/{HOLE}b"
    became = f"/ab/{text}b"
    assert became not in members(glob, shell=False) or any(
        overlaps(shape, policy_glob(glob)) for shape in with_holes(path)
    )


@pytest.mark.parametrize(
    ("pattern", "glob", "aimed"),
    [
        ("/w/.en?", "**/.env", True),
        ("/w/.[e]nv", "**/.env", True),
        ("/w/*", "**/.env", False),
        ("/w/.*", "**/.env", False),
        ("/w/*.json", "**/credentials.json", False),
        ("/w/cred*", "**/credentials.json", True),
        ("/w/*.pem", "**/*.pem", True),
        ("/w/server.pe?", "**/*.pem", True),
        ("/w/test*", "**/*.pem", False),
        ("/etc/shad*", "/etc/shadow*", True),
        ("/etc/*", "/etc/shadow*", False),
        ("/h/.ss*/id*", "/h/.ssh/**", True),
        ("/h/*/x", "/h/**", True),
        ("/*/shadow", "/etc/shadow", True),
        ("/a/**", "/a/b", False),
        ("/**", "/**", True),
        ("/*", "/*", True),
        ("/**", "/*", False),
        ("/a/b", "/c/b", False),
    ],
)
def test_a_word_aims_or_sweeps(pattern, glob, aimed):
    assert aims(shell_pattern(pattern), policy_glob(glob)) is aimed


def test_a_hole_followed_by_a_denied_name_aims_at_it():
    assert any(aims(shape, policy_glob("**/.env")) for shape in with_holes(f"{HOLE}/.env"))
    assert any(aims(shape, policy_glob("**/x.pem")) for shape in with_holes(f"{HOLE}x/x.pem"))
    assert not any(aims(shape, policy_glob("**/.env")) for shape in with_holes(f"/w/{HOLE}"))
    assert not any(aims(shape, policy_glob("/*")) for shape in with_holes(HOLE))


def test_a_shell_star_does_not_begin_a_hidden_name():
    assert not overlaps(shell_pattern("/w/*"), policy_glob("/w/.env"))
    assert not overlaps(shell_pattern("/w/**"), policy_glob("/w/.git/x"))
    assert not overlaps(shell_pattern("/w/[.]env"), policy_glob("/w/.env"))
    assert overlaps(shell_pattern("/w/[!a]x"), policy_glob("/w/bx"))


def test_a_range_of_letters_may_hold_both_cases():
    assert overlaps(shell_pattern("/[a-z]x"), policy_glob("/Bx"))
    assert overlaps(shell_pattern("/[[:upper:]]x"), policy_glob("/Bx"))
    assert overlaps(shell_pattern("/[\0-\U0010ffff]x"), policy_glob("/Bx"))


def test_an_unclosed_bracket_is_a_character_to_the_shell():
    assert inside(shell_pattern("/[ab"), policy_glob("/\\[ab"))
    assert inside(shell_pattern("/[[:alpha"), policy_glob("/*alpha"))


def test_brackets_may_hold_their_own_closing_sign():
    assert policy_glob("/[]a]")[0].tokens == policy_glob("/[a\\]]")[0].tokens
    assert not inside(literal_path("/]"), policy_glob("/[!]]"))


@pytest.mark.parametrize("glob", ["/[ab", "/[[:alpha:]]", "/[\0-\U0010ffff]"])
def test_a_policy_glob_that_means_nothing_certain_is_refused(glob):
    with pytest.raises(GlobError):
        policy_glob(glob)


def test_braces_expand_and_variables_do_not():
    assert set(expand_braces("${home}/{a,{b,c}}/x")) == {
        "${home}/a/x",
        "${home}/b/x",
        "${home}/c/x",
    }
    with pytest.raises(GlobError, match="more than 512"):
        expand_braces("{a,b}" * 10)


@given(st.text(min_size=1, max_size=12).filter(lambda text: "/" not in text and "\0" not in text))
def test_an_escaped_text_matches_itself_alone(text):
    assert inside(literal_path("/" + text), policy_glob("/" + escape(text)))
    assert not inside(literal_path("/" + text + "x"), policy_glob("/" + escape(text)))
    assert text_regex([escape(text)]).fullmatch(text)


def test_no_globs_match_nothing():
    assert path_regex([]).fullmatch("") is None
    assert text_regex([]).fullmatch("") is None


def test_a_text_glob_crosses_slashes_and_takes_classes():
    assert text_regex(["a*b*[!x]?[yz]"]).fullmatch("a/b/cdz")
    assert text_regex(["a**b"]).fullmatch("a/b")
    assert not text_regex(["a*b*[!x]?[yz]"]).fullmatch("a/b/xdx")


def test_a_fixed_root_ends_before_the_first_wildcard():
    assert [fixed_root(glob) for glob in ("/usr/**", "/a/b", "**/x", "/a*/b")] == [
        "/usr",
        "/a/b",
        "/",
        "/",
    ]


def test_texts_with_holes_are_compared_with_the_same_care():
    assert text_overlaps(f"http://{HOLE}/", "*169.254*")
    assert not text_overlaps("http://a/", "ftp*")
    assert text_inside(f"http://{HOLE}", "http*")
    assert not text_inside(f"{HOLE}", "http*")


@pytest.mark.threat("T04")
def test_long_hostile_names_are_answered_carefully_and_fast():
    started = time.process_time()
    many = "*a" * 2000
    assert text_overlaps(many, "*b" * 200)
    assert not text_inside(many, "*b" * 200)
    assert path_regex(["/**/" + "*a" * 20 + "b"]).fullmatch("/" + "a" * 255) is None
    assert time.process_time() - started < 0.5

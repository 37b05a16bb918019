"""What a human reads is ASCII, complete, in one order, and cannot be drawn over."""

import hashlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.request import ApprovalError, Need, Pending, request_digest
from approvals.statement import (
    HEAD_KEYS,
    MAGIC,
    MAX_PREVIEW_LINES,
    MAX_VALUE_CHARS,
    all_warnings,
    preview_lines,
    statement,
    visible,
    warnings,
)
from approvals.terminal_view import as_lines
from tests.approvals.conftest import ACTION, question

NOTHING = "characters that show nothing"
CONTROL = "control characters"
ORDER = "characters that reverse the reading order"
TWIN = "letters or marks that look like ASCII and are not"
SPACES = "spaces that could hide text"
OUTSIDE = "characters outside ASCII"
ANYTHING = st.text(st.characters(), max_size=200)  # surrogates included


def pending(**changes) -> Pending:
    asked = question(**changes)
    digest = request_digest(ACTION, "s1", "n", 1_800_000_300_000)
    return Pending("ap_1", asked, "n", 1_800_000_000_000, 1_800_000_300_000, digest)


TRICKS = [
    ("ansi", "ls\x1b[2K\x1b[1Arm", r"ls\x1b[2K\x1b[1Arm", CONTROL),
    ("c1-csi", "ls\x9b2K", r"ls\x9b2K", CONTROL),
    ("carriage-return", "rm -rf /\rls      ", r"rm -rf /\rls" + r"\x20" * 6, CONTROL),
    ("backspace", "rm\b\bls", r"rm\x08\x08ls", CONTROL),
    ("newline", "ls\nrequest 00", r"ls\nrequest 00", "several lines"),
    ("bidi-override", "safe\u202egnp.exe", r"safe\u202egnp.exe", ORDER),
    ("bidi-isolate", "a\u2066b\u2069", r"a\u2066b\u2069", ORDER),
    ("left-to-right-mark", "a\u200eb", r"a\u200eb", ORDER),
    ("zero-width", "r\u200bm", r"r\u200bm", NOTHING),
    ("joiner", "r\u200dm", r"r\u200dm", NOTHING),
    ("byte-order-mark", "\ufeffrm", r"\ufeffrm", NOTHING),
    ("soft-hyphen", "r\xadm", r"r\xadm", NOTHING),
    ("tag", "ls\U000e0072\U000e006d", r"ls\U000e0072\U000e006d", NOTHING),
    ("hangul-filler", "a\u3164b", r"a\u3164b", NOTHING),
    ("combining", "a\u0338b", r"a\u0338b", NOTHING),
    ("line-separator", "a\u2028b", r"a\u2028b", NOTHING),
    ("lone-surrogate", "caf\udce9", r"caf\udce9", NOTHING),
    ("cyrillic", "\u0430pt", r"\u0430pt", TWIN),
    ("greek", "\u03bfpenssl", r"\u03bfpenssl", TWIN),
    ("fullwidth", "\uff52\uff4d", r"\uff52\uff4d", TWIN),
    ("mathematical", "\U0001d42bm", r"\U0001d42bm", TWIN),
    ("no-break-space", "rm\xa0-rf", r"rm\xa0-rf", TWIN),
    ("division-slash", "\u2215etc", r"\u2215etc", TWIN),
    ("hyphen", "rm \u2010rf", r"rm \u2010rf", TWIN),
    ("accent", "caf\xe9", r"caf\xe9", OUTSIDE),
    ("emoji", "\U0001f600", r"\U0001f600", OUTSIDE),
    ("pushed-out-of-sight", "ls" + " " * 9 + "; rm", "ls" + r"\x20" * 9 + "; rm", SPACES),
    ("space-at-the-end", "passwd ", r"passwd\x20", SPACES),
    ("forged-escape", r"\u0430", r"\\u0430", None),
    ("plain", "systemctl restart nginx", "systemctl restart nginx", None),
]


@pytest.mark.threat("T24")
@pytest.mark.parametrize(
    ("text", "shown", "tell"), [row[1:] for row in TRICKS], ids=[row[0] for row in TRICKS]
)
def test_tricks_are_shown_as_what_they_are_and_named(text, shown, tell):
    assert visible(text) == shown
    found = warnings(text)
    assert tell in found if tell else found == ()


@pytest.mark.threat("T24")
@given(ANYTHING)
def test_whatever_is_shown_is_printable_ascii_and_can_be_read_back(text):
    shown = visible(text)
    assert re.fullmatch(r"[ -~]*", shown)
    assert _read_back(shown) == text


def _read_back(shown: str) -> str:
    short = {"\\": "\\", "n": "\n", "t": "\t", "r": "\r"}

    def char(found: re.Match[str]) -> str:
        code = found.group(1)
        return short[code] if code in short else chr(int(code[1:], 16))

    pattern = r"\\(\\|n|t|r|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
    return re.sub(pattern, char, shown)


@pytest.mark.threat("T24")
def test_a_long_argument_shows_its_ends_and_the_hash_of_its_middle():
    text = "echo " + "A" * 100_000 + "\u202e; rm -rf /"
    shown = visible(text)
    middle = text[MAX_VALUE_CHARS * 3 // 4 : -(MAX_VALUE_CHARS // 4)]
    digest = hashlib.sha256(middle.encode()).hexdigest()
    assert rf"\[{len(middle)} characters not shown, sha256 {digest}\]" in shown
    assert shown.startswith("echo AAA")
    assert shown.endswith(r"\u202e; rm -rf /")
    assert len(shown) < MAX_VALUE_CHARS + 200
    assert any("longer than shown" in tell for tell in warnings(text))


@pytest.mark.threat("T24")
def test_no_text_can_forge_the_mark_of_a_hidden_middle():
    assert r"\[" not in visible(r"\[9 characters not shown, sha256 00\]").replace(r"\\", "")


def test_an_argument_of_the_greatest_length_is_complete():
    assert visible("x" * MAX_VALUE_CHARS) == "x" * MAX_VALUE_CHARS


def test_the_statement_is_these_lines_in_this_order():
    asked = pending(preview="--- a\n+++ b")
    lines = statement(asked).split("\n")
    assert lines == [
        MAGIC,
        f"request {asked.request_digest}",
        "id ap_1",
        f"action {ACTION}",
        "tool exec",
        "session s1",
        "requester agent:codex@1000 via mcp",
        "needs 1 of level 1 (attested) or higher",
        "not-after 2027-01-15T08:05:00.000Z",
        f"preview-sha256 {hashlib.sha256(b'--- a' + bytes([10]) + b'+++ b').hexdigest()}",
        "argv systemctl restart nginx",
        "cwd /srv",
        "",
    ]


@pytest.mark.threat("T24")
@given(st.lists(ANYTHING, max_size=5), ANYTHING, ANYTHING)
def test_no_value_adds_a_line_to_the_statement(values, tool, session):
    facts = tuple((f"arg{n}", value) for n, value in enumerate(values))
    text = statement(pending(facts=facts, tool=tool, session=session))
    assert re.fullmatch(r"[ -~\n]*", text)
    assert text.count("\n") == 1 + len(HEAD_KEYS) + len(values)


@pytest.mark.threat("T24")
@pytest.mark.parametrize("key", [*sorted(HEAD_KEYS), "", "A", "two words", "a\nb", "\u0430", "9"])
def test_a_fact_cannot_take_or_forge_a_key_of_the_head(key):
    with pytest.raises(ApprovalError, match="Nobody was asked"):
        statement(pending(facts=((key, "x"),)))


def test_the_request_digest_changes_with_every_part_and_with_their_borders():
    parts = [("a", "b", "c", 1), ("b", "b", "c", 1), ("ab", "", "c", 1), ("a", "bc", "", 1)]
    parts += [("a", "b", "c", 2), ("a", "b", "d", 1)]
    assert len({request_digest(*part) for part in parts}) == len(parts)


def test_the_request_digest_is_the_documented_bytes():
    framed = b"permitgate-request-v1\0"
    for value in (b"aa", b"s", b"n", b"1800000000000"):
        framed += len(value).to_bytes(8, "big") + value
    want = hashlib.sha256(framed).hexdigest()
    assert request_digest("aa", "s", "n", 1_800_000_000_000) == want


def test_a_short_preview_is_shown_whole_with_its_indentation():
    assert preview_lines("") == ()
    assert preview_lines("@@\n-\tx\n+    y\n") == ("@@", r"-\tx", "+    y", "")
    assert preview_lines(" " * 6 + "z") == (" " * 6 + "z",)
    nested = "-" + " " * 12 + "total += price"
    assert preview_lines(nested) == (nested,)
    assert all_warnings(pending(preview=nested)) == ()


@pytest.mark.threat("T24")
def test_a_long_preview_shows_its_ends_and_the_hash_of_its_middle():
    lines = [f"line {n}" for n in range(10_000)]
    shown = preview_lines("\n".join(lines))
    assert len(shown) == MAX_PREVIEW_LINES + 1
    middle = lines[MAX_PREVIEW_LINES * 3 // 4 : -(MAX_PREVIEW_LINES // 4)]
    digest = hashlib.sha256("\n".join(middle).encode()).hexdigest()
    assert rf"\[{len(middle)} lines not shown, sha256 {digest}\]" in shown
    assert (shown[0], shown[-1]) == ("line 0", "line 9999")


@pytest.mark.threat("T24")
@given(ANYTHING)
def test_a_preview_cannot_draw(preview):
    assert all(re.fullmatch(r"[ -~]*", line) for line in preview_lines(preview))


def test_a_person_reads_preview_then_statement_then_warnings():
    asked = pending(
        preview="+    \u0430pt", facts=(("argv", "r\u200bm"),), warnings=("runs\x1b as root",)
    )
    lines = as_lines(asked)
    assert lines[0] == r"+    \u0430pt"
    assert lines[1:3] == ("", MAGIC)
    assert lines[-4:] == ("", r"! runs\x1b as root", f"! preview: {TWIN}", f"! argv: {NOTHING}")


def test_a_question_without_preview_or_warnings_is_its_statement():
    asked = pending(need=Need())
    assert all_warnings(asked) == ()
    assert as_lines(asked) == tuple(statement(asked).splitlines())

"""What leaves a runner is redacted, also where its middle was left out."""

import re
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.redact import Redactor
from mcp_server.redaction import BY_RULE, LONGEST_SECRET, redacted
from sandbox.outcome import (
    NO_OUTPUT,
    CommandOutcome,
    Enforcement,
    FileOutcome,
    HostOutcome,
    Match,
    Output,
    RemoteOutcome,
)

TOKEN = b"ghp_" + b"A1b2C3d4" * 5
SEEN = Enforcement("read", "namespaces")
QUIET = CommandOutcome("ok", 0, None, 1, NO_OUTPUT, NO_OUTPUT, SEEN)


def shown(head: bytes, tail: bytes) -> Output:
    outcome = redacted(Redactor(), replace(QUIET, stdout=Output(head, tail, 1 << 20, "00")))
    return outcome.stdout


@pytest.mark.threat("T17")
@pytest.mark.parametrize("at", [4, 12, 30])
def test_a_secret_across_the_cut_shows_neither_of_its_ends(at):
    output = shown(b"one\ntoken=" + TOKEN[:at], TOKEN[at:] + b"\nlast\n")
    assert (output.head, output.tail) == (b"one\n", b"\nlast\n")


@pytest.mark.threat("T17")
def test_without_line_ends_as_much_as_a_secret_may_be_long_goes():
    long = b"x" * (LONGEST_SECRET - 8)
    output = shown(b"y" * 50 + long + TOKEN[:8], TOKEN[8:] + long)
    assert TOKEN[:8] not in output.head
    assert output.head == b"y" * 50
    assert output.tail == b"x" * (len(TOKEN) - 16)


def test_a_tail_of_one_line_still_says_that_something_is_missing():
    assert shown(b"a\nb", b"c" * 10).tail == b"\n"


def test_output_that_was_kept_whole_stays_whole():
    outcome = redacted(Redactor(), replace(QUIET, stdout=Output.whole(b"no line end")))
    assert outcome.stdout.head == b"no line end"


# --- words that rules hide ------------------------------------------------------------------------


def hidden(text: str, *globs: str) -> str:
    outcome = replace(QUIET, stdout=Output.whole(text.encode()), message=text)
    found = redacted(Redactor(), outcome, globs)
    assert found.message == found.stdout.head.decode()
    return found.message.replace(BY_RULE, "#")


@pytest.mark.threat("T17")
@pytest.mark.parametrize(
    ("glob", "text", "shown"),
    [
        ("acme", "at acme.example, acme", "at #.example, #"),
        ("ACME-*", "id=ACME-1,x ACME- ACM", "id=# # ACM"),
        ("*ACME*", "id=ACME-1,x y", "# y"),
        ("a*z", "xaz1zy a az", "x#y a #"),
        ("a*b*c", "a1c b a1b2b3cc", "a1c b #"),
        ("k[0-9]?", "k1x k1 kx1", "# k1 kx1"),
        ("[!a]b", "ab cb  b", "ab #  b"),
        ("10.*.1", "10.0.0.1\n10.0.0.2", "#\n10.0.0.2"),
        ("\\*x", "*x ax", "# ax"),
        ("é*", "é1 \u00e8", "# \u00e8"),
    ],
)
def test_a_word_that_a_rule_names_is_hidden_where_it_stands(glob, text, shown):
    assert hidden(text, glob) == shown


@pytest.mark.threat("T17")
def test_bytes_that_are_no_text_survive_around_what_is_hidden():
    outcome = replace(QUIET, stdout=Output.whole(b"\xff\xfeACME-1 \x80"))
    found = redacted(Redactor(), outcome, ("ACME-*",))
    assert found.stdout.head == b"\xff\xfe" + BY_RULE.encode() + b" \x80"


@pytest.mark.threat("T17")
def test_files_and_remote_hosts_hide_the_same_words():
    file = FileOutcome("ok", content=b"ACME-1", matches=(Match("a", 1, "x ACME-1"),))
    found = redacted(Redactor(), file, ("ACME-*",))
    assert (found.content.decode(), found.matches[0].text) == (BY_RULE, f"x {BY_RULE}")
    host = HostOutcome("h", "ok", 0, 1, Output.whole(b"ACME-1"), NO_OUTPUT)
    remote = redacted(Redactor(), RemoteOutcome("ok", (host,)), ("ACME-*",))
    assert remote.hosts[0].stdout.head.decode() == BY_RULE


@pytest.mark.threat("T18")
@pytest.mark.parametrize("glob", ["a*b", "a*a*a*b", "*a*b", "a?[a-z]*b*c"])
def test_hiding_takes_linear_time(glob):
    started = time.process_time()
    assert hidden("a" * 1_000_000, glob) == "a" * 1_000_000
    assert time.process_time() - started < 2


@given(st.text(alphabet="ab1 \n", max_size=40), st.sampled_from(["a*b", "*a", "ab", "a*1*b", "b?"]))
def test_no_word_keeps_what_a_glob_names(text, glob):
    left = hidden(text, glob)
    source = glob.replace("?", r"\S").replace("*", r"\S*")
    assert all(re.search(source, word) is None for word in left.replace("#", " ").split())

"""What leaves a runner is redacted, also where its middle was left out."""

from dataclasses import replace

import pytest

from audit.redact import Redactor
from mcp_server.redaction import LONGEST_SECRET, redacted
from sandbox.outcome import NO_OUTPUT, CommandOutcome, Enforcement, Output

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

"""Bytes, soups of shell tokens and spoiled real commands: a value, read back as itself, decided."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import policy.shell.tree as t
from benchmarks.commands import COMMANDS
from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Exec, Request, Subject
from policy.shell.reader import read
from policy.shell.search import searched
from tests.policy.rows import rows
from tests.policy.shell.laws import is_read_back
from tests.policy.shell.pieces import PIECES

pytestmark = pytest.mark.untraced

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "host")
SUBJECT = Subject("agent:fuzz@1000", "s", 1000, "local")
POLICY = load([pack("dev-safe")], check_examples=False)
REAL = (*COMMANDS, *(row.command for row in (*rows("red_team"), *rows("harmless"))))
unhurried = settings(deadline=None, suppress_health_check=list(HealthCheck))


def holds(text: str) -> None:
    """Fail if a law does not hold for a text."""
    tree = read(text)
    if isinstance(tree, t.Opaque):
        searched(text)
    else:
        assert is_read_back(tree)
    request = Request(SUBJECT, Exec(text, None, CONTEXT.workspace), "exec")
    decision = classify(request, POLICY, CONTEXT)
    assert [one.reason for one in decision.verdicts if one.rule_id == "error"] == []


@pytest.mark.threat("T18")
@settings(unhurried, max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_are_decided(data: bytes) -> None:
    holds(data.decode("utf-8", "surrogateescape"))


@pytest.mark.threat("T18")
@settings(unhurried, max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(["", " ", " "])), max_size=30))
def test_any_soup_of_shell_tokens_is_decided(pairs: list[tuple[str, str]]) -> None:
    holds("".join(piece + gap for piece, gap in pairs))


def spoiled(rng: random.Random) -> str:
    """Return a real command with a few pieces put in, taken out, doubled or swapped."""
    text = rng.choice(REAL)
    for _ in range(rng.randrange(1, 4)):
        start, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        match rng.randrange(4):
            case 0:
                text = text[:start] + rng.choice(PIECES) + text[start:]
            case 1:
                text = text[:start] + text[min(end, start + 8) :]
            case 2:
                text = text[:end] + text[start:]
            case _:
                other = rng.choice(REAL)
                text = text[:start] + other[rng.randrange(len(other)) :] + text[end:]
    return text


@pytest.mark.threat("T18")
@settings(unhurried, max_examples=400)
@given(st.randoms(use_true_random=False))
def test_any_spoiled_command_is_decided(rng: random.Random) -> None:
    holds(spoiled(rng))

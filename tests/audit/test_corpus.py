"""How well secrets and what only looks alike are told apart, measured on our own corpus."""

import time

import pytest

from audit.patterns import SHAPES, shapes_of
from audit.redact import Redactor
from tests.audit.corpus_of_secrets import leaked, rows, score

pytestmark = pytest.mark.threat("T17")

HOSTILE = [
    "a.", "token=", "token:", "eyJ-", "eyJ.", "a://", "machine ", "machine\n", "default\n", "\n",
    "mysql -x ", "docker login ", "curl -u ", "zip ", "ldapx ", "sess=", "-----BEGIN A ",
    "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "PuTTY-User-Key-File-2:",
    "LS0tLS1CRUdJTi", "password is: ", "password = ", "password = a", ".pass=", '"auth":',
    "authorization: ", "authorization: digest ", "-pass pass:", "$6$", "sk-ant-a-", "dp.st.",
    "?sig=", 'key="a', "<password>", "bearer ", "x" * 97 + " ", "--token ", "--token" + " " * 90,
    "1234567890:AA", "password='", 'password="', "pwd=;", "secret: {", "M-.", "AKIA", "a:22:b:",
]  # fmt: skip


def test_recall_and_precision_are_those_that_were_measured(capsys):
    result = score()
    with capsys.disabled():
        print(f"\nrecall {result.recall:.3f} of {result.secrets} secrets,", end=" ")
        print(f"precision {result.precision:.3f} with {result.harmless} look-alikes")
    assert result.secrets >= 150
    assert result.harmless >= 150
    assert [row.template for row in result.missed] == []
    assert len(result.wrongly_hidden) <= 1
    assert result.recall >= 0.99
    assert result.precision >= 0.99


@pytest.mark.parametrize("row", rows("secrets.txt"), ids=lambda row: row.template[:40])
def test_a_secret_is_hidden_in_chunks_as_it_is_whole_and_the_rest_stays(row):
    whole = Redactor().redact_text(f"before\n{row.text}\nafter\n")
    stream = Redactor().stream()
    data = f"before\n{row.text}\nafter\n".encode()
    shown = b"".join(stream.feed(data[i : i + 5]) for i in range(0, len(data), 5))
    assert (shown + stream.finish()).decode() == whole
    assert not leaked(row, whole)
    assert whole.startswith("before\n")
    assert whole.endswith("\nafter\n")


def test_a_shape_that_needs_a_word_matches_nothing_without_it():
    for row in (*rows("secrets.txt"), *rows("harmless.txt")):
        data = row.text.encode()
        may_stand = shapes_of(data)
        for shape in SHAPES:
            if shape not in may_stand:
                assert shape.pattern.search(data) is None, (shape.pattern, row.template)


def test_in_a_record_the_same_is_found_as_where_every_shape_is_looked_for():
    words = " ".join(need.decode() for shape in SHAPES for need in shape.needs)
    everything = f"{words} a:22:b:c: ://a: $6$ ghp_{'a' * 40} by-heart two words"
    assert set(shapes_of(everything.encode())) == set(SHAPES)
    redactor = Redactor([("known", "by-heart"), ("known", "two words")])
    for row in (*rows("secrets.txt"), *rows("harmless.txt")):
        argv = ["tool", *row.text.split(" "), 7, "two", "words", {"by-heart": row.text}]
        record = {"text": row.text, "argv": argv, "nested": {"deep": (argv, None)}}
        found = redactor.redact_record(record, len)
        whole = redactor.redact_record({**record, "more": everything}, len)
        assert {**whole, "more": found.get("more")} == {**found, "more": None}, row.template
        assert not leaked(row, str(found["text"]))


@pytest.mark.untraced
@pytest.mark.parametrize("piece", HOSTILE, ids=lambda piece: repr(piece)[:30])
def test_no_text_takes_more_than_its_length(piece):
    redactor, spent = Redactor(), []
    for size in (20_000, 80_000):
        data = (piece * (size // len(piece) + 1)).encode()
        best = []
        for _ in range(2):
            started = time.process_time()
            redactor.redact(data)
            best.append(time.process_time() - started)
        spent.append(min(best))
    assert spent[1] < 2, spent
    assert spent[1] < 12 * max(spent[0], 0.02), spent  # of four times the text; squared: 16

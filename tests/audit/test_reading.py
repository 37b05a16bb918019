"""A log read for people: how far trust goes for each record, and proofs that are audit prove's."""

from datetime import timedelta

import pytest

from audit.errors import AuditError
from audit.prove import prove, verify_proof
from audit.query import Query
from audit.reading import read
from audit.verify import Code
from tests.stories import START, log_of, working_days


def test_every_signed_record_has_the_proof_that_prove_gives(house):
    house.filled(11)
    reading = read(house.path, house.keys, Query(), last=100)
    for seq, line in reading.lines:
        assert reading.trust(seq) == "signed"
        assert reading.proof(seq, line) == prove(house.path, seq)


def test_a_rotated_log_is_read_with_the_key_that_began_it(house):
    first = house.filled(3).keys
    house.rotated().filled(3)
    reading = read(house.path, first, Query(), last=100)
    assert {reading.trust(seq) for seq, _ in reading.lines} == {"signed"}
    for seq, line in reading.lines:
        assert reading.proof(seq, line) == prove(house.path, seq)
        assert verify_proof(prove(house.path, seq), first).index == seq
    late = read(house.path, house.keys, Query(), last=100)
    assert {late.trust(seq) for seq, _ in late.lines} == {"broken"}


def test_the_newest_are_kept_and_older_ones_counted(tmp_path):
    log, key = log_of(tmp_path, working_days)
    every = read(log, [key], Query(effect="deny"), last=100)
    few = read(log, [key], Query(effect="deny"), last=1)
    assert few.lines == every.lines[-1:]
    assert few.records == every.records[-1:]
    assert few.left_out == len(every.lines) - 1
    assert read(log, [key], Query(after_seq=40), last=100).lines[0][0] == 41
    later = Query(session="s1", since=START + timedelta(hours=1))
    assert [one["event"] for one in read(log, [key], later, last=9).records] == [
        "exec.intent",
        "exec.outcome",
    ]


def test_what_follows_the_checkpoint_is_unsigned_and_a_torn_end_is_no_record(house):
    house.filled(5)
    checkpoint = (house.path / "checkpoint").read_bytes()
    durable = (house.path / "checkpoint.durable").read_bytes()
    house.filled(3)
    (house.path / "checkpoint").write_bytes(checkpoint)
    (house.path / "checkpoint.durable").write_bytes(durable)
    with house.segment.open("ab") as stream:
        stream.write(b'{"@prev":')
    reading = read(house.path, house.keys, Query(), last=100)
    assert reading.report.code is Code.INCOMPLETE
    assert [reading.trust(seq) for seq, _ in reading.lines] == ["signed"] * 5 + ["unsigned"] * 3
    assert reading.proof(5, reading.lines[5][1]) is None


def test_records_that_a_crash_left_unsigned_are_called_recovered(house):
    house.filled(5)
    old = [
        (name, (house.path / name).read_bytes()) for name in ("checkpoint", "checkpoint.durable")
    ]
    house.filled(2)
    for name, data in old:
        (house.path / name).write_bytes(data)
    house.filled(1)
    reading = read(house.path, house.keys, Query(), last=100)
    assert reading.report.code is Code.VERIFIED
    assert [reading.trust(seq) for seq, _ in reading.lines][4:7] == ["signed", *["recovered"] * 2]


@pytest.mark.threat("T15")
def test_nothing_of_a_changed_log_is_proven_but_all_of_it_is_shown(house):
    house.filled(6)
    lines = house.lines()
    house.put([*lines[:3], lines[3].replace(b'"number":3', b'"number":4'), *lines[4:]])
    reading = read(house.path, house.keys, Query(), last=100)
    assert reading.report.code is Code.TAMPERED
    assert len(reading.records) == 6
    assert {reading.trust(seq) for seq, _ in reading.lines} == {"broken"}
    assert reading.proof(0, reading.lines[0][1]) is None


@pytest.mark.threat("T15")
def test_a_log_that_nobody_known_signed_proves_nothing(house, tmp_path):
    house.filled(3)
    (house.path / "checkpoint").unlink()
    reading = read(house.path, house.keys, Query(), last=100)
    assert {reading.trust(seq) for seq, _ in reading.lines} == {"broken"}


def test_lines_that_are_no_records_are_counted(house):
    house.filled(3)
    house.put([*house.lines(), b"nonsense\n"])
    reading = read(house.path, house.keys, Query(), last=100)
    assert (reading.unreadable, len(reading.records)) == (1, 3)
    late = read(house.path, house.keys, Query(since=START - timedelta(days=999)), last=100)
    assert (late.unreadable, len(late.records)) == (1, 3)
    house.put([*house.lines(), b"[1]\n"])
    late = read(house.path, house.keys, Query(since=START - timedelta(days=999)), last=100)
    assert (late.unreadable, len(late.records)) == (1, 3)


def test_a_log_that_cannot_be_read_is_named(house):
    with pytest.raises(AuditError, match="cannot be read"):
        read(house.path / "elsewhere", house.keys, Query(), last=1)

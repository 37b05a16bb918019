"""What is handed to a sink was signed, follows what was handed on before, and is the same log."""

import json

import pytest

from audit import heads
from audit.errors import AuditTampered, AuditUnavailable
from audit.sinks import follow
from audit.sinks.follow import Position
from audit.sinks.state import Book, State, load
from tests.audit.house import Clock
from tests.audit.sinks.receivers import following

pytestmark = pytest.mark.threat("T15")


def everything(house, start=Position()):  # noqa: B008
    log, lines = following(house), []
    head = log.head()
    while (batch := log.read(start, head)).lines:
        assert len(batch.lines) <= follow.MAX_RECORDS
        lines += batch.lines
        start = batch.end
    return start, lines


def test_all_segments_are_read_in_order_and_only_once(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 3000)
    monkeypatch.setattr(follow, "MAX_BYTES", 1000)
    house.filled(60)
    end, lines = everything(house)
    paths = sorted(house.path.glob("seg-*.jsonl"))
    assert len(paths) > 2
    whole = b"".join(path.read_bytes() for path in paths)
    assert b"".join(lines) == whole
    assert (end.size, end.bytes) == (60, len(whole))
    house.filled(5)
    again = Position.from_json(json.loads(json.dumps(end.to_json())))
    assert again == end
    assert [json.loads(line)["@seq"] for line in everything(house, again)[1]] == list(range(60, 65))


def test_a_record_that_is_not_signed_yet_waits(house):
    house.filled(4)
    with house.segment.open("ab") as file:
        file.write(b'{"@prev":"')
    assert len(everything(house)[1]) == 4


def test_a_torn_checkpoint_is_read_again_and_a_foreign_one_refused(house, monkeypatch):
    house.filled(3)
    whole = (house.path / "checkpoint").read_bytes()
    (house.path / "checkpoint").write_bytes(whole[:40])
    mended = lambda _: (house.path / "checkpoint").write_bytes(whole)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(heads.time, "sleep", mended)
        assert following(house).head().checkpoint.size == 3
    (house.path / "checkpoint").write_bytes(whole[:40])
    with pytest.raises(AuditTampered, match=r"checkpoint: .*Run audit verify"):
        following(house).head()
    (house.path / "checkpoint").unlink()
    with pytest.raises(AuditTampered, match=r"checkpoint: there is none. Run audit verify"):
        following(house).head()


@pytest.mark.parametrize("change", ["edit", "cut", "replace", "roll back", "swap a root"])
def test_a_log_that_is_not_the_delivered_one_goes_no_further(house, change):
    house.filled(6)
    end, _ = everything(house)
    house.filled(3)
    lines = house.lines()
    if change == "edit":
        house.put([*lines[:7], lines[7].replace(b"number", b"numbex"), *lines[8:]])
    elif change == "cut":
        house.put(lines[:6])
    elif change == "replace":
        end = Position(6, 0, end.offset, 0, "0" * 64, end.peaks)
    elif change == "roll back":
        end = Position(20, 0, end.offset, 0, end.tip, (b"", b""))
    else:
        end = Position(6, 0, end.offset, 0, end.tip, end.peaks[::-1])
    with pytest.raises(AuditTampered, match="Run audit verify"):
        everything(house, end)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"position":{"size":3}}', '{"position":5}'])
def test_a_state_that_cannot_be_read_is_an_error_that_says_what_to_do(house, text):
    house.filled(2)
    (house.path / "sinks").mkdir(mode=0o700)
    (house.path / "sinks" / "a.json").write_text(text)
    with pytest.raises(AuditUnavailable, match="Remove it to deliver everything again"):
        load(house.path, "a")
    with pytest.raises(AuditUnavailable):
        Book(house.path, "a", Clock()).claim()


def test_a_position_with_another_tree_is_none():
    with pytest.raises(ValueError, match="no such tree"):
        Position.from_json({**Position().to_json(), "size": 3})
    with pytest.raises(ValueError, match="unpack"):
        Position.from_json({**Position().to_json(), "size": -3})


def test_one_process_delivers_at_a_time_and_the_next_goes_on_where_it_ended(house):
    house.filled(2)
    one, two = Book(house.path, "a", Clock()), Book(house.path, "a", Clock())
    assert one.claim()
    assert not two.claim()
    end, _ = everything(house)
    one.delivered(end, rejected=1)
    one.failed("x" * 9000)
    one.failed("again")
    one.release()
    one.release()
    assert two.claim()
    kept = State(end, "2026-01-02T03:04:06.000000Z", "2026-01-02T03:04:07.000000Z", "again", 2, 1)
    assert two.state == load(house.path, "a") == kept
    two.release()
    assert (house.path / "sinks" / "a.json").stat().st_mode & 0o777 == 0o600

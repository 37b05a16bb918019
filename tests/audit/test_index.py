"""The index finds what reading finds, shows nothing of its own, and is never in a reader's way."""

import os
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import index as index_module
from audit.chain import Chain
from audit.errors import AuditError
from audit.index import INDEX, newest
from audit.query import EVERYTHING, Query, records
from tests.stories import START, hostile, log_of, many, records_of, sessions, working_days

ALL = 10_000


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return log_of(tmp_path, working_days)[0]


@pytest.fixture(scope="module")
def days(tmp_path_factory) -> Path:
    return log_of(tmp_path_factory.mktemp("days"), working_days)[0]


def by_index(log: Path, query: Query = EVERYTHING, limit: int = ALL):
    found = newest(log, query, limit=limit, homes=[log / INDEX])
    assert found.gone_around == ""
    return list(found.records)


TIMES = st.none() | st.integers(-60, 90_000).map(lambda after: START + timedelta(seconds=after))
QUERIES = st.builds(
    Query,
    since=TIMES,
    until=TIMES,
    subject=st.sampled_from([None, None, "agent:claude-code", "agent:codex", "nobody"]),
    session=st.sampled_from([None, None, "s1", "s2"]),
    effect=st.sampled_from([None, None, "allow", "ask", "deny"]),
    host=st.sampled_from([None, None, "api.example.com", "web1.example.com", "telemetry"]),
    event=st.sampled_from([None, None, "exec", "exec.intent", "approval", "policy.loaded", "ex"]),
    text=st.sampled_from([None, None, "pip install", "'def checkout'", '"effect":"deny"', "é"]),
    after_seq=st.integers(-1, 50),
    before_seq=st.none() | st.integers(0, 50),
)


@given(query=QUERIES, limit=st.integers(1, 60))
def test_an_index_gives_what_reading_the_log_gives(days, query, limit):
    assert by_index(days, query, limit) == list(records(days, query))[-limit:]


def test_hostile_text_can_be_asked_for(tmp_path):
    log, _ = log_of(tmp_path, hostile)
    for session in sessions(records_of(hostile)):
        assert by_index(log, Query(session=session)) == list(records(log, Query(session=session)))
    subjects = {str(one["actor"]["id"]) for one in records(log) if "actor" in one}
    for subject in subjects:
        assert len(by_index(log, Query(subject=subject))) == 3
    assert by_index(log, Query(subject="\udc80")) == []
    assert by_index(log, Query(text="\udc80")) == []


@pytest.mark.parametrize("seq", [10**30, -(10**30), 2**63])
def test_a_number_of_any_size_can_be_asked_for(log, seq):
    for query in (
        Query(after_seq=seq),
        Query(before_seq=seq),
        Query(after_seq=seq - 1, before_seq=seq + 1),
    ):
        assert by_index(log, query) == list(records(log, query))


def test_it_grows_with_the_log_and_is_not_written_when_the_log_has_not_grown(house):
    house.filled(5)
    assert len(by_index(house.path)) == 5
    before = (house.path / INDEX).stat().st_mtime_ns
    assert len(by_index(house.path)) == 5
    assert (house.path / INDEX).stat().st_mtime_ns == before
    house.filled(4)  # log.open again, and three more
    assert [one["@seq"] for one in by_index(house.path)] == list(range(9))


def test_it_goes_on_over_segments(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 400)
    house.filled(9)
    assert len(list(house.path.glob("seg-*"))) > 2
    assert len(by_index(house.path)) == 9
    house.filled(9)
    assert len(by_index(house.path)) == 18
    assert [one["@seq"] for one in by_index(house.path, Query(text='"number":8'))] == [8, 17]


def test_a_long_log_tells_how_far_its_first_reading_has_come(tmp_path, monkeypatch):
    monkeypatch.setattr("audit.index.BATCH", 256)
    log, _ = log_of(tmp_path, many(512))
    told: list[int] = []
    newest(log, Query(), limit=1, homes=[log / INDEX], progress=told.append)
    assert told == [256, 512]
    since = START + timedelta(seconds=31 * 256 - 100)
    assert by_index(log, Query(since=since)) == list(records(log, Query(since=since)))


def test_a_torn_last_line_is_not_a_record_yet(log):
    (segment,) = log.glob("seg-*")
    whole = len(by_index(log))
    with segment.open("ab") as stream:
        stream.write(b'{"@prev"')
    assert len(by_index(log)) == whole


# --- damaged, stale, in the way ---------------------------------------------------------------


def ruin(file: Path, how: str) -> None:
    if how == "bytes":
        file.write_bytes(b"not a database at all" * 99)
    elif how == "cut":
        os.truncate(file, 5000)
    elif how == "empty":
        file.write_bytes(b"")
    else:
        with sqlite3.connect(file) as database:
            database.execute(how)
        database.close()


RUINS = [
    "bytes",
    "cut",
    "empty",
    "UPDATE state SET version = 99",
    "DELETE FROM state",
    "UPDATE state SET tip = 'x'",
    "DELETE FROM record WHERE seq = (SELECT max(seq) FROM record)",
    "UPDATE record SET start = start + 1",
    "UPDATE record SET start = 'here'",
    "UPDATE record SET length = 0",
    "UPDATE record SET length = 1 << 40",
    "UPDATE record SET first = 77",
    "UPDATE record SET start = (SELECT start FROM record WHERE seq = 3) WHERE seq = 4",
    "UPDATE record SET ts = NULL",
    "DROP TABLE word",
]


@pytest.mark.threat("T15")
@pytest.mark.parametrize("how", RUINS)
def test_a_damaged_index_is_made_again(log, how):
    query = Query(since=START - timedelta(days=1))
    expected = by_index(log, query)
    ruin(log / INDEX, how)
    assert by_index(log, query) == expected
    assert by_index(log) == expected


@pytest.mark.threat("T15")
def test_an_index_cannot_make_a_record_up(log):
    by_index(log)
    with sqlite3.connect(log / INDEX) as database:
        (word,) = database.execute("SELECT id FROM word WHERE text = 'exec'").fetchone()
        database.execute("UPDATE record SET session = ?", (word,))
    database.close()
    # Each of these records holds the text "exec", but not as its session.
    assert by_index(log, Query(session="exec")) == []


@pytest.mark.threat("T15")
def test_an_index_of_another_log_is_made_again(log, tmp_path):
    by_index(log)
    other, _ = log_of(tmp_path / "other", many(30))
    (log / INDEX).replace(other / INDEX)
    assert [one["@seq"] for one in by_index(other)] == list(range(31))


@pytest.mark.threat("T15")
def test_a_record_that_was_changed_since_is_never_shown_from_an_index(log):
    by_index(log)
    (segment,) = log.glob("seg-*")
    segment.write_bytes(segment.read_bytes().replace(b"./.env |", b"./.eNv |"))
    found = newest(log, Query(), limit=ALL, homes=[log / INDEX, log / "other"])
    assert "does not follow; run audit verify" in found.gone_around
    assert len(found.records) == 45


def test_a_log_with_a_line_that_is_no_record_is_named(house):
    house.filled(3)
    house.put([*house.lines()[:2], b"nonsense\n"])
    with pytest.raises(AuditError, match="record 2"):
        newest(house.path, Query(), limit=9, homes=[house.path / INDEX])


DEEP = b'"a":' + b"[" * 20_000 + b"]" * 20_000 + b","


@pytest.mark.parametrize("line", [b'"number":1e1,', b'"event":"\\ud800.x",', b'"a":,', DEEP])
def test_a_chained_line_that_is_not_canonical_is_named(house, line):
    house.filled(2)
    chain = Chain()
    house.put([chain.extend(b"{" + line + b'"v":1}') + b"\n", chain.extend(b'{"v":1}') + b"\n"])
    with pytest.raises(AuditError, match="record 0"):
        newest(house.path, Query(), limit=9, homes=[house.path / INDEX])


def test_a_missing_segment_is_said(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 400)
    house.filled(9)
    by_index(house.path)
    first, second, *_ = sorted(house.path.glob("seg-*"))
    second.unlink()
    found = newest(house.path, Query(), limit=9, homes=[house.path / INDEX])
    assert "no file holds record" in found.gone_around
    assert found.records
    first.unlink()
    assert newest(house.path, Query(), limit=9, homes=[house.path / INDEX]).records


@pytest.mark.parametrize("what", ["symlink", "directory", "foreign"])
def test_what_is_not_plainly_ours_is_not_used_as_an_index(log, tmp_path, monkeypatch, what):
    home = log / INDEX
    if what == "symlink":
        home.symlink_to(tmp_path / "elsewhere")
    elif what == "directory":
        home.mkdir()
    else:
        by_index(log)
        monkeypatch.setattr(index_module.os, "geteuid", lambda: 12345)
    found = newest(log, Query(), limit=3, homes=[home])
    assert "not a file of the user's own" in found.gone_around
    assert len(found.records) == 3
    assert not (tmp_path / "elsewhere").exists()


def test_another_home_is_taken_where_the_first_cannot_be_written(log, tmp_path):
    (log / "file").write_text("")
    second = tmp_path / "state" / "index" / "x.sqlite"
    found = newest(log, Query(), limit=3, homes=[log / "file" / INDEX, second])
    assert (found.gone_around, len(found.records)) == ("", 3)
    assert second.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in second.parent.iterdir()] == ["x.sqlite"]


def test_an_index_that_somebody_writes_is_gone_around(house, monkeypatch):
    monkeypatch.setattr(index_module, "BUSY_S", 0.01)
    house.filled(3)
    by_index(house.path)
    house.filled(3)
    busy = sqlite3.connect(house.path / INDEX, isolation_level=None)
    busy.execute("BEGIN EXCLUSIVE")
    found = newest(house.path, Query(), limit=9, homes=[house.path / INDEX])
    assert "locked" in found.gone_around
    assert len(found.records) == 6
    busy.close()


def test_an_index_that_cannot_be_caught_up_is_made_again(house):
    house.filled(3)
    by_index(house.path)
    house.filled(3)
    with sqlite3.connect(house.path / INDEX) as database:
        database.execute(
            "CREATE TRIGGER no BEFORE INSERT ON record BEGIN SELECT RAISE(FAIL, 'x'); END"
        )
    database.close()
    assert len(by_index(house.path)) == 6


def test_without_a_home_the_log_itself_is_read(log):
    assert len(newest(log, Query(), limit=7, homes=[]).records) == 7
    assert not (log / INDEX).exists()


def test_an_empty_log_has_no_records(tmp_path):
    (tmp_path / "log").mkdir()
    assert by_index(tmp_path / "log") == []

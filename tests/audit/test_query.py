from datetime import UTC, datetime

import pytest

from audit.errors import AuditError
from audit.query import Query, records


@pytest.fixture
def told(house):
    log = house.open()
    for number, (who, effect, host) in enumerate(
        [("ada", "allow", "web1"), ("bob", "deny", "web2"), ("ada", "deny", "web1")]
    ):
        common = {
            "action_id": f"a{number}",
            "session": f"s{number}",
            "actor": {"kind": "agent", "id": who},
            "policy": {"effect": effect},
        }
        request = {"host": host, "script": "ls é"}
        log.append({"event": "exec.intent", **common, "request": request})
        log.append(
            {"event": "exec.outcome", **common, "outcome": {"status": "ok"}}, is_outcome=True
        )
    log.close()
    return house


@pytest.mark.parametrize(
    ("query", "seqs"),
    [
        (Query(), [0, 1, 2, 3, 4, 5, 6]),
        (Query(subject="ada"), [1, 2, 5, 6]),
        (Query(effect="deny"), [3, 4, 5, 6]),
        (Query(subject="ada", effect="deny"), [5, 6]),
        (Query(host="web1"), [1, 5]),
        (Query(session="s1"), [3, 4]),
        (Query(text="ls é"), [1, 3, 5]),
        (Query(after_seq=4), [5, 6]),
        (Query(since=datetime(2026, 1, 2, 3, 4, 11, tzinfo=UTC)), [5, 6]),
        (Query(until=datetime(2026, 1, 2, 3, 4, 8, tzinfo=UTC)), [0, 1]),
    ],
)
def test_a_query_gives_the_records_asked_for_newest_last(told, query, seqs):
    assert [record["@seq"] for record in records(told.path, query)] == seqs


def test_a_torn_last_line_is_not_a_record(told):
    with told.segment.open("ab") as stream:
        stream.write(b'{"@prev"')
    assert len(list(records(told.path))) == 7


def test_a_line_that_is_not_a_record_is_named(told):
    told.put([*told.lines()[:2], b"nonsense\n"])
    with pytest.raises(AuditError, match="record 2: not JSON"):
        list(records(told.path))


def test_a_log_that_cannot_be_read_is_named(told):
    with pytest.raises(AuditError, match="cannot be read"):
        list(records(told.path / "elsewhere"))

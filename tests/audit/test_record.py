from datetime import datetime, timedelta, timezone

import pytest

from audit.canonical import decode, encode
from audit.chain import check_top_level
from audit.record import log_open, log_recovered, lost, timestamp

INTENT = {
    "event": "exec.intent",
    "action_id": "a",
    "session": "s",
    "tool": "exec",
    "actor": {"kind": "agent", "id": "ada", "auth": "uid"},
    "trace": {"trace_id": "t"},
    "request": {"command": "ls"},
    "policy": {"effect": "allow"},
    "@seq": 7,
}
RECORDS = [
    log_open(origin="o", vkey="k", writer={"pid": 1}),
    log_recovered(cut=(1, "h"), kept=None),
    log_recovered(cut=None, kept=(1, 2)),
    lost(INTENT),
]


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_every_word_of_the_log_is_in_the_domain(record):
    check_top_level(tuple(record))
    assert decode(encode(record)) == record


def test_a_lost_outcome_repeats_who_and_what_but_not_the_request():
    found = lost(INTENT)
    assert found["event"] == "exec.outcome"
    assert (found["action_id"], found["intent_seq"]) == ("a", 7)
    assert "request" not in found


def test_time_is_written_in_utc_and_sorts_as_text():
    east = datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(east) == "2025-12-31T23:00:00.000000Z"

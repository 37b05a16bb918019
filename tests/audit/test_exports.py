"""Exports are what other systems published: OCSF's required fields, OTLP's messages, safe CSV."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from google.protobuf import json_format
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData

from audit.canonical import encode
from audit.ocsf import event
from audit.otlp import logs
from audit.sheet import COLUMNS, header, row
from audit.story import Entry, told
from tests.stories import ORIGIN, hostile, records_of, working_days

ALL = [*records_of(working_days), *records_of(hostile)]
ENTRIES = [*told(records_of(working_days)), *told(records_of(hostile))]

# --- OCSF 1.3.0: requirements and enumerations of the two classes and the objects in them ------

BASE = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
REQUIRED = {
    1007: BASE | {"actor", "device", "process"},
    6003: BASE | {"actor", "api", "src_endpoint"},
}
KNOWN = {
    "message", "status_id", "status_detail", "action_id", "disposition_id", "unmapped", "duration",
    "activity_name", "resources",
}  # fmt: skip
ACTIVITIES = {1007: {0, 1, 2, 3, 4, 5, 99}, 6003: {0, 1, 2, 3, 4, 99}}


def exported(entry: Entry):
    return dict(event(entry, origin=ORIGIN, product_version="0.1.0", trust="signed"))


@pytest.mark.parametrize("entry", ENTRIES, ids=range(len(ENTRIES)))
def test_an_event_has_what_its_class_requires_and_nothing_unknown(entry):
    found = json.loads(json.dumps(exported(entry)))
    kind = found["class_uid"]
    assert REQUIRED[kind] <= found.keys() <= REQUIRED[kind] | KNOWN
    assert found["category_uid"] == kind // 1000
    assert found["activity_id"] in ACTIVITIES[kind]
    assert found["type_uid"] == kind * 100 + found["activity_id"]
    assert found["severity_id"] in {1, 2, 3, 4, 5, 6}
    assert found["status_id"] in {0, 1, 2}
    assert found["action_id"] in {1, 2}
    assert {"version", "product"} <= found["metadata"].keys()
    assert found["metadata"]["version"] == "1.3.0"
    assert found["metadata"]["product"]["vendor_name"]
    assert found["actor"]["user"]["name"]
    if kind == 1007:
        assert found["process"]["uid"]  # at least one of pid, uid, name
        assert found["device"]["type_id"] == 0
        assert found["device"]["hostname"] == "box"
    else:
        assert found["api"]["operation"]
        assert found["src_endpoint"]["hostname"] == "box"
    moment = datetime.fromtimestamp(found["time"] / 1000, UTC)
    assert moment.isoformat(timespec="milliseconds")[:23] == entry.ts[:23]


def test_severity_and_outcome_say_what_happened():
    by_what = {entry.what: exported(entry) for entry in told(records_of(working_days))}
    denied, ran = by_what["cat .env"], by_what["ls -la"]
    assert (denied["action_id"], denied["disposition_id"], denied["severity_id"]) == (2, 2, 3)
    assert (ran["action_id"], ran["status_id"], ran["severity_id"]) == (1, 1, 1)
    assert by_what["docker compose up -d"]["severity_id"] == 4
    assert by_what["make bench"]["severity_id"] == 2
    read = Entry("call", "read", (1,), "no time", "read_file /w/a", status="ok")
    odd = event(read, origin="elsewhere", product_version="1", trust="unsigned")
    assert (odd["time"], odd["activity_id"]) == (0, 2)
    assert odd["src_endpoint"] == {"hostname": "elsewhere"}


# --- OTLP -------------------------------------------------------------------------------------


def test_records_are_a_message_of_the_published_protocol():
    lines = [(encode(record), record) for record in ALL]
    text = json.dumps(logs(lines, origin=ORIGIN, product_version="0.1.0"))
    hexed = json.loads(text)  # json_format reads bytes as base64; OTLP's JSON has them as hex
    message = json_format.ParseDict(hexed, LogsData(), ignore_unknown_fields=False)
    (resource,) = message.resource_logs
    found = resource.scope_logs[0].log_records
    assert [one.body.string_value.encode() for one in found] == [line for line, _ in lines]
    assert found[0].event_name == "policy.loaded"
    first = datetime.fromtimestamp(found[0].time_unix_nano / 1e9, UTC)
    assert first.isoformat()[:19] == str(ALL[0]["ts"])[:19]
    names = {one.key for one in found[3].attributes}
    assert {"event.name", "permitgate.seq", "permitgate.session", "permitgate.effect"} <= names
    assert {one.severity_text for one in found} == {"INFO", "WARN"}


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ({"trace_id": "a" * 32, "span_id": "b" * 16}, {"traceId": "a" * 32, "spanId": "b" * 16}),
        ({"trace_id": "a" * 31, "span_id": "b" * 16}, {}),
        ({"trace_id": 7}, {}),
    ],
)
def test_a_trace_is_told_where_the_record_has_one(trace, expected):
    data = logs(
        [(b"{}", {"event": "x", "trace": trace, "ts": "late"})], origin="o", product_version="1"
    )
    (one,) = data["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    assert {key: one[key] for key in ("traceId", "spanId") if key in one} == expected
    assert one["timeUnixNano"] == "0"
    naive = logs([(b"{}", {"ts": "2026-01-01T00:00:00"})], origin="o", product_version="1")
    assert naive["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["timeUnixNano"] == "0"


# --- CSV --------------------------------------------------------------------------------------


@pytest.mark.threat("T24")
def test_no_cell_is_a_formula_and_every_row_is_whole():
    entries = ENTRIES
    text = header() + "".join(row(entry, trust="signed") for entry in entries)
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == list(COLUMNS)
    assert len(rows) == len(entries) + 1
    assert {len(one) for one in rows} == {len(COLUMNS)}
    starts = {cell.lstrip(" '\"")[:1] for one in rows for cell in one if not cell.startswith("'")}
    assert starts.isdisjoint("=+-@|%\t\r")
    assert all(cell.isprintable() for one in rows for cell in one)
    assert sum(cell.startswith("'=") for one in rows for cell in one) >= 2


@pytest.mark.threat("T24")
@pytest.mark.parametrize(
    "text", ["=1", "+1", "-1", "@x", " =1", "'=1", '"=1', "|x", "%x", "\uff1d1", "\uff0b1"]
)
def test_what_a_spreadsheet_takes_for_a_formula_becomes_text(text):
    entry = Entry("event", "x", (0,), "", text)
    (_, found) = csv.reader(io.StringIO(header() + row(entry, trust="")))
    assert found[COLUMNS.index("what")] == f"'{text}"

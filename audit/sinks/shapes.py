"""What each kind of receiver is sent for one record: a syslog line, a journal entry, an OTLP body.

May touch: bytes. The record's own line is always carried unchanged, so that whoever has a copy can
check it against the log.
Source: RFC 5424; systemd's native journal protocol; OpenTelemetry Protocol 1 (OTLP/HTTP, JSON).
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from audit.canonical import Json

ERROR, WARNING, INFO = 3, 4, 6  # severities of RFC 5424, which the journal shares
_OTLP = {ERROR: (17, "ERROR"), WARNING: (13, "WARN"), INFO: (9, "INFO")}
_REFUSED = ("denied", "declined", "blocked")
_UNKNOWN = ("lost", "error")
_MSGID_LENGTH = 32
_TRACE_DIGITS, _SPAN_DIGITS = 32, 16


def parsed(line: bytes) -> Mapping[str, Json]:
    """Return the record of a line that the log has written."""
    return cast("Mapping[str, Json]", json.loads(line))


def severity(record: Mapping[str, Json]) -> int:
    """Return how much a record matters to whoever watches: what was refused, what went wrong."""
    outcome, policy = record.get("outcome"), record.get("policy")
    status = outcome.get("status") if isinstance(outcome, Mapping) else None
    effect = policy.get("effect") if isinstance(policy, Mapping) else None
    if status in _UNKNOWN or record.get("event") == "log.recovered":
        return ERROR
    return WARNING if effect == "deny" or status in _REFUSED else INFO


def syslog(line: bytes, *, facility: int, host: str, process: int) -> bytes:
    """Return one RFC 5424 message; the record is its text."""
    record = parsed(line)
    name = str(record["event"])[:_MSGID_LENGTH]
    head = f"<{facility * 8 + severity(record)}>1 {record['ts']} {host} permitgate {process} {name}"
    return f"{head} - ".encode() + line.rstrip(b"\n")


def journal(line: bytes) -> bytes:
    """Return one entry of the journal's native protocol."""
    record = parsed(line)
    fields: dict[str, str] = {
        "PRIORITY": str(severity(record)),
        "SYSLOG_IDENTIFIER": "permitgate",
        "PERMITGATE_SEQ": str(record["@seq"]),
        "PERMITGATE_EVENT": str(record["event"]),
    }
    text = "".join(f"{name}={value}\n" for name, value in fields.items()).encode()
    data = line.rstrip(b"\n")
    # The binary form, so that no byte of a record can begin a field of its own.
    return text + b"MESSAGE\n" + len(data).to_bytes(8, "little") + data + b"\n"


def otlp(lines: Sequence[bytes], origin: str, version: str) -> bytes:
    """Return the body of one export request."""
    resource = [_text("service.name", "permitgate"), _text("permitgate.origin", origin)]
    logs = {
        "scope": {"name": "permitgate.audit", "version": version},
        "logRecords": [_otlp_record(line) for line in lines],
    }
    body = {"resourceLogs": [{"resource": {"attributes": resource}, "scopeLogs": [logs]}]}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def _otlp_record(line: bytes) -> dict[str, object]:
    record = parsed(line)
    number, word = _OTLP[severity(record)]
    found: dict[str, object] = {
        "timeUnixNano": _nanoseconds(str(record["ts"])),
        "severityNumber": number,
        "severityText": word,
        "eventName": str(record["event"]),
        "body": {"stringValue": line.rstrip(b"\n").decode()},
        "attributes": [
            {"key": "permitgate.seq", "value": {"intValue": str(record["@seq"])}},
            *(
                _text(f"permitgate.{name}", str(record[name]))
                for name in ("session", "action_id", "tool")
                if name in record
            ),
        ],
    }
    trace = record.get("trace")
    if isinstance(trace, Mapping):
        trace_id, span_id = str(trace.get("trace_id")), str(trace.get("span_id"))
        if (len(trace_id), len(span_id)) == (_TRACE_DIGITS, _SPAN_DIGITS):
            found |= {"traceId": trace_id, "spanId": span_id}
    return found


def _text(key: str, value: str) -> dict[str, object]:
    return {"key": key, "value": {"stringValue": value}}


def _nanoseconds(moment: str) -> str:
    at = datetime.fromisoformat(moment)
    return f"{int(at.timestamp())}{at.microsecond:06d}000"

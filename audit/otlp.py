"""Records as OpenTelemetry logs: OTLP's JSON form, as a collector's file receiver reads it.

May touch: values only. Source: opentelemetry-proto 1.x, logs.proto; 64-bit integers are strings and
bytes are hex there. The body is the record's canonical line, so its hash can still be checked.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

from audit.canonical import Json
from audit.record import ERROR, INFO, WARNING, inner, severity

Value: TypeAlias = "str | int | list[Value] | dict[str, Value]"

_SEVERITIES = {ERROR: (17, "ERROR"), WARNING: (13, "WARN"), INFO: (9, "INFO")}
_TRACE = re.compile("[0-9a-f]{32}")
_SPAN = re.compile("[0-9a-f]{16}")
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


def logs(
    records: Iterable[tuple[bytes, Mapping[str, Json]]], *, origin: str, product_version: str
) -> dict[str, Value]:
    """Return one `LogsData` message of an export over records and their canonical lines."""
    resource = {
        "service.name": "permitgate",
        "service.version": product_version,
        "service.instance.id": origin,
    }
    return message(records, resource, product_version)


def message(
    records: Iterable[tuple[bytes, Mapping[str, Json]]],
    resource: Mapping[str, Json],
    product_version: str,
) -> dict[str, Value]:
    """Return one `LogsData` message, from a resource with these attributes."""
    scope: Value = {"name": "permitgate.audit", "version": product_version}
    found: list[Value] = [_log(line, record) for line, record in records]
    return {
        "resourceLogs": [
            {
                "resource": {"attributes": _attributes(resource)},
                "scopeLogs": [{"scope": scope, "logRecords": found}],
            }
        ]
    }


def _log(line: bytes, record: Mapping[str, Json]) -> dict[str, Value]:
    number, word = _SEVERITIES[severity(record)]
    moment = _nanoseconds(record.get("ts"))
    event = str(record.get("event"))
    attributes = {
        "event.name": event,
        "permitgate.seq": record.get("@seq"),
        "permitgate.session": record.get("session"),
        "permitgate.subject": inner(record, "actor", "id"),
        "permitgate.tool": record.get("tool"),
        "permitgate.effect": inner(record, "policy", "effect"),
        "permitgate.risk": inner(record, "policy", "risk"),
        "permitgate.status": inner(record, "outcome", "status"),
        "permitgate.action_id": record.get("action_id"),
    }
    return {
        "timeUnixNano": moment,
        "observedTimeUnixNano": moment,
        "severityNumber": number,
        "severityText": word,
        "eventName": event,
        "body": {"stringValue": line.decode()},
        "attributes": _attributes(attributes),
        **_trace(record),
    }


def _trace(record: Mapping[str, Json]) -> dict[str, Value]:
    trace, span = inner(record, "trace", "trace_id"), inner(record, "trace", "span_id")
    if not (isinstance(trace, str) and isinstance(span, str)):
        return {}
    is_one = _TRACE.fullmatch(trace) and _SPAN.fullmatch(span)
    return {"traceId": trace, "spanId": span} if is_one else {}


def _attributes(values: Mapping[str, Json]) -> list[Value]:
    found: list[Value] = []
    for key, value in values.items():
        if isinstance(value, str):
            found.append({"key": key, "value": {"stringValue": value}})
        elif isinstance(value, int):
            found.append({"key": key, "value": {"intValue": str(value)}})
    return found


def _nanoseconds(ts: Json) -> str:
    try:
        passed = datetime.fromisoformat(str(ts)) - _EPOCH
    except (ValueError, TypeError):
        return "0"
    return str((passed.days * 86_400 + passed.seconds) * 10**9 + passed.microseconds * 1000)

"""What each kind of receiver is sent for one record: a syslog line, a journal entry, an OTLP body.

May touch: bytes. The record's own line is always carried unchanged, so that whoever has a copy can
check it against the log.
Source: RFC 5424; systemd's native journal protocol; OpenTelemetry Protocol 1 (OTLP/HTTP, JSON).
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast

from audit.canonical import Json
from audit.otlp import message
from audit.record import severity

_MSGID_LENGTH = 32


def parsed(line: bytes) -> Mapping[str, Json]:
    """Return the record of a line that the log has written."""
    return cast("Mapping[str, Json]", json.loads(line))


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
    resource = {"service.name": "permitgate", "permitgate.origin": origin}
    records = [(line.rstrip(b"\n"), parsed(line)) for line in lines]
    body = message(records, resource, version)
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

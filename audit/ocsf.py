"""Calls and events of a log as events of the Open Cybersecurity Schema Framework.

May touch: values only. Source: OCSF 1.3.0: commands are Process Activity (1007), all else is API
Activity (6003), both with the profile `security_control`. What has no place there is in `unmapped`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeAlias

from audit.record import STOPPED
from audit.story import Entry

Value: TypeAlias = "str | int | bool | list[Value] | dict[str, Value]"

VERSION = "1.3.0"
PROCESS_ACTIVITY = 1007
API_ACTIVITY = 6003
_CREATE, _READ, _UPDATE, _OTHER = 1, 2, 3, 99
_LAUNCH = 1
_ACTIVITIES = {"read": _READ, "audit": _READ, "tool": _READ, "patch": _UPDATE, "policy": _UPDATE}
_SUCCESS, _FAILURE, _UNKNOWN = 1, 2, 0
_ALLOWED, _DENIED = 1, 2
_BLOCKED = 2
_INFORMATIONAL, _LOW, _MEDIUM, _HIGH = 1, 2, 3, 4


def event(entry: Entry, *, origin: str, product_version: str, trust: str) -> Mapping[str, Value]:
    """Return one event.

    Args:
        entry: a call or event; its texts are harmless.
        origin: the log's name.
        product_version: of Permitgate.
        trust: how far the log's signature goes for its records.
    """
    is_process = entry.family == "exec" and entry.kind == "call"
    kind = PROCESS_ACTIVITY if is_process else API_ACTIVITY
    activity = _LAUNCH if is_process else _ACTIVITIES.get(entry.family, _OTHER)
    is_refused = entry.status in STOPPED
    found: dict[str, Value] = {
        "category_uid": kind // 1000,
        "class_uid": kind,
        "activity_id": activity,
        "type_uid": kind * 100 + activity,
        "severity_id": _severity(entry),
        "time": _milliseconds(entry.ts),
        "message": entry.message or entry.what,
        "status_id": _status(entry),
        "status_detail": entry.status,
        "action_id": _DENIED if is_refused else _ALLOWED,
        "metadata": {
            "version": VERSION,
            "product": {
                "name": "Permitgate",
                "vendor_name": "Permitgate",
                "version": product_version,
            },
            "profiles": ["security_control"],
            "log_name": origin,
            "uid": f"{origin}#{entry.seqs[0]}",
            "original_time": entry.ts,
        },
        "actor": {
            "user": {"name": entry.actor or origin},
            "session": {"uid": entry.session or "-"},
        },
        "unmapped": _unmapped(entry, trust),
    }
    if activity == _OTHER:
        found["activity_name"] = entry.family
    if is_refused:
        found["disposition_id"] = _BLOCKED
    return found | (_process(entry, origin) if is_process else _api(entry, origin))


def _process(entry: Entry, origin: str) -> dict[str, Value]:
    name = entry.what.partition(" ")[0]
    return {
        "device": {"hostname": _host(origin), "type_id": 0},
        "process": {"cmd_line": entry.what, "name": name, "uid": f"{origin}#{entry.seqs[0]}"},
        "duration": entry.dur_us // 1000,
    }


def _api(entry: Entry, origin: str) -> dict[str, Value]:
    return {
        "api": {"operation": entry.tool or entry.family, "service": {"name": "permitgate"}},
        "src_endpoint": {"hostname": _host(origin)},
        "resources": [{"name": path, "type": "file"} for _, path in entry.changed]
        or [{"name": entry.what or entry.family}],
    }


def _unmapped(entry: Entry, trust: str) -> dict[str, Value]:
    return {
        "records": list(entry.seqs),
        "trust": trust,
        "effect": entry.effect,
        "risk": entry.risk,
        "rules": list(entry.rules),
        "policy_digest": entry.policy,
        "profile": entry.profile,
        "approved_by": list(entry.approved_by),
        "changed": [f"{kind} {path}" for kind, path in entry.changed],
        "changed_count": entry.change_count,
        "network": [f"{one.verdict} {one}" for one in entry.contacts],
        "secrets": list(entry.secrets),
    }


def _severity(entry: Entry) -> int:
    if entry.status == "lost" or (entry.ran and entry.profile == "unconfined"):
        return _HIGH
    if entry.status in STOPPED or entry.refused:
        return _MEDIUM
    return _LOW if entry.status in ("failed", "timeout", "killed") else _INFORMATIONAL


def _status(entry: Entry) -> int:
    if entry.status in ("", "running", "pending", "lost"):
        return _UNKNOWN
    return _SUCCESS if entry.status in ("ok", "approved", "consumed") else _FAILURE


def _milliseconds(ts: str) -> int:
    try:
        return int(datetime.fromisoformat(ts).timestamp() * 1000)
    except ValueError:
        return 0


def _host(origin: str) -> str:
    """Return the host in a log's name, `permitgate/HOST/UID`."""
    parts = origin.split("/")
    return parts[1] if len(parts) > 1 else origin

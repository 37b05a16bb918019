"""The timeline as one page that loads nothing: the rows are packed inside, the script is ours.

May touch: the page's own template files. INVARIANT: text of the log is in the page as compressed
base64, and as escaped text; the content security policy names our script and style by their hashes
and forbids all else, so what an agent wrote there can neither run nor load anything.
"""

import base64
import html
import json
import zlib
from hashlib import sha256
from importlib import resources

from audit.harmless import harmless
from audit.reading import Reading
from audit.story import Entry, told
from mcp_server.cli.audit import WORDS

_PACKED_LEVEL = 9


def page(reading: Reading) -> str:
    """Return the whole page."""
    packed = zlib.compress(json.dumps(_data(reading)).encode(), _PACKED_LEVEL)
    return filled(
        "timeline.html",
        script=part("timeline.js"),
        values={
            "ORIGIN": html.escape(harmless(reading.report.origin)),
            "CODE": str(int(reading.report.code)),
            "VERDICT": WORDS[reading.report.code],
            "FINDINGS": findings(reading),
            "DATA": base64.b64encode(packed).decode(),
        },
    )


def filled(name: str, *, script: str, values: dict[str, str]) -> str:
    """Return a template with its parts; no value is looked into for another's place."""
    style = part("page.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hashed(script)}" if script else "script-src 'none'",
            f"style-src {_hashed(style)}",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )
    given = {"POLICY": policy, "STYLE": style, "SCRIPT": script, **values}
    pieces = part(name).split("@@")
    return "".join(given[piece] if at % 2 else piece for at, piece in enumerate(pieces))


def part(name: str) -> str:
    """Return one of the page's own files."""
    return resources.files("mcp_server.cli.log").joinpath("pages", name).read_text("utf-8")


def findings(reading: Reading) -> str:
    """Return what is wrong with the log as a list; nothing where nothing is."""
    said = [
        f"<li>{html.escape(harmless(f'{one.place}: {one.message}'))}</li>"
        for one in reading.report.findings
    ]
    return f'<ul class="findings">{"".join(said)}</ul>' if said else ""


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


def _data(reading: Reading) -> dict[str, object]:
    tree = reading.tree
    places = {place for seq, _ in reading.lines for place in _path(reading, seq)}
    return {
        "records": reading.report.records,
        "signed": reading.report.signed,
        "size": tree.size if tree is not None else 0,
        "checkpoint": reading.note.decode("utf-8", "replace"),
        "handovers": b"".join(reading.handovers).decode("utf-8", "replace"),
        "leftOut": reading.left_out,
        "unreadable": reading.unreadable,
        "entries": [_entry(entry, reading) for entry in told(reading.records)],
        "lines": {seq: line.decode() for seq, line in reading.lines},
        "nodes": {
            f"{level}.{place}": base64.b64encode(tree.node(level, place)).decode()
            for level, place in sorted(places)
            if tree is not None
        },
    }


def _path(reading: Reading, seq: int) -> list[tuple[int, int]]:
    if reading.tree is None or seq >= reading.tree.size:
        return []
    return reading.tree.path(seq)


def _entry(entry: Entry, reading: Reading) -> dict[str, object]:
    return {
        "kind": entry.kind,
        "family": entry.family,
        "seqs": entry.seqs,
        "ts": entry.ts,
        "what": entry.what,
        "status": entry.status,
        "tool": entry.tool,
        "actor": entry.actor,
        "session": entry.session,
        "effect": entry.effect,
        "risk": entry.risk,
        "rules": entry.rules,
        "profile": entry.profile,
        "message": entry.message,
        "dur": entry.dur_us,
        "changed": entry.changed,
        "changeCount": entry.change_count,
        "held": entry.held,
        "contacts": [(str(one), one.verdict, one.reason) for one in entry.contacts],
        "approved": entry.approved_by,
        "secrets": entry.secrets,
        "trust": reading.trust(entry.seqs[-1]),
    }

"""`permitgate doctor`: try what this host enforces and whether the rooms can do their work.

May touch: what the app touches; the canary's constant program runs through the real road. The
JSON is for scripts: SCHEMA changes when a key or a meaning does.
"""

import json
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio
import typer

from approvals import told
from approvals.request import ApprovalError
from approvals.web.address import listening
from approvals.web.approvers import approvers
from approvals.web.links import shown_at
from audit.errors import AuditError
from mcp_server.cli.exits import Exit
from mcp_server.config import Config, load_config
from mcp_server.log_place import log_directory, open_log
from mcp_server.notify import target
from mcp_server.owner import current_owner, workspace_roots
from mcp_server.places import Places, places
from mcp_server.policies import policy_files, quick_load
from mcp_server.runners import probed
from mcp_server.sinks import receiver, sinks
from sandbox.enforcement import CONFINED
from sandbox.host import Control, HostFacts
from sandbox.permit import PermitOffice
from sandbox.run import CommandRunner
from sandbox.toolchains import Toolbox

SCHEMA = "permitgate-doctor-v1"
COLOURS = {
    "enforced": "green", "partial": "yellow", "absent": "red", "none": "yellow", "dead": "red",
    "behind": "yellow",
}  # fmt: skip
WIDEST = 110
STATE_WIDTH = 9
SINK_S = 5  # how long one sink is tried


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was tried; `profile` is empty for what holds for all of them."""

    name: str
    state: str
    evidence: str
    fix: str = ""
    profile: str = ""


def examine(*, as_json: bool) -> int:
    """Print a row per control and room; exit 13 when commands would be refused."""
    config, where = load_config(places().config_file), places()
    host = probed(config, where)
    minimum = host.accepted.minimum
    rows = {
        "host": [_row(control) for control in (*host.controls, *host.extras)],
        "profiles": anyio.run(_profiles, host, where.state),
        "here": [
            *_here(config, where, host),
            *_notify_rows(config, where),
            *anyio.run(_sink_rows, config, where),
        ],
    }
    runs = host.meets(minimum) and not any(
        row.state == "absent" for row in (*rows["profiles"], *rows["here"])
    )
    if as_json:
        every = [asdict(row) for part in rows.values() for row in part]
        typer.echo(json.dumps({"schema": SCHEMA, "rung": host.rung, "minimum": minimum,
                               "runs": runs, "rows": every}))  # fmt: skip
    else:
        _show(rows, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
        so = "commands run" if runs else "commands are refused; see what to do"
        typer.echo(f"\nrung: {host.rung} (minimum: {minimum}); {so}")
    return Exit.OK if runs else Exit.SANDBOX_BELOW_MINIMUM


def _row(control: Control, profile: str = "") -> Row:
    return Row(control.name, control.seen, control.evidence, control.fix, profile)


async def _profiles(host: HostFacts, state: Path) -> list[Row]:
    """Try each profile that this host offers."""
    runner = CommandRunner(PermitOffice(), host, lambda _path: False, state)
    try:
        return [
            _row(control, profile)
            for profile in CONFINED
            if host.refusal(profile) is None
            for control in await runner.tried(profile)
        ]
    finally:
        runner.close()


def _here(config: Config, where: Places, host: HostFacts) -> Iterator[Row]:
    roots = workspace_roots(config, None, current_owner().home)
    if roots:
        yield Row("workspace", "found", ", ".join(map(str, roots)))
    else:
        yield Row("workspace", "none", "not in a git checkout", "pass --workspace DIR to serve")
    tools = Toolbox(host).find(str(roots[0]) if roots else "")
    for one in tools.toolchains:
        paths = ", ".join(path for path, _ in one.roots)
        yield Row("toolchain", "shown", f"{one.name}: {paths} ({len(one.masked())} files covered)")
    for text in tools.refused:
        yield Row("toolchain", "refused", text)
    policy = quick_load(policy_files(config, where, roots))
    yield Row("policy", "loaded", f"{len(policy.rules)} rules from {', '.join(policy.names)}")
    yield _log_row(config, where)
    yield from _page_rows(config, where)


def _page_rows(config: Config, where: Places) -> Iterator[Row]:
    """Say whether a server shows the page of approvals, and who has a token for its API."""
    page, approvers_file = config.approvals.page, config.approvals.approvers
    if page is None:
        return
    url = shown_at(where.approvals)
    if url is not None:
        yield Row("approvals page", "shown", f"{url}; a link: permitgate approvals page")
    elif error := _not_free(page.address):
        fix = f"end what listens on {page.listen}, or set another approvals.page.listen"
        yield Row("approvals page", "dead", f"{page.listen}: {error}", fix)
    else:
        yield Row("approvals page", "none", f"{page.listen} is free; a server will show it there")
    if approvers_file is None:
        return
    try:
        names = ", ".join(f"{one.name} ({one.role})" for one in approvers(approvers_file))
    except ApprovalError as error:
        yield Row("approvals API", "dead", str(error), f"mend {approvers_file}")
        return
    said = f"{names or 'nobody'} in {approvers_file}"
    yield Row("approvals API", "found" if names else "none", said)


def _notify_rows(config: Config, where: Places) -> Iterator[Row]:
    """Say how each target fares that is told what waits; none is told anything here."""
    for one in config.approvals.notify:
        name, known = f"notify {one.name}", told.load(where.approvals, one.name)
        try:
            teller = target(one).teller
            teller.check()
        except ApprovalError as error:
            yield Row(name, "dead", str(error))
            continue
        fix = f"mend {one.name}, then try it: permitgate approvals notify-test"
        if known.failing_since_ms:
            since = datetime.fromtimestamp(known.failing_since_ms // 1000, UTC).isoformat()
            failure = f"{known.failure} ({known.tries} tries since {since})"
            yield Row(name, "dead", failure, fix)
        else:
            yield Row(name, "ready", f"{one.kind} {teller.place}")


def _not_free(address: tuple[str, int]) -> str:
    try:
        listening(address).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _log_row(config: Config, where: Places) -> Row:
    try:
        open_log(config, where).close()
    except AuditError as error:
        fix = f"make {where.state} writable for you, or set XDG_STATE_HOME to a directory that is"
        return Row("audit log", "absent", str(error), fix)
    return Row("audit log", "writable", str(log_directory(config, where)))


async def _sink_rows(config: Config, where: Places) -> list[Row]:
    """Try each sink: deliver for a few seconds what waits, unless a server is doing it already."""
    followed = sinks(config, where)
    rows: list[Row] = []
    for one in followed.settings:
        with anyio.move_on_after(SINK_S):
            await followed.delivery(one).once()
        try:
            state, waiting = followed.standing(one)
        except (AuditError, OSError) as error:
            rows.append(Row(f"sink {one.name}", "dead", str(error)))
            continue
        where_to = f"{receiver(one)}: record {state.position.size} is next, {waiting} wait"
        if state.rejected:
            where_to += f"; it dropped {state.rejected}"
        if state.failing_since:
            failure = f"{where_to}; since {state.failing_since}: {state.failure}"
            fix = "mend the receiver or its key in audit.sinks; nothing is lost, it is tried again"
            rows.append(Row(f"sink {one.name}", "dead", failure, fix))
        else:
            rows.append(Row(f"sink {one.name}", "behind" if waiting else "delivers", where_to))
    return rows


def _show(rows: dict[str, list[Row]], width: int) -> None:
    every = [row for part in rows.values() for row in part]
    page = _Page(max(len(row.name) for row in every), width)
    page.part("This host", rows["host"])
    if rows["profiles"]:
        page.matrix(rows["profiles"])
    page.part("\nThis installation", rows["here"])
    fixes: dict[str, list[str]] = {}
    for row in every:
        if row.fix:
            fixes.setdefault(row.fix, []).append(row.name)
    if fixes:
        page.heading("\nWhat to do")
    for fix, names in fixes.items():
        page.fix(f"{', '.join(dict.fromkeys(names))}: {fix}")


class _Page:
    """Lines of one width: a name, one state or several, and text that hangs below itself."""

    def __init__(self, name_width: int, width: int) -> None:
        self._name_width, self._width = name_width, width

    def heading(self, text: str) -> None:
        typer.echo(typer.style(text, bold=True))

    def part(self, title: str, rows: list[Row]) -> None:
        """Show rows one below the other; what was said of one before is not said again."""
        self.heading(title)
        said: dict[str, str] = {}
        for row in rows:
            known = said.setdefault(row.evidence, row.name)
            evidence = row.evidence if known == row.name else f"as for {known}"
            left = 2 + self._name_width + 2 + STATE_WIDTH + 2
            first, *rest = self._lines(evidence, left) or [""]
            typer.echo(f"  {row.name:{self._name_width}}  {_coloured(row.state)}  {first}")
            for line in rest:
                typer.echo(" " * left + line)

    def matrix(self, rows: list[Row]) -> None:
        """Show controls by profile; the evidence only of what is not wholly enforced."""
        profiles = list(dict.fromkeys(row.profile for row in rows))
        seen = {(row.name, row.profile): row for row in rows}
        head = "  ".join(f"{profile:{STATE_WIDTH}}" for profile in profiles)
        self.heading(f"\n{'Seen in profile':{self._name_width + 2}}  {head}".rstrip())
        for name in dict.fromkeys(row.name for row in rows):
            found = [seen.get((name, profile)) for profile in profiles]
            states = "  ".join(_coloured(row.state if row else "-") for row in found)
            typer.echo(f"  {name:{self._name_width}}  {states}".rstrip())
            for row in found:
                if row and row.state != "enforced":
                    for line in self._lines(f"{row.profile}: {row.evidence}", 6):
                        typer.echo(" " * 6 + line)

    def fix(self, text: str) -> None:
        """Show what to do; the lines after the first are to type or to write, and stay as is."""
        head, *verbatim = text.split("\n")
        for line in self._lines(head, 2):
            typer.echo("  " + typer.style(line, fg="cyan"))
        for line in verbatim:
            typer.echo(f"      {line}")

    def _lines(self, text: str, left: int) -> list[str]:
        return textwrap.wrap(
            text, max(self._width - left, 40), break_long_words=False, break_on_hyphens=False
        )


def _coloured(state: str) -> str:
    return typer.style(f"{state:{STATE_WIDTH}}", fg=COLOURS.get(state, "green"))

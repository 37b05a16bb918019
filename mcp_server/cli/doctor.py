"""`permitgate doctor`: try what this host enforces and whether the rooms can do their work.

May touch: what the app touches; a canary command runs through the real road.
"""

import json
from dataclasses import asdict, dataclass

import typer

from mcp_server.cli.exits import Exit
from mcp_server.config import Config, load_config
from mcp_server.log_place import log_directory, open_log
from mcp_server.owner import current_owner, workspace_roots
from mcp_server.places import Places, places
from mcp_server.policies import policy_files, quick_load
from sandbox.probe import probe


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was tried."""

    name: str
    state: str
    evidence: str
    fix: str = ""


def examine(*, as_json: bool) -> int:
    """Print a row per control and room; exit 13 when commands would be refused."""
    config, where = load_config(places().config_file), places()
    host = probe(config.toolchains)
    rows = [Row(one.name, one.seen, one.evidence, one.fix) for one in host.controls]
    roots = workspace_roots(config, None, current_owner().home)
    rows.append(
        Row("workspace", "found", ", ".join(map(str, roots)))
        if roots
        else Row("workspace", "none", "not in a git checkout", "pass --workspace DIR to serve")
    )
    policy = quick_load(policy_files(config, where, roots))
    rows.append(
        Row("policy", "loaded", f"{len(policy.rules)} rules from {', '.join(policy.names)}")
    )
    rows.append(_log_row(config, where))
    if as_json:
        typer.echo(json.dumps({"rung": host.rung, "rows": [asdict(row) for row in rows]}))
    else:
        _print(rows)
        typer.echo(f"rung: {host.rung} (minimum: {config.minimum_enforcement})")
    return Exit.OK if host.meets(config.minimum_enforcement) else Exit.SANDBOX_BELOW_MINIMUM


def _log_row(config: Config, where: Places) -> Row:
    open_log(config, where).close()
    return Row("audit log", "writable", str(log_directory(config, where)))


def _print(rows: list[Row]) -> None:
    colours = {"enforced": "green", "partial": "yellow", "absent": "red", "none": "yellow"}
    width = max(len(row.name) for row in rows)
    for row in rows:
        state = typer.style(f"{row.state:9}", fg=colours.get(row.state, "green"))
        typer.echo(f"{row.name:{width}}  {state}  {row.evidence}")
        if row.fix:
            typer.echo(f"{'':{width}}  {'':9}  fix: {row.fix}")

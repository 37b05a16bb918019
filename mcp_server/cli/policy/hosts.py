"""`permitgate policy hosts`: host sets from what this machine's tools are configured with.

May touch: the tools' settings, the file to write, standard output. Nothing is run or reached.
"""

import json
from pathlib import Path
from typing import Final

import typer

from mcp_server.cli.exits import Exit, stop
from mcp_server.detected_hosts import Detected, detect

FIRST_LINE: Final = "# What this machine's package managers are configured to reach."


def hosts(write: Path | None) -> int:
    """Print a policy file of the sets, or write it; return 1 if no tool names a host."""
    found = detect(Path("/"), Path.home())
    for said in found.unread:
        typer.echo(f"permitgate: {said}", err=True)
    if not found.hosts:
        typer.echo("permitgate: no settings of pip, npm, apt, go or cargo name a host", err=True)
        return 1
    if write is None:
        typer.echo(as_yaml(found), nl=False)
        return Exit.OK
    _write(write, as_yaml(found))
    names = ", ".join(f"@{name} ({len(found.hosts[name])})" for name in sorted(found.hosts))
    typer.echo(f"{write}: {names}")
    return Exit.OK


def as_yaml(found: Detected) -> str:
    """Return the sets as a policy file, each host with the file that names it."""
    lines = [
        FIRST_LINE,
        "# Written by `permitgate policy hosts --write`, which replaces it.",
        "version: 1",
        "name: hosts",
        "host_sets:",
    ]
    for name in sorted(found.hosts):
        lines.append(f"  {name}:")
        lines += [f"    - {json.dumps(host)}  # {json.dumps(found.hosts[name][host])}"
                  for host in sorted(found.hosts[name])]  # fmt: skip
    return "\n".join([*lines, "rules: []", ""])


def _write(path: Path, text: str) -> None:
    """Write the file, in the place of one that this command wrote and of no other."""
    try:
        if path.exists() and not path.read_text(encoding="utf-8").startswith(FIRST_LINE):
            raise stop(Exit.USAGE, f"{path} is another file; name one that is not there")
        path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise stop(Exit.USAGE, f"{path}: cannot be written: {error}") from None

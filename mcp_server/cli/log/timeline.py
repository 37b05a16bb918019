"""`audit timeline`: the log as a picture, in the terminal or as a page.

May touch: a log directory for reading, standard output, the page's file.
"""

from pathlib import Path

import typer

from mcp_server.cli.log.asked import Asked, write
from mcp_server.cli.log.page import page
from mcp_server.cli.log.picture import draw

IN_TERMINAL = 500
ON_PAGE = 20_000


def timeline(asked: Asked, last: int | None, html: Path | None) -> int:
    """Show the timeline; return the exit code of the verdict on the log."""
    reading = asked.reading(last or (ON_PAGE if html else IN_TERMINAL))
    if html is None:
        draw(reading)
    else:
        write(html, page(reading))
        typer.echo(f"{html}: {len(reading.records)} records", err=True)
    return int(reading.report.code)

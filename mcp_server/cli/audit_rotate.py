"""`permitgate audit rotate`: the log goes on with a new key, and the old one can sign no more.

May touch: the log and the key file. A key that an agent or a token holds is its owner's to remove.
"""

import typer

from audit.keys import FileSigner
from audit.note import Signer
from mcp_server.cli.exits import Exit, stop
from mcp_server.config import load_config
from mcp_server.log_place import IN_FILE, open_log, signer
from mcp_server.places import places


def rotate(to: str | None) -> None:
    """Rotate the key and say what is left to do."""
    where = places()
    config = load_config(where.config_file)
    now = config.audit.signer
    place = now if to is None else to
    if to is None and now != IN_FILE:
        raise stop(Exit.USAGE, f"name the new key with --to; the log's is {now}")
    log = open_log(config, where)
    before = signer(IN_FILE, where) if now == IN_FILE else None

    def make() -> Signer:
        if isinstance(before, FileSigner) and place == IN_FILE:
            return before.next()
        return signer(place, where)

    try:
        old, new = log.rotate(make)
    finally:
        log.close()
    if isinstance(before, FileSigner) and place != IN_FILE:
        before.destroy()
    typer.echo(f"old  {old.vkey}\nnew  {new.vkey}")
    if place != now:
        typer.echo(f"set now in {where.config_file}:\naudit:\n  signer: {place}")
    typer.echo("Whoever audits you keeps the key that began the log; it leads to the new one.")

"""`permitgate approvals page` and `token`: who gets in to the page and its API.

May touch: the one-time links and the approvers' file of this user. What is printed is a secret,
shown once; only its hash is kept.
"""

import sys
import time

import typer

from approvals.web.approvers import Role, new_token, remove
from approvals.web.links import LINK_S, make_link
from mcp_server.cli.exits import Exit, stop
from mcp_server.config import load_config
from mcp_server.places import places


def print_link() -> None:
    """Print a link that opens the page once."""
    typer.echo(make_link(places().approvals, time.time()))
    if sys.stdout.isatty():
        typer.echo(f"It opens the page once, within {LINK_S} seconds.", err=True)


def token(name: str, role: Role, *, ends: bool) -> None:
    """Print a new token for `name`, or end the one there is."""
    path = load_config(places().config_file).approvals.approvers
    if path is None:
        raise stop(
            Exit.USAGE,
            "no file of approvers is configured. Set approvals.approvers to a path of yours, such "
            f"as {places().config_file.parent / 'approvers.json'}. No token was made.",
        )
    if ends:
        was = "ended" if remove(path, name) else "was not there"
        typer.echo(f"The token of {name} {was}.")
        return
    made = new_token(path, name, role)
    typer.echo(made)
    typer.echo(f"{name} is {role} in {path}. The token is not shown again.", err=True)

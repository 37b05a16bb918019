"""`permitgate approvals page` and `token`: who gets in to the page and its API.

May touch: the one-time links and the approvers' file of this user. What is printed is a secret,
shown once; only its hash is kept.
"""

import sys
import time
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """A token that is wanted: whose, to do what, and for an agent, who can set it off."""

    name: str
    role: Role
    actors: tuple[str, ...] = ()
    owner_answers: bool = False


def token(wanted: Wanted, *, ends: bool) -> None:
    """Print a new token, or end the one that the name has."""
    path, name = load_config(places().config_file).approvals.approvers, wanted.name
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
    made = new_token(path, name, wanted.role, wanted.actors, owner_answers=wanted.owner_answers)
    typer.echo(made)
    typer.echo(f"{name} is {wanted.role} in {path}. The token is not shown again.", err=True)

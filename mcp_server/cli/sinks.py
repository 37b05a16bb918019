"""`permitgate audit deliver`: give the sinks what waits, where no server runs that does it.

May touch: what a sink touches. CI jobs and the command line write records and then end.
"""

import anyio
import typer

from audit.errors import AuditError
from mcp_server.config import load_config
from mcp_server.places import places
from mcp_server.sinks import Sinks, receiver, sinks


def deliver() -> int:
    """Deliver to every sink once and print how each stands; 1 when one did not get everything."""
    followed = sinks(load_config(places().config_file), places())
    return anyio.run(_deliver, followed)


async def _deliver(followed: Sinks) -> int:
    code = 0
    for one in followed.settings:
        await followed.delivery(one).once()
        try:
            state, waiting = followed.standing(one)
        except (AuditError, OSError) as error:
            code = 1
            typer.echo(f"{one.name}  {error}", err=True)
            continue
        typer.echo(f"{one.name}  {receiver(one)}: {state.position.size} delivered, {waiting} wait")
        if state.failing_since:
            typer.echo(f"{one.name}  since {state.failing_since}: {state.failure}", err=True)
        code = max(code, int(bool(waiting)))
    return code

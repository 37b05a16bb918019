"""`permitgate approvals notify-test`: every target gets a notice that asks for nothing.

May touch: the targets of `approvals.notify`.
"""

import secrets
import time

import anyio
import typer

from approvals.notice import Notice, trial
from approvals.notify import Pace, Target, told
from approvals.request import ApprovalError
from mcp_server.cli.exits import Exit, stop
from mcp_server.config import load_config
from mcp_server.notify import shown_page, targets
from mcp_server.places import places


def tell_all() -> int:
    """Tell every target, print what each answered, and return 1 where one did not take it."""
    settings = load_config(places().config_file).approvals
    found = targets(settings)
    if not found:
        raise stop(
            Exit.USAGE,
            f"approvals.notify in {places().config_file} names no target. Nobody was told; see "
            "docs/configuration.md.",
        )
    notice = trial(secrets.token_hex(8), shown_page(settings), int(time.time() * 1000))
    return anyio.run(_tell_each, found, notice)


async def _tell_each(found: list[Target], notice: Notice) -> int:
    code = 0
    for one in found:
        try:
            said = await told(one, notice, Pace().deadline_s)
        except ApprovalError as error:
            code = 1
            typer.echo(f"{one.name}  NOT told: {error}", err=True)
        else:
            typer.echo(f"{one.name}  {one.teller.place}: {said}")
    return code

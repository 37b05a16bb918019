"""One MCP round trip over stdio: our `classify` against an empty tool of the same SDK.

May touch: two servers as processes, in a directory of its own.
"""

import os
import sys
from functools import partial
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from benchmarks import empty_server
from benchmarks.measure import Row, in_turns_async, ratio

ROUNDS = 200
ARGUMENTS = {"command": "git status && ls -la src | head -20"}


def rows(base: Path) -> list[Row]:
    """Return the cost of a round trip."""
    return anyio.run(_rows, base)


async def _rows(base: Path) -> list[Row]:
    workspace = base / "workspace"
    workspace.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(base),
        "XDG_CONFIG_HOME": str(base / "config"),
        "XDG_STATE_HOME": str(base / "state"),
    }
    command = str(Path(sys.executable).with_name("permitgate"))
    ours = StdioServerParameters(
        command=command, args=["serve", "--workspace", str(workspace)], env=environment
    )
    empty = StdioServerParameters(
        command=sys.executable, args=[str(empty_server.__file__)], env=environment
    )
    async with Client(stdio_client(ours)) as one, Client(stdio_client(empty)) as other:
        works = (
            partial(one.call_tool, "classify", ARGUMENTS),
            partial(other.call_tool, "nothing", ARGUMENTS),
        )
        result = await works[0]()
        if result.is_error:
            raise RuntimeError(f"classify answered {result.content}")
        classified, answered = await in_turns_async(works, ROUNDS)
    name, against = "MCP round trip of classify, stdio", "an empty tool, same SDK"
    return [ratio(name, classified, answered, against)]

"""The examples are what README and the SDK's tools start: they run, and show what they promise."""

import subprocess
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

PROJECT = Path(__file__).resolve().parents[2]


async def test_the_sdks_own_command_runs_the_example_server(rig):
    server = StdioServerParameters(
        command=str(Path(sys.executable).with_name("mcp")),
        args=["run", str(PROJECT / "examples" / "server.py")],
        env=rig.environment,
        cwd=rig.workspace,
    )
    async with Client(stdio_client(server)) as client:
        result = await client.call_tool("exec", {"command": "cat notes.txt"})
    assert result.structured_content["stdout"]["text"] == "alpha\nbeta\n"


def test_the_session_shows_every_kind_of_answer(rig):
    played = subprocess.run(
        [sys.executable, "-m", "examples.session", "--yes"],
        cwd=PROJECT,
        env=rig.environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    for line in (
        "OK  profile read, exit 0",
        "OK  profile write, exit 0",
        "OK  put back",
        "rule system-trees at guardrails.yaml:",
        "rule code-from-the-network at guardrails.yaml:",
        "+  test:",
        "the scripted approver answers: yes",
        "VERIFIED  ",
        "TAMPERED  ",
        "claude mcp add permitgate -- ",
        "in .cursor/mcp.json:",
    ):
        assert line in played.stdout
    assert "\x1b[" not in played.stdout

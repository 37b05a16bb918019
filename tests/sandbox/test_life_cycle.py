"""Time-outs, cancellation, a client that went, a server that was killed: nothing stays behind."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import anyio
import pytest

from sandbox import cgroup
from sandbox.action import Limits
from tests.mcp_server.conftest import HTTP_ANY_PORT
from tests.mcp_server.rig import Rig as Whole
from tests.mcp_server.rig import Wire, until
from tests.sandbox.rig import HOST, Rig, alive

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
PROFILES = ["inspect", "read", "write", "unconfined"]
ROOT = Path(__file__).parents[2]
# What does not want to die: it left its session and its parents, ignores signals, or is stopped.
MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}
STUBBORN = """
trap '' TERM HUP INT QUIT
(setsid sh -c 'trap "" TERM HUP; (sleep {0} & sleep {0}) &' &)
sh -c 'kill -STOP $$; sleep {0}' &
setsid -f sleep {0}
sleep {0}
"""
POLICY = """
version: 1
name: runs
description: What lies in the workspace runs.
default: deny
rules:
  - id: run
    allow: [code.exec, fs.read]
    resources: ["${workspace}/**", "/usr/**", "<*"]
"""
SLEEPERS = 4
COLD = (0.0, 0.05, 0.2)
WARM = (0.0, 0.003, 0.01)


def stubborn(rig: Rig) -> tuple[str, str]:
    """Return a script that does not want to die, and what its processes have as an argument."""
    marker = f"36{rig.base.stat().st_ino}"
    return STUBBORN.format(marker), marker


async def settled(holds) -> None:
    with anyio.move_on_after(10):
        while not holds():  # noqa: ASYNC110  # a fact about other processes
            await anyio.sleep(0.01)
    assert holds()


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
async def test_a_time_out_ends_what_does_not_want_to_die(rig, profile):
    script, marker = stubborn(rig)
    command = replace(rig.script(script, profile), limits=Limits(wall_s=0.7))
    outcome = await rig.run(command)
    assert (outcome.status, alive(marker)) == ("timeout", [])
    assert 700 <= outcome.duration_ms < 6000


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
async def test_a_cancelled_call_ends_what_does_not_want_to_die(rig, profile):
    script, marker = stubborn(rig)
    async with anyio.create_task_group() as group:
        group.start_soon(rig.run, rig.script(script, profile))
        await settled(lambda: len(alive(f"sleep\0{marker}")) >= SLEEPERS)
        began = time.monotonic()
        group.cancel_scope.cancel()
    assert time.monotonic() - began < 4  # what it ends would take far longer
    assert alive(marker) == []


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
async def test_an_end_ends_what_stays_behind_and_waits_for_no_open_stream(rig, profile):
    script, marker = stubborn(rig)
    first = script.rstrip().rpartition("\n")[0]
    outcome = await rig.run(rig.script(f"{first}\nsleep 0.3; echo said; exit 3", profile))
    assert (outcome.status, outcome.exit_code) == ("failed", 3)
    assert (outcome.stdout.head, alive(marker)) == (b"said\n", [])
    assert outcome.duration_ms < 1500


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
def test_a_server_that_is_killed_at_any_moment_leaves_nothing_that_runs(tmp_path, profile):
    rounds = [(profile, STUBBORN.format(36), moment, False) for moment in COLD]
    rounds += [(profile, STUBBORN.format(36), moment, True) for moment in (*WARM, SLEEPERS)]
    rounds += [(profile, "echo short", moment, True) for moment in WARM]
    done = subprocess.run(
        [sys.executable, "-m", "tests.sandbox.mortal", str(tmp_path)],
        input="".join(f"{json.dumps(one)}\n" for one in rounds),
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    left = [json.loads(line) for line in done.stdout.splitlines()]
    nothing = {"processes": [], "mounts": [], "files": []}
    assert [(one[2:], was) for one, was in zip(rounds, left, strict=True) if was != nothing] == []
    # The empty control groups of the dead servers go when the next one starts.
    cgroup.parents()
    assert [*dead_groups()] == []


# Whole servers, whose client goes or which are killed


@pytest.fixture
def whole(tmp_path):
    (tmp_path / "policy.yaml").write_text(POLICY)
    rig = Whole.make(tmp_path / "whole", f"{HTTP_ANY_PORT}policy: [{tmp_path}/policy.yaml]\n")
    yield rig
    rig.stop_all()


def call(rig: Whole) -> tuple[dict[str, object], str]:
    """Return the call of a script that does not want to die, and its marker."""
    marker = f"37{rig.base.stat().st_ino}"
    (rig.workspace / "stubborn.sh").write_text(STUBBORN.format(marker))
    (rig.workspace / "short.sh").write_text("echo short")
    arguments = {"argv": ["/bin/bash", "stubborn.sh"], "timeout_s": 300}
    return {"name": "exec", "arguments": arguments}, f"sleep\0{marker}"


@pytest.mark.threat("T14")
def test_nothing_survives_a_server_that_is_killed_and_the_next_one_works(whole):
    params, marker = call(whole)
    wire = Wire(whole.start("serve", "--workspace", str(whole.workspace)))
    wire.handshake()
    wire.ask("tools/call", params)
    until(lambda: len(alive(marker)) == SLEEPERS)
    wire.process.kill()
    until(lambda: not alive(marker), within_s=10)
    again = Wire(whole.start("serve", "--workspace", str(whole.workspace)))
    again.handshake()
    answer = again.tool("exec", argv=["/bin/bash", "short.sh"])
    assert answer["structuredContent"]["stdout"]["text"] == "short\n"
    assert not dead_groups()


@pytest.mark.threat("T14")
def test_nothing_survives_a_client_that_hangs_up_on_http(whole):
    params, marker = call(whole)
    _, url, token = whole.serve_http()
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": "2026-07-28",
        "Mcp-Method": "tools/call",
        "Mcp-Name": "exec",
    }
    frame = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {**params, **MODERN}}
    line = HTTPConnection(url.split("/")[2])
    line.request("POST", "/mcp", json.dumps(frame), headers)
    until(lambda: len(alive(marker)) == SLEEPERS)
    line.close()
    until(lambda: not alive(marker), within_s=10)


def dead_groups() -> list[Path]:
    groups = [path for parent in HOST.cgroups for path in Path(parent).glob("permitgate-*")]
    return [path for path in groups if not Path("/proc", path.name.split("-")[1]).exists()]

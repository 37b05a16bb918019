"""The stdio transport as its own process: both eras on one pipe, a prompt end, no deadly frame."""

import json
import random
import secrets
import signal
import time
from collections.abc import Mapping

import pytest

from audit.query import records
from tests.mcp_server.rig import Rig, Wire, running, until

END_S = 5.0  # a second, and what a busy machine adds; the call itself would take 300
MODERN = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
}


def serve(rig: Rig) -> Wire:
    return Wire(rig.start("serve", "--workspace", str(rig.workspace)))


def log(rig: Rig) -> list[Mapping[str, object]]:
    return list(records(rig.state / "audit"))


def start_sleeping(rig: Rig) -> tuple[Wire, str]:
    """Return a server that runs a sleep nobody else runs, and the sleep's argument."""
    seconds = f"300.{secrets.randbelow(10**12)}"
    wire = serve(rig)
    wire.handshake()
    wire.ask(
        "tools/call",
        {"name": "exec", "arguments": {"argv": ["sleep", seconds], "timeout_s": 300}},
    )
    until(lambda: running(seconds))
    return wire, seconds


def test_a_client_may_probe_the_modern_era_and_then_shake_hands_on_one_connection(rig):
    wire = serve(rig)
    discovered = wire.call("server/discover", MODERN)["result"]
    assert "2026-07-28" in discovered["supportedVersions"]
    wire.handshake()
    assert wire.tool("exec", command="cat notes.txt")["structuredContent"]["status"] == "ok"
    tools = wire.call("tools/list", MODERN)["result"]["tools"]
    assert {"exec", "approval_status"} <= {tool["name"] for tool in tools}
    wire.process.stdin.close()
    assert wire.process.wait(timeout=10) == 0
    assert wire.process.stdout.read() == ""


@pytest.mark.threat("T14")
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, None], ids=["TERM", "INT", "EOF"])
def test_a_signal_or_end_of_file_ends_calls_children_and_the_process(rig, end):
    wire, seconds = start_sleeping(rig)
    began = time.monotonic()
    if end is None:
        wire.process.stdin.close()
    else:
        wire.process.send_signal(end)
    code = wire.process.wait(timeout=10)
    took_s = time.monotonic() - began
    assert code == (0 if end is None else 128 + end)
    assert took_s < END_S
    until(lambda: not running(seconds), within_s=10)
    ended = log(rig)[-1]
    assert ended["event"] == "exec.outcome"
    assert "cancelled" in ended["outcome"]["message"]
    assert rig.run("audit", "verify", "--deep", "--strict").returncode == 0


@pytest.mark.threat("T16")
def test_a_server_killed_between_intent_and_outcome_leaves_no_child_and_a_lost_record(rig):
    wire, seconds = start_sleeping(rig)
    wire.process.kill()
    wire.process.wait()
    until(lambda: not running(seconds), within_s=5)
    intent = log(rig)[-1]
    assert intent["event"] == "exec.intent"
    again = serve(rig)
    again.handshake()
    lost = [record for record in log(rig) if record.get("outcome") == {"status": "lost"}]
    assert [record["action_id"] for record in lost] == [intent["action_id"]]
    verified = rig.run("audit", "verify", "--deep")
    assert (verified.returncode, verified.stdout[:8]) == (0, "VERIFIED")


def malformed(dice: random.Random) -> list[str]:
    """Return 200 lines that are no call."""
    whole = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "exec"}}
    text = json.dumps(whole)
    odd = [None, 1, -1.5, True, "", "x", [], {}, [1], {"a": 1}, 1e300, "\ud800", "\0"]
    lines = [text[: dice.randrange(len(text))] for _ in range(50)]
    lines += [json.dumps({**whole, dice.choice(list(whole)): dice.choice(odd)}) for _ in range(60)]
    lines += [json.dumps(value) for value in odd]
    lines += ["".join(chr(dice.randrange(0x20, 0x2FF)) for _ in range(80)) for _ in range(40)]
    lines += ["[" * 100_000, "{" * 5000, '{"a":' * 100_000, f'"{"x" * 2_000_000}"', "9" * 50_000]
    lines += ["", " ", "\t", "null", "NaN", "{}", '{"jsonrpc":"2.0"}', '{"jsonrpc":"1.0","id":1}']
    lines += [
        json.dumps({"jsonrpc": "2.0", "id": n, "result": {}}) for n in range(200 - len(lines))
    ]
    return lines


@pytest.mark.threat("T18")
def test_malformed_frames_of_every_kind_leave_a_server_that_answers(rig):
    wire = serve(rig)
    wire.handshake()
    for line in malformed(random.Random(20)):
        wire.write(line.replace("\n", " ").encode("utf-8", "replace").decode())
    wire.process.stdin.flush()
    wire.process.stdin.buffer.write(bytes(range(256)).replace(b"\n", b"") + b"\n\xff\xfe\0\n")
    wire.last_id = 1000
    assert wire.tool("exec", command="cat notes.txt")["structuredContent"]["status"] == "ok"

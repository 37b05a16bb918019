"""Probe this host and run commands on it, all in this process; prints what came of it as JSON.

`python -m tests.sandbox.laddered BASE JSON`: the JSON is {"accepted": [minimum, unprotected git],
"denied": names, "runs": [[profile, script], …], "canary": profiles, "abi": of an older Landlock}.
"""

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import anyio

from sandbox.canary import Canary
from sandbox.host import Accepted, HostFacts
from sandbox.outcome import CommandOutcome
from sandbox.profile import ProfileName
from tests.sandbox.rig import HOST, Rig

ABI = "return max(0, int(_syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)))"


def older(host: HostFacts, base: Path, abi: int) -> HostFacts:
    """Return the host with stages that ask of Landlock only what this ABI knows."""
    package = base / "older" / "sandbox"
    shutil.copytree(host.package, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / "landlock.py").read_text("utf-8")
    assert ABI in text
    (package / "landlock.py").write_text(text.replace(ABI, f"return {abi}"), "utf-8")
    return replace(host, package=str(package), landlock_abi=abi)


async def patiently(rig: Rig, profile: ProfileName, text: str) -> CommandOutcome:
    """Run a script; where namespaces are counted, one that just ended may still count."""
    outcome = await rig.run(rig.script(text, profile))
    for _ in range(40):
        if "ENOSPC" not in outcome.message:
            break
        await anyio.sleep(0.05)
        outcome = await rig.run(rig.script(text, profile))
    return outcome


async def main() -> None:
    asked = json.loads(sys.argv[2])
    host = replace(HOST, accepted=Accepted(*asked.get("accepted", ())))
    if abi := asked.get("abi"):
        host = older(host, Path(sys.argv[1]), abi)
    rig = Rig(Path(sys.argv[1]), host=host, denied=set(asked.get("denied", ())))
    (rig.workspace / "notes.txt").write_text("notes")
    (rig.workspace / ".env").write_text("secret")
    (rig.outside / "private").write_text("private")
    ran = [await patiently(rig, profile, text) for profile, text in asked.get("runs", ())]
    canary = Canary(host, rig.state, rig.runner._try_out)
    told = {
        "pid": os.getpid(),
        "rung": host.rung,
        "can_cell": host.can_cell,
        "fixes": {c.name: f"{c.evidence} → {c.fix}" for c in (*host.controls, *host.extras)
                  if c.seen == "absent"},
        "runs": [[one.status, one.stdout.head.decode() + one.stderr.head.decode() + one.message]
                 for one in ran],
        "rows": {kind[0]: {row.name: [row.seen, row.evidence] for row in await canary.rows(kind)}
                 for kind in [(name, False) for name in asked.get("canary", ())]},
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    anyio.run(main)

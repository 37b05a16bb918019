"""Probe this host and run commands on it, all in this process; prints what came of it as JSON.

`python -m tests.sandbox.laddered BASE JSON`: the JSON is {"accepted": [minimum, unprotected git],
"denied": names, "runs": [[profile, script], …], "canary": profiles}.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import anyio

from sandbox.canary import Canary
from sandbox.host import Accepted
from tests.sandbox.rig import HOST, Rig


async def main() -> None:
    asked = json.loads(sys.argv[2])
    host = replace(HOST, accepted=Accepted(*asked.get("accepted", ())))
    rig = Rig(Path(sys.argv[1]), host=host, denied=set(asked.get("denied", ())))
    (rig.workspace / "notes.txt").write_text("notes")
    (rig.workspace / ".env").write_text("secret")
    (rig.outside / "private").write_text("private")
    ran = [await rig.run(rig.script(text, profile)) for profile, text in asked.get("runs", ())]
    canary = Canary(host, rig.state, rig.run)
    told = {
        "pid": os.getpid(),
        "rung": host.rung,
        "can_cell": host.can_cell,
        "fixes": {c.name: f"{c.evidence} → {c.fix}" for c in (*host.controls, *host.extras)
                  if c.seen == "absent"},
        "runs": [[one.status, one.stdout.head.decode() + one.stderr.head.decode() + one.message]
                 for one in ran],
        "rows": {profile: {row.name: [row.seen, row.evidence] for row in await canary.rows(profile)}
                 for profile in asked.get("canary", ())},
    }  # fmt: skip
    print(json.dumps(told))


if __name__ == "__main__":
    anyio.run(main)

"""The command line, from start to end, as someone who waits for it sees it.

May touch: processes of our own, in a directory of its own.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measure import Row, absolute

ROUNDS = 9
COMMANDS = (("--help",), ("classify", "--", "ls"))


def rows(base: Path) -> list[Row]:
    """Return the wall time of each command."""
    permitgate = str(Path(sys.executable).with_name("permitgate"))
    environment = {"PATH": os.environ["PATH"], "HOME": str(base)}
    found = []
    for arguments in COMMANDS:
        samples = []
        for number in range(-1, ROUNDS):
            began = time.perf_counter()
            subprocess.run(
                [permitgate, *arguments], cwd=base, env=environment, check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            if number >= 0:
                samples.append(time.perf_counter() - began)
        found.append(absolute(f"permitgate {' '.join(arguments)}", samples))
    return found

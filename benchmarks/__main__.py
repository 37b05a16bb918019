"""`make bench`: every subject, one table. `--only NAME` runs the subjects whose name holds it.

May touch: what the subjects touch, below a temporary directory.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import (
    approvals,
    audit,
    gate,
    network,
    policy,
    protocol,
    sandbox,
    startup,
)
from benchmarks.measure import Row, table

SUBJECTS: Mapping[str, Callable[[Path], list[Row]]] = {
    "policy": policy.rows,
    "sandbox": sandbox.rows,
    "network": network.rows,
    "gate": gate.rows,
    "protocol": protocol.rows,
    "audit": audit.rows,
    "approvals": approvals.rows,
    "startup": startup.rows,
}


def main() -> int:
    """Measure and print; fails only where something cannot be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description="What does Permitgate cost?")
    parser.add_argument("--only", default="", metavar="NAME", help=f"of {', '.join(SUBJECTS)}")
    only = parser.parse_args().only
    began, rows = time.monotonic(), list[Row]()
    with tempfile.TemporaryDirectory(prefix="permitgate-bench-") as base:
        for name, measure in SUBJECTS.items():
            if only in name:
                print(f"measuring {name} …", file=sys.stderr, flush=True)
                place = Path(base) / name
                place.mkdir()
                rows += measure(place)
    load = os.getloadavg()[0]
    print(table(rows))
    print(f"{time.monotonic() - began:.0f} s, {os.cpu_count()} CPUs, load {load:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The stage inside a sandbox that holds one command: it is set up, runs, and its end is reported.

Started as `python -I -S init.py SPEC_FD REPORT_FD`, by bubblewrap as process 1 of the new pid
namespace, or by the reaper where there is none. See confine.py for the report.
"""

import os
import signal
import sys

sys.path.insert(0, __file__.rsplit("/", 2)[0])
from sandbox import confine, privileges  # found only once the path is known


def main() -> int:
    """Run the command of the specification and report how it ended."""
    spec_fd, report = int(sys.argv[1]), int(sys.argv[2])
    spec = confine.Spec(spec_fd)
    # Undumpable, so the command cannot reach the report through /proc and forge its end.
    privileges.hide()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # as process 1, it is not hit by it then
    child = os.fork()  # noqa: TID251  # this stage exists to become the permitted command
    if child == 0:
        confine.become(spec, report)
    os.write(report, confine.reap(child))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where a workspace can be shown as a copy that is written instead of it, and where not.

May touch: the mount table. The mount itself is made where commands run (mounting.py).
"""

from pathlib import Path

from sandbox.host import HostFacts
from sandbox.profile import is_within

MOUNTS = Path("/proc/self/mountinfo")
MOUNT_POINT = 4  # its field of a line
ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


def refusal(host: HostFacts, workspace: str, state_dir: Path) -> str:
    """Return why no command can write a copy of a workspace; "" where it can."""
    if host.rung != "namespaces" or not host.can_cell:
        return "it needs namespaces for each command, which this host does not give"
    if not host.can_overlay:
        said = next((row.evidence for row in host.extras if row.name == "overlay"), "not tried")
        return f"the kernel made no overlay in {state_dir}: {said}"
    if is_within(str(state_dir), workspace):
        return f"{state_dir}, where a copy would be kept, lies in the workspace itself"
    inside = mounted_below(workspace)
    if inside:
        return f"another file system is mounted at {inside[0]}, and a copy would not show it"
    return ""


def mounted_below(path: str) -> list[str]:
    """Return the mount points below a directory, as this process sees them."""
    found = []
    for line in MOUNTS.read_text("utf-8", "surrogateescape").splitlines():
        point = line.split(" ")[MOUNT_POINT]
        for written, meant in ESCAPES:
            point = point.replace(written, meant)
        if point != path and is_within(point, path):
            found.append(point)
    return found

"""What an operation does, in the words of a sentence: for the one reason no rule's author wrote.

May touch: the words of the policy room. Nothing is decided here.
"""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from policy.model import PATH_OPERATIONS, Context
from policy.programs.words import shown

PHRASES: Final = MappingProxyType(
    {
        "fs.read": "reads", "fs.list": "looks at", "fs.write": "writes", "fs.create": "creates",
        "fs.delete": "deletes", "fs.perm": "changes the mode or owner of",
        "device.write": "writes to the device", "code.exec": "runs",
        "net.connect": "connects to the network with", "net.listen": "listens with",
        "proc.inspect": "looks at processes with", "proc.signal": "signals",
        "sys.inspect": "looks at the machine with", "sys.control": "changes the machine with",
        "service.control": "controls services with", "pkg.install": "installs or removes",
        "container.exec": "works on containers with", "cloud.mutate": "changes the cloud with",
        "remote.exec": "runs something on", "privilege.escalate": "acts as another user with",
        "credential.read": "shows a secret:", "persistence": "leaves something that runs later:",
        "env.poison": "changes what programs do by setting",
        "audit.tamper": "changes what was recorded:", "resource.exhaust": "may use up the machine:",
        "git.read": "looks at the repository:", "git.write": "changes the repository:",
        "git.history": "rewrites or drops history:",
        "opaque": "holds something that could not be understood:",
    }
)  # fmt: skip
_NAMED: Final = 3  # resources in one sentence; explain lists them all


def unmentioned(operation: str, resources: Sequence[str], context: Context) -> str:
    """Return the sentence for what no rule allows: one operation, on one or more resources."""
    is_path = operation in PATH_OPERATIONS
    names = [_short(resource, context) if is_path else shown(resource) for resource in resources]
    more = len(names) - _NAMED
    listed = ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"It {PHRASES.get(operation, operation)} {listed}, and no rule allows that."


def _short(path: str, context: Context) -> str:
    """Return a path as its owner would write it: from the workspace, or from home."""
    for root, start in ((context.workspace, ""), (context.home, "~/")):
        if path == root:
            return start.rstrip("/") or "the workspace"
        if path.startswith(f"{root}/"):
            return shown(start + path[len(root) + 1 :])
    return shown(path)

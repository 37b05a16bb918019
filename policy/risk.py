"""How much harm an operation could do, from 0 to 100: one table, for people to sort by.

May touch: nothing. A number never decides anything; rules do.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

# 0-19 looking · 20-39 changes that are easily undone · 40-69 reaches further, or runs unread code ·
# 70-89 other people's machines, secrets, what survives a restart · 90-100 the machine itself.
RISK: Final = MappingProxyType(
    {
        "fs.list": 1, "git.read": 1, "sys.inspect": 2, "proc.inspect": 2, "fs.read": 5,
        "fs.create": 20, "git.write": 20, "fs.write": 25, "proc.signal": 35,
        "fs.perm": 40, "net.listen": 40, "code.exec": 45, "fs.delete": 45, "net.connect": 50,
        "env.poison": 55, "pkg.install": 55, "opaque": 60, "git.history": 60,
        "resource.exhaust": 60, "service.control": 65, "container.exec": 70, "sys.control": 75,
        "cloud.mutate": 80, "remote.exec": 80, "credential.read": 80, "persistence": 85,
        "privilege.escalate": 90, "audit.tamper": 95, "device.write": 100,
    }
)  # fmt: skip


def risk(operations: Iterable[str]) -> int:
    """Return the highest number of these operations; 0 for none, 100 for one nobody rated."""
    return max((RISK.get(operation, 100) for operation in operations), default=0)

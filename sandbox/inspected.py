"""What of a host a command that inspects it is shown empty, covered, or lets speak.

May touch: names and owners of directories and sockets, to look.
"""

import os
import pwd
from pathlib import Path

from sandbox import daemons
from sandbox.action import Command
from sandbox.profile import TOO_WIDE, is_within

# What of the kernel must not even be read in the host's own /sys; of /proc, probe.py finds it.
KERNEL_DIRECTORIES = (
    "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security", "/sys/fs/bpf",
    "/sys/fs/pstore", "/sys/firmware/efi/efivars",
)  # fmt: skip


def kernel_directories() -> tuple[str, ...]:
    """Return the trees of /sys that this kernel has and nobody is shown."""
    return tuple(path for path in KERNEL_DIRECTORIES if os.path.lexists(path))


def homes(shown: tuple[str, ...]) -> tuple[str, ...]:
    """Return where homes are kept, and every home of this host in what would be shown."""
    found = {"/home", "/root"}
    for home in {user.pw_dir for user in pwd.getpwall()} - TOO_WIDE:
        try:
            is_somebodys = os.lstat(home).st_uid != 0 and os.path.realpath(home) == home
        except OSError:
            continue
        if is_somebodys and any(is_within(home, root) for root in shown):
            found.add(home)
    return tuple(sorted(path for path in found if Path(path).is_dir()))


def doors(command: Command) -> tuple[tuple[str, str], ...]:
    """Return the sockets one client may speak to, and what it looks at first: (path, source)."""
    if not command.profile.sockets:
        return ()
    paths = (*command.profile.sockets, *daemons.beside(command.argv or ()))
    return tuple((path, os.path.realpath(path)) for path in paths if Path(path).exists())

"""What this host can enforce, found out by trying each thing, never by reading a version.

May touch: short-lived processes of our own in fresh namespaces. This module and run.py are the
only ones that start local processes; what is started here is constant.
"""

import getpass
import os
import platform
import shutil
import subprocess  # noqa: TID251  # constant probes, started before any permit exists
import sys
from pathlib import Path

from sandbox import landlock, seccomp
from sandbox.host import Control, HostFacts, Rung, SystemPaths
from sandbox.programs import safe_entries

PROBE_S = 10.0
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOP = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
SECRETS = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers",
    "/etc/sudoers.d", "/etc/ssl/private", "/etc/wireguard", "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections", "/etc/security/opasswd",
)  # fmt: skip
PROC_SECRETS = ("/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/sysrq-trigger")
INSPECTED = ("/sys", "/var/log", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/apt", "/var/lib/pacman")

NO_BWRAP = (
    "install bubblewrap: apt install bubblewrap, dnf install bubblewrap or apk add bubblewrap"
)
NO_USERNS = (
    "user namespaces are refused. On Ubuntu 23.10 and later install the AppArmor profile "
    "bwrap-userns-restrict (package apparmor-profiles); elsewhere set "
    "sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0"
)
NO_LANDLOCK = "boot a kernel 5.13 or later with lsm=landlock,… on its command line"


def probe() -> HostFacts:
    """Return the facts of this host for this user; takes well under a second."""
    bwrap = shutil.which("bwrap", path=STANDARD_PATH) or ""
    namespaces = _namespaces(bwrap)
    abi = landlock.abi()
    filters = _seccomp()
    machine = platform.machine()
    rung: Rung = "none"
    if namespaces.seen == "enforced" and filters.seen == "enforced":
        rung = "namespaces"
    interpreter = Path(sys.executable).resolve()
    home = str(Path.home())
    return HostFacts(
        rung=rung,
        controls=(namespaces, *_derived(namespaces), _landlock(abi), filters, *_limits()),
        bwrap=bwrap,
        interpreter=str(interpreter),
        interpreter_prefix="" if interpreter.is_relative_to("/usr") else sys.base_prefix,
        package=str(Path(__file__).resolve().parent),
        machine=machine,
        landlock_abi=abi,
        uid=os.getuid(),
        user=getpass.getuser(),
        home=home,
        path_entries=safe_entries(f"{os.environ.get('PATH', '')}:{STANDARD_PATH}"),
        system=system_paths(),
    )


def system_paths() -> SystemPaths:
    """Return the system directories of this host, and what in them nobody is shown."""
    tops = [Path(path) for path in TOP if os.path.lexists(path)]
    secrets = [Path(path) for path in SECRETS if Path(path).exists()]
    secrets += Path("/etc/ssh").glob("ssh_host_*_key")
    return SystemPaths(
        directories=tuple(str(path) for path in tops if not path.is_symlink()),
        links=tuple((str(path), str(path.readlink())) for path in tops if path.is_symlink()),
        secret_files=tuple(str(path) for path in secrets if path.is_file()),
        secret_directories=tuple(str(path) for path in secrets if path.is_dir()),
        inspect_only=tuple(path for path in INSPECTED if Path(path).is_dir()),
        proc_secrets=tuple(path for path in PROC_SECRETS if Path(path).exists()),
    )


def _namespaces(bwrap: str) -> Control:
    if not bwrap:
        return Control("namespaces", "absent", "bwrap was not found", NO_BWRAP)
    code, text = _try(
        [bwrap, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc",
         "--dev", "/dev", "--tmpfs", "/tmp", "--", "/bin/sh", "-c",  # noqa: S108
         "read -r line < /proc/self/status; ! (: > /usr/.permitgate-probe) 2>/dev/null"]
    )  # fmt: skip
    if code == 0:
        return Control("namespaces", "enforced", "user, mount, pid and network namespaces made")
    return Control("namespaces", "absent", text or f"bwrap ended with {code}", NO_USERNS)


def _derived(namespaces: Control) -> tuple[Control, ...]:
    return tuple(
        Control(name, namespaces.seen, namespaces.evidence, namespaces.fix)
        for name in ("filesystem", "network", "processes")
    )


def _landlock(abi: int) -> Control:
    if abi == 0:
        return Control("landlock", "absent", "the kernel does not offer Landlock", NO_LANDLOCK)
    if abi < landlock.ABI_SCOPE:
        return Control("landlock", "partial", f"ABI {abi}: signals are refused by seccomp instead")
    return Control("landlock", "enforced", f"ABI {abi}")


def _seccomp() -> Control:
    machine = platform.machine()
    if machine not in seccomp.AUDIT_ARCH:
        return Control("seccomp", "absent", f"no table for {machine}", "use x86_64 or aarch64")
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    try:
        seen = actions.read_text("ascii").split()
    except OSError as error:
        return Control("seccomp", "absent", str(error), "boot a kernel with CONFIG_SECCOMP_FILTER")
    return Control("seccomp", "enforced", "actions: " + " ".join(seen))


def _limits() -> tuple[Control, ...]:
    exempt = os.getuid() == 0
    return (
        Control("memory", "partial", "sampled over the whole tree every 100 ms, then killed"),
        Control(
            "process count",
            "partial" if exempt else "enforced",
            "the kernel exempts root; sampled every 100 ms" if exempt else "RLIMIT_NPROC",
        ),
    )


def _try(argv: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(  # noqa: S603  # constant arguments
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=PROBE_S, check=False,
            env={"PATH": STANDARD_PATH},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    return done.returncode, done.stderr.decode("utf-8", "replace").strip()

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

from sandbox import cgroup, landlock, seccomp
from sandbox.host import Control, HostFacts, Rung, SystemPaths
from sandbox.outcome import Seen
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
NO_SECCOMP = "boot a kernel with CONFIG_SECCOMP_FILTER"
NO_LANDLOCK = "boot a kernel 5.13 or later with lsm=landlock,… on its command line"


SEPARATED = {
    "filesystem": "/usr could not be written",
    "network": "there was no route out",
    "processes": "no process of the host was visible",
}
CANARY_NAMESPACES = (
    "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip
CANARY = """
(: > /usr/.permitgate-probe) 2>/dev/null || echo filesystem
set -- /proc/[0-9]*; [ $# -lt 8 ] && echo processes
[ "$(grep -c . /proc/net/route)" -le 1 ] && echo network
exit 0
"""
CANARY_FILTERS = """
import sys
sys.path.insert(0, sys.argv[1])
import ctypes
from sandbox import init, landlock
libc = ctypes.CDLL(None)
if landlock.abi() and landlock.restrict([("/usr", landlock.RUN)], refuse_tcp=False):
    try:
        open("/etc/passwd").close()
    except PermissionError:
        print("landlock")
init.install_filter(bytes.fromhex(sys.argv[2]))
if libc.personality(0xFFFFFFFF) == -1:
    print("seccomp")
"""


def probe() -> HostFacts:
    """Return the facts of this host for this user; takes well under a second."""
    bwrap = shutil.which("bwrap", path=STANDARD_PATH) or ""
    abi = landlock.abi()
    locked, filtered = _kernel_filters(abi)
    separated = _namespaces(bwrap)
    pids_cgroup = cgroup.find() if os.getuid() == 0 else ""
    is_whole = all(control.seen == "enforced" for control in (*separated, filtered))
    rung: Rung = "namespaces" if is_whole else "none"
    interpreter = Path(sys.executable).resolve()
    home = str(Path.home())
    return HostFacts(
        rung=rung,
        controls=(*separated, locked, filtered, *_limits(pids_cgroup)),
        bwrap=bwrap,
        interpreter=str(interpreter),
        interpreter_prefix="" if interpreter.is_relative_to("/usr") else sys.base_prefix,
        package=str(Path(__file__).resolve().parent),
        machine=platform.machine(),
        landlock_abi=abi if locked.seen != "absent" else 0,
        uid=os.getuid(),
        user=getpass.getuser(),
        home=home,
        path_entries=safe_entries(f"{os.environ.get('PATH', '')}:{STANDARD_PATH}"),
        system=system_paths(),
        pids_cgroup=pids_cgroup,
        git_config=_git_config(home),
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


def _namespaces(bwrap: str) -> tuple[Control, ...]:
    """Return one control for each thing the namespaces are for, by a canary inside them."""
    if not bwrap:
        return tuple(Control(name, "absent", "bwrap was not found", NO_BWRAP) for name in SEPARATED)
    code, said = _try([bwrap, *CANARY_NAMESPACES, "--", "/bin/sh", "-c", CANARY])
    if code != 0:
        evidence = said or f"bwrap ended with {code}"
        return tuple(Control(name, "absent", evidence, NO_USERNS) for name in SEPARATED)
    return tuple(
        Control(name, "enforced", f"tried inside: {meaning}")
        if name in said.split()
        else Control(name, "absent", f"tried inside, not so: {meaning}", NO_USERNS)
        for name, meaning in SEPARATED.items()
    )


def _kernel_filters(abi: int) -> tuple[Control, Control]:
    """Return the controls for Landlock and seccomp, as a process that took both saw them."""
    machine = platform.machine()
    if machine not in seccomp.AUDIT_ARCH:
        return (
            Control("landlock", "absent", "not tried"),
            Control("seccomp", "absent", f"no table for {machine}", "use x86_64 or aarch64"),
        )
    package = Path(__file__).resolve().parent
    program = seccomp.build(seccomp.Calls((), ()), machine).hex()
    code, said = _try(
        [sys.executable, "-I", "-S", "-c", CANARY_FILTERS, str(package.parent), program]
    )
    words = said.split() if code == 0 else []
    locked: Seen = "enforced" if abi >= landlock.ABI_SCOPE else "partial"
    return (
        Control("landlock", locked, f"ABI {abi}; a path outside the list was refused")
        if "landlock" in words
        else Control("landlock", "absent", f"ABI {abi}: not enforced. {said}", NO_LANDLOCK),
        Control("seccomp", "enforced", "a refused system call failed")
        if "seccomp" in words
        else Control("seccomp", "absent", f"not enforced. {said}", NO_SECCOMP),
    )


def _limits(pids_cgroup: str) -> tuple[Control, ...]:
    exempt = os.getuid() == 0 and not pids_cgroup
    bound = f"a control group below {pids_cgroup}" if pids_cgroup else "RLIMIT_NPROC"
    return (
        Control("memory", "partial", "sampled over the whole tree every 100 ms, then killed"),
        Control(
            "process count",
            "partial" if exempt else "enforced",
            "the kernel exempts root; sampled every 20 ms" if exempt else bound,
        ),
    )


def _git_config(home: str) -> tuple[tuple[str, str], ...]:
    """Return the few settings of the owner's git that a commit inside must have; none run code."""
    git = shutil.which("git", path=STANDARD_PATH)
    if git is None:
        return ()
    pattern = r"^(user\.(name|email)|init\.defaultbranch|core\.autocrlf)$"
    _, text = _try([git, "config", "--global", "--null", "--get-regexp", pattern], home=home)
    pairs = [item.partition("\n") for item in text.split("\0") if item]
    return tuple((key, value) for key, _, value in pairs)


def _try(argv: list[str], *, home: str = "/") -> tuple[int, str]:
    """Return the exit code, and what was printed: standard output, else standard error."""
    try:
        done = subprocess.run(  # noqa: S603  # constant arguments
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_S,
            check=False,
            env={"PATH": STANDARD_PATH, "HOME": home},
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return -1, str(error)
    said = done.stdout if done.returncode == 0 else done.stderr
    return done.returncode, said.decode("utf-8", "replace").strip()

"""What this host can enforce, found out by trying each thing, never by reading a version.

May touch: short-lived processes of our own in fresh namespaces; what is started here is constant.
"""

import getpass
import os
import platform
import shutil
import subprocess  # noqa: TID251  # constant probes, started before any permit exists
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sandbox import cgroup, landlock, seccomp
from sandbox.bwrap import ALONE, APART, BARE
from sandbox.host import Choice, Control, HostFacts, Rung, SystemPaths
from sandbox.leftovers import own_name
from sandbox.outcome import Seen
from sandbox.profile import RECORDS
from sandbox.programs import safe_entries
from sandbox.remedy import NO_SECCOMP, Remedies
from sandbox.toolchains import equip
from sandbox.tries import SCRATCH

PROBE_S = 10.0
PACKAGE = Path(__file__).resolve().parent
STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOP = ("/usr", "/etc", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt")
SECRETS = (
    "/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/sudoers",
    "/etc/sudoers.d", "/etc/ssl/private", "/etc/wireguard", "/etc/krb5.keytab",
    "/etc/NetworkManager/system-connections", "/etc/security/opasswd",
)  # fmt: skip
# Where Debian, Fedora, Alpine and SUSE keep the certificates that TLS libraries trust.
CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
)  # fmt: skip
PROC_SECRETS = (
    "/proc/kcore", "/proc/kmsg", "/proc/keys", "/proc/sysrq-trigger", "/proc/kpagecount",
    "/proc/kpageflags", "/proc/kpagecgroup", "/proc/vmallocinfo", "/proc/pagetypeinfo",
    "/proc/timer_list", "/proc/kallsyms", "/proc/vmcore",
)  # fmt: skip
INSPECTED = ("/sys", *RECORDS)

ENFORCED = {
    "filesystem": "/usr could not be written",
    "network": "there was no route out",
    "processes": "no process of the host was visible",
    "landlock": "a path outside the list was refused",
    "seccomp": "a refused system call failed",
}
DELEGATE = (
    "a delegated control group bounds it at once\n"
    "Start the server as: systemd-run --user --scope -p Delegate=yes permitgate serve"
)
ELSEWHERE = (
    "without it commands write the workspace itself, without preview or undo\n"
    "Set XDG_STATE_HOME to a directory on ext4, xfs, btrfs or tmpfs, whose files keep attributes"
)
ISOLATING = ("filesystem", "network", "processes")
EXTRAS = {
    "cell": "pid, mount and ipc namespaces inside, a fresh /proc and a bind",
    "overlay": "an overlay was mounted inside",
    "net": "a network namespace inside, its loopback up",
}
# Every option a run uses, so that a bubblewrap which lacks one is found here.
NAMESPACES = (
    *APART, *ALONE, *BARE,
    "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_NET_ADMIN", "--cap-add", "CAP_DAC_OVERRIDE",
    "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev",
)  # fmt: skip
RUN_TRIES = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); from sandbox.tries import main; main()"
)


def probe(toolchains: Choice = "auto", state_dir: Path | None = None) -> HostFacts:
    """Return the facts of this host for this user; one bubblewrap tries everything at once.

    The overlay is tried in the state directory, whose file system will hold what commands write.
    """
    bwrap = shutil.which("bwrap", path=STANDARD_PATH) or ""
    scratch = _scratch(state_dir)
    trying = start_tries(bwrap, scratch)
    home = str(Path.home())
    cgroups, git_config, system = cgroup.parents(), _git_config(home), system_paths()
    answers = tried(trying)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    controls = (*_controls(answers, bwrap), *_limits(cgroups))
    seen = {control.name: control.seen for control in controls}
    extras = _extras(answers, bwrap)
    has = {control.name: control.seen == "enforced" for control in extras}
    interpreter = Path(sys.executable).resolve()
    facts = HostFacts(
        rung=_rung(seen),
        controls=controls,
        bwrap=bwrap,
        interpreter=str(interpreter),
        interpreter_prefix="" if interpreter.is_relative_to("/usr") else sys.base_prefix,
        package=str(PACKAGE),
        machine=platform.machine(),
        landlock_abi=landlock.abi() if seen["landlock"] != "absent" else 0,
        uid=os.getuid(),
        user=_user(),
        home=home,
        path_entries=safe_entries(f"{os.environ.get('PATH', '')}:{STANDARD_PATH}"),
        system=system,
        cgroups=tuple(cgroups),
        git_config=git_config,
        extras=extras,
        can_cell=has["cell"],
        can_overlay=has["overlay"],
        can_net=has["net"],
        toolchains=toolchains,
    )
    return equip(facts, os.environ)


def _rung(seen: Mapping[str, Seen]) -> Rung:
    if all(seen[name] == "enforced" for name in (*ISOLATING, "seccomp")):
        return "namespaces"
    has_filters = seen["landlock"] != "absent" and seen["seccomp"] == "enforced"
    return "landlock" if has_filters else "none"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in some containers
        return f"uid-{os.geteuid()}"


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
        certificates=tuple(path for path in CERTIFICATES if Path(path).is_file()),
        proc_secrets=tuple(path for path in PROC_SECRETS if Path(path).exists()),
    )


@dataclass(frozen=True, slots=True)
class Trying:
    """The tries under way, in bubblewrap where there is one; other work goes on meanwhile."""

    process: "subprocess.Popen[bytes] | OSError"
    filters_only: list[str]


def start_tries(bwrap: str, scratch: str = "") -> Trying:
    """Start every try; `tried` waits for them. Without a directory, memory is tried."""
    machine = platform.machine()
    known = machine in seccomp.AUDIT_ARCH
    program = seccomp.build(seccomp.Calls((), ()), machine).hex() if known else ""
    stage = [sys.executable, "-I", "-S", "-c", RUN_TRIES, str(PACKAGE.parent)]
    memory = ["--perms", "1777", "--size", "1048576", "--tmpfs", SCRATCH]
    place = ["--bind", scratch, SCRATCH] if scratch else memory
    inside = [bwrap, *NAMESPACES, *place, "--", *stage, "inside", program]
    started = _start(inside) if bwrap else FileNotFoundError("bwrap was not found")
    return Trying(started, [*stage, "filters", program])


def _scratch(state_dir: Path | None) -> str:
    """Return a new directory to try in; "" where none can be made."""
    if state_dir is None:
        return ""
    path = state_dir / own_name("probe")
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError:
        return ""
    return str(path)


def tried(trying: Trying) -> dict[str, str]:
    """Return what came of each try: nothing where it went well, else why not."""
    code, said = _end(trying.process)
    answers, trouble = _read(said), "it was not tried to its end"
    if code != 0:
        what = said.partition(" See <")[0] or f"bwrap ended with {code}"
        trouble = what if code < 0 else f"user namespaces are refused: {what}"
        # The filters need no namespace: what is left of the ladder is found out without one.
        answers = _read(_try(trying.filters_only)[1])
    return dict.fromkeys((*ENFORCED, *EXTRAS), trouble) | answers


def _read(said: str) -> dict[str, str]:
    pairs = (line.partition("\t") for line in said.splitlines())
    return {name: reason for name, tab, reason in pairs if tab}


def _controls(answers: Mapping[str, str], bwrap: str) -> tuple[Control, ...]:
    remedies = Remedies(bwrap, is_root=os.getuid() == 0)
    abi = landlock.abi()
    found = []
    for name, meaning in ENFORCED.items():
        reason = answers[name]
        if not reason:
            weak = name == "landlock" and abi < landlock.ABI_SCOPE
            said = f"tried: {meaning}" + (f"; ABI {abi}" if name == "landlock" else "")
            found.append(Control(name, "partial" if weak else "enforced", said))
            continue
        fix = {"landlock": remedies.landlock(reason), "seccomp": NO_SECCOMP}
        found.append(Control(name, "absent", reason, fix.get(name) or remedies.namespaces(reason)))
    return tuple(found)


def _extras(answers: Mapping[str, str], bwrap: str) -> tuple[Control, ...]:
    remedies = Remedies(bwrap, is_root=os.getuid() == 0)
    found = []
    for name, meaning in EXTRAS.items():
        reason = answers[name]
        if not reason:
            found.append(Control(name, "enforced", f"tried: {meaning}"))
            continue
        # What kept bubblewrap itself from working keeps these, too.
        is_the_same = reason == answers[ISOLATING[0]]
        fix = remedies.namespaces(reason) if is_the_same else remedies.cells(reason)
        if name == "overlay" and not answers["cell"]:
            fix = ELSEWHERE
        found.append(Control(name, "absent", reason, fix))
    return tuple(found)


def _limits(cgroups: Mapping[str, frozenset[str]]) -> tuple[Control, ...]:
    bounds = frozenset[str]().union(*cgroups.values())
    bound = f"a control group below {' and '.join(cgroups)}"
    alone = "sampled over the whole tree every 20 ms, then killed"
    memory = Control("memory", "enforced", bound)
    count = Control("process count", "enforced", bound)
    if "memory" not in bounds:
        memory = Control("memory", "partial", alone, DELEGATE)
    if "pids" not in bounds and os.getuid() == 0:
        count = Control("process count", "partial", f"the kernel exempts root; {alone}", DELEGATE)
    elif "pids" not in bounds:
        count = Control("process count", "enforced", "RLIMIT_NPROC")
    return memory, count


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
    return _end(_start(argv, home=home))


def _start(argv: list[str], *, home: str = "/") -> "subprocess.Popen[bytes] | OSError":
    try:
        return subprocess.Popen(  # noqa: S603  # constant arguments
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": STANDARD_PATH, "HOME": home},
            cwd="/",
        )
    except OSError as error:
        return error


def _end(started: "subprocess.Popen[bytes] | OSError") -> tuple[int, str]:
    if isinstance(started, OSError):
        return -1, str(started)
    with started:
        try:
            out, said = started.communicate(timeout=PROBE_S)
        except subprocess.TimeoutExpired as error:
            started.kill()
            return -1, str(error)
    code = started.returncode
    return code, (out if code == 0 else said).decode("utf-8", "replace").strip("\n")

"""Why this host refused something the sandbox needs, and what exactly its owner can do about it.

May touch: /proc, /sys and marker files, to read them, below a root that tests replace. The first
line of each answer stands alone; the lines after it are text to type or to write into a file.
"""

import re
from pathlib import Path

OLDEST_BWRAP = "0.7"  # --size
INSTALLERS = (
    ("usr/bin/apt-get", "apt install bubblewrap"),
    ("usr/bin/dnf", "dnf install bubblewrap"),
    ("sbin/apk", "apk add bubblewrap"),
    ("usr/bin/pacman", "pacman -S bubblewrap"),
    ("usr/bin/zypper", "zypper install bubblewrap"),
)
PROFILE = "/etc/apparmor.d/permitgate-bwrap"
APPARMOR = f"""\
abi <abi/4.0>,
include <tunables/global>
profile permitgate-bwrap {{bwrap}} flags=(unconfined) {{{{
  userns,
  include if exists <local/permitgate-bwrap>
}}}}
Write this to {PROFILE}, then run: apparmor_parser -r {PROFILE}"""
RESTRICTED = "etc/apparmor.d/bwrap-userns-restrict"
UNRESTRICT = (
    "Take the narrower profile out: ln -s /etc/apparmor.d/bwrap-userns-restrict "
    "/etc/apparmor.d/disable/ && apparmor_parser -R /etc/apparmor.d/bwrap-userns-restrict"
)
SYSCTLS = (
    ("user/max_user_namespaces", "15000"),
    ("kernel/unprivileged_userns_clone", "1"),
)
NO_SECCOMP = "boot a kernel with CONFIG_SECCOMP_FILTER"
NO_PROC = "something covers parts of /proc, so the kernel allows no fresh one in a namespace"


class Remedies:
    """The fixes for one host; `root` is where its /proc, /sys and /etc are."""

    def __init__(self, bwrap: str, *, is_root: bool, root: Path = Path("/")) -> None:
        self._bwrap, self._is_root, self._root = bwrap, is_root, root

    def install(self) -> str:
        """Return how to get bubblewrap here."""
        for program, command in INSTALLERS:
            if (self._root / program).exists():
                return f"install bubblewrap: {command}"
        commands = ", ".join(command for _, command in INSTALLERS[:3])
        return f"install bubblewrap ({commands})"

    def namespaces(self, said: str) -> str:
        """Return how to allow what bubblewrap was refused; `said` is what it printed."""
        if not self._bwrap or said.startswith("[Errno"):  # it could not even be started
            return self.install()
        if option := re.search(r"[Uu]nknown option (\S+)", said):
            return (
                f"bubblewrap is older than {OLDEST_BWRAP} (it does not know {option[1]}). "
                f"{self.install().replace('install', 'install a newer', 1)}"
            )
        if not (self._root / "proc/self/ns/user").exists():
            return "boot a kernel with CONFIG_USER_NS"
        return self._refused(said)

    def _refused(self, said: str) -> str:
        for name, value in SYSCTLS:
            is_for_all = name.startswith("user/")
            if self._sysctl(name) == "0" and (is_for_all or not self._is_root):
                key = name.replace("/", ".")
                return (
                    f"{key} is 0: as root run sysctl -w {key}={value}\n"
                    f"To keep it: echo {key}={value} > /etc/sysctl.d/60-permitgate.conf"
                )
        if self._sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
            return self._apparmor()
        if container := self._container():
            return container
        if re.search(r"mount proc", said):
            return self._proc()
        return "user namespaces are refused here; ask who runs this machine to allow them"

    def cells(self, said: str) -> str:
        """Return how to allow namespaces below bubblewrap's own; commands run without them too."""
        if "No space left" in said:
            return (
                "too few namespaces are allowed; until then commands run one bubblewrap each\n"
                "As root run: sysctl -w user.max_pid_namespaces=15000 user.max_mnt_namespaces=15000"
                " user.max_ipc_namespaces=15000 user.max_net_namespaces=15000"
            )
        if self._sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
            return self._apparmor()
        return self._container() or "commands run one bubblewrap each, which is slower"

    def landlock(self, said: str) -> str:
        """Return how to get Landlock; `said` is what the kernel answered."""
        active = self._text("sys/kernel/security/lsm")
        if active and "landlock" not in active.split(","):
            return f"add lsm=landlock,{active} to the kernel command line and boot again"
        if "not supported" in said:
            return "Landlock is built in but off: put landlock first in lsm= at boot"
        if "not permitted" in said and (container := self._container()):
            return container
        return "boot a kernel 5.13 or later with CONFIG_SECURITY_LANDLOCK=y"

    def _apparmor(self) -> str:
        also = f"\n{UNRESTRICT}" if (self._root / RESTRICTED).exists() else ""
        return (
            "AppArmor keeps user namespaces from ordinary programs; give bubblewrap a profile\n"
            f"{APPARMOR.format(bwrap=self._bwrap)}{also}"
        )

    def _container(self) -> str:
        manager = self._text("run/systemd/container")
        if (self._root / ".dockerenv").exists() or manager == "docker":
            return (
                "this is a Docker container, which refuses namespaces inside\n"
                "Start it with: --security-opt seccomp=unconfined "
                "--security-opt apparmor=unconfined --security-opt systempaths=unconfined"
            )
        if (self._root / "run/.containerenv").exists() or manager == "podman":
            return (
                "this is a Podman container, which refuses namespaces inside\n"
                "Start it with: --security-opt seccomp=unconfined --security-opt unmask=ALL"
            )
        if manager in ("lxc", "lxc-libvirt"):
            return (
                "this is an LXC container, which refuses namespaces inside\n"
                "On its host run: lxc config set NAME security.nesting true"
            )
        if (self._root / "var/run/secrets/kubernetes.io").exists():
            return (
                "this is a Kubernetes pod, which refuses namespaces inside\n"
                "Set in its spec: hostUsers: false, and securityContext: {procMount: Unmasked, "
                "seccompProfile: {type: Unconfined}}"
            )
        return ""

    def _proc(self) -> str:
        mounts = [line.split() for line in self._text("proc/self/mountinfo").splitlines()]
        for words in mounts:
            if words[4] == "/proc" and "hidepid=" in words[-1]:
                return f"{NO_PROC}\nAs root run: mount -o remount,hidepid=0 /proc"
        covered = sorted(words[4] for words in mounts if words[4].startswith("/proc/"))
        what = f"\nCovered: {', '.join(covered)}; unmount them, or start outside that container"
        return NO_PROC + (what if covered else "")

    def _sysctl(self, name: str) -> str:
        return self._text(f"proc/sys/{name}")

    def _text(self, name: str) -> str:
        try:
            return (self._root / name).read_text("utf-8").strip()
        except OSError:
            return ""

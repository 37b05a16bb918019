"""From a command and what it will see to what is started: the text and the numbers of it.

May touch: the workspace's identity. The specification is what
the stage inside reads (confine.py); it travels in memory, never in an argument list.
"""

import errno
import os
import resource
import stat
from dataclasses import dataclass, field, replace
from typing import Final

from sandbox import allow_list, bwrap, environment, landlock, mounting, seccomp, view
from sandbox.action import Command
from sandbox.cell import Plan
from sandbox.host import HostFacts
from sandbox.landlock import ABI_SCOPE
from sandbox.limits import rlimits
from sandbox.mounting import MovedError
from sandbox.profile import Profile, is_within
from sandbox.sight import Scene
from sandbox.supervise import Start

BASH = ("/bin/bash", "--noprofile", "--norc", "-p", "-c")
_WRITING: Final = seccomp.Calls(
    (seccomp.AF_UNIX, seccomp.AF_INET, seccomp.AF_INET6), (seccomp.NETLINK_ROUTE,)
)
CALLS: Final = {
    "inspect": seccomp.Calls(
        (), (seccomp.NETLINK_ROUTE, seccomp.NETLINK_SOCK_DIAG), sees_others=True
    ),
    "read": seccomp.Calls((seccomp.AF_INET, seccomp.AF_INET6), (seccomp.NETLINK_ROUTE,)),
    "write": _WRITING,
    "live": _WRITING,
}
WIDEST: Final = CALLS["live"]  # of the profiles that run in cells
MAX_PLANS = 64
LEAST_AT_ONCE = 512
RESERVED_PIDS = 301  # the kernel takes no lower bound
LOOKING: Final = (2, 19)  # CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE: to see whose a socket is


@dataclass(frozen=True, slots=True)
class Spec:
    """What one stage is told: see confine.Spec, which reads it."""

    cwd: str
    argv: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    rlimits: tuple[tuple[int, int], ...] = ()
    rules: list[tuple[str, int]] = field(default_factory=list)  # for Landlock
    mounts: tuple[view.Mount, ...] = ()
    identities: tuple[str, ...] = ()  # "device inode path" of what must still be the same
    keeps: tuple[int, ...] = ()  # capabilities, where the command would hold root's
    is_calm: bool = False  # /tmp and HOME are the session's, to look at
    layers: tuple[str, ...] = ()  # upper and work directory of the workspace's overlay
    ports: tuple[int, ...] = ()  # where connections are heard, with a network
    settings: tuple[str, ...] = ()  # "name=value" below /proc/sys, of a cell
    refuse_tcp: bool = False
    filter_program: bytes = b""

    def encode(self) -> bytes:
        """Return the specification as tokens with NUL between them."""
        lists = (
            [text for each in self.mounts for text in (each.kind, each.path, each.source)],
            self.identities,
            self.argv,
            [f"{name}={value}" for name, value in self.env],
            [f"{number} {value}" for number, value in self.rlimits],
            [f"{rights} {path}" for path, rights in self.rules],
            [self.filter_program.hex()],
            [str(capability) for capability in self.keeps],
            self.layers,
            [str(port) for port in self.ports],
            self.settings,
        )
        tokens = [self.cwd, "1" if self.refuse_tcp else "0", "1" if self.is_calm else "0"]
        for items in lists:
            tokens += [str(len(items)), *items]
        if any("\0" in token for token in tokens):
            # What follows would be read as the specification, from the command's own words.
            raise OSError(errno.EINVAL, "an argument, variable or path holds a NUL byte")
        return b"\0".join(token.encode("utf-8", "surrogateescape") for token in tokens)


class Starter:
    """Knows how commands are started on one host."""

    def __init__(self, host: HostFacts) -> None:
        self._host = host
        self._views: dict[tuple[object, ...], tuple[Plan, tuple[view.Mount, ...]]] = {}
        self._plans: dict[tuple[object, ...], tuple[Plan, frozenset[view.Mount]]] = {}
        self._last: dict[tuple[object, ...], Plan] = {}

    def start(self, command: Command, scene: Scene, session: str) -> Start:
        """Return how `command` is started in its profile."""
        host, is_confined = self._host, command.profile.name != "unconfined"
        spec = Spec(
            command.cwd,
            command.argv if command.argv is not None else (*BASH, command.script or "", "bash"),
            tuple(environment.build(host, command).items()),
            rlimits(command.limits, confined=is_confined, in_group=bool(host.cgroups)),
        )
        if not is_confined:
            return self._on_host(command, spec)
        if command.profile.name == "look":
            return self._looking(command, spec)
        if command.profile.name != "inspect" and host.rung == "namespaces" and host.can_cell:
            return self._in_cell(command, scene, spec, session)
        mounts = view.view(command.profile, host, scene.sight, scene.empty_file)
        if host.rung == "landlock":
            return self._by_landlock(command, mounts, spec)
        return self._alone(command, mounts, spec)

    def expected(self, command: Command, session: str) -> Plan | None:
        """Return the cell that such a command had last; what it may see now can make it another."""
        return self._last.get(_likeness(command, session))

    def _in_cell(self, command: Command, scene: Scene, spec: Spec, session: str) -> Start:
        profile = command.profile
        key = (profile, scene.sight, scene.empty_file, command.limits.tmp_bytes, session)
        if key not in self._views:
            mounts = view.view(profile, self._host, scene.sight, scene.empty_file)
            plan, covers = self._plan(command, scene, mounts, session)
            new = (mount for mount in mounts if view.is_new(mount) and mount not in covers)
            if len(self._views) >= MAX_PLANS:
                self._views.clear()
            self._views[key] = plan, tuple(new)
        plan, mounts = self._views[key]
        if len(self._last) >= MAX_PLANS:
            self._last.clear()
        self._last[_likeness(command, session)] = plan
        mounts = tuple(_real(mount, profile.workspace) for mount in mounts)
        spec = replace(
            spec,
            rules=self._rules(mounts)[1:],  # the cell's own begin with the root
            mounts=mounts,
            identities=_identities(profile, mounts),
            filter_program=seccomp.extra(_calls(profile), self._host.machine),  # noqa: S610  # no database here
            is_calm=profile.sees_session,
            layers=scene.layers,
            ports=profile.network.ports if profile.network else (),
        )
        groups = self._host.cgroups
        return Start((), b"", spec.encode(), command.stdin, groups, has_reaper=False, plan=plan)

    def _on_host(self, command: Command, spec: Spec) -> Start:
        """Start the stage on the host itself; what holds the command is in the specification."""
        host = self._host
        stage = (host.interpreter, "-I", "-S", f"{host.package}/init.py", "{1}", "{2}")
        argv = (*_reaper(host), *stage)
        return Start(argv, b"", spec.encode(), command.stdin, host.cgroups, has_reaper=True)

    def _looking(self, command: Command, spec: Spec) -> Start:
        """Start outside every namespace, where the answer is true; the filter refuses the rest."""
        rules = [(path, landlock.RUN) for path in command.profile.read_roots]
        spec = replace(
            spec,
            keeps=LOOKING,
            rules=rules if self._host.landlock_abi else [],
            rlimits=(*spec.rlimits, (resource.RLIMIT_FSIZE, 0)),
            # Not `refuse_tcp`: without capabilities, root is not told who owns what.
            filter_program=seccomp.looking_only(self._host.machine),
        )
        return self._on_host(command, spec)

    def _by_landlock(self, command: Command, mounts: tuple[view.Mount, ...], spec: Spec) -> Start:
        """Hold a command by Landlock and seccomp alone; no socket, as the network is the host's."""
        host = self._host
        calls = seccomp.Calls((), (), may_signal=host.landlock_abi >= ABI_SCOPE, shares_host=True)
        spec = replace(
            spec,
            rlimits=rlimits(command.limits, confined=False, in_group=bool(host.cgroups)),
            rules=allow_list.rules(mounts),
            refuse_tcp=True,
            filter_program=seccomp.build(calls, host.machine),
        )
        return self._on_host(command, spec)

    def _alone(self, command: Command, mounts: tuple[view.Mount, ...], spec: Spec) -> Start:
        """Start one bubblewrap for one command."""
        host, inspects = self._host, command.profile.name == "inspect"
        options = bwrap.arguments(command.profile, host, mounts, command.limits.tmp_bytes)
        spec = replace(
            spec,
            rules=self._rules(mounts),
            refuse_tcp=inspects,
            filter_program=_filter(command.profile, host),
        )
        # Without a pid namespace of its own, a tree is held together by the reaper.
        argv = (*(_reaper(host) if inspects else ()), *_inside(host, "init.py"))
        return Start(argv, options, spec.encode(), command.stdin, host.cgroups, has_reaper=inspects)

    def _plan(
        self, command: Command, scene: Scene, mounts: tuple[view.Mount, ...], session: str
    ) -> tuple[Plan, frozenset[view.Mount]]:
        """Return what the cell for this command is made of, and what its seats cover already.

        It says nothing of the command itself: the covers are those outside every root that comes
        and goes with commands. One that this command must not have makes another cell.
        """
        workspace, tmp_bytes = command.profile.workspace, command.limits.tmp_bytes
        # What a command that only reads leaves in its home must not steer one that writes.
        # Nor one that was given more.
        profile = command.profile
        home = profile.name if profile.name == "read" and not profile.sees_session else "write"
        owner = (session, home, *profile.write_paths)
        most = _at_once(command.limits.processes)
        key = (scene.sight.tools, workspace, tmp_bytes, most, scene.empty_file, owner)
        if (known := self._plans.get(key)) and known[1].issubset(mounts):
            return known
        host = self._host
        old = tuple(mount for mount in mounts if not view.is_new(mount))
        lasting = [mount.path for mount in old if mount.kind in ("ro", "proc")]
        covers = tuple(
            mount
            for mount in mounts
            if mount.kind == "mask"
            and mount.path != view.HOSTS_FILE  # of those alone that have a network
            and any(is_within(mount.path, root) for root in lasting)
        )
        base = Spec(
            cwd=host.home,
            rules=self._rules(old),
            mounts=view.private(tmp_bytes) + covers,
            filter_program=seccomp.build(WIDEST, host.machine),
            settings=_settings(most),
        )
        options = bwrap.cell_arguments(host, old, workspace, (tmp_bytes, scene.empty_file))
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        plan = Plan(_inside(host, "seat.py"), options, base.encode(), owner)
        self._plans[key] = plan, frozenset(covers)
        return self._plans[key]

    def _rules(self, mounts: tuple[view.Mount, ...]) -> list[tuple[str, int]]:
        return view.rules(mounts) if self._host.landlock_abi else []


def _likeness(command: Command, session: str) -> tuple[object, ...]:
    return command.profile, command.limits.tmp_bytes, command.limits.processes, session


def _at_once(processes: int) -> int:
    """Return a bound on processes that most commands share, so that they share a cell."""
    return max(LEAST_AT_ONCE, 1 << (processes - 1).bit_length())


def _settings(processes: int) -> tuple[str, ...]:
    """Return what bounds a cell's seats at once, before a control group or a sample can.

    System V segments belong to no process; a namespace may bound them since Linux 6.9, and its
    process numbers since 6.14.
    """
    pages = mounting.SHM_BYTES // os.sysconf("SC_PAGE_SIZE")
    return f"kernel/shmall={pages}", f"kernel/pid_max={RESERVED_PIDS + processes}"


def _identities(profile: Profile, mounts: tuple[view.Mount, ...]) -> tuple[str, ...]:
    """Return what the workspace and everything mounted in it are now.

    A seat shows no other directory in its place and covers no other file. Two names of one file
    that has one name only were seen while something moved.

    Raises:
        MovedError: look again.
    """
    found = {}
    for path in (profile.workspace, *(mount.path for mount in mounts)):
        if is_within(path, profile.workspace):
            try:
                found[path] = os.lstat(path)
            except OSError as error:
                raise MovedError(error.errno, f"{path} is gone") from None
    single = [(s.st_dev, s.st_ino) for s in found.values() if s.st_nlink == 1 or _is_folder(s)]
    if len(set(single)) != len(single):
        raise MovedError(errno.ESTALE, "something moved while it was looked at")
    return tuple(f"{one.st_dev} {one.st_ino} {path}" for path, one in found.items())


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _inside(host: HostFacts, stage: str) -> tuple[str, ...]:
    python = (bwrap.interpreter(host), "-I", "-S", f"{view.INSIDE}/sandbox/{stage}", "{1}", "{2}")
    return (host.bwrap, "--args", "{0}", "--", *python)


def _reaper(host: HostFacts) -> tuple[str, ...]:
    return (host.interpreter, "-I", "-S", f"{host.package}/reaper.py", str(os.getpid()))


def _filter(profile: Profile, host: HostFacts) -> bytes:
    calls = _calls(profile)
    if host.landlock_abi < ABI_SCOPE and profile.name == "inspect":
        calls = replace(calls, may_signal=False)
    if profile.sockets:
        calls = replace(calls, families=(*calls.families, seccomp.AF_UNIX))
    return seccomp.build(calls, host.machine)


def _real(mount: view.Mount, workspace: str) -> view.Mount:
    """Return a mount with its source as it is now: a seat follows no link."""
    if not mount.source or is_within(mount.source, workspace):
        return mount  # found by walking, which follows none
    source = os.path.realpath(mount.source)
    return mount if source == mount.source else replace(mount, source=source)


def _calls(profile: Profile) -> seccomp.Calls:
    """Return what a profile may ask of the kernel.

    With a network, no local sockets: /tmp is the session's, and a connection could be handed by one
    to a command that has no network.
    """
    return CALLS[profile.name if profile.network is None else "read"]

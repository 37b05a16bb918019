"""What this host is and what it was seen to enforce: the facts every run is built from.

Pure values; probe.py finds them out by trying.
"""

from dataclasses import dataclass
from typing import Literal

from sandbox.outcome import Seen

Rung = Literal["none", "landlock", "namespaces"]
RUNGS: tuple[Rung, ...] = ("none", "landlock", "namespaces")  # weakest first


@dataclass(frozen=True, slots=True)
class Control:
    """One control as it was seen: what was tried, and what to do where it is not enforced."""

    name: str
    seen: Seen
    evidence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class SystemPaths:
    """The parts of this host's file system that every command may see."""

    directories: tuple[str, ...]
    links: tuple[tuple[str, str], ...]  # (path, target), such as /bin → usr/bin
    secret_files: tuple[str, ...]
    secret_directories: tuple[str, ...]
    inspect_only: tuple[str, ...]  # logs and package databases
    proc_secrets: tuple[str, ...] = ()  # covered where the host's own /proc is shown


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One host for one user, as `probe` saw it at start."""

    rung: Rung
    controls: tuple[Control, ...]
    bwrap: str
    interpreter: str  # for the stage inside; its whole prefix where it is not below /usr
    interpreter_prefix: str
    package: str  # this package's directory
    machine: str
    landlock_abi: int
    uid: int
    user: str
    home: str
    path_entries: tuple[str, ...]
    system: SystemPaths
    pids_cgroup: str = ""  # where a group per command bounds its processes; for root
    git_config: tuple[tuple[str, str], ...] = ()  # the owner's name, e-mail and line endings

    def meets(self, minimum: str) -> bool:
        """Return whether this host enforces at least `minimum`; an unknown rung is never met."""
        return minimum in RUNGS[: RUNGS.index(self.rung) + 1]

    @property
    def advice(self) -> str:
        """Return what is missing on this host and how to get it, for the operator."""
        missing = [control for control in self.controls if control.seen == "absent"]
        lines = {control.fix: f"{control.evidence}; {control.fix}" for control in missing}
        what = ". ".join(lines.values()) or "it does not reach minimum_enforcement"
        return f"This host cannot confine commands: {what}"

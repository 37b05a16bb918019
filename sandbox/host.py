"""What this host is and what it was seen to enforce: the facts every run is built from.

Pure values; probe.py finds them out by trying.
"""

from dataclasses import dataclass
from typing import Literal

from sandbox.outcome import Seen
from sandbox.profile import Profile, is_within
from sandbox.programs import SYSTEM

Choice = Literal["auto", "none"] | tuple[str, ...]  # which toolchains are shown
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
    proc_secrets: tuple[str, ...] = ()  # covered for root, and where the host's /proc is shown
    certificates: tuple[str, ...] = ()  # bundles that programs trust; another may stand for them


@dataclass(frozen=True, slots=True)
class Accepted:
    """The least the operator accepts; set from the configuration, never by what was found."""

    minimum: Rung = "namespaces"
    unprotected_git: bool = False  # on the rung landlock, `live` cannot keep git's own files


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
    cgroups: tuple[str, ...] = ()  # where a group per command bounds its memory and processes
    git_config: tuple[tuple[str, str], ...] = ()  # the owner's name, e-mail and line endings
    toolchains: Choice = "auto"
    variables: tuple[tuple[str, str], ...] = ()  # where the owner keeps toolchains: CARGO_HOME=…
    shown_entries: tuple[str, ...] = ()  # those of path_entries that `read` and `live` show
    extras: tuple[Control, ...] = ()  # tried like the controls; without them less is offered
    can_cell: bool = False  # namespaces for each command inside one bubblewrap; else one each
    can_overlay: bool = False
    can_net: bool = False  # a network namespace with its own loopback, inside
    accepted: Accepted = Accepted()

    @property
    def has_broker(self) -> bool:
        """Return whether commands can reach the network through the broker here."""
        return self.rung == "namespaces" and self.can_cell and self.can_net

    def meets(self, minimum: str) -> bool:
        """Return whether this host enforces at least `minimum`; an unknown rung is never met."""
        return minimum in RUNGS[: RUNGS.index(self.rung) + 1]

    def entries(self, profile: Profile) -> tuple[str, ...]:
        """Return the PATH of a profile: the directories that exist in its view."""
        if profile.name == "unconfined":
            return self.path_entries
        if profile.name in ("inspect", "look"):
            return tuple(e for e in self.path_entries if any(is_within(e, r) for r in SYSTEM))
        return tuple(
            entry
            for entry in self.path_entries
            if entry in self.shown_entries or is_within(entry, profile.workspace)
        )

    def refusal(self, profile: str) -> str | None:
        """Return why no command runs in this profile here, None when it may: the ladder's law."""
        if not self.meets(self.accepted.minimum) or self.rung == "none":
            return self.advice
        if profile == "write" and not (self.can_cell and self.can_overlay):
            return (
                "this host offers no write, which needs an overlay in namespaces for each command; "
                "commands write the workspace itself, in the profile live"
            )
        if self.rung == "namespaces" or profile == "read":
            return None
        if profile != "live":
            return (
                f"this host reaches the rung landlock only, which offers no {profile}: it cannot "
                f"keep the host's processes apart. {self.advice}"
            )
        if self.accepted.unprotected_git:
            return None
        return (
            "this host reaches the rung landlock only, where a command that may write the "
            "workspace may also write .git/hooks and every other protected name. Set "
            "accept_unprotected_git: true to accept that, or reach the rung namespaces. "
            f"{self.advice}"
        )

    @property
    def advice(self) -> str:
        """Return what is missing on this host and how to get it, in one line for the operator."""
        missing = [control for control in self.controls if control.seen == "absent"]
        lines = {c.fix: f"{c.evidence}; {c.fix.partition(chr(10))[0]}" for c in missing}
        what = ". ".join(lines.values()) or "it does not reach minimum_enforcement"
        return f"This host cannot confine commands: {what}"

"""The law by rung: each control, what holds it where, and what stays open.

Pure; `python -m sandbox.enforcement` prints the table of docs/enforcement.md. What is tried is
taken from attempts.py, so the page cannot name a trial that does not exist.
"""

from dataclasses import dataclass

from sandbox.attempts import ATTEMPTS
from sandbox.profile import ProfileName

CONFINED: tuple[ProfileName, ...] = ("inspect", "read", "write", "live")


@dataclass(frozen=True, slots=True)
class Law:
    """One control; `permitted` are attempts that a profile or rung lets through, and says so."""

    name: str
    namespaces: str
    landlock: str
    left_open: str = ""
    profiles: tuple[ProfileName, ...] = CONFINED
    permitted: tuple[tuple[str, str], ...] = ()  # (profile or rung, attempt)

    @property
    def attempts(self) -> tuple[str, ...]:
        """Return what the canary tries for this control."""
        return tuple(what for control, what, _ in ATTEMPTS if control == self.name)


CONTROLS: tuple[Law, ...] = (
    Law(
        "reads",
        "mount namespace: listed paths only, denied files covered; Landlock with the same list",
        "Landlock: what a denied file lies beside is allowed entry by entry",
        "names, sizes and times of other files can be asked for on the rung landlock",
    ),
    Law(
        "writes",
        "read-only mounts, private /tmp, /run and home; Landlock",
        "Landlock; there is no /tmp and no home at all",
    ),
    Law(
        "workspace",
        "read-only mount; Landlock",
        "Landlock",
        "`live` writes it, by its name",
        profiles=("inspect", "read"),
    ),
    Law(
        "workspace copy",
        "an overlay: what is written goes to a layer of its own, and is judged when the command "
        "has ended",
        "not offered; `live` stands in where accept_unprotected_git: true",
        "where a file system is mounted inside the workspace `live` stands in",
        profiles=("write",),
    ),
    Law(
        "metadata",
        "read-only mounts; what is not shown has no name",
        "seccomp: modes, owners, times and attributes cannot be set at all",
    ),
    Law(
        "protected names",
        "read-only mounts over what exists; new ones are moved out after the run",
        "new ones are moved out after the run; what exists can be changed, so `live` needs "
        "accept_unprotected_git: true",
        "names below directories that are made during the run",
        profiles=("live",),
        permitted=(("landlock", "write .git/config"), ("landlock", "write .git/hooks")),
    ),
    Law(
        "network",
        "a network namespace without a route; with permitted hosts one where every address ends "
        "at the broker; `inspect`: seccomp, netlink sockets only",
        "seccomp: no socket of any family; Landlock refuses TCP from ABI 4; there is no broker",
    ),
    Law(
        "sockets",
        "sockets and FIFOs in sight are covered, /run and /tmp are private; seccomp in `inspect` "
        "and `read`",
        "seccomp: no socket of any family; Landlock for FIFOs; `live` runs in no workspace that "
        "has one",
    ),
    Law(
        "processes",
        "pid namespace; `inspect`: Landlock scopes signals from ABI 6, before that seccomp "
        "refuses them",
        "Landlock: no /proc of others, signals scoped from ABI 6, before that seccomp refuses them",
        "`inspect` sees what `ps` shows, on purpose",
        permitted=(("inspect", "see a process of the host"),),
    ),
    Law("set-id", "no new privileges, no capabilities, seccomp", "the same"),
    Law("kernel", "seccomp", "the same", "a bug of the kernel"),
    Law(
        "process count",
        "control group, else RLIMIT_NPROC in the user namespace, else sampled",
        "control group, else sampled",
        "root without a control group: sampled every 20 ms",
    ),
    Law(
        "memory",
        "control group, else sampled every 20 ms",
        "the same",
        "sampled: a burst shorter than that",
    ),
)


def table() -> str:
    """Return the table of docs/enforcement.md, a line for each control."""
    lines = [
        "| control | profiles | tried | held on namespaces by | held on landlock by | left open |",
        "|---|---|---|---|---|---|",
    ]
    for law in CONTROLS:
        profiles = ", ".join(f"`{name}`" for name in law.profiles)
        tried = "; ".join(law.attempts)
        held = f"{law.namespaces} | {law.landlock} | {law.left_open or 'nothing known'}"
        lines.append(f"| {law.name} | {profiles} | {tried} | {held} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201  # a program's output

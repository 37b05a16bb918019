"""From a decision to the exact command that would run: the hall's mapping of policy onto sandbox.

May touch: look-ups (where a program is, what a pinned file holds). INVARIANT: everything that
changes what happens is inside the frozen action, so its digest covers it; a footprint that needs
the host itself asks for a human's yes to exactly that.
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from anyio import to_thread

from approvals.request import Level
from mcp_server.calls import Frozen, Unrunnable
from mcp_server.config import LimitSettings, NetworkSettings
from mcp_server.connections import Asking, Connections, connections
from mcp_server.duties import landed, within
from mcp_server.pins import pins, unpinned
from policy.decide import readable_roots
from policy.model import Context, Decision, Exec
from policy.narrowing import Asked
from policy.rules import Policy
from sandbox.action import ABSENT, Command, Landing, Limits
from sandbox.host import HostFacts, Rung
from sandbox.network.model import Network
from sandbox.owners import examine
from sandbox.profile import RENAMERS, NoProfile, Profile, Programs, Touch, derive, is_within
from sandbox.programs import resolve

READING = ("inspect", "look", "read")
NOT_READING = (
    "profile: read was asked for and this command would do more than read. "
    "Leave `profile` out to let policy choose, or ask for write."
)
NO_PREVIEW = (
    "There is a preview only of what happens in the workspace, and this would change more. "
    "Leave `preview` out, or split the command. Nothing ran."
)
POLICY_CHANGED = "The policy changed while this call was decided. Nothing ran; call again."


def _nothing(_: str, __: str, ___: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class CommandWish:
    """What a caller wants of one command besides what it touches."""

    action: Exec
    context: Context
    asked: Asked = field(default_factory=Asked)
    granted: Callable[[str, str, int], bool] = _nothing  # under a policy's digest, a host and port
    stdin: bytes | None = None
    timeout_s: float | None = None
    read_only: bool = False
    live: bool = False  # the workspace itself, not a copy of it
    unconfined: bool = False  # outside the sandbox, as the owner
    preview: bool = False


class Sights(Protocol):
    """What the sandbox says of this host before a command is frozen."""

    def sees_all(self, profile: Profile) -> bool:
        """Return whether every denied file that a profile would show can be covered."""
        ...

    def no_copy(self, workspace: str) -> str:
        """Return why commands cannot write a copy of a workspace here; "" where they can."""
        ...


class Freezer:
    """Makes commands runnable under the policy and on the host of this server."""

    def __init__(
        self,
        policy: Callable[[], Policy],
        host: HostFacts,
        settings: tuple[LimitSettings, NetworkSettings, Rung],
        sights: Sights,
        own_ports: frozenset[int] = frozenset(),
    ) -> None:
        """Build a freezer; `own_ports` are those of our listeners, which no command reaches."""
        self._policy, self._host, self._sights = policy, host, sights
        self._own_ports = own_ports
        self._limits, self._network, self._minimum = settings

    async def command(self, wish: CommandWish, decision: Decision) -> Frozen | Unrunnable:
        """Return the frozen command, or why there is none."""
        if not self._host.meets(self._minimum):
            return Unrunnable("blocked", f"{self._host.advice}. Nothing ran.")
        policy = self._policy()
        if policy.digest != decision.policy_digest:
            return Unrunnable("blocked", POLICY_CHANGED)
        return await to_thread.run_sync(self._frozen, wish, decision, policy)

    def _frozen(self, wish: CommandWish, decision: Decision, policy: Policy) -> Frozen | Unrunnable:
        programs = programs_of(decision, self._host)
        reach = self._reach(wish, decision, policy)
        least = derive(
            [Touch(a.operation, a.resource, a.how) for a in decision.accesses],
            workspace=wish.context.workspace,
            read_roots=readable_roots(policy, wish.context),
            programs=programs,
            network=reach.network if reach else None,
        )
        profile = self._chosen(wish, least)
        if isinstance(profile, Unrunnable):
            return profile
        frozen = self._command(wish, decision, profile, programs)
        if isinstance(frozen, Unrunnable) or profile.network is None:
            return frozen
        return replace(frozen, connections=reach)

    def _reach(self, wish: CommandWish, decision: Decision, policy: Policy) -> Connections | None:
        """Return what the broker may carry; None: the command has no network, or the host's."""
        if wish.unconfined or not self._host.has_broker:
            return None
        granted = partial(wish.granted, decision.policy_digest)
        asked = replace(wish.asked, words=decision.words)
        asking = Asking(asked, wish.context, wish.action.cwd, granted, self._own_ports)
        return connections(decision, policy, asking, self._network)

    def _chosen(self, wish: CommandWish, least: Profile | NoProfile) -> Profile | Unrunnable:
        """Return the profile to run in: the least that suffices, if it is what was wished for."""
        if wish.unconfined:
            least = Profile("unconfined", wish.context.workspace)
        elif isinstance(least, NoProfile):
            return Unrunnable("blocked", least.reason)
        if refused := _unwished(wish, least):
            return Unrunnable("blocked", refused)
        if least.name != "write":
            return least
        if wish.live and not wish.preview:
            return replace(least, name="live")
        why = self._sights.no_copy(least.workspace)
        if why and wish.preview:
            return Unrunnable("blocked", f"there can be no preview here: {why}. Nothing ran.")
        return replace(least, name="live", no_copy=why) if why else least

    def _command(
        self, wish: CommandWish, decision: Decision, profile: Profile, programs: Programs
    ) -> Frozen | Unrunnable:
        absent = [path for path in profile.write_paths if not Path(path).exists()]
        if absent:
            return Unrunnable(
                "blocked",
                f"{absent[0]} is outside the workspace and does not exist, so no profile can show "
                "it writable. Ask the owner to create it first. Nothing ran.",
            )
        if not self._sights.sees_all(profile):
            profile = replace(profile, unmasked=True)
        argv, script = decision.executable.argv, decision.executable.script
        verbatim = argv is None and script is None
        located = self._located(argv, profile)
        program = located[0] if located else ""
        command = Command(
            argv=located,
            script=wish.action.command if verbatim else script,
            verbatim=verbatim,
            cwd=wish.action.cwd,
            env=wish.action.env,
            stdin=wish.stdin,
            profile=profile,
            limits=within(self._bounds(wish), decision.obligations),
            pins=pins(decision, program),
            policy_digest=decision.policy_digest,
            landing=landed(Landing(preview=wish.preview), decision.obligations),
        )
        return Frozen(
            action=command,
            facts=(
                *_facts(command, wish.context),
                *(("not-pinned", one) for one in unpinned(decision, program, command.pins)),
            ),
            needs_yes=_needs_yes(command, wish, decision, programs)
            or ("it asks to write the workspace itself, without undo" if wish.live else ""),
            least_level=Level.OWNER if _is_wide(profile) else Level.ATTESTED,
        )

    def _located(self, argv: tuple[str, ...] | None, profile: Profile) -> tuple[str, ...] | None:
        """Return the vector with its program resolved once, so what was shown is what starts."""
        if argv is None:
            return None
        shown = replace(profile, name="inspect") if profile.name == "look" else profile
        found = resolve(argv[0], self._host.entries(shown))
        return argv if found is None else (found, *argv[1:])

    def _bounds(self, wish: CommandWish) -> Limits:
        limits = self._limits
        return Limits(
            wall_s=wish.timeout_s if wish.timeout_s is not None else limits.timeout_s,
            cpu_s=limits.cpu_s,
            memory_bytes=limits.memory_bytes,
            processes=limits.processes,
            file_bytes=limits.file_bytes,
            open_files=limits.open_files,
            tmp_bytes=limits.tmp_bytes,
            output_bytes=limits.output_bytes,
        )


def _is_wide(profile: Profile) -> bool:
    """Return whether a yes to this gives away more than the words of a command say."""
    is_anywhere = profile.network is not None and profile.network.is_anywhere
    return profile.name == "unconfined" or profile.unmasked or is_anywhere


def _unwished(wish: CommandWish, least: Profile) -> str:
    """Return why the least profile that suffices is not one the caller wants; "" where it is."""
    if wish.read_only and (least.name not in READING or least.output):
        return NOT_READING
    writes_more = least.name in ("live", "unconfined") or bool(least.write_paths)
    return NO_PREVIEW if wish.preview and writes_more else ""


def programs_of(decision: Decision, host: HostFacts) -> Programs:
    """Return what is known of the programs a decision names, as `inspect` would find them."""
    entries = host.entries(Profile("inspect", "/"))
    found = examine(decision.executable.argv, decision.programs, entries)
    # A rule that names the profiles it permits means those, not one that only resembles them.
    return replace(
        found,
        may_look=decision.obligations.sandbox is None,
        renames_directories=any(
            access.program in RENAMERS and access.how == "exact" and Path(access.resource).is_dir()
            for access in decision.accesses
        ),
    )


def _needs_yes(command: Command, wish: CommandWish, decision: Decision, programs: Programs) -> str:
    if command.verbatim:
        return f"the text was not wholly understood ({decision.opaque}); it would run as written"
    if command.profile.name == "unconfined":
        if wish.unconfined:
            return "it asks to run outside the sandbox"
        if programs.set_id:
            return (
                f"{', '.join(programs.set_id)} takes rights when it starts (set-id), which no "
                "sandbox lets it have; it would run outside the sandbox"
            )
        return "no profile of the sandbox covers this; it would run outside the sandbox"
    if command.profile.unmasked:
        return (
            "there are too many files to find every one that policy denies; it could read some "
            "of those"
        )
    return ""


def _facts(command: Command, context: Context) -> Iterator[tuple[str, str]]:
    if command.argv is not None:
        yield "command", shlex.join(command.argv)
    elif command.script is not None:
        yield "text-verbatim" if command.verbatim else "script", command.script
    yield "cwd", command.cwd
    yield "user", context.user
    yield "host", context.host
    for name, value in command.env:
        # No hash: a short secret could be guessed from it. The action digest covers the value.
        yield "env", f"{name} (value of {len(value)} characters, in the action digest)"
    if command.stdin is not None:
        yield "stdin", f"{len(command.stdin)} bytes, in the action digest"
    yield from _profile_facts(command.profile)
    yield "timeout", f"{command.limits.wall_s:g} s"
    if command.landing.preview:
        yield "preview", "nothing of what it changes is kept before a person saw it"
    for pin in command.pins:
        is_absent = pin.sha256 == ABSENT
        yield "pinned", f"{pin.path} {'is absent' if is_absent else f'sha256 {pin.sha256}'}"


def _network_facts(network: Network | None) -> Iterator[tuple[str, str]]:
    if network is None:
        return
    for host in network.hosts:
        yield "connects-to", host
    if network.is_anywhere:
        yield "connects-to", "ANY PUBLIC HOST: the words of the command do not say which"
    if network.proxy:
        yield "through-proxy", network.proxy


def _profile_facts(profile: Profile) -> Iterator[tuple[str, str]]:
    meaning = {
        "inspect": "looks at the host, writes nothing",
        "look": "looks at the host outside the namespaces: a filter refuses writes, connections",
        "read": "reads only",
        "write": "writes a copy of the workspace, committed when it has ended",
        "live": "writes the workspace itself, without undo",
        "unconfined": "OUTSIDE THE SANDBOX: as you, with network, anywhere",
    }
    has_words = profile.name not in ("look", "unconfined") and profile.network is None
    yield "profile", f"{profile.name} ({meaning[profile.name]}{'; no network' * has_words})"
    yield from _network_facts(profile.network)
    if profile.no_copy:
        yield "no-copy", profile.no_copy
    for path in profile.write_paths:
        yield "also-writes", path
    for path in profile.reads:
        if not is_within(path, profile.workspace):
            yield "reads", path
    for path in profile.sockets:
        yield "speaks-to", path
    if profile.output:
        yield "writes-only", profile.output
    if profile.unmasked:
        yield "not-covered", "some files that policy denies, among too many to search"

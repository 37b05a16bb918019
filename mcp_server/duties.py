"""The obligations of the policy, held against a frozen action: what it may not do, it does not run.

May touch: values. INVARIANT: every action passes `bounded` between its freezing and its permit, so
an obligation that nothing could hold here stops the call and names the rule that demands it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from mcp_server.calls import Frozen, Unrunnable
from policy.model import Decision, Obligations
from policy.obligations import described, said_by
from sandbox.action import (
    Action,
    Command,
    CommitChanges,
    DiscardChanges,
    Landing,
    Limits,
    ListDirectory,
    PatchFiles,
    ReadFile,
    RemoteCommand,
    RestoreChanges,
    SearchFiles,
    UndoChanges,
)

REMOTE_LIMITS = frozenset({"timeout_s", "output_bytes"})  # what can be held of another host


def bounded(frozen: Frozen | Unrunnable, decision: Decision) -> Frozen | Unrunnable:
    """Return the frozen action with what the rules did to it shown, or why it may not run."""
    if isinstance(frozen, Unrunnable):
        return frozen
    obligations = decision.obligations
    unmet = next(_unmet(frozen.action, obligations), None)
    if unmet is not None:
        return Unrunnable("blocked", f"{unmet}. Nothing ran.")
    action = frozen.action
    if isinstance(action, ReadFile):
        kept = least("output_bytes", action.max_bytes, obligations)
        action = replace(action, max_bytes=int(kept))
    demands = tuple(("rule-demands", f"{key} {text}") for key, text in described(obligations))
    facts = (*frozen.facts, *_rewritten(decision), *demands)
    return replace(frozen, action=action, facts=facts)


def _rewritten(decision: Decision) -> Iterator[tuple[str, str]]:
    """Yield what was asked for where something else would run, beside what would."""
    for one in decision.rewritten:
        yield "asked-for", one.before
        yield "runs-instead", f"{one.after} (rule {one.rule_id} at {one.place})"


def within(limits: Limits, obligations: Obligations) -> Limits:
    """Return the limits of one command, each as low as any rule demands."""
    return Limits(
        wall_s=least("timeout_s", limits.wall_s, obligations),
        cpu_s=int(least("cpu_s", limits.cpu_s, obligations)),
        memory_bytes=int(least("memory_bytes", limits.memory_bytes, obligations)),
        processes=int(least("processes", limits.processes, obligations)),
        file_bytes=int(least("file_bytes", limits.file_bytes, obligations)),
        open_files=int(least("open_files", limits.open_files, obligations)),
        tmp_bytes=int(least("tmp_bytes", limits.tmp_bytes, obligations)),
        output_bytes=int(least("output_bytes", limits.output_bytes, obligations)),
    )


def landed(landing: Landing, obligations: Obligations) -> Landing:
    """Return what becomes of a command's changes, held back as far as any rule demands."""
    numbers = dict(obligations.hold)
    return replace(
        landing,
        preview=landing.preview or obligations.preview,
        deletions=_lower(landing.deletions, numbers.get("deletions")),
        bytes=_lower(landing.bytes, numbers.get("bytes")),
        names=tuple(sorted({*landing.names, *obligations.hold_names})),
    )


def _lower(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def least(name: str, value: float, obligations: Obligations) -> float:
    """Return a limit, or what a rule demands if that is less."""
    return min(value, dict(obligations.limits).get(name, value))


def _unmet(action: Action, obligations: Obligations) -> Iterator[str]:
    """Yield every obligation that the action would not meet."""
    match action:
        case Command():
            yield from _of_command(action, obligations)
        case RemoteCommand():
            yield from unmet_by_profile("unconfined", obligations)
            yield from _remote_limits(obligations)
        case PatchFiles(files=files):
            yield from unmet_by_profile("write", obligations)
            largest = max((len(file.after or b"") for file in files), default=0)
            if least("file_bytes", largest, obligations) < largest:
                where = said_by(obligations, "limits")
                yield f"a file would have {largest} bytes, more than file_bytes permits ({where})"
        case UndoChanges() | CommitChanges() | DiscardChanges() | RestoreChanges():
            yield from unmet_by_profile("write", obligations)
        case ReadFile() | ListDirectory() | SearchFiles():
            yield from unmet_by_profile("read", obligations)
        case other:
            assert_never(other)


def _of_command(command: Command, obligations: Obligations) -> Iterator[str]:
    profile = command.profile
    yield from unmet_by_profile(profile.name, obligations)
    if obligations.preview and profile.write_paths:
        where = _holders(obligations)
        yield f"there is no preview of {profile.write_paths[0]}, outside the workspace ({where})"
    if landed(command.landing, obligations) != command.landing:
        yield f"the changes would not be held as the policy demands ({_holders(obligations)})"
    if profile.network is not None and () in obligations.network:
        where = said_by(obligations, "network")
        yield f"this would reach the network, and the policy permits none here ({where})"
    yield from _names([name for name, _ in command.env], obligations)
    if within(command.limits, obligations) != command.limits:
        yield f"the limits of {said_by(obligations, 'limits')} were not applied"


def unmet_by_profile(name: str, obligations: Obligations) -> Iterator[str]:
    """Yield why a run in this profile would break an obligation; nothing where it would not."""
    permitted = obligations.sandbox
    if permitted is not None and name not in permitted:
        listed, where = " or ".join(sorted(permitted)), said_by(obligations, "sandbox")
        yield f"this needs the profile {name}, and the policy permits only {listed} here ({where})"
    holds = obligations.preview or obligations.hold or obligations.hold_names
    if holds and name in ("live", "unconfined"):
        where = _holders(obligations)
        yield f"in the profile {name} nothing can be held back before it happens ({where})"
    if name == "unconfined" and obligations.network:
        where, listed = said_by(obligations, "network"), _hosts(obligations)
        yield f"this would run with network, and the policy permits {listed} here ({where})"


def _hosts(obligations: Obligations) -> str:
    return ", ".join(obligations.network[0]) or "none"


def _holders(obligations: Obligations) -> str:
    return ", ".join(filter(None, (said_by(obligations, key) for key in ("preview", "hold"))))


def _names(names: list[str], obligations: Obligations) -> Iterator[str]:
    permitted = obligations.env
    other = [name for name in names if permitted is not None and name not in permitted]
    if other:
        listed = ", ".join(sorted(permitted or ())) or "no variable"
        where = said_by(obligations, "env")
        yield f"env sets {', '.join(other)}, and the policy lets it set {listed} ({where})"


def _remote_limits(obligations: Obligations) -> Iterator[str]:
    other = [name for name, _ in obligations.limits if name not in REMOTE_LIMITS]
    if other:
        where = said_by(obligations, "limits")
        yield f"nobody can hold {', '.join(other)} on another host, as the policy demands ({where})"

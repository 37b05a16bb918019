"""What must also hold besides the effect: the keys, their combination, and how they are said.

May touch: obligations. May not touch: YAML (rule_file.py), accesses, the sandbox: what a profile is
and how a limit is held is the hall's to know; here they are names.
INVARIANT: combining only ever tightens, in any order: the highest level and quorum, every list of
roles, the lowest limits, what all of them permit, all that any of them hides.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from types import MappingProxyType
from typing import Final

from policy.host_globs import HostGlobs
from policy.model import Obligations

NONE: Final = Obligations()
LEVELS: Final = MappingProxyType({"attested": 1, "owner": 2, "separate": 3, "present": 4})
# The widest profile a rule permits, and those that allow no more than it does.
WITHIN: Final = MappingProxyType(
    {
        "read": frozenset({"read"}),
        "inspect": frozenset({"read", "inspect"}),
        "write": frozenset({"read", "write"}),
        "live": frozenset({"read", "write", "live"}),
    }
)
# The bounds of one command, and the least a rule may set: with less, nothing would start.
LIMITS: Final = MappingProxyType(
    {
        "timeout_s": 1, "cpu_s": 1, "memory_bytes": 16 << 20, "processes": 8,
        "file_bytes": 1 << 10, "open_files": 32, "tmp_bytes": 1 << 20, "output_bytes": 1 << 10,
    }
)  # fmt: skip


def strictest(many: Iterable[Obligations]) -> Obligations:
    """Return what satisfies every one of them, and asks for no more than that."""
    return reduce(_both, many, NONE)


def _both(one: Obligations, other: Obligations) -> Obligations:
    if other is NONE or one is other:
        return one
    if one is NONE:
        return other
    timeouts = [each.timeout_s for each in (one, other) if each.timeout_s is not None]
    return Obligations(
        level=max(one.level, other.level),
        quorum=max(one.quorum, other.quorum),
        roles=tuple(sorted({*one.roles, *other.roles})),
        timeout_s=min(timeouts, default=None),
        sandbox=_common(one.sandbox, other.sandbox),
        network=tuple(sorted({*one.network, *other.network})),
        limits=_least(one.limits, other.limits),
        env=_common(one.env, other.env),
        redact=tuple(sorted({*one.redact, *other.redact})),
        preview=one.preview or other.preview,
        hold=_least(one.hold, other.hold),
        hold_names=tuple(sorted({*one.hold_names, *other.hold_names})),
        places=tuple(sorted({*one.places, *other.places})),
    )


def _least(
    one: tuple[tuple[str, int], ...], other: tuple[tuple[str, int], ...]
) -> tuple[tuple[str, int], ...]:
    numbers = dict(one)
    for name, value in other:
        numbers[name] = min(value, numbers.get(name, value))
    return tuple(sorted(numbers.items()))


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    """Return the names that both permit; None permits all."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def not_permitted(obligations: Obligations, host: str) -> str:
    """Return why a host may not be reached; "" where it may."""
    for hosts in obligations.network:
        if not HostGlobs(hosts).has(host):
            listed = f"only {', '.join(hosts)}" if hosts else "no network"
            return f"{listed}, says {said_by(obligations, 'network')}"
    return ""


def said_by(obligations: Obligations, key: str) -> str:
    """Return the rules that set one of the keys, with their places."""
    return ", ".join(place for name, place in obligations.places if name == key)


def described(obligations: Obligations) -> tuple[tuple[str, str], ...]:
    """Return (key, value and the rules behind it) of all that bounds a run, for people."""
    return tuple(
        (key, f"{value} ({said_by(obligations, key)})") for key, value in _bounds(obligations)
    )


def _bounds(obligations: Obligations) -> Iterator[tuple[str, str]]:
    if obligations.roles:
        each = (" or ".join(roles) for roles in obligations.roles)
        yield "roles", f"each yes by {', and by '.join(each)}"
    yield from _bounds_of_the_run(obligations)


def _bounds_of_the_run(obligations: Obligations) -> Iterator[tuple[str, str]]:
    if obligations.sandbox is not None:
        yield "sandbox", _listed(obligations.sandbox)
    for hosts in obligations.network:
        yield "network", ", ".join(hosts) or "none"
    if obligations.limits:
        yield "limits", ", ".join(f"{name} {value}" for name, value in obligations.limits)
    if obligations.env is not None:
        yield "env", _listed(obligations.env)
    if obligations.redact:
        yield "redact", _listed(obligations.redact)
    if obligations.preview:
        yield "preview", "before anything is changed"
    if obligations.hold or obligations.hold_names:
        held = [f"{name} {value}" for name, value in obligations.hold]
        yield "hold", ", ".join([*held, *(f"names {glob}" for glob in obligations.hold_names)])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"

"""What a command's words say it reaches, and the policy's word on one connection that it made.

May touch: accesses, rules. May not touch: name servers, sockets; the egress broker has those.
INVARIANT: which program connects is not seen, so the strictest word on any that may be it counts,
and an allow of what only some of them may do permits nothing.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NoReturn

from policy.decide import decide
from policy.host_sets import set_as_resource, stands_for
from policy.hosts import canonical, host_of
from policy.model import Access, Context, Effect, Verdict
from policy.narrowing import UNKNOWN_PROGRAM, Asked
from policy.obligations import not_permitted
from policy.overlap import text_overlaps
from policy.ports import LAST, port_of
from policy.programs.words import HOLE
from policy.rules import Policy, bind

Ports = tuple[tuple[int, int], ...]  # first and last of each range
ANY: Final = -1  # a port that is not known
NO_HOST: Final = "<a host that is not named>"
_STARTS_OTHERS: Final = frozenset({"code.exec", "opaque"})
_ITEM = re.compile(
    r"(?P<host>\[[0-9a-f:.]+\]|[^:\[\]]+)(?::(?P<port>[0-9]{1,5}))?|(?P<address>[0-9a-f:.]+)", re.I
)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a connection goes: a canonical name or address, and what its first bytes show."""

    host: str
    port: int
    scheme: str
    method: str  # of plain HTTP, empty for all else


@dataclass(frozen=True, slots=True)
class Named:
    """The hosts that the words of a command name, sorted: globs, addresses and networks."""

    hosts: tuple[tuple[str, Ports], ...]  # no range: the port is not known
    is_unknown: bool  # whether it also connects to what its words do not name


# --- one connection -----------------------------------------------------------------------------


def connection(
    to: Destination, policy: Policy, context: Context, accesses: Sequence[Access], asked: Asked
) -> Verdict:
    """Return the policy's word on a connection of a command with these accesses; never raises.

    `asked` is that of the command. ASK stands also for what no rule permits and what may be meant
    by a rule that asks or denies: it is no permission, whatever was decided about the words.
    """
    resource = _resource(to)
    here = [Access("net.connect", resource, "exact", program) for program in _programs(accesses)]
    beside = asked.beside | {access.operation for access in accesses}
    ruling = decide(here, policy, context, replace(asked, method=to.method, beside=beside))
    verdict = max(ruling.verdicts, key=lambda one: (one.effect, one.certain))
    if reason := not_permitted(ruling.obligations, to.host):
        return verdict._replace(effect=Effect.DENY, reason=reason)
    if verdict.effect is Effect.ALLOW:
        return _by_address(verdict, to.host, policy, context) or verdict
    return verdict


def _resource(to: Destination) -> str:
    host = to.host if canonical(to.host) == to.host else NO_HOST
    return f"{to.scheme}://{_in_url(host)}:{to.port}"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _programs(accesses: Iterable[Access]) -> list[str]:
    """Return those that may connect: who says so, and whoever runs code that does not say."""
    known = dict.fromkeys(one.program for one in accesses if one.operation == "net.connect")
    known |= dict.fromkeys(
        UNKNOWN_PROGRAM
        for one in accesses
        if one.operation in _STARTS_OTHERS and one.program not in known
    )
    return list(dict.fromkeys(program or UNKNOWN_PROGRAM for program in known or ("",)))


def _by_address(found: Verdict, host: str, policy: Policy, context: Context) -> Verdict | None:
    """Return the ask of a rule whose `resources` may mean what this connection asks the host for.

    Of a URL only the host is seen.
    """
    for bound in bind(policy, context).rules_for("net.connect"):
        rule, globs = bound.rule, bound.resources
        if rule.effect is Effect.ALLOW or globs is None or rule.id in found.lifted:
            continue
        if any(_may_mean(glob, host) for glob in globs.texts):
            return Verdict(
                found.access, Effect.ASK, rule.id, rule.place, rule.reason, rule.instead, False
            )
    return None


def _may_mean(glob: str, host: str) -> bool:
    if glob[0] in "/<" or host_of(glob) not in (host, None):
        return False
    return text_overlaps(f"{HOLE}{host}{HOLE}", glob)


# --- what the words name --------------------------------------------------------------------------


def named(accesses: Iterable[Access], policy: Policy) -> Named:
    """Return the hosts that connections in words name, sets written out."""
    connections = [one for one in accesses if one.operation == "net.connect"]
    apart: dict[str, set[int]] = {}
    for one in filter(_is_port, connections):
        apart.setdefault(one.program, set()).add(int(one.resource))
    found: dict[str, set[int]] = {}
    is_unknown = False
    for one in connections:
        hosts = () if _is_port(one) else _hosts(one, policy)
        is_unknown = is_unknown or hosts is None
        port = port_of(one)
        ports = apart.get(one.program, {ANY}) if port is None else {port}
        for host in hosts or ():
            found.setdefault(host, set()).update(ports)
    return Named(tuple((host, _ranges(found[host])) for host in sorted(found)), is_unknown)


def _ranges(ports: set[int]) -> Ports:
    return () if ANY in ports else tuple((port, port) for port in sorted(ports))


def _is_port(access: Access) -> bool:
    """Return whether this is the 80 of `nc example.com 80`: no host is spelled so."""
    digits = access.resource
    return digits.isascii() and digits.isdecimal() and len(digits) <= len(str(LAST))


def _hosts(access: Access, policy: Policy) -> tuple[str, ...] | None:
    listed = stands_for(access, policy.host_sets)
    if listed is not None:
        return listed
    host = host_of(access.resource) if access.how == "exact" and not is_remote(access) else None
    return None if host is None else (host,)


def is_remote(access: Access) -> bool:
    """Return whether this is the `origin` of `git push origin`: a name for what it knows."""
    is_git = access.program.partition(" ")[0] == "git"
    return is_git and not {":", "/"} & set(access.resource)


# --- hosts that a call names ----------------------------------------------------------------------


def as_accesses(items: Iterable[str], policy: Policy) -> tuple[Access, ...]:
    """Return the connections of `host`, `host:port` and `@set`, in canonical spelling.

    Raises:
        ValueError: an item is none of these, or no file defines the set.
    """
    resources = (_set(item, policy) if item[:1] == "@" else _host(item) for item in items)
    return tuple(Access("net.connect", resource) for resource in dict.fromkeys(resources))


def _set(item: str, policy: Policy) -> str:
    name = item.removeprefix("@")
    if name not in policy.host_sets:
        known = ", ".join(f"@{one}" for one in policy.host_sets)
        _refuse(f"the policy has no host set {item!r}; there are {known}")
    return set_as_resource(name)


def _host(item: str) -> str:
    found = _ITEM.fullmatch(item)
    host = canonical((found["address"] or found["host"]).strip("[]")) if found else None
    port = int(found["port"] or LAST) if found else 0
    if found is None or host is None or not 0 < port <= LAST:
        _refuse(
            f"{item!r} is no host; write example.com, example.com:8443, an address or @ and the"
            " name of a host set, without scheme, user, path or *"
        )
    return host if found["port"] is None else f"tcp://{_in_url(host)}:{port}"


def _refuse(what: str) -> NoReturn:
    raise ValueError(what)

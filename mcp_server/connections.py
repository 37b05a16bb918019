"""What a command may reach: from its decision before it runs, and of each connection it makes.

May touch: the configuration of the git repository a command runs in, to read where its remotes are.
INVARIANT: policy is asked about every real connection; a human's yes covers the hosts that were
shown and no other, and never what policy denies. Nobody's covers our own listeners.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from mcp_server.config import NetworkSettings
from mcp_server.git_remotes import remotes
from policy.decide import DEFAULT
from policy.host_globs import HostGlobs, network
from policy.hosts import address
from policy.model import Access, Context, Decision, Effect, Obligations, Verdict
from policy.narrowing import Asked
from policy.obligations import not_permitted
from policy.reach import Destination, Named, Ports, connection, is_remote, named
from policy.rules import Policy, Rule
from sandbox.network.model import Asks, Network, Word
from sandbox.network.model import Destination as Seen

USUAL_PORTS: Final = (22, 80, 443, 8080, 8443, 9418)
MOST_PORTS: Final = 1024
LOCALHOST: Final = ("127.0.0.0/8", "::1/128")
THIS_HOST: Final = (*LOCALHOST, "0.0.0.0", "::")  # noqa: S104  # a connection there comes here
WIDEST_LISTED: Final = {4: 8, 6: 7}  # bits of a prefix; a wider network lists nothing by address
# What these do needs their owner's credentials, or more of the network than TCP.
NEED_THE_HOST: Final = frozenset(
    {
        "aws", "az", "docker", "doctl", "flyctl", "gcloud", "gh", "glab", "gsutil", "helm",
        "heroku", "kubectl", "podman", "rclone", "restic", "terraform", "vercel",
        "ftp", "lftp", "mosh", "rsync", "scp", "sftp", "ssh", "ssh-copy-id",
        "arping", "dig", "drill", "host", "mtr", "nmap", "nslookup", "ping", "tcpdump",
        "tracepath", "traceroute", "whois",
    }
)  # fmt: skip
ORIGIN: Final = "origin"
# A remote behind SSH, by scheme or as `user@host:path`: git gets in with the owner's keys.
_BY_SSH: Final = re.compile(r"(git\+)?ssh(\+git)?://|[^/:\[]+(\[[^\]]*\])?:(?!//)")
SENDS: Final = frozenset({"login", "publish", "push", "upload"})  # sub-commands, of any program
Granted = Callable[[str, int], bool]  # whether a person permitted a host for this session
# As policy reads them; before a client has said anything, any of them may come.
SCHEMES: Final = {"tcp": "tcp", "tls": "https", "http": "http"}


@dataclass(frozen=True, slots=True)
class Connections:
    """The network of one command: what the sandbox is told, and what answers for the rest."""

    network: Network
    named: Named
    _policy: Policy
    _context: Context
    _asked: Asked
    _accesses: tuple[Access, ...]
    _methods: tuple[str, ...]  # those that rules speak of
    _obligations: Obligations
    _granted: Granted
    _own_ports: frozenset[int]

    def asks(self, *, has_yes: bool) -> Asks:
        """Return what the broker asks about each connection; `has_yes`: a human said yes to this.

        It is called in threads of the sandbox.
        """

        def word(to: Seen) -> Word:
            ports = (to.port,) if to.port else self.network.ports
            words = [self._word(replace(to, port=port), has_yes=has_yes) for port in ports]
            return next((one for one in words if one.is_permitted), words[0])

        return word

    def _word(self, to: Seen, *, has_yes: bool) -> Word:
        if reason := not_permitted(self._obligations, to.host):
            return Word(is_permitted=False, text=reason)
        if to.port in self._own_ports and _is_this_host(to.host):
            return Word(is_permitted=False, text="where approvals are answered is not for commands")
        said = min(map(self._said, self._told(to)), key=lambda verdict: verdict.effect)
        if said.effect is Effect.DENY:
            return Word(is_permitted=False, text=_rule(said))
        is_shown = has_yes and (self.network.is_anywhere or covers(self.named, to.host, to.port))
        if said.effect is Effect.ALLOW or is_shown or self._granted(to.host, to.port):
            return Word(is_permitted=True)
        why = "no rule allows it" if said.rule_id == DEFAULT else _rule(said)
        return Word(is_permitted=False, text=f"nobody said yes to it ({why})")

    def _told(self, to: Seen) -> list[Destination]:
        """Return a destination as policy reads it; all it may yet turn out to be."""
        if to.scheme:
            return [Destination(to.host, to.port, SCHEMES[to.scheme], to.method)]
        plain = [Destination(to.host, to.port, "http", method) for method in self._methods]
        return [*(Destination(to.host, to.port, one, "") for one in SCHEMES.values()), *plain]

    def _said(self, to: Destination) -> Verdict:
        found = connection(to, self._policy, self._context, self._accesses, self._asked)
        if found.effect is not Effect.ASK or not is_loopback(to.host):
            return found
        by_name = replace(to, host="localhost")
        return connection(by_name, self._policy, self._context, self._accesses, self._asked)


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks for a command, where."""

    asked: Asked
    context: Context
    cwd: str
    granted: Granted
    own_ports: frozenset[int] = frozenset()  # where we listen on this host


def connections(
    decision: Decision, policy: Policy, asking: Asking, settings: NetworkSettings
) -> Connections | None:
    """Return what a command may reach through the broker; None where it needs none, or the host."""
    accesses = tuple(_with_remotes(decision.accesses, asking.cwd))
    connects = [one for one in accesses if one.operation == "net.connect"]
    if not connects or any(map(_needs_the_host, connects)):
        return None
    shown = named(accesses, policy)
    found = _with_loopback(shown)
    ports = [port for _, ranges in found.hosts for port in _few(ranges)]
    ports += [port for rule in policy.rules for port in _few(rule.ports) if _connects(rule)]
    # An address lists itself where a rule or a person names it; the words of a command do not.
    hosts = [host for rule in policy.rules for host in rule.hosts if _connects(rule)]
    hosts += [host for host, _ in found.hosts] if decision.effect is Effect.ASK else []
    hosts += LOCALHOST if "localhost" in hosts else ()
    methods = tuple(sorted({method for rule in policy.rules for method in rule.methods}))
    made = Network(
        hosts=tuple(_texts(shown)),
        ports=tuple(dict.fromkeys((*ports, *USUAL_PORTS)))[:MOST_PORTS],
        is_anywhere=found.is_unknown and decision.effect is Effect.ASK,
        addresses=tuple(sorted({host for host in hosts if _is_listed(host)})),
        proxy=settings.proxy,
        ca_bundle=str(settings.ca_bundle or ""),
        max_bytes=settings.bytes,
        max_connections=settings.connections,
    )
    return Connections(
        made,
        found,
        policy,
        asking.context,
        asking.asked,
        accesses,
        methods,
        decision.obligations,
        asking.granted,
        asking.own_ports,
    )


@lru_cache(1024)
def _globs(*texts: str) -> HostGlobs:
    return HostGlobs(texts)


def covers(found: Named, host: str, port: int) -> bool:
    """Return whether a host and port are among those that were named."""
    return any(
        _globs(glob).has(host)
        and (not ports or any(first <= port <= last for first, last in ports))
        for glob, ports in found.hosts
    )


def is_loopback(host: str) -> bool:
    """Return whether a host is what `localhost` is inside."""
    return _globs(*LOCALHOST).has(host)


def _is_this_host(host: str) -> bool:
    return host == "localhost" or _globs(*THIS_HOST).has(host)


def _needs_the_host(access: Access) -> bool:
    program, _, rest = access.program.partition(" ")
    is_ssh = program == "git" and bool(_BY_SSH.match(access.resource))
    return program in NEED_THE_HOST or rest.partition(" ")[0] in SENDS or is_ssh


def _with_remotes(accesses: Sequence[Access], cwd: str) -> Iterator[Access]:
    """Yield the accesses, with the addresses of git's remotes in the place of their names."""
    known: dict[str, str] | None = None
    # Who names an address means that one; `origin` is then only what it would be without.
    connects = [one for one in accesses if one.operation == "net.connect"]
    plain = {one.program for one in connects if not is_remote(one)}
    for access in accesses:
        if access.operation != "net.connect" or not is_remote(access):
            yield access
            continue
        if access.resource == ORIGIN and access.program in plain:
            continue
        known = remotes(cwd) if known is None else known
        meant = known.get(access.resource)
        urls = [meant] if meant is not None else known.values()
        yield from (access._replace(resource=url) for url in urls)
        if not urls:
            yield access


def _with_loopback(found: Named) -> Named:
    """Return the hosts, and where `localhost` is one of them, the addresses that it is."""
    ports = dict(found.hosts).get("localhost")
    more = () if ports is None else tuple((network, ports) for network in LOCALHOST)
    return replace(found, hosts=(*found.hosts, *more))


def _rule(verdict: Verdict) -> str:
    where = f"rule {verdict.rule_id}" + (f" at {verdict.place}" if verdict.place else "")
    return f"{where}: {verdict.reason}" if verdict.reason else where


def _connects(rule: Rule) -> bool:
    return rule.effect is not Effect.DENY and "net.connect" in rule.operations


def _few(ranges: Ports) -> Iterator[int]:
    """Yield the ports of ranges that listeners can be opened for."""
    for first, last in ranges:
        if last - first < MOST_PORTS:
            yield from range(first, last + 1)


def _is_listed(host: str) -> bool:
    """Return whether a host is written as an address, or as a network that is narrow enough."""
    whole = network(host)
    if whole is not None:
        return whole.prefixlen >= WIDEST_LISTED[whole.version]
    return address(host) is not None


def _texts(found: Named) -> Iterator[str]:
    for host, ranges in found.hosts:
        shown = f"[{host}]" if ":" in host and "/" not in host else host
        ports = ",".join(
            f"{first}-{last}" if last > first else f"{first}" for first, last in ranges
        )
        yield f"{shown}:{ports}" if ports else shown

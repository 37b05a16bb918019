"""Names to remote hosts: groups spelled out, settings joined, host keys pinned.

Pure. What comes out is all a connection needs, so that the digest a person approves covers the
address, the user, the keys of the host and of every jump on the way.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sandbox.action import RemoteHost
from sandbox.permit import SandboxError
from sandbox.remote.known_hosts import KnownHosts, fingerprint, host_name
from sandbox.remote.ssh_config import SshConfig

MAX_HOSTS = 500
_MAX_JUMPS = 4
_PORT = 22


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One host of the configuration; None is left to the SSH configuration."""

    name: str
    address: str | None = None
    port: int | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()
    identity_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the hosts cannot be reached, and what to do; nothing was connected."""

    message: str


class _RefusedError(SandboxError):
    """Carries the message of a `Refused` out of the steps below."""


@dataclass(frozen=True, slots=True)
class Ssh:
    """What the operator's SSH files say, and who connects when they say nothing."""

    config: SshConfig
    known_hosts: KnownHosts
    default_user: str


def resolve(
    names: Sequence[str], entries: Sequence[HostEntry], ssh: Ssh
) -> tuple[RemoteHost, ...] | Refused:
    """Return the hosts behind `names` (hosts or groups), each once, in the order named."""
    try:
        chosen = _chosen(names, entries)
        return tuple(_host(entry, ssh, _MAX_JUMPS) for entry in chosen)
    except _RefusedError as error:
        return Refused(str(error))


def _chosen(names: Sequence[str], entries: Sequence[HostEntry]) -> list[HostEntry]:
    chosen: dict[str, HostEntry] = {}
    for name in names:
        chosen |= {entry.name: entry for entry in _named(name, entries)}
    if not chosen:
        raise _RefusedError("no host is named")
    if len(chosen) > MAX_HOSTS:
        raise _RefusedError(f"{len(chosen)} hosts are more than {MAX_HOSTS}; name fewer")
    return list(chosen.values())


def _named(name: str, entries: Sequence[HostEntry]) -> list[HostEntry]:
    hosts = [entry for entry in entries if entry.name == name]
    members = [entry for entry in entries if name in entry.groups]
    if hosts and members:
        raise _RefusedError(f"{name!r} is a host and a group; rename one in the configuration")
    if not hosts and not members:
        known = ", ".join(sorted({entry.name for entry in entries})[:20]) or "none"
        raise _RefusedError(
            f"{name!r} is neither a host nor a group of the configuration; hosts: {known}"
        )
    return hosts or members


def _host(entry: HostEntry, ssh: Ssh, jumps_left: int) -> RemoteHost:
    config, name = ssh.config, entry.name
    address = entry.address or (config.value(name, "hostname") or name).replace("%h", name)
    port = entry.port or int(config.value(name, "port") or _PORT)
    keys = ssh.known_hosts.accepted(address, port)
    if not keys:
        raise _RefusedError(_unknown(name, address, port, ssh.known_hosts.source))
    return RemoteHost(
        name,
        address,
        port,
        entry.user or config.value(name, "user") or ssh.default_user,
        tuple(fingerprint(key) for key in keys),
        keys,
        entry.identity_files or config.values(name, "identityfile"),
        _jumps(entry.name, ssh, jumps_left),
    )


def _unknown(name: str, address: str, port: int, source: str) -> str:
    return (
        f"the host key of {name!r} ({host_name(address, port)}) is not in {source}, so it would "
        f"not be known who answers. Fetch it with `ssh-keyscan -p {port} {address}`, compare its "
        f"fingerprint (`ssh-keygen -lf -`) with one from the host's console, then append the line"
    )


def _jumps(name: str, ssh: Ssh, jumps_left: int) -> tuple[RemoteHost, ...]:
    value = ssh.config.value(name, "proxyjump")
    if value is None or value.lower() == "none":
        return ()
    if jumps_left == 0:
        raise _RefusedError(f"ProxyJump of {name!r} goes through more than {_MAX_JUMPS} hosts")
    found: list[RemoteHost] = []
    for hop in value.split(","):
        user, _, target = hop.rpartition("@")
        host, colon, port = target.partition(":")
        if not host or (colon and not port.isdecimal()):
            raise _RefusedError(f"ProxyJump {value!r} of {name!r} is not [user@]host[:port]")
        entry = HostEntry(host, port=int(port) if colon else None, user=user or None)
        jump = _host(entry, ssh, jumps_left - 1)
        # Only the first hop is reached by its own jumps; the later ones through the hop before.
        found += [*jump.jumps, jump] if not found else [jump]
    return tuple(found)

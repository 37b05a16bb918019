"""The part of OpenSSH's client configuration that is read, and the rest that is refused.

Read are HostName, Port, User, IdentityFile and ProxyJump, in Host sections.

May touch: the configuration file, for reading. What would start a program on this machine
(ProxyCommand, Match exec …) is an error with its place: it would run outside of any permit.
Source: ssh_config(5); the first value obtained wins, IdentityFile adds up.
"""

import fnmatch
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from sandbox.permit import SandboxError

_READ = frozenset({"hostname", "port", "user", "identityfile", "proxyjump"})
_SPAWNING = frozenset({"proxycommand", "localcommand", "knownhostscommand", "pkcs11provider"})
_MAX_PORT = 65_535
_SEPARATOR = re.compile(r"^([A-Za-z0-9]+)\s*=\s*")  # "Port 22" and "Port=22" are the same
# Keys that change how OpenSSH talks or asks, never whom it reaches; this client has its own rules.
_NOT_USED = frozenset(
    """
    addkeystoagent batchmode checkhostip ciphers compression connectionattempts connecttimeout
    controlmaster controlpath controlpersist escapechar exitonforwardfailure forwardagent
    forwardx11 forwardx11trusted globalknownhostsfile gssapiauthentication
    gssapidelegatecredentials hashknownhosts hostkeyalgorithms identitiesonly ignoreunknown
    ipqos kexalgorithms loglevel macs numberofpasswordprompts passwordauthentication
    permitlocalcommand preferredauthentications pubkeyacceptedalgorithms pubkeyauthentication
    requesttty sendenv serveralivecountmax serveraliveinterval setenv stricthostkeychecking
    tcpkeepalive updatehostkeys usekeychain userknownhostsfile verifyhostkeydns visualhostkey
    """.split()  # noqa: SIM905  # forty words read better than forty lines
)


class SshConfigError(SandboxError):
    """The SSH configuration cannot be used; the message starts with file and line."""


@dataclass(frozen=True, slots=True)
class HostBlock:
    """One Host section; `patterns` as written, options in lower case in their order."""

    patterns: tuple[str, ...]
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SshConfig:
    """A parsed configuration; the default is an empty one."""

    blocks: tuple[HostBlock, ...] = ()

    def values(self, name: str, option: str) -> tuple[str, ...]:
        """Return every value of `option` for the host `name`, first obtained first."""
        return tuple(
            value
            for block in self.blocks
            if _applies(block.patterns, name)
            for key, value in block.options
            if key == option
        )

    def value(self, name: str, option: str) -> str | None:
        """Return the first value of `option` for the host `name`, the one that wins."""
        return next(iter(self.values(name, option)), None)


def _applies(patterns: tuple[str, ...], name: str) -> bool:
    if any(p.startswith("!") and fnmatch.fnmatchcase(name, p[1:]) for p in patterns):
        return False
    return any(fnmatch.fnmatchcase(name, p) for p in patterns if not p.startswith("!"))


def load_ssh_config(path: Path) -> SshConfig:
    """Return the configuration in `path`; empty when there is no such file.

    Raises:
        SshConfigError: an option that would start a program, or one that is not understood.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return SshConfig()
    except (OSError, UnicodeDecodeError) as error:
        raise SshConfigError(f"{path}: cannot be read: {error}") from error
    return parse_ssh_config(text, str(path))


def parse_ssh_config(text: str, source: str) -> SshConfig:
    """Return the configuration in `text`; `source` names it in errors.

    Raises:
        SshConfigError: as `load_ssh_config`.
    """
    blocks: list[HostBlock] = []
    patterns: tuple[str, ...] = ("*",)
    options: list[tuple[str, str]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        place = f"{source}:{number}"
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, words = _option(stripped, place)
        if key == "host":
            blocks.append(HostBlock(patterns, tuple(options)))
            patterns, options = tuple(words), []
        elif key in _READ:
            options.append((key, _checked(key, words, place)))
        else:
            _refuse_or_ignore(key, words, place)
    return SshConfig((*blocks, HostBlock(patterns, tuple(options))))


def _option(line: str, place: str) -> tuple[str, list[str]]:
    head = _SEPARATOR.sub(r"\1 ", line, count=1)
    try:
        key, *words = shlex.split(head, comments=False)
    except ValueError as error:
        raise SshConfigError(f"{place}: a quote is not closed") from error
    if not words:
        raise SshConfigError(f"{place}: {key!r} has no value")
    return key.lower(), words


def _refuse_or_ignore(key: str, words: list[str], place: str) -> None:
    if key in _SPAWNING and words[0].lower() != "none":
        raise SshConfigError(
            f"{place}: {key} would run a program outside of any permit; use ProxyJump, or give "
            "this server its own SSH configuration"
        )
    if key == "match":
        raise SshConfigError(f"{place}: Match is not read (it may run programs); use Host")
    if key == "include":
        raise SshConfigError(f"{place}: Include is not followed; put the hosts into this file")
    if key not in _NOT_USED and key not in _SPAWNING:
        raise SshConfigError(
            f"{place}: {key!r} is not understood; what is read is HostName, Port, User, "
            "IdentityFile and ProxyJump"
        )


def _checked(key: str, words: list[str], place: str) -> str:
    if len(words) != 1:
        raise SshConfigError(f"{place}: {key} takes one value, found {len(words)}")
    value = words[0]
    if key == "port" and not (value.isdecimal() and 0 < int(value) <= _MAX_PORT):
        raise SshConfigError(f"{place}: port {value!r} is not a number from 1 to {_MAX_PORT}")
    if key == "hostname":
        value = value.replace("%%", "%")
    if key == "hostname" and "%" in value.replace("%h", ""):
        raise SshConfigError(f"{place}: hostname {value!r} has a token other than %h")
    return value

"""Which hosts this machine's package managers are configured to reach, as host sets.

May touch: their settings and the defaults in their own files, read only. May not touch: processes,
the network, the workspace (a project's settings are the agent's to write), anything but the hosts
of an address: a user and a password stay where they are.
Sources: the manuals of pip, npm, apt's sources.list(5), go's environment and cargo.
"""

import configparser
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from policy.hosts import host_of

Hosts = dict[str, dict[str, str]]  # set → host → the file that names it
_BYTES: Final = 4 << 20  # of one file
_PIP_FILES: Final = ("etc/pip.conf", "etc/xdg/pip/pip.conf")
_PIP_OWN_FILES: Final = (".config/pip/pip.conf", ".pip/pip.conf")
_PIP_SOURCE: Final = "pip/_internal/models/index.py"
_PIP_PLACES: Final = ("usr/lib/python3*/*-packages", "usr/local/lib/python3*/*-packages")
_PIP_OWN_PLACES: Final = (
    ".local/lib/python3*/site-packages",
    ".pyenv/versions/*/lib/python3*/site-packages",
)
_PIP_DEFAULT = re.compile(
    r'^PyPI = PackageIndex\(\s*"(?P<index>[^"]+)"(?:,\s*file_storage_domain="(?P<files>[^"]+)")?',
    re.M,
)
_NPM_FILES: Final = ("etc/npmrc", "usr/etc/npmrc", "usr/local/etc/npmrc")
_NPM_SOURCE: Final = "@npmcli/config/lib/definitions/definitions.js"
_NPM_PLACES: Final = (
    "usr/lib/node_modules/npm/node_modules",
    "usr/local/lib/node_modules/npm/node_modules",
    "usr/share/nodejs",
)
_NPM_OWN_PLACES: Final = (".nvm/versions/node/*/lib/node_modules/npm/node_modules",)
_NPM_DEFAULT = re.compile(r"\('registry', \{\s*default: [`'\"](?P<index>[^`'\"]+)")
_NPM_REGISTRY = re.compile(r"^\s*(?:@[^:=\s]+:)?registry\s*=\s*[\"']?([^\s\"']+)", re.M)
_GO_FILES: Final = ("usr/local/go/go.env", "usr/lib/go/go.env", "usr/lib/go-*/go.env")
_GO_SETTING = re.compile(r"^(GOPROXY|GOSUMDB)=(.*)$", re.M)


@dataclass(slots=True)
class Detected:
    """The sets found, and the files that could not be read, with why."""

    hosts: Hosts = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def text(self, path: Path) -> str:
        """Return what a file holds; nothing if it cannot be read."""
        try:
            with path.open("rb") as file:
                return file.read(_BYTES).decode("utf-8")
        except OSError as error:
            self.unread.append(f"{path}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.unread.append(f"{path}: is not UTF-8 text")
        return ""

    def add(self, name: str, addresses: Iterable[str], path: Path) -> None:
        """Take the hosts of addresses; what is no address of a host is passed over."""
        for host in [host_of(one) for one in addresses if "://" in one]:
            if host:
                self.hosts.setdefault(name, {}).setdefault(host, str(path))


def detect(root: Path, home: Path) -> Detected:
    """Return the hosts that the package managers below a root, and of a home, reach."""
    found = Detected()
    for read in (_pip, _npm, _apt, _go, _cargo):
        read(found, root, home)
    return found


def _below(folder: Path, globs: Iterable[str], name: str = "") -> Iterator[Path]:
    """Return the files that there are; what may not be looked into is as if it were not there."""
    for glob in globs:
        yield from sorted(folder.glob(f"{glob}/{name}" if name else glob))


# --- pip: the last index-url that is set takes the place of its default -------------------------


def _pip(found: Detected, root: Path, home: Path) -> None:
    has_index = False
    for path in (*_below(root, _PIP_FILES), *_below(home, _PIP_OWN_FILES)):
        settings = _ini(found, path)
        index = settings("index-url")
        has_index = has_index or bool(index)
        also = (*settings("extra-index-url"), *settings("find-links"))
        found.add("python", (*index, *also), path)
    sources = (*_below(root, _PIP_PLACES, _PIP_SOURCE), *_below(home, _PIP_OWN_PLACES, _PIP_SOURCE))
    for path in () if has_index else sources:
        default = _PIP_DEFAULT.search(found.text(path))
        if default is not None:
            files = f"https://{default['files']}/" if default["files"] else ""
            found.add("python", (default["index"], files), path)


def _ini(found: Detected, path: Path) -> Callable[[str], list[str]]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(found.text(path))
    except configparser.Error:
        found.unread.append(f"{path}: is not written as pip reads it")
    sections = [dict(parser[section]) for section in parser]
    return lambda key: [
        word
        for section in sections
        for name in (key, key.replace("-", "_"))
        for word in section.get(name, "").split()
    ]


# --- npm ----------------------------------------------------------------------------------------


def _npm(found: Detected, root: Path, home: Path) -> None:
    has_registry = False
    for path in (*_below(root, _NPM_FILES), *_below(home, (".npmrc",))):
        text = found.text(path)
        has_registry = has_registry or re.search(r"^\s*registry\s*=", text, re.M) is not None
        found.add("node", _NPM_REGISTRY.findall(text), path)
    sources = (*_below(root, _NPM_PLACES, _NPM_SOURCE), *_below(home, _NPM_OWN_PLACES, _NPM_SOURCE))
    for path in () if has_registry else sources:
        default = _NPM_DEFAULT.search(found.text(path))
        found.add("node", (default["index"],) if default else (), path)


# --- apt ----------------------------------------------------------------------------------------


def _apt(found: Detected, root: Path, _home: Path) -> None:
    for path in _below(root, ("etc/apt/sources.list", "etc/apt/sources.list.d/*.list")):
        for line in found.text(path).splitlines():
            if re.match(r"\s*deb(-src)?\s", line):
                found.add("debian", line.split("#")[0].split(), path)
    for path in _below(root, ("etc/apt/sources.list.d/*.sources",)):
        for stanza in re.split(r"\n\s*\n", found.text(path)):
            if not re.search(r"^Enabled:\s*(no|false|0)\s*$", stanza, re.M | re.I):
                uris = re.search(r"^URIs:((?:.*\n?)(?:[ \t].*\n?)*)", stanza, re.M | re.I)
                found.add("debian", uris[1].split() if uris else (), path)


# --- go: a user's setting takes the place of the machine's -------------------------------------


def _go(found: Detected, root: Path, home: Path) -> None:
    chosen: dict[str, tuple[str, Path]] = {}
    for path in (*_below(root, _GO_FILES), *_below(home, (".config/go/env",))):
        for key, value in _GO_SETTING.findall(found.text(path)):
            chosen[key] = value.strip(), path
    for key, (value, path) in chosen.items():
        found.add("go", _go_addresses(key, value), path)


def _go_addresses(key: str, value: str) -> list[str]:
    """Return the addresses of a list of proxies, or of `name+key address` of a checksum service."""
    if key == "GOPROXY":
        return re.split(r"[,|]", value)
    words = value.split()
    if not words or words[0] == "off":
        return []
    return words[1:] or [f"https://{words[0].partition('+')[0]}/"]


# --- cargo: its default is in no file -------------------------------------------------------------


def _cargo(found: Detected, _root: Path, home: Path) -> None:
    for path in _below(home, (".cargo/config.toml", ".cargo/config")):
        try:
            settings = tomllib.loads(found.text(path))
        except tomllib.TOMLDecodeError:
            found.unread.append(f"{path}: is not TOML")
            continue
        tables = [*_tables(settings.get("source")), *_tables(settings.get("registries"))]
        named = [table.get(key) for table in tables for key in ("registry", "index", "git")]
        found.add("rust", (one for one in named if isinstance(one, str)), path)


def _tables(value: object) -> list[dict[str, object]]:
    values = value.values() if isinstance(value, dict) else ()
    return [one for one in values if isinstance(one, dict)]

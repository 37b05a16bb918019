"""Named lists of hosts, and the accesses that stand for one: what a package manager reaches.

May touch: accesses, sets. May not touch: rules, files; whose hosts a set holds is for the policy.
A program's entry says that it reaches `<a package index>`; which one that is stands in the settings
of the machine, and so in a set that the policy defines under the name given here.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from policy.model import Access

HostSets = Mapping[str, tuple[str, ...]]
PLACEHOLDERS: Final = frozenset({"<a package index>", "<a conda channel>"})
_PROGRAMS: Final = MappingProxyType(
    {
        "python": "pip uv uvx poetry pdm pipx hatch rye pipenv virtualenv pip-compile "
        "pip-sync tox nox venv",
        "conda": "conda mamba micromamba",
        "node": "npm npx cnpm pnpm pnpx yarn yarnpkg bun bunx corepack",
        "rust": "cargo",
        "ruby": "gem bundle bundler",
        "go": "go",
        "php": "composer",
        "debian": "apt apt-get apt-file aptitude do-release-upgrade unattended-upgrades",
        "fedora": "dnf dnf5 microdnf yum tdnf",
        "alpine": "apk",
        "arch": "pacman yay paru",
        "suse": "zypper",
        "java": "mvn mvnw gradle gradlew",
        "dotnet": "dotnet nuget",
        "elixir": "mix",
        "dart": "dart flutter pub",
        "haskell": "cabal stack",
        "ocaml": "opam",
        "perl": "cpan cpanm carton",
        "lua": "luarocks",
    }
)
SET_OF: Final = MappingProxyType(
    {program: name for name, programs in _PROGRAMS.items() for program in programs.split()}
)
_VERSION = re.compile(r"[0-9.]+")
_WHOLE_SET = re.compile(r"<the hosts of ([a-z0-9-]+)>")


def set_as_resource(name: str) -> str:
    """Return the resource of an access to every host of a set."""
    return f"<the hosts of {name}>"


def stands_for(access: Access, sets: HostSets) -> tuple[str, ...] | None:
    """Return the items of the set that an access reaches; None if it names no set that there is."""
    name = _set_of(access)
    return sets.get(name) if name else None


def _set_of(access: Access) -> str:
    if access.resource[:1] != "<":
        return ""
    if access.resource in PLACEHOLDERS:
        first = access.program.partition(" ")[0]
        return SET_OF.get(first) or SET_OF.get(_VERSION.sub("", first), "")
    # Words of a command have a program, so none of them can spell a whole set.
    whole = _WHOLE_SET.fullmatch(access.resource) if not access.program else None
    return whole[1] if whole else ""

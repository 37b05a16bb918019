"""One look-up of the toolchains that a command sees, and of what in them is covered.

May touch: directories and small settings files of toolchains, to look; never a file of a project.
INVARIANT: the workspace is written by agents, so a link in it shows nothing but a toolchain of the
table or a Python installation; never a directory merely because something points there.
"""
# ruff: noqa: PTH110, PTH112, PTH113, PTH114, PTH116, PTH120, PTH208
# Text paths are quick, and os.path says no where pathlib raises: a place nobody may look into.

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from sandbox.host import HostFacts
from sandbox.profile import TOO_WIDE, is_within
from sandbox.programs import SYSTEM, resolve
from sandbox.toolchain_table import Entry

Root = tuple[str, str]  # path inside, real path on the host
ENVIRONMENTS = (".venv", "venv")
PARTS = ("bin", "include", "lib", "lib64", "libexec", "pyvenv.cfg", "share", "ssl")  # of a Python
MAX_LINKS = 16
MAX_NAMES = 2_000  # read of one directory
MAX_SETTINGS_BYTES = 64 << 10
CREDENTIAL = re.compile(
    rb"(?i)token|secret|passw|credential|auth|api_?key|private_?key|://[^/\s]*@"
)
# Never shown from here, nor anything around or in the second kind.
HOLDS_EVERYTHING = (".local", ".local/share", ".local/state", ".config", ".cache")
HOLDS_CREDENTIALS = (
    ".ssh", ".gnupg", ".aws", ".kube", ".docker", ".config/gcloud", ".password-store",
)  # fmt: skip
NOT_TOOLS = ("/proc", "/sys", "/dev", "/run", "/var/run", "/etc", "/boot")


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One toolchain as commands see it; `name` is the table's, or a directory outside the table."""

    name: str
    roots: tuple[Root, ...]
    settings: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()  # where credentials may be, now or later
    searched: tuple[str, ...] = ()  # roots with files of one's own, so what policy denies

    def masked(self) -> tuple[str, ...]:
        """Return the credential files that exist now, at every path they are seen by."""
        return tuple(
            shown + real.removeprefix(source)
            for path in self.secrets
            if os.access(path, os.F_OK)
            for real in (os.path.realpath(path) if os.path.islink(path) else path,)
            for shown, source in self.roots
            if is_within(real, source)
        )


@dataclass(frozen=True)
class Tools:
    """What one look-up found, and what it left out and why."""

    toolchains: tuple[Toolchain, ...] = ()
    refused: tuple[str, ...] = ()

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Return every root once; what lies in another one is shown with it."""
        every = sorted({root for one in self.toolchains for root in one.roots})
        kept: list[Root] = []
        for path, real in every:
            if not any(is_within(path, top) for top, _ in kept):
                kept.append((path, real))
        return tuple(kept)

    @property
    def paths(self) -> tuple[str, ...]:
        """Return where the roots are inside."""
        return tuple(path for path, _ in self.roots)

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Return the settings files without credentials."""
        return tuple(sorted({path for one in self.toolchains for path in one.settings}))

    @cached_property
    def searched(self) -> tuple[str, ...]:
        """Return what has to be searched for denied files, as nobody knows what is in it."""
        return tuple(path for one in self.toolchains for path in one.searched) + self.settings

    def without(self, denies: Callable[[str], bool]) -> "Tools":
        """Return it less what policy denies as a whole."""
        if not any(denies(path) for path in self.paths):
            return self
        return Tools(
            tuple(
                replace(
                    one,
                    roots=tuple(root for root in one.roots if not denies(root[0])),
                    searched=tuple(path for path in one.searched if not denies(path)),
                )
                for one in self.toolchains
            ),
            self.refused,
        )

    def masked(self) -> tuple[str, ...]:
        """Return the credential files that exist now."""
        return tuple(sorted({path for one in self.toolchains for path in one.masked()}))


@dataclass(slots=True)
class Search:
    """One look-up; `watched` collects the paths that its answer depends on."""

    host: HostFacts
    entries: tuple[Entry, ...]
    workspace: str
    watched: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)  # entries that were looked at
    found: dict[str, Toolchain] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # by path
    by_root: dict[str, tuple[Entry, str]] = field(default_factory=dict)

    def tools(self) -> Tools:
        """Return what `run` found."""
        refused = tuple(f"{path}: {reason}" for path, reason in sorted(self.refused.items()))
        return Tools(tuple(self.found[name] for name in sorted(self.found)), refused)

    def run(self) -> None:
        """Look once."""
        self.by_root = {p: (entry, sign) for entry in self.entries for p, sign in entry.show}
        choice = self.host.toolchains
        if choice == "auto":
            self._take_what_is_used()
        elif choice != "none":
            for entry in self.entries:
                if entry.name in choice:
                    self._take(entry)
            for path in choice:
                if path.startswith("/"):
                    self._take_directory(path)

    def _take_what_is_used(self) -> None:
        path = self.host.path_entries
        self.watched.update(path)
        for entry in self.entries:
            if any(resolve(program, path) for program in entry.programs):
                self._take(entry)
        for directory in path:
            if not self._is_shown_anyway(directory) and not self._take_known(directory):
                self._take_directory(directory)
        self._take_environments()

    def _take_known(self, path: str) -> bool:
        """Take the toolchain of the table that `path` lies in; return whether there is one."""
        for name in (path, os.path.realpath(path)):
            for top in (name, *map(str, Path(name).parents)):
                entry, sign = self.by_root.get(top, (None, ""))
                if entry is not None and (not sign or os.path.isfile(f"{top}/{sign}")):
                    self._take(entry)
                    return True
        return False

    def _take(self, entry: Entry) -> None:
        if entry.name in self.taken:
            return
        self.taken.add(entry.name)
        roots = tuple(dict.fromkeys(root for place in entry.show for root in self._shown(*place)))
        settings = tuple(path for path in entry.settings if self._is_harmless(path))
        if roots or settings:
            searched = tuple(path for path, _ in roots if path in entry.searched)
            self.found[entry.name] = Toolchain(
                entry.name, roots, settings, self._secrets(entry, roots), searched
            )
        for other in self.entries:
            if other.name in entry.needs:
                self._take(other)
        for target in self._links(entry) if self.host.toolchains == "auto" else ():
            if not self._take_known(target) and not self._take_installation(target):
                self._take_file(target)

    def _shown(self, path: str, sign: str) -> list[Root]:
        self.watched.add(path)
        is_there = os.path.exists(path) and (not sign or os.path.isfile(f"{path}/{sign}"))
        return self._roots(path) if is_there else []

    def _secrets(self, entry: Entry, roots: tuple[Root, ...]) -> tuple[str, ...]:
        """Return where credentials may be below `roots`, by the real names of directories."""
        found = set()
        for pattern in entry.secret:
            for path in self._spread(pattern):
                parent, _, name = path.rpartition("/")
                found.add(f"{os.path.realpath(parent)}/{name}")
        return tuple(sorted(p for p in found if any(is_within(p, real) for _, real in roots)))

    def _roots(self, path: str) -> list[Root]:
        real = os.path.realpath(path)
        if self._is_shown_anyway(real):
            return []
        reason = self._danger(real)
        if reason:
            self.refused[path] = reason
            return []
        return [(path, real), (real, real)]

    def _take_directory(self, path: str) -> bool:
        """Take a directory of programs: the installation it belongs to, else itself."""
        self.watched.add(path)
        real = os.path.realpath(path)
        parent = os.path.dirname(real)
        if real != path:  # `equip` resolved those of PATH, so the link was put there since
            self.refused[path] = f"it is a link to {real}; restart, or name that directory itself"
            return False
        is_prefix = real.endswith("/bin") and os.path.isdir(f"{parent}/lib")
        is_own = is_prefix or real.endswith("/shims")
        if is_own and not self._danger(parent):
            real = parent
        return self._take_root(path, real)

    def _take_root(self, path: str, real: str) -> bool:
        self.watched.add(path)
        roots = self._roots(real) if os.path.exists(real) else []
        if roots:
            self.found[real] = Toolchain(real, tuple(dict.fromkeys(roots)), searched=(real,))
        return bool(roots)

    def _take_installation(self, target: str) -> bool:
        """Take the Python installation or environment around a program, or at a directory."""
        start = target if os.path.isdir(target) else os.path.dirname(target)
        real = Path(os.path.realpath(start))
        prefix = real.parent if real.name == "bin" else real
        is_environment = os.path.isfile(prefix / "pyvenv.cfg")
        is_python = is_environment or any(prefix.glob("lib/python3*/os.py"))
        if not is_python or not os.access(prefix / "bin" / "python3", os.X_OK):
            return False
        if str(prefix) not in self.found and self._roots(str(prefix)):
            # A project may be an environment itself: what else is in it is nobody's business.
            roots = tuple(r for part in PARTS for r in self._shown(f"{prefix}/{part}", ""))
            searched = tuple(path for path, _ in roots)
            self.found[str(prefix)] = Toolchain(str(prefix), roots, searched=searched)
            self._follow(f"{prefix}/bin/python")
        return True

    def _take_file(self, target: str) -> None:
        """Take one program that the owner linked into a directory of programs."""
        if os.path.isfile(target) and os.access(target, os.X_OK):
            self._take_root(target, os.path.realpath(target))

    def _take_environments(self) -> None:
        """Take what the workspace's virtual environments are, or are made from."""
        for name in ENVIRONMENTS if self.workspace else ():
            folder = f"{self.workspace}/{name}"
            self.watched |= {folder, f"{folder}/bin"}
            if os.path.islink(folder) and not self._take_known(folder):
                self._take_installation(folder)
            self._follow(f"{folder}/bin/python")

    def _follow(self, link: str) -> None:
        """Take the toolchain or installation of every file on the way from a link to its end."""
        for _ in range(MAX_LINKS):
            if not os.path.islink(link):
                return
            link = _target(link)
            self.watched.add(os.path.dirname(link))
            if not self._is_shown_anyway(link) and not self._take_known(link):
                self._take_installation(link)

    def _links(self, entry: Entry) -> Iterator[str]:
        for pattern in entry.links:
            for directory in self._spread(pattern):
                self.watched.add(directory)
                is_own = not self._is_shown_anyway(os.path.realpath(directory))
                for name in _names(directory) if is_own else ():
                    path = f"{directory}/{name}"
                    if os.path.islink(path):
                        target = _target(path)
                        if not self._is_shown_anyway(os.path.realpath(target)):
                            yield target

    def _spread(self, pattern: str) -> Iterator[str]:
        """Yield the paths that a pattern of the table stands for here."""
        before, star, after = pattern.partition("/*")
        if not star:
            yield pattern
            return
        self.watched.add(before)
        yield from (f"{before}/{name}{after}" for name in _names(before))

    def _is_harmless(self, path: str) -> bool:
        """Return whether a settings file may be shown: regular, small, without credentials."""
        self.watched.add(path)
        try:
            with open(path, "rb", opener=_open_file) as file:
                is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
                text = file.read(MAX_SETTINGS_BYTES + 1) if is_file else b""
        except OSError:
            return False
        return is_file and len(text) <= MAX_SETTINGS_BYTES and not CREDENTIAL.search(text)

    def _is_shown_anyway(self, path: str) -> bool:
        is_own = bool(self.workspace) and is_within(path, self.workspace)
        return is_own or any(is_within(path, root) for root in SYSTEM)

    def _danger(self, real: str) -> str:
        """Return why a directory may not be shown, or nothing."""
        homes = {self.host.home, os.path.realpath(self.host.home)}
        wide = {home if not name else f"{home}/{name}" for home in homes
                for name in ("", *HOLDS_EVERYTHING, *HOLDS_CREDENTIALS)}  # fmt: skip
        private = {f"{home}/{name}" for home in homes for name in HOLDS_CREDENTIALS}
        if real in TOO_WIDE or real.count("/") == 1 or any(is_within(w, real) for w in wide):
            return "too much else is in there; give the toolchain a directory of its own"
        if any(is_within(real, root) for root in (*NOT_TOOLS, *private)):
            return "no toolchain belongs there"
        for path in (real, *map(str, Path(real).parents)):
            try:
                mode = os.stat(path).st_mode
            except OSError as error:
                return f"{path} cannot be looked at: {error.strerror}"
            if mode & stat.S_IWOTH and not (mode & stat.S_ISVTX and path != real):
                return f"everyone may write {path}; run: chmod o-w {path}"
        return ""


def _target(link: str) -> str:
    """Return what a link names, by the real directory that the link is in."""
    here = Path(os.path.realpath(os.path.dirname(link)))
    try:
        return os.path.normpath(here / Path(link).readlink())
    except OSError:  # it was a link a moment ago
        return str(here)


def _open_file(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))[:MAX_NAMES]
    except OSError:
        return []

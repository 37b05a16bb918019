"""Which file a program name means, and which directories outside the system its tools live in.

May touch: directory entries, to look. The rule for toolchains is small and said as it is: the
directories of PATH, and what the workspace's virtual environment points at.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from sandbox.profile import is_within

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt")
ENVIRONMENTS = (".venv", "venv")
MAX_LINKS = 16
MAX_ENTRIES = 2_000
# Program trees like /usr: large, public, and without credentials where `toolchains` shows them.
KNOWN = frozenset(
    {
        ".asdf", ".bun", ".cargo", ".deno", ".nodenv", ".nvm", ".pyenv", ".rbenv", ".rustup",
        ".sdkman", ".volta", "go", "miniconda3", "miniforge3", "pipx", "uv",
    }
)  # fmt: skip
COMPANIONS = {".cargo/bin": ".rustup"}  # a directory of programs → what they need beside it


def resolve(name: str, path_entries: tuple[str, ...]) -> str | None:
    """Return the absolute path of the first executable file called `name`, as exec would find it.

    A name with a slash is not searched for: it is returned when absolute, else None.
    """
    if "/" in name:
        return name if name.startswith("/") and _is_executable(name) else None
    candidates = (f"{entry}/{name}" for entry in path_entries)
    return next((path for path in candidates if name and _is_executable(path)), None)


def _is_executable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113  # hot, text only


def safe_entries(path: str, workspace: str = "") -> tuple[str, ...]:
    """Return the PATH entries that exist, are absolute, and that not everyone can write to."""
    return tuple(
        entry
        for entry in dict.fromkeys(path.split(":"))
        if entry.startswith("/")
        and not (workspace and is_within(entry, workspace))
        and _is_private(Path(entry))
    )


def _is_private(entry: Path) -> bool:
    try:
        return entry.is_dir() and not entry.stat().st_mode & 0o002
    except OSError:
        return False


def toolchains(path_entries: Iterable[str], workspace: str, home: str) -> tuple[str, ...]:
    """Return the directories outside the system and the workspace that programs are run from."""
    found: set[str] = set()
    outside = [Path(p) for p in path_entries if not any(is_within(p, root) for root in SYSTEM)]
    linked = [target for entry in outside for target in _linked(entry)]
    for directory in (*outside, *linked, *_environment_targets(Path(workspace))):
        prefix = _prefix(directory, Path(home))
        if prefix and not any(is_within(prefix, root) for root in (*SYSTEM, workspace)):
            found.add(prefix)
    return tuple(sorted(found))


def is_program_tree(path: str) -> bool:
    """Return whether a toolchain is shown whole, without a search for denied files in it."""
    return not KNOWN.isdisjoint(path.split("/"))


def _linked(directory: Path) -> Iterator[Path]:
    """Yield the directories that the programs in a personal bin directory really live in."""
    for companion, needed in COMPANIONS.items():
        if directory.match(companion):
            yield directory.parent.parent / needed
    try:
        entries = sorted(directory.iterdir())[:MAX_ENTRIES]
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink():
            yield entry.resolve().parent


def _environment_targets(workspace: Path) -> Iterator[Path]:
    for name in ENVIRONMENTS:
        link = workspace / name / "bin" / "python"
        for _ in range(MAX_LINKS):
            if not link.is_symlink():
                break
            link = link.parent / link.readlink()
            yield link.parent.resolve()


def _prefix(directory: Path, home: Path) -> str:
    """Return `bin`'s parent when it is an installation of its own, else the directory itself."""
    try:
        real = directory.resolve(strict=True)
    except OSError:
        return ""
    prefix = real.parent
    # ~/.local has a lib too, and holds everyone's data: it is not one installation.
    is_installation = real.name == "bin" and (prefix / "lib").is_dir() and prefix.name != ".local"
    is_own = is_installation or real.name == "shims"
    return str(prefix if is_own and not home.is_relative_to(prefix) else real)

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
    for directory in (*map(Path, path_entries), *_environment_targets(Path(workspace))):
        prefix = _prefix(directory, Path(home))
        if prefix and not any(is_within(prefix, root) for root in (*SYSTEM, workspace)):
            found.add(prefix)
    return tuple(sorted(found))


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
    return str(prefix if is_installation and not home.is_relative_to(prefix) else real)

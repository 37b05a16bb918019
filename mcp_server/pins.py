"""Which files a command will execute, as they are when it is decided: its pins, and what has none.

May touch: the files that a decision names, for reading. A pin is in the statement and in the
action's digest, and the runner hashes the file again (sandbox/run.py): another byte runs nothing,
nor does a file that came up where there was none. What those files load later is not pinned, and
the statement says so.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from policy.model import Decision, Effect
from sandbox.action import ABSENT, Pin
from sandbox.profile import is_within

QUICK_BYTES: Final = 16 << 20  # hashed for every call; what a person is asked about may be larger
MAX_BYTES: Final = 256 << 20
NOT_PINNED: Final = "what these files load, include or build when they run"
# What a program reads from a directory before anything else, where it is named no file; the first
# name that exists counts, so that a name is absent is pinned as well.
BUILD_FILES: Final = MappingProxyType(
    {
        **dict.fromkeys(("make", "gmake"), ("GNUmakefile", "makefile", "Makefile")),
        **dict.fromkeys(("npm", "pnpm", "yarn", "bun"), ("package.json",)),
        "just": ("justfile", ".justfile", "Justfile"),
        "cargo": ("Cargo.toml", "build.rs"),
        "nox": ("noxfile.py",),
        "tox": ("tox.ini", "setup.cfg", "pyproject.toml"),
    }
)
# What only root writes needs no pin; hashing it would cost every call.
ROOTS_OWN: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib64")


def pins(decision: Decision, program: str) -> tuple[Pin, ...]:
    """Return the files that a command names and will execute, as they are now.

    Args:
        decision: what policy says of the command.
        program: the path of the program itself, if it was located.
    """
    found = ((path, _hash(path, _bound(decision))) for path in _named(decision, program))
    return tuple(Pin(path, sha256) for path, sha256 in found if sha256)


def unpinned(decision: Decision, program: str, pinned: tuple[Pin, ...]) -> tuple[str, ...]:
    """Return what a person must know to be unpinned, as text."""
    known = {pin.path for pin in pinned}
    left = [path for path in _named(decision, program) if path not in known]
    named = [f"{path}: too large, no file, or not readable" for path in left]
    runs_code = any(one.operation == "code.exec" for one in decision.accesses)
    return (*named, *([NOT_PINNED] if runs_code else []))


def _named(decision: Decision, program: str) -> Iterator[str]:
    """Yield each absolute path once: programs, scripts, and the build files of directories."""
    seen: set[str] = set()
    for path in (*_executed(decision), *_own_program(decision, program)):
        if path.startswith("/") and path not in seen:
            seen.add(path)
            yield path


def _executed(decision: Decision) -> Iterator[str]:
    for access in decision.accesses:
        if access.operation != "code.exec" or access.how != "exact":
            continue
        if os.path.isdir(access.resource):  # noqa: PTH112  # False, too, where nobody may look
            names = BUILD_FILES.get(access.program.partition(" ")[0], ())
            yield from (str(Path(access.resource, name)) for name in names)
        else:
            yield access.resource


def _own_program(decision: Decision, program: str) -> Iterator[str]:
    if decision.effect is Effect.ASK and not any(is_within(program, one) for one in ROOTS_OWN):
        yield program


def _bound(decision: Decision) -> int:
    return MAX_BYTES if decision.effect is Effect.ASK else QUICK_BYTES


def _hash(path: str, max_bytes: int) -> str:
    """Return the hash of a file, ABSENT where there is none, or "" where neither can be said."""
    file = Path(path)
    try:
        if not file.exists():
            return ABSENT
        if not file.is_file() or file.stat().st_size > max_bytes:
            return ""
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""

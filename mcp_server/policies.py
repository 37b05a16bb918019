"""Which policy files are in force, in which order of trust, read from disk for the pure loader.

May touch: policy files, for reading. Administrator's and owner's files may allow; a project's file,
which an agent may have written, may only tighten.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from policy.document import PolicyError
from policy.load import load, pack
from policy.rules import Policy, Source

ADMINISTRATOR = Path("/etc/permitgate/policy.d")
PROJECT_FILE = ".permitgate.yaml"


def policy_in_force(
    named: Sequence[str],
    *,
    directory: Path,
    workspaces: Iterable[Path],
    is_server: bool = False,
) -> Policy:
    """Return the policy of the named packs and files, and every layer around them.

    Args:
        named: names of packs, or paths of files.
        directory: the owner's policy.d.
        workspaces: roots whose project file may tighten.
        is_server: also check the examples of packs, which takes a tenth of a second.

    Raises:
        PolicyError: a file is missing, unsafe or wrong, with its place.
    """
    sources = [*_directory(ADMINISTRATOR), *map(source, named), *_directory(directory)]
    for workspace in workspaces:
        path = workspace / PROJECT_FILE
        if path.is_file():
            sources.append(Source(str(path), _text(path), tightens_only=True))
    # Packs are checked when they are made and when a server starts; a file of the owner's always.
    from_files = any(not is_pack(name) for name in named) or len(sources) > len(named)
    return load(sources, check_examples=is_server or from_files)


def source(name: str) -> Source:
    """Return one named pack, or the file at a path (a name with a slash or a dot).

    Raises:
        PolicyError: there is neither.
    """
    if is_pack(name):
        return pack(name)
    path = Path(name)
    if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o002:
        raise PolicyError(f"{path}:1:1: everybody may write this policy; chmod o-w it")
    return Source(name, _text(path))


def is_pack(name: str) -> bool:
    """Return whether a name means a packaged policy rather than a file."""
    return "/" not in name and not name.endswith((".yaml", ".yml"))


def _directory(directory: Path) -> Iterator[Source]:
    if not directory.is_dir():
        return
    for path in sorted(directory.glob("*.yaml")):
        found = path.stat()
        if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
            raise PolicyError(
                f"{path}:1:1: others may write this policy; chown it to yourself and chmod 600 it"
            )
        yield Source(str(path), _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{path}:1:1: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}:1:1: is not UTF-8 text; save it as UTF-8") from None

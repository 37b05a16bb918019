"""Which policy files are in force, in which order of trust, read from disk for the pure loader.

May touch: policy files and what signs them, for reading. Administrator's and owner's files may
allow; a project's file, which an agent may have written, may only tighten.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.places import Places
from policy.document import PolicyError
from policy.load import load, pack
from policy.rules import Policy, Source

if TYPE_CHECKING:
    # The command line classifies without pydantic.
    from mcp_server.config import Config

ADMINISTRATOR = Path("/etc/permitgate/policy.d")
PROJECT_FILE = ".permitgate.yaml"
ADMINISTRATORS_SIGNERS = Path("/etc/permitgate/policy_signers")
SIGNATURE = ".sig"  # what stands after a file's name in the name of its signature

Stamp = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """Where the policy of one server comes from: packs and files by name, and the layers around.

    With `signers`, every file but a project's needs a signature beside it.
    """

    named: tuple[str, ...]
    directory: Path  # the owner's policy.d
    workspaces: tuple[Path, ...] = ()
    signers: Path | None = None

    def sources(self) -> list[Source]:
        """Return every text in force; a project's comes last and tightens only.

        Raises:
            PolicyError: a file is missing, unsafe or not signed, with its place.
        """
        return [one for _, one in self.trusted()] + self.projects()

    def trusted(self) -> list[tuple[Path | None, Source]]:
        """Return what may allow, with the file it is in: none for a pack, part of the program.

        Raises:
            PolicyError: a file is missing, unsafe or not signed, with its place.
        """
        found = list(self._trusted())
        if self.signers is not None:
            # It loads cryptography, which the command line does not wait for in vain.
            from mcp_server.signed_policies import PolicySigners  # noqa: PLC0415

            signers = PolicySigners.read(self.signers)
            for path, one in found:
                if path is not None:
                    signers.check(path, one.text)
        return found

    def _trusted(self) -> Iterator[tuple[Path | None, Source]]:
        yield from _directory(ADMINISTRATOR)
        for name in self.named:
            yield None if is_pack(name) else Path(name).absolute(), source(name)
        yield from _directory(self.directory)

    def projects(self) -> list[Source]:
        """Return the texts of the workspaces' own files.

        Raises:
            PolicyError: one is there and cannot be read.
        """
        paths = [workspace / PROJECT_FILE for workspace in self.workspaces]
        found = [path for path in paths if path.is_file()]
        return [Source(str(path), _text(path), tightens_only=True) for path in found]

    def has_own(self, sources: Sequence[Source]) -> bool:
        """Return whether some are files rather than packs, which are tried when they are made."""
        return any(not is_pack(name) for name in self.named) or len(sources) > len(self.named)

    def stamp(self) -> Stamp:
        """Return what changes whenever a file, its signature or a directory of them does."""
        files = [Path(name) for name in self.named if not is_pack(name)]
        for directory in (ADMINISTRATOR, self.directory):
            files += [directory, *sorted(directory.glob("*.yaml"))]
        if self.signers is not None:
            files += [self.signers, *(path.with_name(path.name + SIGNATURE) for path in files)]
        files += [workspace / PROJECT_FILE for workspace in self.workspaces]
        return tuple(_stamp(path) for path in files)


def _stamp(path: Path) -> tuple[str, int, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return (str(path), 0, 0, 0, 0)
    # The time of change cannot be set back as that of modification can.
    return (str(path), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def signers_file(configured: Path | None) -> Path | None:
    """Return the file that names who may sign: the administrator's stands before any other."""
    return ADMINISTRATORS_SIGNERS if ADMINISTRATORS_SIGNERS.exists() else configured


def policy_files(
    config: "Config", where: Places, workspaces: Sequence[Path], named: Sequence[str] = ()
) -> PolicyFiles:
    """Return where the policy comes from, as configured; `named` stands in for its list."""
    return PolicyFiles(
        named=tuple(named or config.policy),
        directory=where.policy_directory,
        workspaces=tuple(workspaces),
        signers=signers_file(config.policy_signers),
    )


def quick_load(files: PolicyFiles, *, is_server: bool = False) -> Policy:
    """Return the policy of these files; the examples of packs alone are tried for a server.

    Raises:
        PolicyError: a file is missing, unsafe, not signed or wrong, with its place.
    """
    sources = files.sources()
    return load(sources, check_examples=is_server or files.has_own(sources))


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


def _directory(directory: Path) -> Iterator[tuple[Path, Source]]:
    if not directory.is_dir():
        return
    for path in sorted(directory.glob("*.yaml")):
        found = path.stat()
        if found.st_uid not in (0, os.geteuid()) or stat.S_IMODE(found.st_mode) & 0o022:
            raise PolicyError(
                f"{path}:1:1: others may write this policy; chown it to yourself and chmod 600 it"
            )
        yield path, Source(str(path), _text(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise PolicyError(f"{path}:1:1: cannot be read: {error.strerror}; check the path") from None
    except UnicodeDecodeError:
        raise PolicyError(f"{path}:1:1: is not UTF-8 text; save it as UTF-8") from None

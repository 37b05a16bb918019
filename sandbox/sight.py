"""What one command will see of this host, looked up just before it runs, and swept after it.

May touch: the file system, to look; after a `live` run it moves new protected names out of the
workspace into the state directory. Anything uncertain is `Unseen`, and then nothing runs.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.action import Command
from sandbox.host import HostFacts
from sandbox.masks import Masks, Walker
from sandbox.profile import SCRATCH, TOO_WIDE, Profile, is_within
from sandbox.toolchain_search import Tools
from sandbox.toolchains import Toolbox
from sandbox.view import PRIVATE, Sight

MAX_HIDDEN = 50  # paths named in one result
ALWAYS_SHOWN = ("/proc", "/dev")
Identity = tuple[int, int, int]  # device, inode, file type


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why the command may not run with what was found."""

    reason: str


@dataclass(frozen=True, slots=True)
class Scene:
    """Everything a run needs to know about the host's files, and how to sweep after it."""

    sight: Sight
    empty_file: str
    hidden: tuple[str, ...]
    profile: Profile
    walker: Walker
    state_dir: Path
    protected: dict[str, Identity] = field(default_factory=dict)

    def sweep(self) -> tuple[str, ...]:
        """Move protected names that appeared or were replaced out of the workspace; return them."""
        if self.profile.name != "live":
            return ()
        now = self.walker.find((self.profile.workspace,))
        if not now.complete:
            return ("(the workspace grew beyond what can be searched)",)
        moved = []
        # A directory that was moved took its protected names along, still as they were.
        known = set(self.protected.values())
        for path, identity in protected(now, self.profile.workspace).items():
            is_gits_own = self.profile.git_places_files
            is_new = self.protected.get(path) != identity and identity not in known
            # What lay in a directory that was moved a moment ago is gone with it.
            if is_new and not is_gits_own and os.path.lexists(path):
                self._hold(Path(path))
                moved.append(path)
        return tuple(moved)

    def _hold(self, path: Path) -> None:
        held = self.state_dir / "held"
        held.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(path, Path(tempfile.mkdtemp(dir=held)) / path.name)


def look(
    command: Command, host: HostFacts, walker: Walker, denies: Callable[[str], bool], state: Path
) -> Scene | Unseen:
    """Return what `command` may see, or why it may not run."""
    profile = command.profile
    if not Path(profile.workspace).is_dir() or profile.workspace in TOO_WIDE:
        return Unseen(f"the workspace {profile.workspace} is not a directory that can be shown")
    if profile.name == "unconfined":
        return Scene(Sight(), "", (), profile, walker, state)
    missing = [path for path in profile.write_paths if not os.path.lexists(path)]
    if missing:
        return Unseen(
            f"{missing[0]} is outside the workspace and does not exist, so it cannot be shown "
            "writable; create it first"
        )
    shown = _shown(profile.read_roots, host, denies)
    # Only Landlock can show names without contents, and not below what may be read and written.
    private = (host.home, *PRIVATE)
    listed = tuple(
        path
        for path in _shown(profile.list_paths, host, denies)
        if host.landlock_abi and not any(is_within(path, root) for root in private)
    )
    tools = Tools() if profile.name == "inspect" else Toolbox(host).find(profile.workspace)
    searched = (profile.workspace, *shown, *profile.write_paths, *tools.searched, "/etc")
    roots = (*searched, *(path for path, _ in tools.roots))
    is_scratch = command.cwd in ("/", host.home, *SCRATCH)
    if not is_scratch and not any(is_within(command.cwd, r) for r in (*roots, *listed, "/usr")):
        return Unseen(f"the working directory {command.cwd} is not visible in this profile")
    masks = walker.find(searched)
    if not masks.complete:
        return Unseen(
            "there are too many files below the visible roots to find every one that policy "
            "denies; run it in a smaller workspace"
        )
    guarded = protected(masks, profile.workspace)
    sight = _sight(profile, host, masks, (shown, listed, tools), state)
    wanted = set(profile.reads + profile.list_paths) - set(shown) - set(listed)
    unseen = (p for p in wanted if not is_within(p, profile.workspace) and not _is_system(p, host))
    covered = (
        path
        for path in (*masks.files, *masks.directories)
        if denies(path) and any(is_within(path, root) for root in profile.reads)
    )
    hidden = tuple(sorted({*profile.hidden, *unseen, *covered})[:MAX_HIDDEN])
    return Scene(sight, str(empty_file(state)), hidden, profile, walker, state, guarded)


def _sight(
    profile: Profile,
    host: HostFacts,
    masks: Masks,
    visible: tuple[tuple[str, ...], tuple[str, ...], Tools],
    state: Path,
) -> Sight:
    shown, listed, tools = visible
    own = (str(state),) if state.is_dir() else ()
    toolchains = tuple(path for path, real in tools.roots if path == real)
    everywhere = (profile.workspace, *shown, *listed, *toolchains, *profile.write_paths)
    secrets = {path: Path(path).is_dir() for path in tools.masked()}
    covers = {
        *masks.directories,
        *(path for path in own if any(is_within(path, root) for root in everywhere)),
        *(path for path, is_directory in secrets.items() if is_directory),
    }
    is_inside = [path for path in masks.protected if is_within(path, profile.workspace)]
    system = {*host.system.secret_files, *host.system.secret_directories}
    return Sight(
        tools=toolchains,
        read=tuple(sorted({*shown, *tools.settings} - set(toolchains))),
        listed=listed,
        writable=profile.write_paths,
        mount_points=tuple(p for p in masks.git_directories if is_within(p, profile.workspace)),
        guarded=tuple(p for p in is_inside if not Path(p).is_symlink() and p not in covers),
        masked_files=tuple(sorted({*masks.files, *secrets} - covers - system)),
        masked_directories=tuple(sorted(covers - system)),
    )


def _shown(
    paths: tuple[str, ...], host: HostFacts, denies: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the paths that exist, are files or directories, and need a mount of their own."""
    return tuple(
        path
        for path in paths
        if path not in TOO_WIDE
        and not _is_system(path, host)
        and not denies(os.path.realpath(path))
        and _is_plain(path)
    )


def _is_plain(path: str) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _is_system(path: str, host: HostFacts) -> bool:
    links = tuple(path for path, _ in host.system.links)
    return any(is_within(path, root) for root in host.system.directories + links + ALWAYS_SHOWN)


def protected(masks: Masks, workspace: str) -> dict[str, Identity]:
    """Return every protected name and git directory of the workspace with what it is now."""
    found: dict[str, Identity] = {}
    for path in (*masks.git_directories, *masks.protected):
        if path != workspace and is_within(path, workspace):
            try:
                status = os.lstat(path)
            except OSError:
                continue
            found[path] = (status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode))
    return found


def empty_file(state_dir: Path) -> Path:
    """Return an empty read-only file to cover others with; made once."""
    path = state_dir / "empty"
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened for reading: of two first runs, the later finds a file it could not open for writing.
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444))
    return path

"""What one command will see of this host, looked up just before it runs.

May touch: the file system, to look. Anything uncertain is `Unseen`, and then nothing runs.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from sandbox import inspected
from sandbox.action import Command
from sandbox.host import HostFacts
from sandbox.masks import Masks, Walker
from sandbox.profile import RECORDS, SCRATCH, TOO_WIDE, Profile, ProfileName, is_within
from sandbox.redirect import CannotRedirectError, Redirect, prepare
from sandbox.sweep import Before, sweep
from sandbox.toolchain_search import Tools
from sandbox.toolchains import Toolbox
from sandbox.view import PRIVATE, Sight, system_directories

MAX_HIDDEN = 50  # paths named in one result
MOST_FOLLOWED = 40  # links on one way, as the kernel has it
MAX_COVERS = 2_000  # mounts that one view can be made of
ALWAYS_SHOWN = ("/proc", "/dev")
WALKED = ("/etc", "/opt", "/usr/local")  # of the system: where files and doors of others may lie
PARTLY = frozenset({"/", *SCRATCH})  # hidden, but what is there is an answer too


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
    before: Before | None = None  # for commands that write the workspace itself
    layers: tuple[str, ...] = ()  # for those that write an overlay of it: upper and work directory
    behind: tuple[str, ...] = ()  # what protected links lead to in it
    redirect: Redirect | None = None

    def sweep(self) -> tuple[str, ...]:
        """Move protected names that appeared or were replaced out of the workspace; return them.

        What was redirected to a file is put there; a failure to is returned like a name.
        """
        if self.redirect is not None:
            return self.redirect.finish()
        if self.before is None or self.profile.git_places_files:
            return ()
        return sweep(self.walker, self.profile.workspace, self.before, self.state_dir / "held")


@dataclass(frozen=True)
class _Roots:
    """What is shown besides the system: every path exists and is no symbolic link."""

    workspace: str
    read: tuple[str, ...]
    listed: tuple[str, ...]
    tools: Tools
    written: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        return (self.workspace, *self.read, *self.listed, *self.tools.paths, *self.written)

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Return the credential files of the toolchains, as they are at this look."""
        return self.tools.masked()


def look(
    command: Command, tools: Toolbox, walker: Walker, denies: Callable[[str], bool], state: Path
) -> Scene | Unseen:
    """Return what `command` may see, or why it may not run."""
    profile = command.profile
    if profile.name in ("unconfined", "look"):
        return Scene(Sight(), "", profile.hidden, profile, walker, state)
    host, roots = tools.host, _roots(profile, tools, denies)
    masks = walker.find(_walked(roots, host, profile.name))
    hidden = _hidden(profile, roots, host, masks, denies)
    refusal = (
        _out_of_sight(command, roots, host) or _too_much(masks, profile) or _untrue(profile, hidden)
    )
    if refusal:
        return Unseen(refusal)
    redirect = _redirect(profile, masks, state)
    if isinstance(redirect, Unseen):
        return redirect
    return Scene(
        replace(
            _sight(command, host, masks, roots, state),
            output=(redirect.path, redirect.stand_in) if redirect else None,
        ),
        str(empty_file(state)),
        hidden[:MAX_HIDDEN],
        profile,
        walker,
        state,
        Before.of(masks, profile.workspace, walker) if profile.name == "live" else None,
        redirect=redirect,
        behind=_behind(masks, profile.workspace) if profile.name == "write" else (),
    )


def no_workspace(profile: Profile) -> str:
    """Return why nothing runs in the workspace of a profile; "" where it can."""
    if Path(profile.workspace).is_dir() and profile.workspace not in TOO_WIDE:
        return ""
    return f"the workspace {profile.workspace} is not a directory that can be shown"


def sees_all(
    profile: Profile, tools: Toolbox, walker: Walker, denies: Callable[[str], bool]
) -> bool:
    """Return whether every denied file that this profile would show can be found and covered."""
    if profile.name in ("unconfined", "look"):
        return True
    roots = _roots(profile, tools, denies)
    return walker.find(_walked(roots, tools.host, profile.name)).complete


def _redirect(profile: Profile, masks: Masks, state: Path) -> Redirect | Unseen | None:
    if not profile.output:
        return None
    if _is_below(profile.output, {*masks.files, *masks.directories}):
        return Unseen(f"{profile.output} may not be read, so nothing can be added to it here")
    try:
        return prepare(profile.output, profile.workspace, state)
    except CannotRedirectError as error:
        return Unseen(str(error))


def _roots(profile: Profile, tools: Toolbox, denies: Callable[[str], bool]) -> _Roots:
    host = tools.host
    # Only Landlock can show names without contents, and not below what may be read and written.
    private, system = (host.home, *PRIVATE), _system(host, profile.name)
    # The workspace is shown as it is; a mount in it would be another, read-only one.
    others = tuple(path for path in profile.read_roots if not is_within(path, profile.workspace))
    shown = Tools() if profile.name == "inspect" else tools.find(profile.workspace).without(denies)
    return _Roots(
        profile.workspace,
        (*_shown(others, system, denies), *shown.settings),
        tuple(
            path
            for path in _shown(profile.list_paths, system, denies)
            if host.landlock_abi and not any(is_within(path, root) for root in private)
        ),
        shown,
        profile.write_paths,
    )  # fmt: skip


def _walked(roots: _Roots, host: HostFacts, name: str) -> list[str]:
    """Return the roots that are searched for what to cover; of the system, not what root made.

    A socket below /usr is out of reach anyway where AF_UNIX is refused, and Landlock refuses FIFOs.
    """
    system = {*host.system.directories, *(f"{top}/local" for top in host.system.directories)}
    tops = [path for path in WALKED if path in system]
    if name == "inspect":
        tops = ["/etc", "/usr/local", *(path for path in RECORDS if Path(path).is_dir())]
    programs = set(roots.tools.paths) - set(roots.tools.searched)
    return [path for path in (*roots.all, *tops) if path not in programs]


def _out_of_sight(command: Command, roots: _Roots, host: HostFacts) -> str:
    missing = [path for path in command.profile.write_paths if not os.path.lexists(path)]
    if missing:
        return (
            f"{missing[0]} is outside the workspace and does not exist, so it cannot be shown "
            "writable; create it first"
        )
    if not _is_visible(command.cwd, roots, host):
        return f"the working directory {command.cwd} is not visible in this profile"
    return ""


def _too_much(masks: Masks, profile: Profile) -> str:
    if not masks.complete and not profile.unmasked:
        return (
            "there are too many files below the visible roots to find every one that policy "
            "denies; run it in a smaller workspace"
        )
    covers = len(masks.files) + len(masks.directories) + len(masks.pins)
    if covers > MAX_COVERS:
        return (
            f"{covers} files, sockets and pipes would have to be covered, such as "
            f"{(*masks.files, *masks.directories)[0]}, and a view has room for {MAX_COVERS}; "
            "remove sockets and pipes that are left over: find . -type p -delete"
        )
    return ""


def _untrue(profile: Profile, hidden: tuple[str, ...]) -> str:
    """Return why a command that only reads would answer wrongly: all it reads is hidden."""
    asked = {*profile.reads, *profile.list_paths, *profile.hidden}
    if not profile.reads_only or not asked or not asked <= set(hidden) - PARTLY:
        return ""
    return (
        f"everything this command reads is hidden in profile {profile.name} "
        f"({', '.join(hidden[:3])}), so its answer would not be true. A rule, or a person, can "
        "allow reading exactly that path"
    )


def _hidden(
    profile: Profile, roots: _Roots, host: HostFacts, masks: Masks, denies: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return what of the footprint exists and is not shown, and what is covered below it."""
    system = _system(host, profile.name)
    tools = roots.tools
    shown = (
        profile.workspace, *roots.read, *roots.listed, *tools.paths, *profile.sockets, *system,
    )  # fmt: skip
    unseen = {
        path
        for path in (*profile.reads, *profile.list_paths)
        if os.path.lexists(path) and not any(is_within(path, root) for root in shown)
    }
    covered = {
        path
        for path in (*masks.files, *masks.directories)
        if any(is_within(path, root) for root in profile.reads) and denies(path)
    }
    secret = {
        path
        for path in (roots.secrets if profile.reads else ())
        if any(is_within(path, root) for root in profile.reads)
    }
    return tuple(sorted({*profile.hidden, *unseen, *covered, *secret}))


def _sight(command: Command, host: HostFacts, masks: Masks, roots: _Roots, state: Path) -> Sight:
    profile = command.profile
    inspects = profile.name == "inspect"
    own = [str(state)] if any(is_within(str(state), root) for root in roots.all) else []
    secrets = {path: Path(path).is_dir() for path in roots.secrets}
    covered = _topmost(
        {
            *masks.directories,
            *(path for path in own if state.is_dir()),
            *(path for path, is_directory in secrets.items() if is_directory),
            *(inspected.kernel_directories() if inspects else ()),
        }
    )
    system = {*host.system.secret_files, *host.system.secret_directories}
    pinned, guarded = _kept(profile, masks, covered)
    return Sight(
        tools=roots.tools.roots,
        read=tuple(sorted(set(roots.read) - set(roots.tools.paths))),
        listed=roots.listed,
        writable=roots.written,
        mount_points=pinned,
        guarded=guarded,
        masked_files=tuple(
            path
            for path in dict.fromkeys((*masks.files, *secrets))
            if path not in system and not _is_below(path, covered) and path not in profile.sockets
        ),
        masked_directories=tuple(sorted(covered - system)),
        homes=inspected.homes((*roots.read, *_system(host, "inspect"))) if inspects else (),
        doors=inspected.doors(command),
    )


def _kept(
    profile: Profile, masks: Masks, covered: set[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what stays where it is, and what stays as it is, while the workspace is written.

    In an overlay nothing has to: what was done there is judged when the command has ended.
    """
    if profile.name != "live":
        return (), ()
    workspace = profile.workspace
    places = {*masks.git_directories, *masks.pins}
    plans = () if profile.git_places_files else masks.plans
    kept = {*masks.protected, *masks.twins, *plans}
    free = {
        path
        for path in places | kept
        if is_within(path, workspace) and not _is_below(path, covered)
    }
    return tuple(sorted(places & free)), tuple(sorted(_guarded(kept & free, workspace) - covered))


def _behind(masks: Masks, workspace: str) -> tuple[str, ...]:
    """Return what protected links of a workspace lead to in it: who writes there writes both.

    It may not be there yet; links on the way to it are among it.
    """
    links = [path for path in masks.protected if Path(path).is_symlink()]
    passed = {one for link in links for one in _passed(link)} - {workspace, *links}
    return tuple(sorted(one for one in passed if is_within(one, workspace)))


def _passed(link: str) -> Iterator[str]:
    """Yield every link that is followed from a link on, and the place where that ends."""
    here, rest, followed = "/", link.split("/"), 0
    while rest:
        part, *rest = rest
        at = os.path.normpath(f"{here}/{part}")
        if followed < MOST_FOLLOWED and Path(at).is_symlink():
            followed += 1
            yield at
            target = os.readlink(at)  # noqa: PTH115  # as it is written
            here, rest = "/" if target.startswith("/") else here, [*target.split("/"), *rest]
        else:
            here = at
    yield here


def _guarded(paths: set[str], workspace: str) -> set[str]:
    """Return what is made read-only: of a link, what it leads to in the workspace."""
    real = {path: os.path.realpath(path) if Path(path).is_symlink() else path for path in paths}
    return {
        target
        for target in real.values()
        if is_within(target, workspace) and target != workspace and os.path.lexists(target)
    }


def _topmost(paths: set[str]) -> set[str]:
    return {path for path in paths if not _is_below(path.rpartition("/")[0], paths)}


def _is_below(path: str, roots: set[str]) -> bool:
    """Return whether a path is one of `roots` or lies in one; however many there are."""
    while path:
        if path in roots:
            return True
        path = path.rpartition("/")[0]
    return False


def _is_visible(cwd: str, roots: _Roots, host: HostFacts) -> bool:
    if cwd in ("/", host.home, *SCRATCH):
        return True
    return any(is_within(cwd, root) for root in (*roots.all, "/etc", "/usr"))


def _shown(
    paths: tuple[str, ...], system: tuple[str, ...], denies: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the paths that exist, are files or directories, and need a mount of their own."""
    return tuple(
        path
        for path in paths
        if path not in TOO_WIDE
        and not any(is_within(path, root) for root in system)
        and not denies(os.path.realpath(path))
        and _is_plain(path)
    )


def _is_plain(path: str) -> bool:
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _system(host: HostFacts, name: ProfileName) -> tuple[str, ...]:
    """Return the roots that a profile shows of the system."""
    links = tuple(path for path, _ in host.system.links)
    return (*system_directories(host, name), *links, *ALWAYS_SHOWN)


def empty_file(state_dir: Path) -> Path:
    """Return an empty read-only file to cover others with; made once."""
    path = state_dir / "empty"
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened for reading: of two first runs, the later finds a file it could not open for writing.
    os.close(os.open(path, os.O_CREAT | os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o444))
    return path

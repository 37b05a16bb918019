"""Inside a cell: build the view of one command in a fresh mount namespace.

May touch: mounts of this mount namespace, and mount points on private tmpfs. Standard library only.
INVARIANT: a root is dressed (its masks and guards are on it) at a place no command can reach before
it is moved to where the command sees it; no symbolic link is followed on the way. So whoever
renames directories meanwhile can misplace a root, but never uncover anything in it.
Source: mount(2), mount_setattr(2), openat2(2).
"""

import ctypes
import errno
import os
import stat
import struct

TYPE_CHECKING = False  # typing and collections would be paid for by every cell
if TYPE_CHECKING:
    from collections.abc import Callable

INSIDE = b"/run/permitgate"
HOST = INSIDE + b"/host"  # the whole host; covered before any command runs
STAGE_DIRECTORY, STAGE_FILE = INSIDE + b"/stage", INSIDE + b"/file"
STAGE_COPY = INSIDE + b"/copy"  # of an overlay, which may be laid before its command comes
EMPTY, NOTHING = INSIDE + b"/empty", INSIDE + b"/nothing"  # what denied files and directories show
FRESH = INSIDE + b"/fresh"  # what becomes /run

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 32, 4096, 8192, 16384
SHM_BYTES = 64 << 20  # of /dev/shm, and again of System V segments
BYTES_PER_FILE = 4096  # of a file system in memory; the kernel counts names apart from content
ATTR_READ_ONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
SYS_OPENAT2, SYS_MOUNT_SETATTR = 437, 442  # the same number on every architecture
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT, RESOLVE_BENEATH = 0x04, 0x10, 0x08
MNT_DETACH = 2
PATH_ONLY = os.O_PATH | os.O_CLOEXEC
_libc = ctypes.CDLL(None, use_errno=True)


Identities = dict[bytes, tuple[bytes, bytes]]  # path: device and inode, in decimal


class MovedError(OSError):
    """What was found a moment ago is not there any more; looking again may help."""


def prepare(private: tuple[bytes, ...]) -> None:
    """Make the places where views are built, and bound what the cell's own hold; once per cell."""
    for path in private:
        # As an ordinary user it is bubblewrap's outer namespace that owns them: then they are
        # looked at after each command (seat.py).
        flags = ctypes.c_ulong(MS_REMOUNT | MS_NOSUID | MS_NODEV)
        _libc.mount(None, path, None, flags, b"nr_inodes=%d" % most_files(path))
    for place in (STAGE_DIRECTORY, STAGE_COPY, FRESH):
        os.mkdir(place, 0o700)  # noqa: PTH102  # bytes, and no pathlib in here
    os.close(os.open(STAGE_FILE, os.O_CREAT | os.O_CLOEXEC, 0o600))


def most_files(path: bytes) -> int:
    """Return how many names a private file system may hold; each takes memory of its own."""
    room = os.statvfs(path)
    return room.f_blocks * room.f_frsize // BYTES_PER_FILE


def private(mounts: list[list[bytes]], settings: list[bytes]) -> list[list[bytes]]:
    """Mount what is the same for every command, and return the covers among it.

    `mounts` are ("tmpfs", path, bytes it may hold) and ("mask", path, source); /proc comes first.
    `settings` are "name=value" below /proc/sys, set where the kernel lets a namespace set them.
    The new /run is put aside until `build` ends.
    """
    _mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for setting in settings:
        _set(*setting.split(b"="))
    # Read-only: as root /proc/sys would be the host's to change.
    _restrict(b"/proc", ATTR_READ_ONLY, 0)
    # Device nodes are the host's own: as root their modes could be changed. Writing to them works.
    _restrict(b"/dev", ATTR_READ_ONLY, AT_RECURSIVE)
    options = b"newinstance,ptmxmode=0666,mode=0620"
    _mount(b"devpts", b"/dev/pts", b"devpts", MS_NOSUID | MS_NOEXEC, options)
    for kind, path, size in mounts:
        if kind == b"tmpfs":
            place = FRESH if path == b"/run" else path
            files = int(size) // BYTES_PER_FILE
            options = b"mode=1777,size=%b,nr_inodes=%d" % (size, files)
            _mount(b"tmpfs", place, b"tmpfs", MS_NOSUID | MS_NODEV, options)
    covers = [mount for mount in mounts if mount[0] == b"mask"]
    for _, path, source in covers:
        _cover(path, source)
    return covers


def _set(name: bytes, value: bytes) -> None:
    try:
        with open(b"/proc/sys/" + name, "wb") as file:  # noqa: PTH123  # no pathlib in here
            file.write(value)
    except OSError:
        return


class Laid:
    """A copy-on-write view of a directory, where no command can reach it yet."""

    def __init__(self, root: bytes, layers: list[bytes]) -> None:
        """Mount it: what is written there goes to the upper one of the layers.

        Raises:
            OSError: that cannot be.
        """
        self._root, self._layers = root, layers
        host = os.open(HOST, PATH_ONLY)
        self._lower = _source(host, root)
        upper, work = (_source(host, path) for path in layers)
        options = b"lowerdir=%b,upperdir=%b,workdir=%b,userxattr" % (
            _fd(self._lower), _fd(upper), _fd(work)
        )  # fmt: skip
        try:
            _mount(b"overlay", STAGE_COPY, b"overlay", 0, options)
        except OSError as error:
            raise OSError(error.errno, f"overlay: {error.strerror}") from None
        for each in (host, upper, work):
            os.close(each)

    def lower(self, root: bytes, layers: list[bytes], was: "tuple[bytes, bytes] | None") -> int:
        """Return the directory below it, which must be what the command's view is to show.

        Raises:
            MovedError: it is another one.
        """
        if (self._root, self._layers) != (root, layers):
            raise MovedError(f"a copy of {os.fsdecode(self._root)} was laid out")
        _check(self._lower, root, was)
        return self._lower


def build(
    mounts: list[list[bytes]],
    identities: list[bytes],
    covers: list[list[bytes]],
    layers: list[bytes],
    laid: Laid | None = None,
) -> None:
    """Show one command its roots, covered where policy says so, and then cover the host.

    A cover falls off when its file is replaced, so those made before are looked at. `mounts` are
    (kind, path, source), parents first; `identities` are "device inode path" of the directories
    that must still be what they were; `layers` the upper and work directory of an overlay, `laid`
    what was mounted of them while nobody knew the rest.

    Raises:
        OSError: something could not be mounted; the command must not run.
    """
    host = os.open(HOST, PATH_ONLY)
    roots: dict[bytes, list[list[bytes]]] = {}
    for mount in mounts:
        root = next((path for path in roots if mount[1].startswith(path + b"/")), None)
        if root is not None:
            roots[root].append(mount)
        elif roots.pop(mount[1], None) is not None:
            continue  # the root itself is covered: it is not shown at all
        elif mount[0] == b"mask":
            _cover(mount[1], mount[2])
        else:
            roots[mount[1]] = [mount]
    cover_ids = {place: _identity(place) for place in (EMPTY, NOTHING)}
    for _, path, source in covers:
        if _identity(path) != cover_ids[EMPTY if source else NOTHING]:
            _cover(path, source)
    expected = {path: (dev, ino) for dev, ino, path in (one.split(b" ", 2) for one in identities)}
    for root, shown in roots.items():
        _show(_Showing(host, layers, expected, laid), root, shown)
    os.close(host)
    _restrict(b"/", ATTR_READ_ONLY, 0)
    # Gone where the kernel lets it go; covered in any case.
    _libc.umount2(HOST, MNT_DETACH)
    _move(FRESH, b"/run")


def calm(paths: tuple[bytes, ...]) -> None:
    """Make private file systems of the cell read-only for this command."""
    for path in paths:
        _restrict(path, ATTR_READ_ONLY, 0)


class _Showing:
    """What every root of one view is made with."""

    def __init__(
        self, host: int, layers: list[bytes], expected: Identities, laid: Laid | None
    ) -> None:
        self.host, self.layers, self.expected, self.laid = host, layers, expected, laid


def _show(by: _Showing, root: bytes, mounts: list[list[bytes]]) -> None:
    (kind, _, origin), *inner = mounts
    was = by.expected.get(root)
    if kind == b"overlay":
        laid = by.laid or Laid(origin, by.layers)
        source, stage = laid.lower(origin, by.layers, was), STAGE_COPY
    else:
        source = _source(by.host, origin, was)
        stage = STAGE_DIRECTORY if stat.S_ISDIR(os.fstat(source).st_mode) else STAGE_FILE
        _mount(_fd(source), stage, None, MS_BIND | MS_REC)
    _close_down(stage, kind)
    if inner:
        base = os.open(stage, PATH_ONLY)
        # In an overlay a name has another identity: what lies below it is looked at.
        real = source if kind == b"overlay" else base
        for kind, path, origin in inner:
            below = path[len(root) + 1 :]
            _dress(by, (base, real), (kind, below, origin), by.expected.get(path))
        os.close(base)
    os.close(source)
    target = _mount_point(root, is_directory=stage != STAGE_FILE)
    _move(stage, _fd(target))
    os.close(target)


def _dress(
    by: _Showing,
    bases: tuple[int, int],
    mount: tuple[bytes, bytes, bytes],
    was: tuple[bytes, bytes] | None,
) -> None:
    (kind, path, origin), (base, real) = mount, bases
    target = _open(base, path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    looked = target if real == base else _open(real, path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
    _check(looked, path, was)
    if looked != target:
        os.close(looked)
    if kind == b"mask":
        _mount(EMPTY if origin else NOTHING, _fd(target), None, MS_BIND)
    else:
        source = _source(by.host, origin, was)
        _mount(_fd(source), _fd(target), None, MS_BIND | MS_REC)
        os.close(source)
        os.close(target)
        target = _open(base, path, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)  # what is on top now
        _close_down(_fd(target), kind)
    os.close(target)


def _cover(path: bytes, source: bytes) -> None:
    """Cover a secret of the system; one that is gone needs no cover."""
    if os.path.lexists(path):
        _mount(EMPTY if source else NOTHING, path, None, MS_BIND)


def _identity(path: bytes) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  # hot
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def rehearse() -> None:
    """Go through the motions of `build` once: a forked process pays for what it touches first."""
    host = os.open(HOST, PATH_ONLY)
    os.fstat(_open(host, b"usr", RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS))
    _mount(NOTHING, STAGE_DIRECTORY, None, MS_BIND | MS_REC)
    _close_down(STAGE_DIRECTORY, b"ro")
    _checked(_libc.umount2(STAGE_DIRECTORY, MNT_DETACH), STAGE_DIRECTORY)
    os.close(_mount_point(b"/usr/bin", is_directory=True))
    _identity(EMPTY)


def _source(host: int, path: bytes, was: tuple[bytes, bytes] | None = None) -> int:
    source = _open(host, path.lstrip(b"/") or b".", RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS)
    _check(source, path, was)
    return source


def _check(fd: int, path: bytes, was: tuple[bytes, bytes] | None) -> None:
    found = os.fstat(fd)
    if was is not None and was != (b"%d" % found.st_dev, b"%d" % found.st_ino):
        raise MovedError(f"{os.fsdecode(path)} was replaced while the command was set up")


def _open(base: int, path: bytes, resolve: int) -> int:
    how = struct.pack("=QQQ", PATH_ONLY, 0, resolve)
    fd = int(_libc.syscall(SYS_OPENAT2, base, path, how, ctypes.c_size_t(len(how))))
    if fd < 0:
        number = ctypes.get_errno()
        raise MovedError(number, f"{os.fsdecode(path)}: {os.strerror(number)}")
    return fd


def _mount_point(path: bytes, *, is_directory: bool) -> int:
    """Return the place to mount at, made where it is missing; links are refused."""
    here = os.open(b"/", PATH_ONLY)
    *parents, name = path.strip(b"/").split(b"/")
    for part in parents:
        here = _step(here, part)
    if is_directory:
        return _step(here, name)
    flags = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    _make(lambda: os.close(os.open(name, flags, 0o600, dir_fd=here)))
    found = _open(here, name, RESOLVE_NO_SYMLINKS)
    os.close(here)
    return found


def _step(here: int, name: bytes) -> int:
    flags = PATH_ONLY | os.O_NOFOLLOW | os.O_DIRECTORY
    try:
        below = os.open(name, flags, dir_fd=here)
    except FileNotFoundError:
        _make(lambda: os.mkdir(name, 0o755, dir_fd=here))
        below = os.open(name, flags, dir_fd=here)
    except NotADirectoryError as error:
        raise MovedError(error.errno, f"{os.fsdecode(name)} is a link or a file") from None
    os.close(here)
    return below


def _make(what: "Callable[[], None]") -> None:
    try:
        what()
    except FileExistsError:
        return  # made for another command of the cell


def _fd(number: int) -> bytes:
    return b"/proc/self/fd/%d" % number


def _close_down(path: bytes, kind: bytes) -> None:
    is_open = kind in (b"rw", b"overlay")
    attributes = ATTR_NOSUID | ATTR_NODEV | (0 if is_open else ATTR_READ_ONLY)
    _restrict(path, attributes, AT_RECURSIVE)


def _restrict(path: bytes, attributes: int, flags: int) -> None:
    value = struct.pack("=QQQQ", attributes, 0, 0, 0)
    size = ctypes.c_size_t(len(value))
    _checked(_libc.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, value, size), path)


def _move(source: bytes, target: bytes) -> None:
    _mount(source, target, None, MS_MOVE)


def _mount(
    source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None = None
) -> None:
    _checked(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options), target)


def _checked(result: int, path: bytes) -> None:
    if result:
        number = ctypes.get_errno()
        # A place that moved away while it was mounted on is no mount point.
        kind = MovedError if number == errno.EINVAL else OSError
        raise kind(number, f"mount {os.fsdecode(path)}: {os.strerror(number)}")

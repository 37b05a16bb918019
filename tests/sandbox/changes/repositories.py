"""Git repositories, and commands run on them twice: outside, and on an overlay over a copy."""

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from sandbox.names import is_protected

SETTINGS = {
    "user.name": "Ada", "user.email": "ada@example.org", "init.defaultBranch": "main",
    "gc.auto": "0", "pack.threads": "1", "advice.detachedHead": "false",
    "core.fsync": "none",
}  # fmt: skip
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "TZ": "UTC",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_EDITOR": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_CONFIG_COUNT": str(len(SETTINGS)),
    **{f"GIT_CONFIG_KEY_{n}": key for n, key in enumerate(SETTINGS)},
    **{f"GIT_CONFIG_VALUE_{n}": value for n, value in enumerate(SETTINGS.values())},
}
# `$1` is put, by itself or as the lower layer, where the workspace `$2` is; then `$3` runs there,
# as the user who calls: git compares owners with those in its index.
_AS_BEFORE = f'&& cd "$2" && exec unshare -U --map-user={os.getuid()} --map-group={os.getgid()} '
_RUN = _AS_BEFORE + 'sh -c "$3"'
BESIDE = 'mount --bind "$1" "$2" ' + _RUN
ABOVE = (
    'mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work,userxattr" "$2" '
    + _RUN
)
# What a repository looks like from inside; the same for the same repository.
LOOK = """
for at in . wt sub; do
    [ -e $at/.git ] || continue
    [ -d $at/.git ] || cat $at/.git
    cat $(git -C $at rev-parse --git-dir)/HEAD
    git -C $at status --porcelain=v2 --branch; echo "status: $?"
    git -C $at config -l; git -C $at for-each-ref
done 2>&1
git fsck --no-progress 2>&1; echo "fsck: $?"
find . -path ./.git/objects -prune -o -printf '%P %y %m %l\\n' | sort
find . -type f -not -path '*.git/*' -exec sha256sum {} + | sort
"""


@contextmanager
def quick_directory() -> Iterator[Path]:
    """Give a directory in memory, if it can be an upper layer; thousands of files are made."""
    with TemporaryDirectory(prefix="permitgate-", dir=_memory()) as made:
        yield Path(made).resolve()


def _memory() -> str | None:
    try:
        with NamedTemporaryFile(dir="/dev/shm") as file:
            os.setxattr(file.fileno(), "user.overlay.origin", b"")
    except OSError:  # no attributes there before Linux 6.6
        return None
    return "/dev/shm"


def sh(directory: Path, script: str) -> str:
    """Run a shell script outside of any sandbox; return what it printed."""
    done = subprocess.run(
        ["sh", "-ec", script], cwd=directory, env=ENVIRONMENT, check=False, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what the repository looks like now."""

    status: int
    look: str


@dataclass(frozen=True)
class Bench:
    """One workspace at one path, which a command meets outside and on an overlay."""

    base: Path  # what was prepared; also what is read through an overlay
    scratch: Path

    @property
    def upper(self) -> Path:
        return self.scratch / "upper"

    def outside(self, script: str) -> Ran:
        """Run a script on a copy that lies where the workspace is."""
        beside = self.scratch / "beside"
        copy(self.base, beside)
        # The index of a copy tells other inodes; the overlay shows those of the workspace.
        quiet = f"(git update-index -q --refresh; {script}) > /dev/null 2>&1"
        done = self._mounted(BESIDE, beside, f"{quiet}; echo $? > {self.scratch}/status\n{LOOK}")
        status = int((self.scratch / "status").read_text())
        assert done.returncode == 0, done.stdout
        return Ran(status, done.stdout)

    def overlaid(self, script: str) -> int:
        """Run a script on an overlay over the workspace; return its exit status."""
        self.upper.mkdir()
        (self.scratch / "work").mkdir()
        done = self._mounted(ABOVE, self.scratch, f"({script})")
        (self.scratch / "work/work").chmod(0o700)  # the kernel's own, closed to everybody
        return done.returncode

    def land(self) -> str:
        """Put the upper layer over the workspace; return what it looks like."""
        land(self.upper, self.base)
        return sh(self.base, f"set +e\n{LOOK}")

    def _mounted(self, mount: str, of: Path, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["unshare", "-Urm", "sh", "-c", mount, "sh", of, self.base, script], env=ENVIRONMENT,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip


def copy(of: Path, to: Path) -> None:
    """Copy a tree with all that its files keep."""
    subprocess.run(["cp", "-a", of, to], check=True)


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "user.overlay.opaque") == b"y"
    except OSError:
        return False


def is_plain_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def protected(upper: Path, root: Path) -> list[str]:
    """Return every path that changed and has a protected name, lies below one, or in `.git`."""
    return [path for path in changed(upper, root) if _concerns(path.split("/"))]


def _concerns(parts: list[str]) -> bool:
    return ".git" in parts or any(is_protected(p, is_directory=True, in_git=False) for p in parts)


def changed(upper: Path, root: Path) -> Iterator[str]:
    """Yield every path that an upper layer adds, replaces or removes."""
    for path in sorted(upper.rglob("*")):
        relative = path.relative_to(upper)
        below = root / relative
        is_merged = is_plain_directory(path) and is_plain_directory(below)
        if not is_merged and not (is_whiteout(path) and not os.path.lexists(below)):
            yield str(relative)
        if is_plain_directory(below) and (is_opaque(path) or not is_merged):
            lost = (p for p in below.rglob("*") if not os.path.lexists(upper / p.relative_to(root)))
            yield from (str(p.relative_to(root)) for p in lost)


def land(upper: Path, root: Path) -> None:
    """Make the workspace what the overlay showed."""
    for path in sorted(upper.iterdir()):
        to = root / path.name
        if is_plain_directory(path) and is_plain_directory(to) and not is_opaque(path):
            land(path, to)
            continue
        if is_plain_directory(to):
            shutil.rmtree(to)
        elif os.path.lexists(to):
            to.unlink()
        if not is_whiteout(path):
            path.rename(to)

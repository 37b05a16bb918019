"""Git repositories, and commands run on them twice: outside, and on an overlay over a copy."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from sandbox.changes import upper
from sandbox.changes.filter import Layers, guarded
from sandbox.changes.model import About
from sandbox.changes.store import ChangeStore
from sandbox.changes.transaction import apply

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
        store = ChangeStore(self.scratch / "store")
        draft = store.draft(str(self.base))
        shutil.rmtree(draft.upper)
        self.upper.rename(draft.upper)
        about = About(str(self.base), draft.since_ns, draft.after, "exec", "git", "", time.time())
        kept = store.keep_set(draft, upper.read(draft.upper, self.base), about)
        assert apply(store, kept.set_id).conflicts == ()
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


def protected(layer: Path, root: Path) -> list[str]:
    """Return every changed path that a person would be asked about."""
    return list(guarded(upper.read(layer, root), Layers(str(layer), str(root))))

"""Bash itself as an oracle: many texts in one confinement where every program is a recorder.

Needs bash and bwrap, nothing compiled: a recorder is a script run by a bash bound under another
name, which writes its argument vector, its input and one variable to the log and nothing else.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

AVAILABLE = shutil.which("bwrap") is not None and shutil.which("bash") is not None
RECORDER = r"""#!/opt/recorder
LC_ALL=C
IFS= read -r -d '' -t 1 input
printf '%s\0' "${0##*/}" "$@" "$input" "$MARKER" > "/log/$TEXT_LOG.$$"
printf 'out of %s\n' "${0##*/}"
exit $((${#0} % 2))
"""
DRIVER = r"""
for script in /texts/*; do
  export TEXT_LOG="${script##*/}"
  cd "/scratch/$TEXT_LOG" || exit 9
  (ulimit -t 2; exec /opt/bash --norc --noprofile "$script") < /dev/null > /dev/null 2>&1
  printf '%s' "$?" > "/log/$TEXT_LOG.status"
done
"""
SAMPLES = ("a.txt", "b.txt", "f", "src/x.py", "src/y.py", "docs/one.md")


Start = tuple[tuple[bytes, ...], bytes, bytes]  # argument vector, input, $MARKER


@dataclass(frozen=True)
class Observed:
    """What one script did: its exit status, and its starts, sorted."""

    status: str
    starts: tuple[Start, ...]


def observe(
    scripts: Sequence[str], programs: Iterable[str], folder: Path, deadline_s: float = 60
) -> list[Observed]:
    """Run each script by bash in a directory of its own and return what started.

    Raises:
        subprocess.TimeoutExpired: together they took longer than `deadline_s`.
    """
    if not scripts:
        return []
    _prepare(scripts, programs, folder)
    _confined(folder, DRIVER, deadline_s)
    starts = dict[str, list[Start]]()
    for path in folder.glob("log/*.[0-9]*"):
        *argv, given, marker = path.read_bytes().split(b"\0")[:-1]
        starts.setdefault(path.stem, []).append((tuple(argv), _said(given), marker))
    return [
        Observed(
            (folder / "log" / f"{name}.status").read_text(), tuple(sorted(starts.get(name, [])))
        )
        for name in (f"{index:05d}" for index in range(len(scripts)))
    ]


def _said(given: bytes) -> bytes:
    """Return a recorder's input without bash's own diagnostics, which quote the text."""
    return b"\n".join(line for line in given.split(b"\n") if b"/texts/" not in line)


def _prepare(scripts: Sequence[str], programs: Iterable[str], folder: Path) -> None:
    for name in ("texts", "bin", "log", "scratch"):
        (folder / name).mkdir()
    (folder / "bin" / ".recorder").write_text(RECORDER)
    (folder / "bin" / ".recorder").chmod(0o755)
    for program in programs:
        (folder / "bin" / program).symlink_to(".recorder")
    for index, script in enumerate(scripts):
        name = f"{index:05d}"
        (folder / "texts" / name).write_text(script + "\n", encoding="utf-8")
        for sample in SAMPLES:
            path = folder / "scratch" / name / sample
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("one\ntwo  words\n")


def run_script(script: str, folder: Path) -> None:
    """Run one script in the confinement, with no program at all; it may write below /log."""
    for name in ("texts", "bin", "log", "scratch"):
        (folder / name).mkdir()
    (folder / "texts" / "script").write_text(script)
    _confined(folder, "source /texts/script", 60)


def _confined(folder: Path, driver: str, deadline_s: float) -> None:
    """No network, no programs but the folder's, a root of bash and its libraries."""
    bash = os.path.realpath(shutil.which("bash") or "/bin/bash")
    libraries = [path for path in ("/lib", "/lib64", "/usr/lib") if Path(path).is_dir()]
    places = [(bash, "/opt/bash"), (bash, "/opt/recorder"), *((path, path) for path in libraries)]
    places += [(str(folder / "texts"), "/texts")]
    places += [(str(folder / "bin"), path) for path in ("/bin", "/usr/bin")]
    command = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    for source, target in places:
        command += ["--ro-bind", source, target]
    for name in ("log", "scratch"):
        command += ["--bind", str(folder / name), f"/{name}"]
    command += ["--proc", "/proc", "--dev", "/dev", "--chdir", "/scratch"]
    command += ["--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/home/u"]
    command += ["--setenv", "LC_ALL", "C.UTF-8", "--setenv", "TIMEFORMAT", ""]
    command += ["/opt/bash", "--norc", "--noprofile", "-c", driver]
    subprocess.run(command, check=True, timeout=deadline_s, stdin=subprocess.DEVNULL)

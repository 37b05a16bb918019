"""The whole suite, as `make test` runs it: once as this user, and as root also as an ordinary one.

Parts of it run side by side. The rooms' own tests have to reach every branch of policy, approvals,
audit and the gate, where a miss could let something through. With CI set, a skipped test is a
failed one. What failed beside the others may, if it is little, try once more alone, and is named
when that goes well; but an attack that got through once did get through.
"""

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
NAME = "permitgate-test"
LANES = 3  # on two cores: each part waits for what it started a third of its time
CONFINED = ("tests/sandbox", "tests/test_laws.py")
ATTACKS = ("tests/sandbox/escapes", "tests/sandbox/network", "tests/sandbox/seccomp")
WRITING = ("tests/sandbox/changes", "tests/sandbox/patches")
POLICY, APPROVALS, HALL = "tests/policy", "tests/approvals", "tests/mcp_server"
GATE = f"{HALL}/test_gate.py"
HALF = ("tests/sandbox/changes/", "tests/sandbox/escapes/")  # of what runs as an ordinary user
COVERAGE = "coverage"
MOST_AGAIN = 3
NEVER_AGAIN = (
    "tests/approvals/test_desk.py",
    "tests/approvals/test_grants.py",
    "tests/approvals/test_law.py",
    "tests/approvals/test_processes.py",
    "tests/sandbox/escapes/",
    "tests/sandbox/network/test_refusals.py",
)


@dataclass(frozen=True)
class Part:
    """Some of the suite in a process of its own; `start` is given pytest's further words."""

    name: str
    home: Path  # for what it says, and which of its tests failed
    start: Callable[[Sequence[str]], Sequence[str]]

    def run(self, *words: str) -> int:
        """Run it, print what it said, and return its exit code."""
        began = time.monotonic()
        said = self.home / "said"
        with said.open("wb") as output:
            code = subprocess.run(
                self.start(words), check=False, stdout=output, stderr=subprocess.STDOUT
            ).returncode
        text = said.read_text("utf-8", "replace")
        print(f"suite: {self.name}, {time.monotonic() - began:.0f} s\n{text}", flush=True)
        return code

    def failed(self) -> list[str]:
        """Return the tests that failed in the last run."""
        try:
            return list(json.loads((self.home / "cache/v/cache/lastfailed").read_text("utf-8")))
        except FileNotFoundError:
            return []


def main() -> int:
    """Run everything and return the exit code; with arguments, pytest runs just these."""
    os.chdir(PROJECT)
    if sys.argv[1:]:
        return subprocess.run([*_pytest(), *sys.argv[1:]], check=False).returncode
    parts = _parts()
    try:
        with ThreadPoolExecutor(LANES) as lanes:
            codes = dict(zip(parts, lanes.map(Part.run, parts), strict=True))
        bad = [part for part, code in codes.items() if code and not _passes_alone(part)]
        if bad:
            print(f"suite: failed: {', '.join(part.name for part in bad)}")
        return 1 if bad or not _is_covered([part.home for part in parts]) else 0
    finally:
        for part in parts:
            shutil.rmtree(part.home, ignore_errors=True)


def _parts() -> list[Part]:
    """Return the parts, in an order in which all lanes end together; the users' only for root."""
    hall = _files(HALL, but=[GATE])
    parts = [
        _part("the sandbox", _files(*CONFINED, but=[*ATTACKS, *WRITING])),
        _part("approvals", [APPROVALS], is_measured=True),
        _part("attacks", ATTACKS),
        _part("the hall, one half", hall[1::2]),
        _part("changes", WRITING),
        _part("the hall, the other", hall[::2]),
        _part("policy", [POLICY], is_measured=True),
        _part("the other rooms", _rooms(), is_measured=True),
    ]
    if os.geteuid() == 0:
        marked = [one for one in _files("tests") if "mark.as_user" in Path(one).read_text("utf-8")]
        halves = (
            [path for path in marked if not path.startswith(HALF)],
            [path for path in marked if path.startswith(HALF)],
        )
        first, second = map(_as_ordinary_user, halves, _free_uids())
        parts = [first, parts[0], second, *parts[1:]]
    return parts


def _home() -> Path:
    return Path(tempfile.mkdtemp(prefix="permitgate-suite-"))


def _part(name: str, tests: Sequence[str], *, is_measured: bool = False) -> Part:
    home = _home()
    python, *pytest = _pytest(home)
    coverage = ["-m", "coverage", "run", "-p", f"--data-file={home}/{COVERAGE}"]
    command = [python, *(coverage if is_measured else ()), *pytest, *tests]
    return Part(name, home, lambda words: [*command, *words])


def _pytest(home: Path | None = None) -> list[str]:
    cache = ["-o", f"cache_dir={home}/cache"] if home else []
    return [sys.executable, "-m", "pytest", "-q", *cache]


def _passes_alone(part: Part) -> bool:
    """Return whether what failed in a part passes when nothing else runs, if it may try."""
    failed = part.failed()
    if not failed or len(failed) > MOST_AGAIN or any(one.startswith(NEVER_AGAIN) for one in failed):
        return False
    if part.run("--last-failed"):
        return False
    print(f"suite: UNSTEADY, failed beside the other parts and passed alone: {failed}")
    return True


def _is_covered(homes: Sequence[Path]) -> bool:
    coverage, data = [sys.executable, "-m", "coverage"], homes[0] / COVERAGE
    measured = [str(file) for home in homes for file in home.glob(f"{COVERAGE}.*")]
    subprocess.run([*coverage, "combine", "-q", f"--data-file={data}", *measured], check=True)
    report = [*coverage, "report", f"--data-file={data}", "--fail-under=100"]
    if subprocess.run(report, check=False).returncode == 0:
        return True
    print("suite: the rooms must be wholly covered by their tests; the table names the lines")
    return False


def _as_ordinary_user(files: Sequence[str], uid: int) -> Part:
    """Return the tests marked as_user again without root's powers.

    Each part has a user of its own, as limits on processes are each user's. The user exists only
    in the mount namespace of the run: its line is in a copy of /etc/passwd bound over the real one.
    The project is bound too, as it may lie where only root can go.
    """
    home = _home()
    os.chown(home, uid, uid)
    passwd = Path("/etc/passwd").read_text("utf-8")
    (home / "passwd").write_text(f"{passwd}{NAME}:x:{uid}:{uid}::{home}:/bin/bash\n")
    (home / "project").mkdir()
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "USER": NAME,
        "LOGNAME": NAME,
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(home),
        **({"CI": os.environ["CI"]} if "CI" in os.environ else {}),
    }
    variables = [f"{name}={value}" for name, value in environment.items()]

    def start(words: Sequence[str]) -> list[str]:
        tests = shlex.join([*files, *words])
        made = f"{home}/{'again' if words else 'tmp'}"  # root alone can remove some of the first
        script = f"""
            set -e
            mount --bind {PROJECT} {home}/project
            mount --bind {home}/passwd /etc/passwd
            cd {home}/project
            exec setpriv --reuid={uid} --regid={uid} --clear-groups \\
                .venv/bin/python -m pytest -q -o cache_dir={home}/cache -m as_user \\
                --basetemp={made} {tests}
        """
        return ["unshare", "--mount", "env", "-i", *variables, "/bin/sh", "-c", script]

    return Part(f"once more as an ordinary user (uid {uid})", home, start)


def _files(*places: str, but: Sequence[str] = ()) -> list[str]:
    """Return the files of tests in some places, but for those in others."""
    found = (file for place in places for file in _tests(PROJECT / place))
    names = sorted(str(file.relative_to(PROJECT)) for file in found)
    return [name for name in names if not any(Path(name).is_relative_to(one) for one in but)]


def _tests(place: Path) -> Iterable[Path]:
    return [place] if place.is_file() else place.glob("**/test_*.py")


def _rooms() -> list[str]:
    """Return all other tests; a new file is among them the moment it exists."""
    return [*_files("tests", but=[*CONFINED, POLICY, APPROVALS, HALL]), GATE]


def _free_uids() -> list[int]:
    """Return uids in the range for ordinary users that nobody has here."""
    taken = {user.pw_uid for user in pwd.getpwall()}
    return [uid for uid in range(61_000, 62_000) if uid not in taken]


if __name__ == "__main__":
    sys.exit(main())

"""The whole suite, as `make test` runs it: once as this user, and as root also as an ordinary one.

Prints the coverage of every room; fails below 100% branches where a miss could let something
through: policy, approvals, audit and the gate. With CI set, a skipped test is a failed one.
"""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

PROJECT = Path(__file__).resolve().parents[1]
WHOLLY_COVERED = "policy/*,approvals/*,audit/*,mcp_server/gate.py"
NAME = "permitgate-test"
CONFINED = ["tests/sandbox", "tests/test_laws.py"]
OTHERS = ["tests", *(f"--ignore={path}" for path in CONFINED)]
HALF = ("tests/sandbox/changes/", "tests/sandbox/escapes/")  # of what runs as an ordinary user


def main() -> int:
    """Run everything and return the exit code; with arguments, pytest runs just these."""
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory(prefix="permitgate-suite-") as scratch:
        code = (
            _pytest(sys.argv[1:], f"{scratch}/data.1") if sys.argv[1:] else _in_two_lanes(scratch)
        )
        if code:
            return code
        environment = {**os.environ, "COVERAGE_FILE": f"{scratch}/coverage"}
        coverage = [sys.executable, "-m", "coverage"]
        _call([*coverage, "combine", "-q", *map(str, Path(scratch).glob("data.*"))], environment)
        _call([*coverage, "report"], environment)
        code = _call(
            [*coverage, "report", f"--include={WHOLLY_COVERED}", "--fail-under=100"], environment
        )
    if code:
        print(f"suite: {WHOLLY_COVERED} must be wholly covered; the table above names the lines")
    return code


def _in_two_lanes(scratch: str) -> int:
    """Run the sandbox's tests in one lane, all others in the second; then the other user's in both.

    What the first lane says is printed when both have ended, then the rest.
    """
    marked = _with_the_mark()
    halves = (
        [path for path in marked if path.startswith(HALF)],
        [path for path in marked if not path.startswith(HALF)],
    )
    outputs = [Path(scratch) / f"said.{lane}" for lane in (1, 2)]
    first, second = (output.open("wb") for output in outputs)
    with first, second, ThreadPoolExecutor() as lanes:
        beside = lanes.submit(_beside, scratch, halves[0], first)
        code = _pytest(OTHERS, f"{scratch}/data.1")
        code = _as_ordinary_user(halves[1], 1, second) or code
        code = beside.result() or code
    for output in outputs:
        print(output.read_text("utf-8", "replace"), flush=True)
    return code


def _beside(scratch: str, half: list[str], output: BinaryIO) -> int:
    code = _pytest(CONFINED, f"{scratch}/data.2", output)
    return _as_ordinary_user(half, 0, output) or code


def _pytest(arguments: list[str], data: str, output: BinaryIO | None = None) -> int:
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", *arguments]
    return _call(command, {**os.environ, "COVERAGE_FILE": data}, output)


def _call(command: list[str], environment: dict[str, str], output: BinaryIO | None = None) -> int:
    return subprocess.run(
        command, env=environment, check=False, stdout=output, stderr=output and subprocess.STDOUT
    ).returncode


def _as_ordinary_user(files: list[str], number: int, output: BinaryIO) -> int:
    """Run the tests marked as_user again without root's powers; nothing where there are none.

    `number` tells users apart that run at the same time: limits on processes are each user's. The
    user exists only in the mount namespace of the run: its line is in a copy of /etc/passwd
    bound over the real one. The project is bound too, as it may lie where only root can go.
    """
    if os.geteuid() != 0:
        return 0
    uid = _free_uid(number)
    output.write(f"suite: once more as an ordinary user (uid {uid})\n".encode())
    output.flush()
    home = Path(tempfile.mkdtemp(prefix="permitgate-user-"))
    try:
        os.chown(home, uid, uid)
        passwd = Path("/etc/passwd").read_text()
        (home / "passwd").write_text(f"{passwd}{NAME}:x:{uid}:{uid}::{home}:/bin/bash\n")
        script = f"""
            set -e
            mkdir {home}/project
            mount --bind {PROJECT} {home}/project
            mount --bind {home}/passwd /etc/passwd
            cd {home}/project
            exec setpriv --reuid={uid} --regid={uid} --clear-groups \\
                .venv/bin/python -m pytest -q -p no:cacheprovider -m as_user \\
                --basetemp={home}/tmp {" ".join(files)}
        """
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
        return _call(["unshare", "--mount", "/bin/sh", "-c", script], environment, output)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _with_the_mark() -> list[str]:
    """Return the files that speak of the mark, so that no others are read for nothing."""
    files = sorted(path.relative_to(PROJECT) for path in PROJECT.glob("tests/**/test_*.py"))
    return [str(path) for path in files if "mark.as_user" in (PROJECT / path).read_text("utf-8")]


def _free_uid(number: int) -> int:
    """Return a uid in the range for ordinary users that nobody has here."""
    taken = {user.pw_uid for user in pwd.getpwall()}
    return [uid for uid in range(61_000, 62_000) if uid not in taken][number]


if __name__ == "__main__":
    sys.exit(main())

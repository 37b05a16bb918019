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
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
WHOLLY_COVERED = "policy/*,approvals/*,audit/*,mcp_server/gate.py"
FIRST_ORDINARY_UID = 1000


def main() -> int:
    """Run everything and return the exit code."""
    os.chdir(PROJECT)
    with tempfile.TemporaryDirectory(prefix="permitgate-suite-") as scratch:
        data = f"{scratch}/coverage"
        environment = {**os.environ, "COVERAGE_FILE": data}
        coverage = [sys.executable, "-m", "coverage"]
        code = _call([*coverage, "run", "-m", "pytest", "-q", *sys.argv[1:]], environment)
        if code:
            return code
        _call([*coverage, "report"], environment)
        code = _call(
            [*coverage, "report", f"--include={WHOLLY_COVERED}", "--fail-under=100"], environment
        )
    if code:
        print(f"suite: {WHOLLY_COVERED} must be wholly covered; the table above names the lines")
        return code
    return _as_ordinary_user() if os.geteuid() == 0 else 0


def _call(command: list[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env=environment, check=False).returncode


def _as_ordinary_user() -> int:
    """Run the tests marked as_user again without root's powers."""
    user = _ordinary_user()
    print(f"suite: once more as {user.pw_name} (uid {user.pw_uid})", flush=True)
    home = Path(tempfile.mkdtemp(prefix="permitgate-user-"))
    try:
        os.chown(home, user.pw_uid, user.pw_gid)
        script = f"""
            set -e
            mkdir {home}/project
            mount --bind {PROJECT} {home}/project
            cd {home}/project
            exec setpriv --reuid={user.pw_uid} --regid={user.pw_gid} --clear-groups \\
                .venv/bin/python -m pytest -q -p no:cacheprovider -m as_user \\
                --basetemp={home}/tmp
        """
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(home),
            "USER": user.pw_name,
            "LOGNAME": user.pw_name,
            "LANG": os.environ.get("LANG", "C.UTF-8"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": f"{home}/hypothesis",
            "TMPDIR": str(home),
            **({"CI": os.environ["CI"]} if "CI" in os.environ else {}),
        }
        # A mount namespace of its own: the project may lie where only root can walk to.
        return _call(["unshare", "--mount", "/bin/sh", "-c", script], environment)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _ordinary_user() -> pwd.struct_passwd:
    """Return a user of this machine who can log in, else nobody."""
    for user in pwd.getpwall():
        if FIRST_ORDINARY_UID <= user.pw_uid < 60_000 and user.pw_shell.endswith("sh"):
            return user
    return pwd.getpwnam("nobody")


if __name__ == "__main__":
    sys.exit(main())

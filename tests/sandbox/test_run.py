import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import Limits, Pin
from sandbox.permit import PermitError
from sandbox.profile import Profile
from tests.sandbox.rig import HOST, Rig, alive

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
PROFILES = ["inspect", "read", "write", "live"]
MANY = "i=0; while [ $i -lt 80 ]; do sleep 9 & i=$((i+1)); done; wait"  # processes


def groups() -> list[Path]:
    return [path for p in HOST.cgroups for path in Path(p).glob(f"permitgate-{os.getpid()}-*")]


async def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something comes true within two seconds."""
    with anyio.move_on_after(2.0):
        while not holds():  # noqa: ASYNC110  # the kernel sets no event
            await anyio.sleep(0.01)
    return holds()


# What runs


async def test_a_vector_runs_as_it_is(rig):
    outcome = await rig.run(rig.vector("/bin/echo", "$HOME", "a b", ";id"))
    assert (outcome.status, outcome.exit_code) == ("ok", 0)
    assert outcome.stdout.head == b"$HOME a b ;id\n"


@pytest.mark.parametrize("profile", [*PROFILES, "unconfined"])
async def test_a_script_runs_in_every_profile_with_its_exit_code(rig, profile):
    outcome = await rig.run(rig.script("echo out; echo err >&2; exit 7", profile))
    assert (outcome.status, outcome.exit_code) == ("failed", 7)
    assert (outcome.stdout.head, outcome.stderr.head) == (b"out\n", b"err\n")
    assert outcome.enforcement.profile == profile


async def test_input_is_given_and_else_it_is_empty(rig):
    assert (await rig.run(rig.vector("/bin/cat"))).stdout.total_bytes == 0
    given = replace(rig.vector("/bin/cat"), stdin=b"given")
    assert (await rig.run(given)).stdout.head == b"given"


async def test_a_signal_is_told_from_an_exit(rig):
    outcome = await rig.run(rig.script("kill -TERM $$"))
    assert (outcome.status, outcome.signal, outcome.exit_code) == ("killed", signal.SIGTERM, None)


async def test_what_was_used_is_measured(rig):
    busy = rig.vector(HOST.interpreter, "-c", "x = bytearray(30_000_000); sum(range(3_000_000))")
    outcome = await rig.run(busy)
    assert outcome.status == "ok", outcome.message
    assert outcome.cpu_user_ms > 10
    assert outcome.peak_memory_bytes > 30_000_000


async def test_many_commands_run_beside_each_other(rig):
    outcomes = []

    async def one(number: int) -> None:
        outcomes.append((await rig.run(rig.vector("/bin/echo", str(number)))).stdout.head)

    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(one, number)
    assert sorted(map(int, outcomes)) == list(range(12))


# Only with a permit


@pytest.mark.threat("T05")
async def test_a_permit_of_another_office_runs_nothing(rig, tmp_path):
    (tmp_path / "other").mkdir()
    stranger = Rig(tmp_path / "other")
    command = rig.script("touch ran", "live")
    with pytest.raises(PermitError):
        await rig.runner.run(stranger.permit(command))
    assert list(rig.workspace.iterdir()) == []


@pytest.mark.threat("T06")
async def test_a_permit_runs_once(rig):
    permit = rig.permit(rig.script("echo x >> ran", "live"))
    await rig.runner.run(permit)
    with pytest.raises(PermitError):
        await rig.runner.run(permit)
    assert (rig.workspace / "ran").read_text() == "x\n"


@pytest.mark.threat("T06")
async def test_a_pinned_file_that_changed_or_went_runs_nothing(rig):
    tool = rig.workspace / "tool.sh"
    tool.write_text("echo good")
    pin = Pin(str(tool), hashlib.sha256(b"echo good").hexdigest())
    command = replace(rig.vector("/bin/sh", str(tool)), pins=(pin,))
    assert (await rig.run(command)).stdout.head == b"good\n"
    tool.write_text("echo evil")
    with pytest.raises(PermitError, match="approval_mismatch"):
        await rig.run(command)
    tool.unlink()
    with pytest.raises(PermitError, match="approval_mismatch"):
        await rig.run(command)


@pytest.mark.threat("T06")
async def test_a_script_is_not_given_what_steers_its_shell(rig):
    (rig.workspace / "evil").write_text("echo evil")
    command = replace(rig.script("echo good"), env=(("BASH_ENV", f"{rig.workspace}/evil"),))
    outcome = await rig.run(command)
    assert (outcome.status, outcome.stdout.total_bytes) == ("error", 0)
    assert "BASH_ENV" in outcome.message
    granted = replace(rig.script('echo "$COLOUR"'), env=(("COLOUR", "red"),))
    assert (await rig.run(granted)).stdout.head == b"red\n"


@pytest.mark.threat("T06")
@pytest.mark.parametrize(
    "host",
    [HOST, replace(HOST, landlock_abi=0), replace(HOST, landlock_abi=0, can_cell=False)],
    ids=["as it is", "no Landlock", "no cell"],
)
async def test_a_command_cannot_report_its_own_end(tmp_path, host):
    rig = Rig(tmp_path, host=host)
    forge = "for f in /proc/1/fd/*; do printf 'X0 0 0 0' > $f; done 2>/dev/null; exit 7"
    outcome = await rig.run(rig.script(f"readlink /proc/1/fd/*; {forge}", "live"))
    assert (outcome.status, outcome.exit_code, outcome.stdout.head) == ("failed", 7, b"")


# Fail closed


@pytest.mark.threat("T25")
@pytest.mark.parametrize("profile", PROFILES)
async def test_a_host_that_cannot_confine_runs_nothing(tmp_path, profile):
    rig = Rig(tmp_path, host=replace(HOST, rung="none"))
    outcome = await rig.run(rig.script("touch ran", profile))
    assert outcome.status == "error"
    assert "Nothing ran" in outcome.message


@pytest.mark.threat("T25")
async def test_a_set_up_that_fails_runs_nothing(tmp_path):
    rig = Rig(tmp_path, host=replace(HOST, bwrap="/bin/false"))
    outcome = await rig.run(rig.script("touch ran", "live"))
    assert (outcome.status, outcome.exit_code) == ("error", None)
    assert outcome.message.endswith("Nothing ran.")
    assert list(rig.workspace.iterdir()) == []
    gone = Rig(tmp_path / "outside", host=replace(HOST, bwrap="/does/not/exist"))
    assert (await gone.run(gone.script("true"))).status == "error"


@pytest.mark.threat("T25")
async def test_inspect_without_landlock_is_refused(tmp_path):
    rig = Rig(tmp_path, host=replace(HOST, landlock_abi=0))
    assert (await rig.run(rig.script("true", "inspect"))).status == "error"
    assert (await rig.run(rig.script("true", "read"))).status == "ok"


@pytest.mark.threat("T10")
async def test_when_not_every_denied_file_can_be_found_nothing_runs(rig, monkeypatch):
    monkeypatch.setattr(rig.runner._walker, "_max_entries", 3)
    outcome = await rig.run(rig.script("true"))
    assert outcome.status == "error"
    assert "too many files" in outcome.message


async def test_a_program_that_is_not_there_is_an_error_that_says_so(rig):
    outcome = await rig.run(rig.vector("/does/not/exist"))
    assert outcome.status == "error"
    assert "No such file" in outcome.message


async def test_a_working_directory_out_of_sight_is_an_error(rig):
    outcome = await rig.run(replace(rig.script("true"), cwd=str(rig.outside)))
    assert (outcome.status, "not visible" in outcome.message) == ("error", True)


@pytest.mark.parametrize("profile", ["read", "write", "live", "unconfined"])
@pytest.mark.parametrize("where", ["/", "/nowhere", "/etc/passwd"])
async def test_a_workspace_that_cannot_be_shown_is_named(rig, where, profile):
    command = rig.script("true", profile)
    command = replace(command, cwd="/", profile=replace(command.profile, workspace=where))
    outcome = await rig.run(command)
    assert (outcome.status, outcome.exit_code) == ("error", None)
    assert f"the workspace {where} is not a directory that can be shown" in outcome.message


@pytest.mark.parametrize("name", ["X", "X0 0.0 0.0 9", "F", "R"])
async def test_what_went_wrong_is_told_whatever_letters_are_in_it(rig, name):
    outcome = await rig.run(replace(rig.script("true"), cwd=f"{rig.workspace}/{name}"))
    assert (outcome.status, outcome.exit_code) == ("error", None)
    assert "No such file or directory" in outcome.message
    assert name in outcome.message


# Files


@pytest.mark.threat("T09")
async def test_a_refusal_by_the_profile_is_reported_as_blocked(rig):
    outcome = await rig.run(rig.script("touch new"))
    assert (outcome.status, "hint" in outcome.message) == ("blocked", True)


@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", PROFILES)
async def test_denied_files_look_empty_however_they_are_read(rig, profile):
    rig.denied |= {".env", "private"}
    deep = rig.workspace / "deep" / "er"
    deep.mkdir(parents=True)
    (deep / ".env").write_text("canary")
    (deep / "private").mkdir()
    (deep / "private" / "key").write_text("canary")
    (rig.workspace / "seen").write_text("visible")
    said = await rig.says(
        "grep -r canary . ; cat deep/er/.[e]nv; tar cf - . | grep -a canary; "
        "ls deep/er/private; cat seen",
        profile,
    )
    assert said == "visible"


@pytest.mark.threat("T10")
async def test_denied_files_that_a_read_passes_by_are_said(rig):
    rig.denied |= {".env"}
    deep = rig.workspace / "a" / "b"
    deep.mkdir(parents=True)
    (deep / ".env").write_text("canary")
    ws = str(rig.workspace)
    command = rig.script("grep -r canary a", "read")
    passing = replace(command.profile, reads=(f"{ws}/a",))
    assert (await rig.run(replace(command, profile=passing))).hidden == (f"{ws}/a/b/.env",)
    elsewhere = replace(command.profile, reads=(f"{ws}/c",))
    assert (await rig.run(replace(command, profile=elsewhere))).hidden == ()


async def test_permitted_paths_elsewhere_are_shown_as_permitted(rig):
    for name in ("readable", "writable", "unnamed"):
        (rig.outside / name).write_text(name)
    (rig.outside / "listed").mkdir()
    (rig.outside / "listed" / "content").write_text("content")
    o = str(rig.outside)
    command = rig.script(
        f"cat {o}/readable; echo more >> {o}/writable; ls {o}/listed; cat {o}/listed/content; "
        f"cat {o}/unnamed; echo no >> {o}/readable",
        "live",
    )
    profile = Profile(
        "live", str(rig.workspace), (f"{o}/readable", f"{o}/absent"), (f"{o}/writable",),
        (f"{o}/listed",), ("/home",), (f"{o}/readable", f"{o}/absent"),
    )  # fmt: skip
    outcome = await rig.run(replace(command, profile=profile))
    assert outcome.stdout.head.decode() == "readable"
    assert (rig.outside / "writable").read_text() == "writablemore\n"
    assert (rig.outside / "readable").read_text() == "readable"
    assert outcome.hidden == ("/home", f"{o}/listed")


async def test_a_permitted_write_elsewhere_needs_the_path_to_exist(rig):
    path = str(rig.outside / "new")
    profile = Profile("live", str(rig.workspace), write_paths=(path,))
    outcome = await rig.run(replace(rig.script("true", "live"), profile=profile))
    assert (outcome.status, path in outcome.message) == ("error", True)


# Ends


async def test_a_busy_server_with_many_open_files_still_ends_what_takes_too_long(fresh):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(2_000, hard)), hard))
    with ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1_100):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        outcome = await fresh.run(replace(fresh.script("sleep 30"), limits=Limits(wall_s=0.2)))
    assert outcome.status == "timeout"


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", [*PROFILES, "unconfined"])
async def test_a_time_out_kills_the_whole_tree_and_keeps_what_was_said(rig, profile):
    marker = f"31{rig.base.stat().st_ino}"
    command = rig.script(f"echo said; setsid sleep {marker} & sleep {marker}", profile)
    assert (await rig.run(rig.script("true", profile))).status == "ok"  # the canary has run
    began = time.monotonic()
    outcome = await rig.run(replace(command, limits=Limits(wall_s=0.4)))
    assert time.monotonic() - began < 4  # the sleep would take far longer
    assert (outcome.status, outcome.stdout.head) == ("timeout", b"said\n")
    assert alive(marker) == []


@pytest.mark.threat("T14")
@pytest.mark.parametrize(
    ("delay", "script", "expected"),
    [
        ("1.5", "echo said", ("ok", b"said\n", "")),
        ("1.5", "echo said; sleep 30", ("timeout", b"said\n", "longer than 1 s")),
        ("30", "echo said", ("error", b"", "did not stand after 2 s. The command did not run")),
    ],
)
async def test_a_commands_time_begins_when_its_sandbox_stands(
    tmp_path, monkeypatch, delay, script, expected
):
    wrapper = tmp_path / "bwrap"
    wrapper.write_text(
        f'#!/bin/sh\n[ ! -e {tmp_path}/slow ] || sleep {delay}\nexec {HOST.bwrap} "$@"\n'
    )
    wrapper.chmod(0o755)
    rig = Rig(tmp_path, replace(HOST, bwrap=str(wrapper)))
    assert (await rig.run(rig.script("true", "inspect"))).status == "ok"  # the canary has run
    (tmp_path / "slow").touch()
    monkeypatch.setattr("sandbox.supervise.SETUP_S", 2.0)
    monkeypatch.setattr("sandbox.run.SETUP_S", 2.0)
    command = rig.script(script, "inspect")
    outcome = await rig.run(replace(command, limits=Limits(wall_s=1.0)))
    assert (outcome.status, outcome.stdout.head) == expected[:2]
    assert expected[2] in outcome.message


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", [*PROFILES, "unconfined"])
async def test_a_daemon_neither_outlives_nor_delays_its_command(rig, profile):
    marker = f"32{rig.base.stat().st_ino}"
    began = time.monotonic()
    outcome = await rig.run(rig.script(f"setsid sleep {marker} & echo done", profile))
    assert time.monotonic() - began < 4  # the sleep would take far longer
    assert (outcome.status, outcome.stdout.head) == ("ok", b"done\n")
    assert alive(marker) == []


@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", ["live", "unconfined"])
async def test_cancellation_kills_the_whole_tree(rig, profile):
    marker = f"33{rig.base.stat().st_ino}"
    assert (await rig.run(rig.script("true", profile))).status == "ok"  # the canary has run
    outcome = None
    with anyio.move_on_after(0.4):
        outcome = await rig.run(rig.script(f"setsid sleep {marker} & sleep {marker}", profile))
    assert outcome is not None
    assert outcome.status == "killed"
    assert alive(marker) == []


SERVER = """
import sys, anyio
from pathlib import Path
from tests.sandbox.rig import Rig
rig = Rig(Path(sys.argv[1]))
async def main():
    async with anyio.create_task_group() as group:
        for marker, profile in zip(sys.argv[2::2], sys.argv[3::2]):
            text = f"setsid sleep {marker} & sleep {marker}"
            group.start_soon(rig.run, rig.script(text, profile))
anyio.run(main)
"""


@pytest.mark.threat("T14")
def test_the_death_of_the_server_kills_the_whole_tree_of_every_command(tmp_path):
    profiles = {
        f"34{n}{tmp_path.stat().st_ino}": p for n, p in enumerate([*PROFILES, "unconfined"])
    }
    words = [word for pair in profiles.items() for word in pair]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path), *words], cwd=Path(__file__).parents[2]
    )

    def left() -> dict[str, int]:
        return {profile: len(alive(f"sleep\0{marker}")) for marker, profile in profiles.items()}

    try:
        until = time.monotonic() + 10
        while set(left().values()) != {2} and time.monotonic() < until:
            time.sleep(0.02)
        assert set(left().values()) == {2}, left()
    finally:
        server.kill()
        server.wait()
    until = time.monotonic() + 1
    while any(left().values()) and time.monotonic() < until:
        time.sleep(0.02)
    assert set(left().values()) == {0}, left()


@pytest.mark.threat("T14")
async def test_a_flood_of_output_is_bounded_counted_and_hashed(rig):
    command = rig.script("head -c 30000000 /dev/zero; echo end")
    outcome = await rig.run(replace(command, limits=Limits(wall_s=20.0, output_bytes=1000)))
    assert outcome.stdout.total_bytes == 30_000_004
    assert outcome.stdout.sha256 == hashlib.sha256(bytes(30_000_000) + b"end\n").hexdigest()
    assert len(outcome.stdout.head) + len(outcome.stdout.tail) == 1000
    assert outcome.stdout.tail.endswith(b"end\n")


@pytest.mark.threat("T14")
async def test_a_tree_that_takes_too_much_memory_is_killed(rig):
    hogs = f"{HOST.interpreter} -c 'import time; x = b\"1\" * 60_000_000; time.sleep(9)' & "
    command = rig.script(hogs * 3 + "wait")
    limits = Limits(wall_s=10.0, memory_bytes=100_000_000)
    outcome = await rig.run(replace(command, limits=limits))
    assert (outcome.status, "memory" in outcome.message) == ("killed", True)
    assert outcome.peak_memory_bytes >= 100_000_000


@pytest.mark.threat("T14")
async def test_a_fork_bomb_ends(fresh):
    command = fresh.script(":(){ :|:& }; :; sleep 9")
    outcome = await fresh.run(replace(command, limits=Limits(wall_s=2.0, processes=64)))
    assert outcome.status in ("killed", "timeout", "ok", "failed")
    assert outcome.duration_ms < 5000


# Git and what makes other tools run code


def repository(rig: Rig) -> None:
    subprocess.run(["git", "init", "-q", "."], cwd=rig.workspace, check=True)
    for key, value in (("user.name", "A"), ("user.email", "a@b")):
        subprocess.run(["git", "config", key, value], cwd=rig.workspace, check=True)


async def test_git_adds_and_commits_in_live(rig):
    repository(rig)
    outcome = await rig.run(
        rig.script("echo x > f && git add f && git commit -qm m && git log --oneline", "live")
    )
    assert (outcome.status, outcome.stderr.head) == ("ok", b"")
    assert outcome.stdout.head.endswith(b" m\n")
    assert outcome.message == ""


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    "attempt",
    [
        "echo evil > .git/hooks/pre-commit",
        "echo evil >> .bashrc; echo evil >> .git/config",
        "git config core.fsmonitor evil",
        "mv .git .git2; mkdir -p .git/hooks; echo evil > .git/hooks/pre-commit",
        "mkdir .vscode; echo evil > .vscode/tasks.json",
        "echo evil > .envrc",
        "echo evil > n; mv -f n .bashrc",
        "rm -rf .git; git init -q .; echo evil > .git/hooks/pre-commit",
        "git init -q nested; echo evil > nested/.git/hooks/pre-commit",
        "rm -f .idea; mkdir .idea; echo evil > .idea/x",
        "git worktree add -q ../x 2>&1; echo evil > .permitgate.yaml",
    ],
)
async def test_live_leaves_nothing_that_makes_other_tools_run_code(rig, attempt):
    repository(rig)
    (rig.workspace / ".bashrc").write_text("mine")
    (rig.workspace / "real").mkdir()
    (rig.workspace / ".idea").symlink_to("real")
    assert (await rig.run(rig.script(attempt, "live"))).status != "error"  # it ran
    files = [path for path in rig.workspace.rglob("*") if path.is_file()]
    evil = [path.name for path in files if b"evil" in path.read_bytes()]
    assert evil in ([], ["n"])


@pytest.mark.threat("T09")
async def test_a_directory_may_be_moved_with_the_protected_names_in_it(rig):
    (rig.workspace / "sub" / ".vscode").mkdir(parents=True)
    outcome = await rig.run(rig.script("mv sub sub2", "live"))
    assert (outcome.status, outcome.message) == ("ok", "")
    assert (rig.workspace / "sub2" / ".vscode").is_dir()


@pytest.mark.threat("T09")
async def test_what_was_held_back_is_said_and_kept(rig):
    outcome = await rig.run(rig.script("echo mine > .envrc", "live"))
    assert ".envrc" in outcome.message
    held = list((rig.state / "held").rglob(".envrc"))
    assert [path.read_text() for path in held] == ["mine\n"]


@pytest.mark.threat("T09")
async def test_a_new_git_directory_is_held_back_as_one(rig):
    outcome = await rig.run(rig.script("git init -q sub", "live"))
    assert outcome.message.count(f"{rig.workspace}/") == 1
    assert not (rig.workspace / "sub" / ".git").exists()


@pytest.mark.threat("T09")
async def test_git_itself_may_place_protected_names_when_nothing_else_runs(rig):
    profile = Profile("live", str(rig.workspace), git_places_files=True)
    command = replace(rig.script("git init -q sub", "live"), profile=profile)
    assert (await rig.run(command)).message == ""
    assert (rig.workspace / "sub" / ".git" / "config").exists()


@pytest.mark.threat("T09")
async def test_what_a_cancelled_command_planted_is_held_back_too(rig):
    with anyio.move_on_after(0.5):
        await rig.run(rig.script("echo evil > .envrc; sleep 9", "live"))
    assert list(rig.workspace.iterdir()) == []


@pytest.mark.threat("T14")
@pytest.mark.root_only
async def test_processes_are_bounded_for_root_too_and_no_group_is_left(rig):
    if not HOST.cgroups:  # then the count is only sampled, and the host's facts say so
        assert {c.name: c.seen for c in HOST.controls}["process count"] == "partial"
        return
    limits = Limits(wall_s=1.0, processes=30)
    outcome = await rig.run(replace(rig.script(MANY), limits=limits))
    assert b"fork" in outcome.stderr.head or "30 processes" in outcome.message
    rig.runner.close()
    assert await eventually(lambda: not groups())


@pytest.mark.threat("T14")
async def test_processes_are_counted_where_no_group_can_be_made(tmp_path):
    rig = Rig(tmp_path, host=replace(HOST, cgroups=()))
    limits = Limits(wall_s=1.5, processes=30)
    outcome = await rig.run(replace(rig.script(MANY), limits=limits))
    assert outcome.status in ("killed", "timeout")
    assert os.getuid() != 0 or "processes" in outcome.message

"""What one command of a session could leave for the next, take from another, or do to its cell."""

import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox.action import Limits, digest
from sandbox.outcome import CommandOutcome
from tests.sandbox.escapes.scene import make_workspace
from tests.sandbox.rig import HOST, Rig

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
LIMITS = Limits(wall_s=10.0, tmp_bytes=10 << 20)
TRACES = """
umask; ulimit -n; pwd; nice; set -- /proc/[0-9]*; [ $# -lt 5 ] && echo alone
ls -A /dev/shm /var/tmp /run; wc -l < /proc/sysvipc/shm; wc -l < /proc/sysvipc/sem
grep -c leak /proc/net/unix; env | sort; readlink /proc/self/fd/[012] | grep -v pipe
hostname; cat /proc/self/cgroup | wc -l
"""
LEAVES = """
umask 0; ulimit -n 33; renice 5 $$; export LEAK=1; cd /
(setsid sleep 31 > /dev/null 2>&1 < /dev/null &)
for d in /dev/shm /var/tmp /run; do echo leak > $d/leak; done
python3 -c '
import ctypes, os, socket, time
libc = ctypes.CDLL(None); libc.shmget(7, 4096, 0o1600); libc.semget(7, 1, 0o1600)
s = socket.socket(1); s.bind("\\0leak"); s.listen()
if os.fork() == 0: time.sleep(31)'
"""
SWAPS = """
import ctypes, time
libc = ctypes.CDLL(None); end = time.monotonic() + 1.5
while time.monotonic() < end:
    for _ in range(50): libc.renameat2(-100, b"nested", -100, b"decoy", 2)
"""

# One hands what it has open in its copy of the workspace to another, which waits for its end.
TAKES = """
import os, socket, time
s = socket.socket(1); s.bind("/tmp/hand"); s.listen(); c, _ = s.accept()
_, (kept, made), _, _ = socket.recv_fds(c, 1, 2); c.send(b"x")
while not os.path.exists("/tmp/go"): time.sleep(0.01)
os.pwrite(kept, b"evil", 0); print("wrote", flush=True)
os.open("evil", os.O_CREAT | os.O_WRONLY, dir_fd=made)
"""
HANDS = """
import os, socket
os.makedirs("made/inner"); kept = os.open("kept", os.O_CREAT | os.O_RDWR); os.write(kept, b"good")
s = socket.socket(1); s.connect("/tmp/hand")
socket.send_fds(s, [b"x"], [kept, os.open("made", os.O_RDONLY)]); s.recv(1)
"""


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path, denied={".env"})
    yield rig
    rig.runner.close()


async def run(rig: Rig, text: str, profile: str = "write", session: str = "") -> CommandOutcome:
    command = replace(rig.script(text, profile), limits=LIMITS)
    issued = rig.office.issue(
        command, approved_digest=digest(command), approval_id=None, session=session
    )
    return await rig.runner.run(issued)


def seats() -> list[int]:
    """Return every process that serves a cell of this test's process."""
    found, waiting = [], [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError):  # it may have ended since
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += [int(child) for child in children.read_text().split()]
            if b"seat.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["read", "write"])
async def test_the_next_command_finds_nothing_but_the_files_of_tmp_and_home(rig, profile):
    before = await run(rig, TRACES, profile)
    assert (await run(rig, LEAVES, profile)).status != "error"
    after = await run(rig, TRACES, profile)
    assert before.status == "ok", before
    assert after.stdout.head == before.stdout.head


@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["read", "write"])
async def test_one_session_does_not_see_anothers_files(rig, profile):
    leave = "echo canary | tee /tmp/left $HOME/left"
    look = "grep -s canary /tmp/left $HOME/left | wc -l"
    await run(rig, leave, profile, "one")
    assert (await run(rig, look, profile, "one")).stdout.head == b"2\n"
    assert (await run(rig, look, profile, "two")).stdout.head == b"0\n"


@pytest.mark.threat("T13")
@pytest.mark.parametrize("profile", ["read", "write", "live"])
async def test_a_cell_whose_directories_a_command_shut_is_replaced(rig, profile):
    (rig.workspace / "a").write_text("1")
    above = " ".join(map(str, rig.workspace.parents))
    await run(rig, f"chmod 0 $HOME /tmp /var/tmp /dev/shm {above}", profile)
    for _ in range(2):
        after = await run(rig, "cat a && touch /tmp/b $HOME/b", profile)
        assert (after.status, after.stdout.head) == ("ok", b"1"), after


@pytest.mark.threat("T27")
async def test_what_landed_is_nobodys_to_change_who_was_handed_it_before(rig):
    async with anyio.create_task_group() as tasks:
        said = []

        async def take() -> None:
            said.append(await run(rig, f"exec python3 -c '{TAKES}'"))

        tasks.start_soon(take)
        until = "while [ ! -S /tmp/hand ]; do sleep 0.01; done"
        handed = await run(rig, f"{until}; exec python3 -c '{HANDS}'")
        assert handed.effects.created == ("kept", "made", "made/inner"), handed
        await run(rig, "touch /tmp/go")
    assert said[0].stdout.head == b"wrote\n", said[0]
    assert (rig.workspace / "kept").read_text() == "good"
    assert [one.name for one in (rig.workspace / "made").iterdir()] == ["inner"]


@pytest.mark.threat("T02")
async def test_what_reading_left_in_a_home_does_not_steer_what_writes(rig):
    await run(rig, "echo 'touch steered' | tee $HOME/.bashrc $HOME/.profile", "read")
    assert (await run(rig, "cat $HOME/.bashrc", "write")).stdout.head == b""


@pytest.mark.threat("T10")
async def test_a_newline_in_a_name_uncovers_nothing(rig):
    odd = rig.workspace / "x\ny"
    odd.mkdir()
    (odd / ".env").write_text("canary")
    (rig.workspace / "x").touch()
    for profile in ("read", "write"):
        outcome = await run(rig, "cat x?y/.env", profile)
        assert b"canary" not in outcome.stdout.head


@pytest.mark.threat("T09")
async def test_no_guard_is_missed_while_directories_are_exchanged(rig):
    make_workspace(rig.workspace)
    make_workspace(rig.base / "other")
    (rig.base / "other" / "nested").rename(rig.workspace / "decoy")
    names = ("nested/.git/config", "nested/.vscode/settings.json")
    names += ("decoy/.git/config", "decoy/.vscode/settings.json")
    write = f"cd {rig.workspace}; for f in {' '.join(names)}; do echo evil >> $f; done"

    async def attack() -> None:
        for _ in range(8):
            await run(rig, write)

    async with anyio.create_task_group() as group:
        group.start_soon(run, rig, f"cd {rig.workspace}; python3 -c '{SWAPS}'")
        group.start_soon(attack)
    for name in names:
        assert "evil" not in (rig.workspace / name).read_text(), name


@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", ["read", "write"])
async def test_a_link_at_a_mount_point_leads_nowhere_else(rig, profile, tmp_path_factory):
    shown = tmp_path_factory.mktemp("shown") / "data"
    shown.mkdir()
    (shown / "file").write_text("shown")

    async def asks(text: str) -> CommandOutcome:
        command = replace(rig.script(text, profile), limits=LIMITS)
        profile_ = replace(command.profile, read_roots=(str(shown),))
        return await rig.run(replace(command, profile=profile_))

    first = await asks(f"cat {shown}/file")
    assert first.stdout.head == b"shown", first
    top = "/".join(str(shown).split("/")[:3])
    await run(rig, f"rm -rf {top} {top}.x; mv {top} {top}.x; ln -s /etc {top}", profile)
    after = await asks(f"cat {shown}/file {shown}/passwd")
    assert after.stdout.head in (b"", b"shown"), after


@pytest.mark.threat("T14")
@pytest.mark.parametrize("fill", ["head -c 20000000 /dev/zero >", "python3 -c '{names}' #"])
async def test_a_full_tmp_or_home_does_not_stop_the_next_command(rig, fill):
    names = 'import os, sys\ntry:\n    for i in range(9000): os.mkdir(f"{sys.argv[1]}{i}")\n'
    names += "except OSError: pass"
    for place in ("/tmp/full", "$HOME/full"):
        await run(rig, f"{fill.replace('{names}', names)} {place}")
    outcome = await run(rig, "echo x > /tmp/next && cat /tmp/next; ls > $HOME/next && echo y")
    assert outcome.stdout.head == b"x\ny\n", outcome


@pytest.mark.threat("T14")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_cell_that_was_ended_from_outside_is_replaced(rig, number):
    assert (await run(rig, "echo one")).stdout.head == b"one\n"
    for pid in seats():
        with suppress(OSError):  # process 1 took the others with it
            os.kill(pid, number)
    with anyio.move_on_after(1.0):  # what hit the cell while a command runs is told, not mended
        while seats():  # noqa: ASYNC110  # the kernel sets no event
            await anyio.sleep(0.01)
    outcome = await run(rig, "echo two")
    assert outcome.stdout.head == b"two\n", (outcome.status, outcome.message)

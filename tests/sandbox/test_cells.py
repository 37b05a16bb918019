import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from sandbox.action import Limits, digest
from sandbox.cell import Seat
from sandbox.limits import children_of
from sandbox.outcome import CommandOutcome
from sandbox.profile import Profile
from sandbox.start import Starter
from tests.sandbox.rig import HOST, Rig, limited

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.can_cell, reason="no namespaces can be made inside bubblewrap"),
]


@pytest.fixture
def rig(tmp_path):
    rig = Rig(tmp_path, denied={".env"})
    (rig.workspace / ".env").write_text("secret")
    yield rig
    rig.runner.close()


async def ran(rig: Rig, command, session: str = "a") -> CommandOutcome:
    permit = rig.office.issue(
        command, approved_digest=digest(command), approval_id=None, session=session
    )
    return await rig.runner.run(permit)


async def says(rig: Rig, text: str, profile="read", session: str = "a") -> str:
    outcome = await ran(rig, rig.script(text, profile), session)
    assert outcome.status in ("ok", "failed", "blocked"), outcome.message
    return outcome.stdout.head.decode()


def cells() -> list[int]:
    """Return the first processes of this process's cells."""
    inside = [pid for child in children_of(os.getpid()) for pid in children_of(child)]
    return [pid for pid in inside if b"seat.py" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def killed(processes: list[int], number: int = signal.SIGKILL) -> None:
    """Kill processes, and return once they are dead, if they die of it."""
    for pid in processes:
        os.kill(pid, number)
    with anyio.move_on_after(0.5):  # process 1 of a namespace is deaf to what it can ignore
        while not all(map(is_dead, processes)):  # noqa: ASYNC110  # the kernel sets no event
            await anyio.sleep(0.01)


def names() -> set[str]:
    """Return the names of all processes, also of those that are about to be gone."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(OSError):
            found.add(path.read_text().strip())
    return found


def permitted(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1], 16) for line in lines if line.startswith("CapPrm"))


def is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


# What stays


async def test_tmp_and_home_stay_for_the_session_and_nothing_else_does(rig):
    places = ("/tmp/kept", "~/kept", "/dev/shm/gone", "/var/tmp/gone", "/run/gone")
    for place in places:
        await says(rig, f"echo there > {place}", "live")
    left = await says(rig, f"cat {' '.join(places)}", "live")
    assert left == "there\nthere\n"


@pytest.mark.threat("T09")
async def test_another_session_has_another_tmp(rig):
    await says(rig, "echo mine > /tmp/x", "live")
    assert await says(rig, "ls /tmp/x", "live", session="b") == ""


@pytest.mark.threat("T09")
async def test_what_only_reads_leaves_nothing_that_steers_what_writes(rig):
    await says(rig, "echo planted > ~/.gitconfig; echo planted > /tmp/x", "read")
    assert await says(rig, "cat ~/.gitconfig /tmp/x", "live") == ""


@pytest.mark.threat("T09")
async def test_a_reader_that_names_tmp_looks_at_what_was_written_there(rig):
    await says(rig, "echo written > /tmp/x; echo home > ~/y", "live")
    looking = Profile("read", str(rig.workspace), sees_session=True)
    command = rig.script(
        "cat /tmp/x; echo no > /tmp/x; echo no > ~/y; mktemp > /dev/null && echo ok"
    )
    outcome = await ran(rig, replace(command, profile=looking))
    assert outcome.stdout.head == b"written\nok\n"
    assert await says(rig, "cat /tmp/x ~/y", "live") == "written\nhome\n"


@pytest.mark.threat("T14")
async def test_no_process_of_a_command_is_there_for_the_next(rig):
    assert await says(rig, "setsid sleep 77 & disown; echo started", "live") == "started\n"
    assert await says(rig, "ps -eo args= | grep -c '[s]leep 77'", "live") == "0\n"


@pytest.mark.threat("T14")
async def test_all_that_a_command_started_is_dead_when_its_end_is_said(tmp_path):
    rig = Rig(tmp_path, host=replace(HOST, cgroups=()))  # a group would end it all once more
    large = "import time; x = b'x' * (60 << 20); time.sleep(78)"  # it takes a while to be gone
    start = f'setsid /tmp/lingers -ISc "{large}" >&/dev/null &'
    for _ in range(4):
        text = f"ln -sf {HOST.interpreter} /tmp/lingers; for n in 1 2 3; do {start} done; sleep 0.4"
        assert await says(rig, text) == ""
        assert "lingers" not in names()
    rig.runner.close()


@pytest.mark.threat("T12")
async def test_a_command_has_no_capability_and_cannot_gain_one(rig):
    for profile in ("read", "live"):
        text = await says(rig, "grep -h ^Cap /proc/self/status", profile)
        assert {line.split()[1] for line in text.splitlines()} == {"0" * 16}


@pytest.mark.threat("T12")
async def test_whoever_watches_a_command_keeps_nothing_it_does_not_need(rig):
    text = "while grep -q '^CapEff.*[1-9a-f]' /proc/1/status; do :; done; echo none"
    assert await says(rig, text) == "none\n"
    # DAC_OVERRIDE, SETPCAP, SYS_ADMIN; NET_BIND_SERVICE, NET_ADMIN, NET_RAW.
    needed = 1 << 1 | 1 << 8 | 1 << 21 | 1 << 10 | 1 << 12 | 1 << 13
    assert {permitted(pid) for pid in cells()} == {needed}


@pytest.mark.threat("T10")
async def test_the_host_behind_the_view_cannot_be_reached(rig):
    (rig.outside / "secret").write_text("secret")
    for way in ("/run/permitgate/host", "/proc/1/root/run/permitgate/host", "/proc/1/cwd"):
        assert await says(rig, f"cat {way}{rig.outside}/secret; ls {way}") == ""


# What is shown is what is there now


@pytest.mark.threat("T10")
async def test_a_denied_file_that_was_replaced_is_covered_again(rig):
    assert await says(rig, "cat .env") == ""
    (rig.workspace / "new").write_text("newer secret")
    (rig.workspace / "new").rename(rig.workspace / ".env")
    assert await says(rig, "cat .env") == ""
    (rig.workspace / "sub").mkdir()
    (rig.workspace / "sub" / ".env").write_text("secret")
    assert await says(rig, "cat sub/.env; cat .env") == ""


@pytest.mark.root_only
@pytest.mark.parametrize("parent", ["/srv", "/opt", "/"])
@pytest.mark.parametrize("profile", ["read", "write", "live"])
async def test_a_workspace_may_lie_where_nothing_else_is_shown(parent, profile):
    # Below /tmp and the home the cell's own rules reach; here those of the workspace alone do.
    with TemporaryDirectory(dir=parent, prefix="permitgate-test-") as base:
        rig = Rig(Path(base))
        (rig.workspace / "a").write_text("1")
        assert await says(rig, "cat a; mkdir -p d; echo 2 > d/b; cat d/b", profile) == (
            "1" if profile == "read" else "12\n"
        )
        assert (rig.workspace / "d/b").exists() == (profile != "read")
        rig.runner.close()


@pytest.mark.threat("T10")
@pytest.mark.root_only
async def test_a_cover_of_the_system_that_fell_off_is_made_again(tmp_path):
    secret = tmp_path / "system-secret"
    secret.write_text("secret")
    # A directory of the test's own stands for /etc, so that nothing of the host is replaced.
    system = replace(
        HOST.system,
        directories=(*HOST.system.directories, str(tmp_path / "etc")),
        secret_files=(*HOST.system.secret_files, str(tmp_path / "etc" / "shadow")),
    )
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "shadow").write_text("secret")
    rig = Rig(tmp_path, host=replace(HOST, system=system))
    read = f"cat {tmp_path}/etc/shadow"
    assert await says(rig, read) == ""  # its spare seats have covered the file by now
    secret.rename(tmp_path / "etc" / "shadow")
    assert [await says(rig, read) for _ in range(3)] == [""] * 3
    rig.runner.close()


async def test_a_workspace_that_was_replaced_is_the_new_one(rig):
    assert await says(rig, "ls") == ""
    rig.workspace.rename(rig.base / "old")
    rig.workspace.mkdir()
    (rig.workspace / "new").touch()
    assert await says(rig, "ls") == "new\n"


@pytest.mark.threat("T09")
async def test_a_link_planted_where_a_root_is_shown_leads_nowhere(rig):
    target = f"{HOST.home}/shown"
    await says(rig, f"ln -s /etc {target}; ls -d {target}", "live")
    elsewhere = rig.outside / "data"
    elsewhere.mkdir()
    profile = Profile("live", str(rig.workspace), read_roots=(str(elsewhere),))
    assert (await ran(rig, replace(rig.script("ls /etc/passwd"), profile=profile))).status == "ok"


@pytest.mark.threat("T09")
@pytest.mark.threat("T10")
async def test_directories_that_change_places_meanwhile_uncover_nothing(rig):
    for name in ("one", "two"):
        (rig.workspace / name).mkdir()
        (rig.workspace / name / ".env").write_text("secret")
    swap = (
        "import ctypes, time; l = ctypes.CDLL(None); end = time.time() + 60\n"
        "while time.time() < end: l.renameat2(-100, b'one', -100, b'two', 2)"
    )
    swapping = rig.vector(HOST.interpreter, "-c", swap, profile="live")
    async with anyio.create_task_group() as group:
        group.start_soon(ran, rig, swapping)
        await anyio.sleep(0.5)
        for _ in range(40):
            outcome = await ran(rig, rig.script("cat one/.env two/.env; cat one/.env two/.env"))
            assert b"secret" not in outcome.stdout.head
        group.cancel_scope.cancel()


@pytest.mark.threat("T09")
@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", ["read", "write"])
@pytest.mark.parametrize("name", ["", "/.env"])
async def test_what_is_no_longer_what_was_found_is_not_shown(rig, monkeypatch, name, profile):
    assert await says(rig, "echo known", profile) == "known\n"  # from now on its copy is laid early
    found = (f"0 0 {rig.workspace}{name}",)  # the device and inode of nothing
    monkeypatch.setattr("sandbox.start._identities", lambda *_: found)
    outcome = await ran(rig, rig.script("echo ran", profile))
    assert (outcome.status, outcome.stdout.head) == ("error", b"")
    assert "kept changing" in outcome.message


@pytest.mark.threat("T27")
async def test_a_copy_that_was_laid_for_another_command_is_not_used(rig, monkeypatch, tmp_path):
    assert await says(rig, "echo known", "write") == "known\n"
    others = (tmp_path / "upper", tmp_path / "work")
    for each in others:
        each.mkdir()
    lay = Seat.lay
    monkeypatch.setattr(Seat, "lay", lambda seat, root, _: lay(seat, root, tuple(map(str, others))))
    outcome = await ran(rig, rig.script("echo mine > mine", "write"))
    assert (outcome.status, "kept changing" in outcome.message) == ("error", True)
    assert not list(others[0].iterdir())


@pytest.mark.threat("T09")
async def test_where_the_cell_is_not_the_expected_one_the_right_one_is_used(rig, monkeypatch):
    assert await says(rig, "echo mine > /tmp/x; cat /tmp/x", "write") == "mine\n"
    expected, wrong = Starter.expected, [True]

    def plan(starter, command, session):
        return expected(starter, command, "a" if wrong and wrong.pop() else session)

    monkeypatch.setattr(Starter, "expected", plan)
    assert await says(rig, "cat /tmp/x || echo nothing", "write", session="b") == "nothing\n"
    assert not wrong


@pytest.mark.threat("T10")
async def test_a_newline_in_a_name_loses_no_cover(rig):
    folder = rig.workspace / "a\nb"
    folder.mkdir()
    (folder / ".env").write_text("secret")
    (rig.workspace / "a").touch()
    for profile in ("read", "live"):
        assert await says(rig, "cat a*/.env", profile) == ""


@pytest.mark.threat("T12")
@pytest.mark.parametrize("profile", ["read", "live", "inspect"])
async def test_no_word_of_a_command_speaks_for_its_specification(rig, profile):
    words = ("/bin/grep", "Seccomp:", "/proc/self/status", "x\0" + "0\0" * 6)
    outcome = await ran(rig, rig.vector(*words, profile=profile))
    assert (outcome.status, "NUL" in outcome.message) == ("error", True)


# A cell that breaks


@pytest.mark.parametrize("profile", ["read", "write"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_cell_is_replaced_without_the_caller_noticing(rig, number, profile):
    assert await says(rig, "echo one", profile) == "one\n"
    await killed(cells(), number)
    assert await says(rig, "echo two", profile) == "two\n"


@pytest.mark.parametrize("profile", ["read", "write"])
async def test_a_killed_seat_is_replaced_too(rig, profile):
    assert await says(rig, "echo one", profile) == "one\n"
    await killed([seat for cell in cells() for seat in children_of(cell)])
    assert await says(rig, "echo two", profile) == "two\n"


@pytest.mark.parametrize("profile", ["read", "write"])
async def test_whoever_waits_for_a_command_may_be_killed_too(rig, profile):
    assert await says(rig, "echo one", profile) == "one\n"
    await anyio.sleep(0.2)  # both seats are ready again
    seats = [seat for cell in cells() for seat in children_of(cell)]
    await killed([waiting for seat in seats for waiting in children_of(seat)])
    assert await says(rig, "echo two", profile) == "two\n"


async def test_a_wedged_cell_is_replaced(rig, monkeypatch):
    monkeypatch.setattr("sandbox.cell.ANSWER_S", 0.5)
    assert await says(rig, "echo one") == "one\n"
    await anyio.sleep(0.2)  # both seats are ready again
    for pid in cells():
        os.kill(pid, signal.SIGSTOP)
    assert [await says(rig, f"echo {n}") for n in range(4)] == [f"{n}\n" for n in range(4)]


@pytest.mark.threat("T14")
async def test_a_session_whose_tmp_is_full_says_so_and_works_again(rig):
    small = Limits(wall_s=20.0, tmp_bytes=4 << 20)
    fill = limited(rig.script("head -c 8000000 /dev/zero > /tmp/full", "live"), small)
    outcome = await ran(rig, fill)
    assert "/tmp" in outcome.message
    again = limited(
        rig.script("ls /tmp; head -c 1000000 /dev/zero > /tmp/x && echo ok", "live"), small
    )
    assert (await ran(rig, again)).stdout.head.endswith(b"ok\n")


async def test_many_commands_at_once_each_get_their_own_answer(rig):
    answers = {}

    async def one(number: int) -> None:
        answers[number] = await says(rig, f"echo {number}")

    async with anyio.create_task_group() as group:
        for number in range(40):
            group.start_soon(one, number)
    assert answers == {number: f"{number}\n" for number in range(40)}

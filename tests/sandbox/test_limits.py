"""Limits: each is held, the message names it, and the next command works."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import fields, replace

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import limits as room
from sandbox.action import Limits
from sandbox.limits import met, sign_of
from sandbox.meter import Meter
from tests.sandbox.rig import HOST, Rig

pytestmark = pytest.mark.as_user
confined = pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine")
PROFILES = ["inspect", "read", "write"]
PYTHON = HOST.interpreter
BOMB = ":(){ :|:& }; :; sleep 9"


# Words


@given(st.sampled_from(sorted(room.TEXTS)), st.integers(1, 1 << 50))
def test_a_message_names_the_limit_its_value_and_what_to_do(limit, number):
    limits = Limits(*(type(field.default)(number) for field in fields(Limits)))
    said = met(limit, limits)
    assert re.search(r"timeout_s|limits\\.[a-z_]+", said.replace("limits.", "limits\\."))
    assert "{" not in said
    assert said.endswith("the operator can raise the limit in config.yaml.")
    assert re.search(r"\d", said)


def test_sizes_are_said_in_words_that_people_use():
    assert "2 GiB together (limits.memory_bytes)" in met("memory", Limits())
    assert "1.5 MiB" in met("file size", Limits(file_bytes=3 << 19))
    assert "1,000 bytes" in met("file size", Limits(file_bytes=1000))


@pytest.mark.parametrize(
    ("end", "limit"),
    [
        ((None, 25, b""), "file size"),
        ((153, None, b""), "file size"),
        ((None, 24, b""), "cpu"),
        ((1, None, b"sh: 1: Cannot fork"), "processes"),
        ((1, None, b"OSError: [Errno 24] Too many open files"), "open files"),
        ((1, None, b"cp: error writing '/tmp/x': No space left on device"), "tmp"),
        ((1, None, b"No such file or directory"), None),
        ((None, 11, b""), None),
        ((None, None, b""), None),
    ],
)
def test_how_a_command_ended_tells_the_limit_it_met(end, limit):
    assert sign_of(*end) == limit


# Sampling, where no control group holds the tree


@contextmanager
def running(code: str):
    """Run Python code that prints a line when it is where it should be."""
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        child.stdout.readline()
        yield child.pid
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.communicate()


def sampled(pid: int, limits: Limits) -> str | None:
    meter = Meter(pid, limits, (), 0)
    return next(filter(None, (meter.sample() for _ in range(room.TICKS_PER_S))), None)


WAIT = "; print(1, flush=True); import time; time.sleep(60)"


@pytest.mark.threat("T14")
@pytest.mark.parametrize(
    "hold",
    [
        "b = bytearray(60 << 20)",
        "import mmap; b = mmap.mmap(-1, 60 << 20); b.write(bytes(60 << 20))",
        "import os; f = os.memfd_create('x'); os.write(f, bytes(60 << 20))",
        "import mmap; b = mmap.mmap(-1, 40 << 30, prot=1, flags=0x4022); b[:: 2 << 20]",
        "import os; [os.fork() for _ in range(2)]; b = bytearray(18 << 20)",
    ],
    ids=["private", "shared", "an anonymous file", "page tables", "in several processes"],
)
def test_memory_of_every_kind_is_seen(hold):
    with running(hold + WAIT) as pid:
        time.sleep(0.1 if "fork" in hold else 0)
        assert sampled(pid, Limits(memory_bytes=50 << 20)) == "memory"
        assert sampled(pid, Limits(memory_bytes=150 << 20)) is None


@pytest.mark.threat("T14")
@pytest.mark.parametrize(("limit", "met"), [(100 << 20, None), (40 << 20, "memory")])
def test_memory_that_was_held_before_a_group_was_entered_counts_too(limit, met):
    with running("b = bytearray(60 << 20)" + WAIT) as pid:
        meter = Meter(pid, Limits(memory_bytes=limit), HOST.cgroups, 0)
        try:
            assert next(filter(None, (meter.sample() for _ in range(12))), None) == met
        finally:
            meter.close()


def test_memory_that_is_shared_counts_once():
    shared = "import mmap, os; b = mmap.mmap(-1, 40 << 20); b.write(bytes(40 << 20));"
    with running(f"{shared} [os.fork() for _ in range(3)]; b[::4096]{WAIT}") as pid:
        assert sampled(pid, Limits(memory_bytes=150 << 20)) is None


@pytest.mark.threat("T14")
def test_threads_count_as_processes():
    threads = "import threading, time; [threading.Thread(target=time.sleep, args=(60,), daemon=1)"
    with running(f"{threads}.start() for _ in range(40)]{WAIT}") as pid:
        assert sampled(pid, Limits(processes=30)) == "processes"
        assert sampled(pid, Limits(processes=50)) is None


@pytest.mark.threat("T14")
def test_processor_time_is_that_of_the_whole_tree_and_of_what_has_ended_in_it():
    spin = "import os, time\nwhile time.process_time() < 0.6: pass"
    code = (
        f"import subprocess, sys; [subprocess.run([sys.executable, '-c', {spin!r}]) for _ in '12']"
    )
    with running(code + WAIT) as pid:
        assert sampled(pid, Limits(cpu_s=1)) == "cpu"
        assert sampled(pid, Limits(cpu_s=3)) is None


def test_a_tree_that_has_ended_holds_nothing():
    assert sampled(2**22 + 1, Limits()) is None


# In commands


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
async def test_every_limit_of_a_process_is_set(rig, profile):
    limits = Limits(cpu_s=7, file_bytes=1 << 20, open_files=64)
    command = replace(
        rig.script("ulimit -t; ulimit -f; ulimit -n; ulimit -c; ulimit -i"), limits=limits
    )
    shown = replace(command, profile=replace(command.profile, name=profile))
    said = (await rig.run(shown)).stdout.head.split()
    assert said == [b"8", b"1024", b"64", b"0", b"4096"]


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize(
    ("script", "limit"),
    [
        (f"exec {PYTHON} -c 'b = bytearray(400 << 20); input()' < <(sleep 9)", "memory"),
        ("while :; do :; done & while :; do :; done", "cpu"),
        ("head -c 3000000 /dev/zero > /tmp/file", "file size"),
        (f"{PYTHON} -c 'f = [open(\"/etc/passwd\") for _ in range(99)]'", "open files"),
        (f"{PYTHON} -c 'import os; os.memfd_create(\"x\")'; head -c 9000000 /dev/zero > /tmp/a; "
         "for i in b c d e f g h i; do head -c 2000000 /dev/zero > /tmp/$i || exit; done", "tmp"),
    ],
)  # fmt: skip
async def test_a_limit_that_was_met_is_named_and_the_next_command_works(rig, script, limit):
    limits = Limits(
        wall_s=9.0, cpu_s=1, memory_bytes=200 << 20, file_bytes=2 << 20, open_files=50,
        tmp_bytes=8 << 20,
    )  # fmt: skip
    outcome = await rig.run(replace(rig.script(script), limits=limits))
    assert outcome.status in ("killed", "failed")
    assert met(limit, limits) in outcome.message
    after = await rig.run(
        replace(rig.script("echo x > /tmp/after && cat /tmp/after"), limits=limits)
    )
    assert (after.status, after.stdout.head) == ("ok", b"x\n"), after
    assert outcome.duration_ms < 5000


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", PROFILES)
async def test_a_fork_bomb_ends_and_the_next_command_works_at_once(fresh, profile):
    limits = Limits(wall_s=1.0, processes=64)
    outcome = await fresh.run(replace(fresh.script(BOMB, profile), limits=limits))
    assert outcome.duration_ms < 9000  # its end is a matter of a second, on a machine at rest
    began = time.monotonic()
    after = await fresh.run(fresh.script("echo ok", profile))
    assert (after.status, after.stdout.head) == ("ok", b"ok\n")
    assert time.monotonic() - began < 5


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize("profile", [*PROFILES, "unconfined"])
@pytest.mark.parametrize("cgroups", [HOST.cgroups, ()], ids=["a group", "sampling"])
async def test_no_command_has_more_processes_than_it_may(tmp_path, profile, cgroups):
    rig = Rig(tmp_path, host=replace(HOST, cgroups=cgroups))
    many = "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; wait"  # no bomb: it ends
    limits = Limits(wall_s=0.8, processes=40)
    outcome = await rig.run(replace(rig.script(many, profile), limits=limits))
    assert outcome.status in ("killed", "timeout", "failed")
    refused = b"fork" in outcome.stderr.head + outcome.stderr.tail
    assert refused or met("processes", limits) in outcome.message
    assert (await rig.run(rig.script("echo ok", profile))).stdout.head == b"ok\n"


@confined
@pytest.mark.threat("T14")
async def test_a_bomb_of_threads_ends_and_the_next_command_works(fresh):
    bomb = (
        "import threading, time\n"
        "while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start()"
    )
    command = fresh.vector(PYTHON, "-c", bomb)
    limits = Limits(wall_s=5.0, processes=100)
    outcome = await fresh.run(replace(command, limits=limits))
    assert outcome.status in ("killed", "failed", "timeout")
    assert (await fresh.run(fresh.script("true"))).status == "ok"


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize("place", ["/tmp", "$HOME", "/dev/shm", "/var/tmp"])
async def test_a_disk_that_was_filled_neither_fills_the_host_nor_stays_full(rig, place):
    before = shutil.disk_usage("/").free
    limits = Limits(wall_s=9.0, tmp_bytes=4 << 20)
    fill = f"for i in $(seq 50); do head -c 3000000 /dev/zero > {place}/$i || exit 1; done"
    outcome = await rig.run(replace(rig.script(fill), limits=limits))
    assert (outcome.status, outcome.exit_code) == ("failed", 1)
    assert met("tmp", limits) in outcome.message
    again = rig.script(f"echo x > {place}/new && cat {place}/new")
    assert (await rig.run(replace(again, limits=limits))).stdout.head == b"x\n"
    assert before - shutil.disk_usage("/").free < 100 << 20


@confined
@pytest.mark.threat("T14")
@pytest.mark.parametrize("place", ["/tmp", "$HOME", "/var/tmp", "/dev/shm"])
async def test_as_many_files_as_fit_take_no_memory_beyond_the_bound(rig, place):
    limits = Limits(wall_s=9.0, tmp_bytes=4 << 20)
    many = f"cd {place}; {PYTHON} -c 'for i in range(20_000): open(str(i), \"w\").close()'"
    outcome = await rig.run(replace(rig.script(many), limits=limits))
    # An ordinary user's /tmp and home are bubblewrap's: they are looked at when the command ended.
    is_late = os.geteuid() != 0 and "Both were emptied" in outcome.message
    assert is_late or b"No space left" in outcome.stderr.tail + outcome.stderr.head


@confined
@pytest.mark.parametrize(
    "program",
    [
        pytest.param(["node", "-e", "Buffer.alloc(5e7, 1); console.log('ran')"], id="node"),
        pytest.param(["java", "-version"], id="java"),
    ],
)
async def test_programs_that_reserve_more_than_they_use_run(rig, program):
    path = shutil.which(program[0], path="/usr/bin:/usr/local/bin")
    if path is None:
        return  # nothing to run
    command = rig.vector(path, *program[1:])
    outcome = await rig.run(replace(command, limits=Limits(memory_bytes=300 << 20)))
    assert outcome.status == "ok", outcome


# Many, and much


@confined
@pytest.mark.threat("T14")
async def test_a_hundred_commands_at_once_all_run_and_leave_nothing(rig):
    outcomes = []

    async def one(number: int) -> None:
        profile = ("read", "live", "inspect")[number % 3 if number % 10 == 0 else number % 2]
        outcomes.append(await rig.run(rig.script(f"echo {number}", profile)))

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(one, number)
    assert [outcome for outcome in outcomes if outcome.status != "ok"] == []
    assert sorted(int(outcome.stdout.head) for outcome in outcomes) == list(range(100))
    assert (await rig.run(rig.script("echo next"))).stdout.head == b"next\n"
    assert list(rig.workspace.iterdir()) == []


@confined
@pytest.mark.threat("T14")
async def test_a_gibibyte_of_output_is_counted_in_little_memory(rig):
    command = rig.vector("/usr/bin/head", "-c", str(1 << 30), "/dev/zero")
    before = room.resident([os.getpid()])
    outcome = await rig.run(replace(command, limits=Limits(wall_s=30.0)))
    assert (outcome.status, outcome.stdout.total_bytes) == ("ok", 1 << 30)
    assert room.resident([os.getpid()]) - before < 20 << 20
    assert outcome.duration_ms < 20_000
    assert (await rig.run(rig.script("echo next"))).stdout.head == b"next\n"


@confined
async def test_bytes_that_are_no_text_survive(rig):
    outcome = await rig.run(rig.script(r"printf '\377\376\0\200x'; printf '\201' >&2"))
    assert (outcome.stdout.head, outcome.stderr.head) == (b"\xff\xfe\0\x80x", b"\x81")

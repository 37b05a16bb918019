"""The crash rig: kills, power cuts, full and failing disks, many writers, clocks that go back.

What must hold each time: no acknowledged record is lost, no fork, nobody alive is called lost.
"""

import errno
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from audit.errors import AuditError, AuditUnavailable
from audit.query import records
from audit.verify import Code, verify
from tests.audit.house import House

pytestmark = pytest.mark.threat("T16")

RUNS = 50


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch):
    """Nobody writes while these tests verify, so what is unsigned stays so."""
    for module in ("heads", "verify"):
        monkeypatch.setattr(f"audit.{module}.LOOK_AGAIN_S", 0.0)


WRITER = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from tests.audit.house import House

house = House(Path(sys.argv[1]))
print("ready", flush=True)
for name in sys.stdin:
    child = os.fork()
    if child == 0:
        log = house.open(lambda: datetime.now(UTC))
        for number in range(10**6):
            receipt = log.append({"event": "exec.intent", "action_id": f"{name.strip()}-{number}",
                                  "pad": "p" * (number * 97 % 3000)})
            os.write(1, b"%d %s\\n" % (receipt.seq, receipt.root.encode()))
    os.write(1, b"pid %d\\n" % child)
    os.waitpid(child, 0)
    os.write(1, b"gone\\n")
"""


def test_kill_9_at_a_random_point_fifty_times_loses_no_acknowledged_record(house):
    """One process forks a writer for each run, so that a run costs what a start costs."""
    chance, acknowledged = random.Random(8), dict[int, str]()
    forker = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(house.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    )  # fmt: skip
    assert forker.stdout.readline() == "ready\n"
    house.open().close()
    for run in range(RUNS):
        print(f"run{run}", file=forker.stdin)
        line = forker.stdout.readline()
        while not line.startswith("pid"):
            seq, root = line.split()
            acknowledged[int(seq)] = root
            line = forker.stdout.readline()
        time.sleep(chance.random() * 0.06)
        os.kill(int(line.split()[1]), signal.SIGKILL)
        while (line := forker.stdout.readline()) != "gone\n":
            seq, root = line.split()
            assert int(seq) not in acknowledged
            acknowledged[int(seq)] = root
        if run % 10 == 0:
            assert verify(house.path, house.keys).code in (Code.VERIFIED, Code.INCOMPLETE)
    forker.stdin.close()
    forker.wait()
    forker.stdout.close()
    house.open().close()
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED
    found = list(records(house.path))
    assert len(acknowledged) > RUNS
    assert all(found[seq]["event"] == "exec.intent" for seq in acknowledged)
    intents = [one["action_id"] for one in found if one["event"] == "exec.intent"]
    lost = [one["action_id"] for one in found if one["event"] == "exec.outcome"]
    assert sorted(lost) == sorted(intents)


FOUR = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.audit.house import House

log = House(Path(sys.argv[1])).open(lambda: datetime.now(UTC))
print("open", flush=True)
for number in range(60):
    name = f"{sys.argv[2]}{number}"
    log.append({"event": "exec.intent", "action_id": name})
    log.append({"event": "exec.outcome", "action_id": name}, is_outcome=True)
log.close()
"""


def test_four_processes_write_and_others_start_meanwhile(house):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", FOUR, str(house.root), name], stdout=subprocess.PIPE
        )
        for name in "abcd"
    ]
    assert all(child.stdout.readline() == b"open\n" for child in children)
    starts = 0
    while any(child.poll() is None for child in children):
        house.open().close()
        starts += 1
    assert [child.wait() for child in children] == [0] * 4
    for child in children:
        child.stdout.close()
    report = verify(house.path, house.keys, deep=True, strict=True)
    assert (report.code, report.records) == (Code.VERIFIED, 4 * 121 + starts)
    assert b"lost" not in house.segment.read_bytes()


@pytest.fixture
def torn(house, monkeypatch):
    """A log with two more records than its copies of the checkpoints sign, near a segment's end."""
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 900)
    house.filled(4)
    shutil.copytree(house.path, house.root / "before")
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "a"})
    log.append({"event": "exec.outcome", "action_id": "a"}, is_outcome=True)
    log.close()
    shutil.copytree(house.path, house.root / "after")
    return house


def test_a_power_cut_at_every_byte_of_the_last_records_is_recovered_without_a_fork(torn):
    before, after = torn.root / "before", torn.root / "after"
    old, new = (
        b"".join(path.read_bytes() for path in sorted(where.glob("seg-*")))
        for where in (before, after)
    )
    assert new.startswith(old)
    segments = {path.name: path.read_bytes() for path in sorted(after.glob("seg-*"))}
    for size in range(len(old), len(new) + 1):
        shutil.rmtree(torn.path)
        shutil.copytree(before, torn.path)
        rest = size
        for name, data in segments.items():
            (torn.path / name).write_bytes(data[:rest])
            (torn.path / name).chmod(0o600)
            rest -= min(rest, len(data))
            if not rest:
                break
        assert verify(torn.path, torn.keys).code in (Code.VERIFIED, Code.INCOMPLETE)
        if size % 23 == 0 or size > len(new) - 3:
            torn.open().close()
            report = verify(torn.path, torn.keys, deep=True)
            assert report.code is Code.VERIFIED, size
            whole = b"".join(path.read_bytes() for path in sorted(torn.path.glob("seg-*")))
            assert whole.startswith(old)


CALLS = ("write", "pwrite", "fdatasync", "fsync", "ftruncate", "rename", "posix_fallocate")


def failing(monkeypatch, at: int, code: int, *, for_good: bool) -> list[int]:
    """Make the n-th call that changes the disk fail, and if asked every later one."""
    left = [at]

    def wrap(real):
        def call(*arguments, **keywords):
            left[0] -= 1
            if left[0] == 0 or (for_good and left[0] < 0):
                raise OSError(code, os.strerror(code))
            return real(*arguments, **keywords)

        return call

    for name in CALLS:
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    return left


@pytest.mark.parametrize(
    ("code", "for_good"), [(errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EIO, False)]
)
def test_a_disk_that_fails_at_any_call_loses_nothing_that_was_acknowledged(
    house, monkeypatch, code, for_good
):
    monkeypatch.setattr("audit.tail.DURABLE_EVERY_S", 0.0)
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 700)
    monkeypatch.setattr("audit.log.BALLAST_BYTES", 4096)
    for step in itertools.count(1, 5):
        there = House(house.root / str(step)).filled(2)
        acknowledged: list[tuple[int, str]] = []
        with monkeypatch.context() as patch:
            left = failing(patch, step, code, for_good=for_good)
            try:
                log = there.open()
                for name in "abc":
                    for event in ("intent", "outcome"):
                        try:
                            record = {"event": f"exec.{event}", "action_id": name}
                            receipt = log.append(record, is_outcome=event == "outcome")
                            acknowledged.append((receipt.seq, name))
                        except AuditUnavailable:
                            pass
                log.close()
            except (AuditError, OSError):
                pass
        assert verify(there.path, there.keys).code in (Code.VERIFIED, Code.INCOMPLETE), step
        there.open().close()
        assert verify(there.path, there.keys, deep=True).code is Code.VERIFIED, step
        found = list(records(there.path))
        assert all(found[seq]["action_id"] == name for seq, name in acknowledged), step
        shutil.rmtree(there.root)
        if left[0] > 0:
            break
    assert step > 20


def test_a_clock_that_goes_back_changes_no_order_and_loses_nobody(house):
    moments = itertools.cycle(
        datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=n) for n in range(9)
    )
    one, two = house.open(lambda: next(moments)), house.open(lambda: next(moments))
    for number in range(20):
        for log in (one, two):
            log.append({"event": "exec.intent", "action_id": f"{number}-{log is one}"})
    house.open(lambda: next(moments)).close()
    assert b"lost" not in house.segment.read_bytes()
    one.close()
    two.close()
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED
    times = [json.loads(line)["ts"] for line in house.lines()]
    assert times != sorted(times)


def test_a_start_reads_the_last_segment_alone_until_an_earlier_one_was_touched(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 900)
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "open", "job_id": "j"})
    for number in range(30):
        log.append({"event": "tool.classified", "number": number})
    log.close()
    read = []
    real = os.pread
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", lambda *a: (read.append(a[0]), real(*a))[1])
        house.open().close()
        short = len(read)
        (house.path / "frontier").unlink()
        house.open().close()
        assert len(read) - short > 3 * short
        first = sorted(house.path.glob("seg-*"))[0]
        first.write_bytes(first.read_bytes().replace(b'"number":0', b'"number":1'))
        with pytest.raises(AuditError, match=r"record \d+ is not what was signed"):
            house.open()
    assert verify(house.path, house.keys).code is Code.TAMPERED


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"tip": "', b'"tip": "0'),
        (b'"peaks": ["', b'"peaks": ["zz'),
        (b'"peaks": ["', b'"peaks": ["00", "'),
        (b'"first": ', b'"first": 1'),
        (b"{", b""),
        (b"{", b"\0"),
    ],
)
def test_a_damaged_shortcut_only_costs_time(house, monkeypatch, old, new):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 900)
    house.filled(20)
    shortcut = house.path / "frontier"
    shortcut.write_bytes(shortcut.read_bytes().replace(old, new))
    house.open().close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


def test_a_shortcut_that_cannot_be_written_is_done_without(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 900)
    house.filled(4)
    (house.path / "frontier.tmp").mkdir()
    house.filled(20)
    assert verify(house.path, house.keys).code is Code.VERIFIED


READER = """
import os, sys
from pathlib import Path
from audit.note import PublicKey
from audit.prove import prove, verify_proof
from audit.verify import verify

opened, real = [], os.open
os.open = lambda path, flags, *a, **k: (opened.append(flags), real(path, flags, *a, **k))[1]
key = PublicKey.parse(sys.argv[2])
report = verify(Path(sys.argv[1]), [key], deep=True)
verify_proof(prove(Path(sys.argv[1]), 1), [key])
writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
assert opened and not any(flags & writing for flags in opened), opened
print(int(report.code))
"""


def test_a_log_on_a_read_only_mount_verifies_and_nothing_is_opened_for_writing(house):
    first = house.filled(3).signer.public_key
    house.rotated()
    command = [
        *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--"),
        *(sys.executable, "-c", READER, str(house.path), first.vkey),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "0\n", done.stderr

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audit.canonical import Spelled, spell
from audit.directory import LogDirectory
from audit.errors import AuditError, AuditTampered, AuditUnavailable, RecordRefused
from audit.log import AuditLog, Draft
from audit.query import records
from audit.verify import Code, verify
from tests.audit.house import ORIGIN, Clock, House


@pytest.mark.threat("T16")
def test_an_appended_record_is_signed_before_append_returns(house):
    log = house.open()
    receipt = log.append({"event": "tool.classified"})
    report = verify(house.path, house.keys, pinned=receipt.note.encode())
    log.close()
    assert report.code is Code.VERIFIED
    assert report.signed == receipt.size == receipt.seq + 1
    assert report.root == receipt.root
    assert report.origin == receipt.origin == ORIGIN


def test_the_log_stamps_version_time_and_the_writer_of_an_intent(house):
    log = house.open(Clock())
    log.append({"event": "exec.intent", "action_id": "a"})
    log.close()
    opened, intent = records(house.path)
    assert opened["event"] == "log.open"
    assert opened["key"] == house.signer.public_key.vkey
    assert intent["v"] == 1
    assert intent["ts"] == "2026-01-02T03:04:07.000000Z"
    assert intent["writer"] == opened["writer"]
    assert intent["writer"]["pid"] == os.getpid()


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"@seq": 1},
        {"A": 1},
        {"a": 1.5},
        {"a": 2**53},
        {"a": "\ud800"},
        {"a": b"x"},
        {"a": {"": 1}},
    ],
)
def test_a_record_outside_the_domain_is_refused_and_nothing_is_written(house, record):
    log = house.open()
    before = house.segment.read_bytes()
    with pytest.raises(RecordRefused):
        log.append(record)
    assert house.segment.read_bytes() == before
    log.close()


def test_a_record_longer_than_a_line_is_refused(house):
    log = house.open()
    with pytest.raises(RecordRefused, match="65535"):
        log.append({"event": "x", "text": "x" * 65_500})
    log.append({"event": "x", "text": "x" * 65_300})
    log.close()


@pytest.mark.parametrize(
    "text", ["\u2028", "\x85", "\x0b\x0c\x1c", "\r\n", "\x00", "\x1b[2J", '","@seq":9', "}\n{"]
)
def test_no_text_can_break_out_of_its_line(house, text):
    log = house.open()
    log.append({"event": "x", "text": text})
    log.close()
    assert [r.get("text") for r in records(house.path)] == [None, text]
    assert verify(house.path, house.keys, deep=True).records == 2


def test_concurrent_threads_share_one_commit_and_none_is_lost(house):
    log = house.open()
    receipts, syncs = [], []
    real = os.fdatasync

    def work(name):
        receipts.extend(log.append({"event": "x", "name": name, "n": n}) for n in range(25))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(16)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), real(fd), time.sleep(0.001)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    log.close()
    assert sorted(receipt.seq for receipt in receipts) == list(range(1, 401))
    assert len(syncs) < 200
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED


class Interrupted(threading.Event):
    def wait(self, timeout=None):
        raise KeyboardInterrupt


@pytest.mark.parametrize("others", [0, 2])
def test_an_interrupted_caller_withdraws_and_another_leads(house, monkeypatch, others):
    log = house.open()
    threads = [threading.Thread(target=log.append, args=({"event": "x"},)) for _ in range(others)]
    with log._turn:
        for number, thread in enumerate(threads, start=1):
            thread.start()
            while len(log._queue) < number:
                time.sleep(0.001)
        with monkeypatch.context() as patch:
            patch.setattr("audit.log.threading.Event", Interrupted)
            with pytest.raises(KeyboardInterrupt):
                log.append({"event": "never"})
    for thread in threads:
        thread.join()
    log.append({"event": "x"})
    log.close()
    assert len(list(records(house.path))) == 2 + others


def test_two_open_logs_append_in_turn_to_one_chain(house):
    one, two = house.open(), house.open()
    seqs = [log.append({"event": "x"}).seq for _ in range(10) for log in (one, two)]
    one.close()
    two.close()
    assert seqs == list(range(2, 22))
    assert verify(house.path, house.keys, deep=True, strict=True).code is Code.VERIFIED


PROCESS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.audit.house import House

log = House(Path(sys.argv[1])).open(lambda: datetime.now(UTC))
for number in range(100):
    log.append({"event": "exec.intent", "action_id": f"{sys.argv[2]}{number}"})
    log.append({"event": "exec.outcome", "action_id": f"{sys.argv[2]}{number}"}, is_outcome=True)
log.close()
"""


def test_two_processes_share_one_log_without_declaring_each_other_lost(house):
    children = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(house.root), name]) for name in "ab"
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert verify(house.path, house.keys, deep=True, strict=True).records == 402
    assert b"lost" not in house.segment.read_bytes()
    assert list((house.path / "writers").iterdir()) == []


@pytest.mark.threat("T16")
def test_a_failed_sync_poisons_the_log_until_it_is_opened_again(house, monkeypatch):
    log = house.open()

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(AuditUnavailable, match="Input/output error"):
            log.append({"event": "exec.intent", "action_id": "a"})
    with pytest.raises(AuditUnavailable, match="until it is opened again"):
        log.append({"event": "exec.intent", "action_id": "b"})
    log.close()
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "c"})
    log.close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


@pytest.mark.threat("T16")
def test_an_interrupted_commit_leaves_no_caller_waiting(house, monkeypatch):
    log = house.open()

    def interrupt(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            log.append({"event": "x"})
    with pytest.raises(AuditUnavailable, match="interrupted"):
        log.append({"event": "x"})
    log.close()


@pytest.mark.threat("T16")
def test_a_checkpoint_that_cannot_be_published_takes_its_records_back(house, monkeypatch):
    log = house.open()
    before = house.segment.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(AuditUnavailable, match="No space left"):
            log.append({"event": "exec.intent", "action_id": "a"})
    assert house.segment.read_bytes() == before
    log.append({"event": "x"})
    log.close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


@pytest.mark.threat("T16")
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_the_durable_copy_may_wait_for_space_but_not_for_a_broken_disk(house, monkeypatch, code):
    log = house.open()
    monkeypatch.setattr("audit.tail.DURABLE_EVERY_S", 0.0)
    real = LogDirectory.replace

    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(LogDirectory, "replace", fail)
    if code == errno.ENOSPC:
        log.append({"event": "x"})
    else:
        with pytest.raises(AuditUnavailable, match="Input/output"):
            log.append({"event": "x"})
    monkeypatch.setattr(LogDirectory, "replace", real)
    log.close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


FULL_DISK = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import audit.log
from audit.errors import AuditUnavailable
from audit.verify import verify
from tests.audit.house import House

audit.log.BALLAST_BYTES = 1 << 16
house = House(Path(sys.argv[1]))
log = house.open(lambda: datetime.now(UTC))
ballast = house.path / "ballast"
fill = house.root / "fill"

def refused(record, **how):
    try:
        log.append(record, **how)
    except AuditUnavailable as error:
        assert "No space left" in str(error), error
        return True
    return False

log.append({"event": "exec.intent", "action_id": "a"})
with fill.open("wb", buffering=0) as stream:
    try:
        while True:
            stream.write(b"x" * 4096)
    except OSError:
        pass
while not refused({"event": "exec.intent", "action_id": "b", "pad": "p" * 900}):
    pass
assert ballast.stat().st_size == 1 << 16
assert verify(house.path, house.keys).code == 0
assert not refused({"event": "exec.outcome", "action_id": "a", "pad": "p" * 5000}, is_outcome=True)
assert not ballast.exists()
assert refused({"event": "exec.intent", "action_id": "c"})
assert verify(house.path, house.keys, deep=True).code == 0
while not refused({"event": "exec.outcome", "pad": "p" * 9000}, is_outcome=True):
    pass
assert verify(house.path, house.keys, deep=True).code == 0
fill.unlink()
log.append({"event": "exec.intent", "action_id": "d"})
assert ballast.stat().st_size == 1 << 16
log.close()
fill.write_bytes(b"")
with fill.open("wb", buffering=0) as stream:
    try:
        while True:
            stream.write(b"x" * 4096)
    except OSError:
        pass
ballast.unlink()
with fill.open("ab", buffering=0) as stream:
    try:
        while True:
            stream.write(b"x" * 4096)
    except OSError:
        pass
try:
    house.open(lambda: datetime.now(UTC))
except AuditUnavailable as error:
    assert "reserve" in str(error), error
    print("all as it should be")
"""


@pytest.mark.threat("T16")
def test_on_a_full_disk_nothing_new_starts_and_what_ran_is_still_recorded(tmp_path):
    arguments = [
        *("bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *("--size", str(1 << 19), "--tmpfs", str(tmp_path), "--chdir", str(Path.cwd())),
        *(sys.executable, "-c", FULL_DISK, str(tmp_path)),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stdout == "all as it should be\n", done.stderr


@pytest.mark.threat("T16")
def test_a_full_disk_refuses_intents_and_spends_the_reserve_for_outcomes(house, monkeypatch):
    log = house.open()
    answers = {}
    real = os.write

    def full(descriptor, data):
        if b"intent" in bytes(data) or (house.path / "ballast").exists():
            real(descriptor, bytes(data)[:20])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    def append(name):
        try:
            answers[name] = log.append({"event": f"exec.{name}"}, is_outcome=name == "outcome")
        except AuditUnavailable as error:
            answers[name] = error

    threads = [threading.Thread(target=append, args=(name,)) for name in ("intent", "outcome")]
    monkeypatch.setattr(os, "write", full)
    with log._turn:  # both queue up and are committed as one batch
        for thread in threads:
            thread.start()
        while len(log._queue) < 2:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    monkeypatch.setattr(os, "write", real)
    assert isinstance(answers["intent"], AuditUnavailable)
    assert answers["outcome"].seq == 1
    log.append({"event": "exec.intent", "action_id": "x"})
    log.close()
    assert verify(house.path, house.keys, deep=True).code is Code.VERIFIED


@pytest.mark.threat("T16")
def test_without_room_for_the_reserve_no_intent_starts_and_outcomes_wait_for_space(
    house, monkeypatch
):
    log = house.open()
    (house.path / "ballast").unlink()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(AuditUnavailable, match="reserve"):
            log.append({"event": "exec.intent", "action_id": "a"})
        log.append({"event": "exec.outcome", "action_id": "z"}, is_outcome=True)
        patch.setattr(os, "write", full)
        with pytest.raises(AuditUnavailable, match="reserve is spent too"):
            log.append({"event": "exec.outcome", "action_id": "z"}, is_outcome=True)
    log.append({"event": "exec.intent", "action_id": "b"})
    log.close()
    assert verify(house.path, house.keys, deep=True).records == 3


def test_a_caller_interrupted_after_its_commit_withdraws_nothing(house, monkeypatch):
    log = house.open()
    real = threading.Event.wait

    def late(event, timeout=None):
        if threading.current_thread() is not threading.main_thread():
            return real(event, timeout)
        while log._queue or log._has_leader:
            time.sleep(0.001)
        raise KeyboardInterrupt

    other = threading.Thread(target=log.append, args=({"event": "first"},))
    log._turn.acquire()
    other.start()
    while not log._queue:
        time.sleep(0.001)
    release = threading.Timer(0.05, log._turn.release)
    release.start()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Event, "wait", late)
        with pytest.raises(KeyboardInterrupt):
            log.append({"event": "second"})
    other.join()
    release.join()
    log.close()
    assert [r["event"] for r in records(house.path)] == ["log.open", "first", "second"]


def test_removing_what_is_not_there_is_no_error(house):
    directory = LogDirectory.prepare(house.path)
    directory.remove("nothing")
    assert directory.size("nothing") is None
    directory.close()


def test_more_records_than_a_batch_holds_are_all_committed(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_BATCH", 2)
    log = house.open()
    threads = [threading.Thread(target=log.append, args=({"event": "x"},)) for _ in range(9)]
    with log._turn:
        for thread in threads:
            thread.start()
        while len(log._queue) < 9:
            time.sleep(0.001)
    for thread in threads:
        thread.join()
    log.close()
    assert verify(house.path, house.keys).records == 10


def test_a_reserve_that_fails_otherwise_stops_the_log(house, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(AuditUnavailable, match="Input/output error"):
        house.open()


def test_records_appended_together_have_one_moment_and_each_its_own_answer(house):
    log = house.open()
    names = ("a", "key.rotate", "b")
    drafts = [Draft(spell({"event": name})) for name in names]
    first, refused, last = log.append_all(drafts)
    assert isinstance(refused, RecordRefused)
    assert (first.seq, last.seq) == (1, 2)
    assert first.note == last.note
    (answer,) = log.append_all([Draft(Spelled({"@seq": "1"}))])
    assert "keys that start with a letter" in str(answer)
    log.close()
    assert [type(answer) for answer in log.append_all(drafts[::2])] == [AuditUnavailable] * 2
    assert len({record["ts"] for record in records(house.path)}) == 2


def test_a_closed_log_refuses_and_closes_twice(house):
    log = house.open()
    log.close()
    log.close()
    with pytest.raises(AuditUnavailable, match="closed"):
        log.append({"event": "x"})


def test_a_key_of_another_name_cannot_open_the_log(house):
    with pytest.raises(AuditError, match="named"):
        AuditLog.open(house.path, house.signer, origin="other", clock=Clock())


@pytest.mark.threat("T23")
def test_every_file_of_the_log_is_private(house):
    house.open().close()
    modes = {path.name: path.stat().st_mode & 0o777 for path in house.path.iterdir()}
    assert house.path.stat().st_mode & 0o777 == 0o700
    assert modes.pop("checkpoint") == modes.pop("checkpoint.durable") == 0o644
    assert modes.pop("writers") == 0o700
    assert set(modes.values()) == {0o600}


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    "name", ["seg-000000000000.jsonl", "checkpoint", "lock", "lock.next", "writers", "ballast"]
)
def test_a_symlink_in_place_of_a_file_of_the_log_is_refused(house, name):
    house.open().close()
    moved = house.root / "moved"
    (house.path / name).rename(moved)
    if name == "ballast":
        moved.write_bytes(b"short")
    (house.path / name).symlink_to(moved)
    with pytest.raises(AuditError, match="symlink"):
        house.open()


@pytest.mark.threat("T23")
@pytest.mark.parametrize(
    "name", [".", "seg-000000000000.jsonl", "checkpoint", "lock", "lock.next", "writers"]
)
def test_a_file_of_the_log_that_others_can_change_is_refused(house, name):
    house.open().close()
    (house.path / name).chmod(0o777)
    with pytest.raises(AuditTampered, match="chmod"):
        house.open()


@pytest.mark.threat("T23")
def test_a_log_directory_that_is_a_symlink_is_refused(house):
    house.open().close()
    house.path.rename(house.root / "moved")
    house.path.symlink_to(house.root / "moved")
    with pytest.raises(AuditTampered, match="symlink"):
        house.open()


@pytest.mark.threat("T23")
def test_a_fifo_in_place_of_a_segment_does_not_hang_the_start(house):
    house.open().close()
    house.segment.unlink()
    os.mkfifo(house.segment)
    with pytest.raises(AuditTampered, match="stands where"):
        house.open()


@pytest.mark.threat("T23")
def test_another_user_s_file_is_refused(house, monkeypatch):
    house.open().close()
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(AuditTampered, match="belongs to uid"):
        LogDirectory.prepare(house.path)


def test_a_directory_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditTampered, match="stands where"):
        House(tmp_path / "file").open()
    with pytest.raises(AuditUnavailable, match="nothing runs"):
        LogDirectory.prepare(tmp_path / ("n" * 300))

"""Writers of one log take turns; who waits looks ahead, and believes what was signed, no more."""

import errno
import os
import threading
import time

import pytest

from audit.errors import AuditUnavailable
from audit.keys import FileSigner
from audit.note import Checkpoint, pad_note, sign_note
from audit.query import records
from audit.verify import Code, verify
from tests.audit.house import ORIGIN
from tests.audit.test_verify import rechained


class Disk:
    """Holds the first sync up until it is `free`; once `full`, no checkpoint fits."""

    def __init__(self, monkeypatch) -> None:
        self.free = threading.Event()
        self.held = threading.Event()
        self.full = False
        self._sync, self._publish = os.fdatasync, os.pwrite
        monkeypatch.setattr(os, "fdatasync", self.sync)
        monkeypatch.setattr(os, "pwrite", self.publish)

    def sync(self, descriptor: int) -> None:
        if not self.held.is_set():
            self.held.set()
            self.free.wait()
        self._sync(descriptor)

    def publish(self, *arguments) -> int:
        if self.full:
            self.full = False
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._publish(*arguments)


@pytest.fixture
def disk(monkeypatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def two(house):
    """Two writers that know of one another."""
    logs = [house.open(), house.open()]
    logs[0].append({"event": "x"})
    logs[1].append({"event": "x"})
    logs[0].append({"event": "x"})
    yield logs
    for log in logs:
        log.close()


def in_turn(disk: Disk, one, two, *, is_outcome: bool) -> list:
    """Return what two writers are answered, of whom the second has looked at the first's record."""
    answers = [None, None]

    def append(place: int, log) -> None:
        try:
            answers[place] = log.append({"event": f"{place}"}, is_outcome=is_outcome)
        except AuditUnavailable as error:
            answers[place] = error

    threads = [threading.Thread(target=append, args=each) for each in enumerate((one, two))]
    threads[0].start()
    disk.held.wait()
    threads[1].start()
    while two._tail._ahead is None:
        time.sleep(0.001)
    disk.free.set()
    for thread in threads:
        thread.join()
    return answers


def settled(house) -> list[str]:
    """Return the events of a log in which everything is signed, after the first five."""
    report = verify(house.path, house.keys, deep=True, strict=True)
    assert (report.code, report.findings) == (Code.VERIFIED, ())
    return [str(record["event"]) for record in records(house.path)][5:]


def test_who_waits_looks_ahead_while_the_record_before_goes_to_the_disk(house, two, disk):
    one, other = in_turn(disk, *two, is_outcome=False)
    assert (one.seq, other.seq) == (5, 6)
    assert settled(house) == ["0", "1"]


@pytest.mark.threat("T16")
@pytest.mark.parametrize("is_outcome", [False, True])
def test_what_was_seen_ahead_and_taken_back_is_not_built_upon(house, two, disk, is_outcome):
    """An outcome is taken back too, and written again into the reserve."""
    disk.full = True
    one, other = in_turn(disk, *two, is_outcome=is_outcome)
    if is_outcome:
        assert (one.seq, other.seq) == (5, 6)
    else:
        assert "No space left" in str(one)
        assert other.seq == 5
    assert settled(house) == ["0", "1"][not is_outcome :]


def test_who_looks_ahead_at_the_end_of_a_segment_goes_on_in_the_next(house, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 900)
    one, two = house.open(), house.open()
    for number in range(20):
        one.append({"event": "x"})
        if number % 3 == 0:
            two.append({"event": "x"})
    one.close()
    two.close()
    assert len(list(house.path.glob("seg-*"))) > 3
    report = verify(house.path, house.keys, deep=True, strict=True)
    assert (report.code, report.records) == (Code.VERIFIED, 29)


@pytest.mark.threat("T15")
@pytest.mark.parametrize("count", [1, 3000])
def test_lines_that_nobody_signed_are_named_however_well_they_follow(house, two, count):
    forged = rechained([*house.lines(), *[b'{"event":"forged"}'] * count])[5:]
    with house.segment.open("ab") as stream:
        stream.write(b"".join(forged))
    two[1].append({"event": "x"})
    kept = [r["kept"] for r in records(house.path) if r["event"] == "log.recovered"]
    assert kept == [[5, 4 + count]]


@pytest.mark.threat("T15")
def test_lines_that_another_key_signed_stop_the_log(house, two):
    lines = rechained([*house.lines(), b'{"event":"forged"}'])
    house.put(lines)
    stranger = FileSigner.open(house.root / "stranger" / "audit.pem", name=ORIGIN)
    tail = two[1]._tail
    head = Checkpoint(ORIGIN, 6, tail._look().chain.frontier.root())
    (house.path / "checkpoint").write_bytes(pad_note(sign_note(head.text(), stranger)))
    with pytest.raises(AuditUnavailable, match="rolled back"):
        two[1].append({"event": "x"})


@pytest.mark.threat("T15")
def test_after_a_rotation_that_broke_off_once_in_force_the_new_key_signs(house, two, monkeypatch):
    first = house.keys

    def fail(**_: str):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("audit.log.log_open", fail)
        with pytest.raises(AuditUnavailable, match="rotation"):
            two[0].rotate(two[0]._tail.signer.next)
    receipt = two[1].append({"event": "x"})
    assert receipt.seq == 6
    two[1].close()
    assert verify(house.path, first, deep=True).code is Code.VERIFIED

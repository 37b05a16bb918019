"""Crashes: power cuts at any byte, kill -9 at any step, writers gone and writers alive."""

import itertools
import json
import random
import signal
import subprocess
import sys
import time

import pytest

from audit.errors import AuditTampered, AuditUnavailable
from audit.merkle import leaf_hash
from audit.verify import Code, verify
from audit.writers import Writer
from tests.audit.house import House

APPENDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from tests.audit.house import House

log = House(Path(sys.argv[1])).open(lambda: datetime.now(UTC))
print("open", flush=True)
for number in range(int(sys.argv[2])):
    receipt = log.append({"event": "exec.intent", "action_id": f"{sys.argv[3]}-{number}",
                          "pad": "p" * (number * 97 % 3000)})
    print(receipt.seq, receipt.size, receipt.root, flush=True)
print("done", flush=True)
sys.stdin.read()
"""


def appender(house: House, count: int, name: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(house.root), str(count), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def killed(child: subprocess.Popen) -> list[str]:
    child.send_signal(signal.SIGKILL)
    return child.communicate()[0].splitlines()


def records(house: House) -> list[dict]:
    return [json.loads(line) for line in house.lines()]


@pytest.mark.threat("T16")
def test_a_power_cut_at_any_byte_loses_no_acknowledged_record_and_is_torn_not_tampered(house):
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "a"})
    acknowledged = house.segment.read_bytes()
    notes = {
        name: (house.path / name).read_bytes() for name in ("checkpoint", "checkpoint.durable")
    }
    log.append({"event": "exec.outcome", "action_id": "a"}, is_outcome=True)
    whole = house.segment.read_bytes()
    log.close()
    for size in range(len(acknowledged), len(whole) + 1):
        house.segment.write_bytes(whole[:size])
        for name, note in notes.items():
            (house.path / name).write_bytes(note)
        expected = Code.VERIFIED if size == len(acknowledged) else Code.INCOMPLETE
        assert verify(house.path, house.keys).code is expected
        if size % 16 == 0 or size > len(whole) - 3:
            log = house.open()
            log.close()
            assert house.segment.read_bytes().startswith(acknowledged)
            assert verify(house.path, house.keys).code is Code.VERIFIED


@pytest.mark.threat("T16")
def test_zeros_after_a_power_cut_are_cut_and_recorded(house):
    house.filled(5)
    with house.segment.open("ab") as stream:
        stream.write(b"\0" * 200_000)
    report = verify(house.path, house.keys)
    assert (report.code, report.findings[0].kind) == (Code.INCOMPLETE, "torn")
    house.open().close()
    assert [(r["event"], r.get("bytes")) for r in records(house)[5:]] == [
        ("log.recovered", 200_000),
        ("log.open", None),
    ]
    assert verify(house.path, house.keys, deep=True, strict=True).code is Code.VERIFIED


@pytest.mark.threat("T16")
def test_records_that_were_never_signed_are_kept_and_named(house):
    house.filled(5)
    notes = {
        name: (house.path / name).read_bytes() for name in ("checkpoint", "checkpoint.durable")
    }
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "a"})
    log.close()
    for name, note in notes.items():
        (house.path / name).write_bytes(note)
    house.open().close()
    assert records(house)[7]["kept"] == [5, 6]
    report = verify(house.path, house.keys)
    assert (report.code, report.recovered) == (Code.VERIFIED, ((5, 6),))
    assert verify(house.path, house.keys, strict=True).code is Code.INCOMPLETE


@pytest.mark.threat("T15")
def test_a_damaged_durable_copy_does_not_stop_a_log_whose_checkpoint_is_good(house):
    house.filled(5)
    (house.path / "checkpoint.durable").write_bytes(b"\0" * 100)
    house.open().close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


@pytest.mark.threat("T16")
def test_kill_9_at_any_moment_loses_no_acknowledged_record(house):
    chance = random.Random(5)
    acknowledged: list[tuple[int, int, str]] = []
    for run in range(10):
        children = [appender(house, 100_000, f"{run}{side}") for side in "ab"]
        for child in children:
            assert child.stdout.readline() == "open\n"
        time.sleep(chance.random() * 0.08)
        for child in children:
            whole = [line.split() for line in killed(child)]
            # The last line may be cut by the kill.
            acknowledged += [
                (int(w[0]), int(w[1]), w[2]) for w in whole if len("".join(w[2:])) == 64
            ]
        assert verify(house.path, house.keys).code in (Code.VERIFIED, Code.INCOMPLETE)
    house.open().close()
    assert verify(house.path, house.keys).code is Code.VERIFIED
    found = records(house)
    assert len(acknowledged) > 20
    assert all(found[seq]["event"] == "exec.intent" for seq, _, _ in acknowledged)
    seqs = [seq for seq, _, _ in acknowledged]
    assert len(set(seqs)) == len(seqs)
    intents = {r["action_id"] for r in found if r["event"] == "exec.intent"}
    lost = [r for r in found if r["event"] == "exec.outcome"]
    assert {r["action_id"] for r in lost} == intents
    assert len(lost) == len(intents)
    assert all(r["outcome"] == {"status": "lost"} for r in lost)


@pytest.mark.threat("T16")
def test_a_dead_writer_s_open_intent_becomes_lost_and_a_live_writer_s_does_not(house):
    dead, live = appender(house, 1, "dead"), appender(house, 1, "live")
    for child in (dead, live):
        while child.stdout.readline() != "done\n":
            pass
    killed(dead)
    house.open().close()
    lost = [r for r in records(house) if r["event"] == "exec.outcome"]
    assert [r["action_id"] for r in lost] == ["dead-0"]
    assert lost[0]["outcome"] == {"status": "lost"}
    assert records(house)[lost[0]["intent_seq"]]["action_id"] == "dead-0"
    live.communicate("")
    house.open().close()
    assert [r["action_id"] for r in records(house) if r["event"] == "exec.outcome"] == [
        "dead-0",
        "live-0",
    ]


def test_a_job_s_intent_is_its_supervisor_s_to_close(house):
    child = appender(house, 0, "x")
    child.stdout.readline()
    killed(child)
    log = house.open()
    log.append({"event": "exec.intent", "action_id": "job", "job_id": "j1"})
    log.append({"event": "exec.intent"})  # no action, nothing to close
    log.append({"event": "exec.intent", "action_id": "done"})
    log.append({"event": "exec.outcome", "action_id": "done"})
    log.close()
    assert "writer" not in records(house)[2]
    house.open().close()
    assert "lost" not in house.segment.read_text()


def test_a_writer_that_cannot_be_one_of_ours_is_not_parsed():
    assert Writer.parse({"boot_id": "../x", "pid": 1, "start_ticks": 1}) is None
    assert Writer.parse("x") is None


@pytest.mark.threat("T16")
def test_what_a_writer_left_half_done_is_repaired_by_the_next_append_of_another(house):
    one = house.open()
    two = house.open()
    note = (house.path / "checkpoint").read_bytes()
    two.append({"event": "tool.classified", "by": "two"})
    (house.path / "checkpoint").write_bytes(note)  # as if two died before it published
    with house.segment.open("ab") as stream:
        stream.write(b'{"@prev":"torn')
    one.append({"event": "tool.classified", "by": "one"})
    recovered = records(house)[-2]
    assert (recovered["event"], recovered["kept"], recovered["bytes"]) == (
        "log.recovered",
        [2, 2],
        14,
    )
    one.close()
    two.close()
    assert verify(house.path, house.keys).code is Code.VERIFIED


@pytest.mark.threat("T15")
def test_a_log_cut_under_a_running_server_stops_it(house):
    log = house.open()
    log.append({"event": "tool.classified"})
    house.put(house.lines()[:-1])
    with pytest.raises(AuditUnavailable, match="shrank"):
        log.append({"event": "tool.classified"})
    with pytest.raises(AuditUnavailable, match="until it is opened again"):
        log.append({"event": "tool.classified"})
    log.close()


@pytest.mark.threat("T15")
def test_a_checkpoint_rolled_back_under_a_running_server_stops_it(house):
    log = house.open()
    other = house.open()
    note = (house.path / "checkpoint").read_bytes()
    durable = (house.path / "checkpoint.durable").read_bytes()
    log.append({"event": "tool.classified"})
    log.append({"event": "tool.classified"})
    other.append({"event": "tool.classified"})
    (house.path / "checkpoint").write_bytes(note)
    (house.path / "checkpoint.durable").write_bytes(durable)
    with house.segment.open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(AuditUnavailable, match="rolled back"):
        other.append({"event": "tool.classified"})
    log.close()
    other.close()


@pytest.mark.threat("T15")
@pytest.mark.parametrize("name", ["seg-000000000000.jsonl", "checkpoint"])
def test_a_log_without_its_records_or_its_checkpoints_is_not_continued(house, name):
    house.filled(3)
    (house.path / name).unlink()
    if name == "checkpoint":
        (house.path / "checkpoint.durable").unlink()
    with pytest.raises(AuditTampered):
        house.open()


def test_the_leaf_of_each_line_is_the_prev_of_the_next(house):
    house.filled(5)
    lines = house.lines()
    for before, after in itertools.pairwise(lines):
        assert json.loads(after)["@prev"] == leaf_hash(before[:-1]).hex()

"""Several processes on one store: one wins, all agree, and a killed one spends nothing twice."""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from approvals.request import Answer, NotPending, State
from tests.approvals.conftest import ACTION, OWNER, question

HOUSE = Path(__file__).parents[2]
RACER = """
import sys
from pathlib import Path
from approvals.desk import Desk
from approvals.request import NotPending
from approvals.store import Store

desk = Desk(Store(Path(sys.argv[1])), lambda record: None, clock=lambda: float(sys.argv[3]))
print("ready", flush=True)
for session, request_id in enumerate(sys.stdin.readline().split()):
    try:
        desk.consume(request_id, sys.argv[2], f"s{session}")
        print(request_id)
    except NotPending:
        pass
"""
DYING = """
import json, os, signal, sys
from pathlib import Path
from approvals.desk import Desk
from approvals.store import Store

log = open(sys.argv[5], "a")
def journal(record):
    log.write(json.dumps(record) + chr(10)); log.flush()
    if record["event"] == sys.argv[6]:
        os.kill(os.getpid(), signal.SIGKILL)

desk = Desk(Store(Path(sys.argv[1])), journal, clock=lambda: float(sys.argv[4]))
desk.consume(sys.argv[2], sys.argv[3], "s1")
"""


def process(script, *args):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HOUSE,
    )


@pytest.fixture
def approved(desk):
    pending = desk.open(question())
    desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
    return pending


@pytest.mark.threat("T07")
@pytest.mark.untraced
def test_of_eight_racing_processes_one_spends_each_of_two_hundred_approvals(desk, path, clock):
    waiting = [desk.open(question(session=f"s{number}")) for number in range(200)]
    for pending in waiting:
        desk.vote(pending.id, Answer.APPROVE, OWNER, pending.request_digest)
    racers = [process(RACER, path, ACTION, clock.now_s) for _ in range(8)]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write(" ".join(pending.id for pending in waiting) + "\n")
        racer.stdin.flush()
    spent = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert sorted(chain(*spent)) == sorted(pending.id for pending in waiting)
    assert sum(map(bool, spent)) > 1, "there was no race"


@pytest.mark.threat("T07")
@pytest.mark.parametrize("at", ["approval.consumed", "approval.applied"])
def test_an_approval_being_spent_at_a_kill_is_burnt(approved, desk, path, clock, at):
    log = path.parent / "log"
    dying = process(DYING, path, approved.id, ACTION, clock.now_s, log, at)
    dying.communicate(timeout=30)
    assert dying.returncode == -9
    desk.recover(map(json.loads, log.read_text().splitlines()))
    with pytest.raises(NotPending):
        desk.consume(approved.id, ACTION, "s1")
    assert desk.get(approved.id).state is State.CONSUMED

"""A log whose parts are followed apart is judged as one that is read from end to end."""

import os
import signal
from dataclasses import replace

import pytest

from audit.stretches import Part, follow
from audit.verify import Code, verify
from mcp_server.cli.processors import spread
from tests.audit.house import House
from tests.audit.test_tamper_matrix import FILES, Scene, fork
from tests.audit.test_verify import COUNT, TAMPERINGS

pytestmark = pytest.mark.threat("T15")


@pytest.fixture(autouse=True)
def many_parts(monkeypatch):
    monkeypatch.setattr("audit.stretches.STRETCH_BYTES", 400)
    monkeypatch.setattr("audit.stretches.WORTHWHILE_BYTES", 0)


class Counted:
    """Maps as `spread` does, in this process, and counts the parts."""

    def __init__(self) -> None:
        self.parts = 0

    def __call__(self, work, parts):
        self.parts += len(parts)
        return map(work, parts)


def both(log, keys, **more):
    """Return the two reports, without how far a broken log was read."""
    counted = Counted()
    reports = [verify(log, keys, **more), verify(log, keys, **more, spread=counted)]
    return [replace(one, records=0, root="") if one.code else one for one in reports], counted.parts


def test_a_whole_log_has_the_same_root(house):
    house.filled(200)
    (one, other), parts = both(house.path, house.keys)
    assert one == other
    assert (one.code, one.records, parts > 20) == (Code.VERIFIED, 200, True)


def test_a_short_log_is_not_cut_and_a_long_one_tells_how_far_it_is(house, monkeypatch):
    house.filled(200)
    told, counted = [], Counted()
    verify(house.path, house.keys, spread=counted, progress=told.append)
    assert len(told) >= counted.parts > 20
    assert told == sorted(told)
    assert told[-1] == 200
    monkeypatch.setattr("audit.stretches.WORTHWHILE_BYTES", 1 << 20)
    counted = Counted()
    assert verify(house.path, house.keys, spread=counted).records == 200
    assert counted.parts == 0


@pytest.mark.parametrize("tamper", [row[0] for row in TAMPERINGS], ids=lambda one: one.__name__)
def test_what_was_done_to_lines_is_found_alike(house, tamper):
    house.filled(COUNT)
    house.put(tamper(house.lines()))
    (one, other), _ = both(house.path, house.keys)
    assert one == other
    assert one.code is Code.TAMPERED


@pytest.mark.parametrize("row", FILES, ids=lambda row: row[0].__name__)
def test_what_was_done_to_files_is_found_alike(house, monkeypatch, row):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 1000)
    scene = Scene(house)
    row[0](scene)
    (one, other), _ = both(house.path, [scene.first], pinned=scene.kept if row[0] is fork else None)
    assert one == other


def parts_of(house: House) -> list[list[bytes]]:
    """Return the lines of each part; what is left is the last."""
    cut, size = [[]], 0
    for line in house.lines():
        cut[-1].append(line)
        size += len(line)
        if size > 400 * len(cut):
            cut.append([])
    return cut


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        ([0, 1, 3], "deleted"),
        ([0, 1, 1, 2, 3], "inserted"),
        ([0, 2, 1, 3], "deleted"),
        ([1, 2, 3], "swapped"),
    ],
    ids=["removed", "repeated", "exchanged", "beheaded"],
)
def test_parts_that_are_whole_in_themselves_must_also_follow(house, order, kind):
    house.filled(60)
    cut = parts_of(house)
    cut = [*cut[:3], [line for part in cut[3:] for line in part]]
    house.put([line for number in order for line in cut[number]])
    (one, other), _ = both(house.path, house.keys)
    assert one == other
    assert (one.code, one.findings[-1].kind) == (Code.TAMPERED, kind)


def test_a_part_that_cannot_be_read_is_no_stretch(tmp_path):
    assert follow(Part(tmp_path / "gone", 0, 0, 400)) is None


def test_processes_read_the_parts(house):
    house.filled(300)
    assert verify(house.path, house.keys, spread=spread).records == 300
    house.put([line for line in house.lines() if b'"number":150' not in line])
    (finding,) = verify(house.path, house.keys, spread=spread).findings
    assert (finding.kind, finding.seq) == ("deleted", 150)


def test_a_process_that_is_killed_leaves_its_part_to_the_reader(house):
    house.filled(300)

    def dying(_, parts):
        return spread(_killed, parts)

    assert verify(house.path, house.keys, spread=dying).code is Code.VERIFIED


def _killed(part):
    if part.start > 4000:
        os.kill(os.getpid(), signal.SIGKILL)
    return follow(part)

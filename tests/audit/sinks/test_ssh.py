"""A copy of the log over a real sshd: it verifies there, and what is wrong with it is noticed."""

import shutil

import pytest

from audit.sinks.deliver import RecordSink
from audit.sinks.follow import Follower, Position
from audit.sinks.ssh import Place, RemoteCopy
from audit.verify import verify
from tests.audit.house import House
from tests.audit.sinks.receivers import delivering
from tests.sandbox.remote.sshd import SSHD, start

pytestmark = [
    pytest.mark.threat("T15"),
    pytest.mark.skipif(SSHD is None, reason="no sshd on this machine"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = start(tmp_path_factory.mktemp("ssh") / "sshd")
    yield running
    running.process.terminate()
    running.process.wait()


@pytest.fixture
def place(server, tmp_path):
    known = tmp_path / "known_hosts"
    known.write_text(server.known_hosts_line + "\n")
    directory = str(tmp_path / "copies" / "box")
    return Place("127.0.0.1", server.port, server.user, directory, server.identity, known)


def copying(house: House, place: Place):
    return delivering(house, RecordSink("copy", RemoteCopy(place, house.path)))


def copied(house: House, tmp_path) -> bool:
    copy = tmp_path / "copies" / "box"
    whole = b"".join(path.read_bytes() for path in sorted(house.path.glob("seg-*.jsonl")))
    return (copy / "seg-000000000000.jsonl").read_bytes() == whole


async def test_the_copy_is_a_log_that_verifies(house, place, tmp_path):
    house.filled(800)
    assert await copying(house, place).once()
    assert copied(house, tmp_path)
    report = verify(tmp_path / "copies" / "box", house.keys)
    assert (report.code, report.records) == (0, 800)
    house.filled(5)
    assert await copying(house, place).once()
    assert verify(tmp_path / "copies" / "box", house.keys).records == 805


async def test_what_a_broken_connection_left_half_written_is_completed(house, place, tmp_path):
    house.filled(10)
    assert await copying(house, place).once()
    house.filled(6)
    copy = tmp_path / "copies" / "box" / "seg-000000000000.jsonl"
    with copy.open("ab") as file:  # as if the connection had ended within the second record
        file.write(house.segment.read_bytes()[copy.stat().st_size :][:300])
    assert await copying(house, place).once()
    assert copied(house, tmp_path)


async def test_a_copy_that_was_cut_or_written_to_is_an_alarm_and_stays_as_it_is(
    house, place, tmp_path
):
    house.filled(10)
    assert await copying(house, place).once()
    house.filled(3)
    copy = tmp_path / "copies" / "box" / "seg-000000000000.jsonl"
    whole = copy.read_bytes()
    for found, why in ((whole[:-5], "it was cut"), (whole + b"{}\n", "something else")):
        copy.write_bytes(found)
        delivery = copying(house, place)
        assert not await delivery.once()
        assert why in delivery.state.failure
        assert copy.read_bytes() == found


@pytest.mark.threat("T22")
async def test_a_machine_with_another_key_gets_nothing(house, place, tmp_path):
    house.filled(3)
    place.known_hosts.write_text("")
    delivery = copying(house, place)
    assert not await delivery.once()
    assert "Host key is not trusted" in delivery.state.failure
    assert not (tmp_path / "copies").exists()


async def test_what_the_server_refuses_is_said(house, place, tmp_path):
    house.filled(3)
    (tmp_path / "copies").write_text("a file where the directory should be")
    delivery = copying(house, place)
    assert not await delivery.once()
    assert delivery.state.failure.startswith(f"{place.user}@127.0.0.1:")
    (tmp_path / "copies").unlink()
    assert await delivery.once()


async def test_a_log_of_several_segments_is_one_file_there(house, place, tmp_path, monkeypatch):
    monkeypatch.setattr("audit.log.MAX_SEGMENT_BYTES", 2000)
    house.filled(40)
    assert len(list(house.path.glob("seg-*.jsonl"))) > 3
    assert await copying(house, place).once()
    assert copied(house, tmp_path)
    shutil.copy(house.path / "checkpoint", tmp_path / "copies" / "box" / "checkpoint")
    assert verify(tmp_path / "copies" / "box", house.keys).code == 0


async def test_the_copy_of_a_rotated_log_verifies_with_the_key_that_began_it(
    house, place, tmp_path
):
    first = house.keys
    house.filled(5).rotated().filled(2)
    house.rotated()
    log = Follower(house.path, lambda: first)
    copy = RemoteCopy(place, house.path)
    start = Position()
    for _ in range(3):
        batch = log.read(start, log.head())
        assert await copy.send(batch) == 0
        start = batch.end
        report = verify(tmp_path / "copies" / "box", first)
        assert (report.code, report.records) == (0, log.head().checkpoint.size)
        house.rotated()
    await copy.close()

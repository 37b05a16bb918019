"""Records as datagrams: to a socket that stands for syslog, and to one for the journal."""

import json
import re
import socket
import threading

import pytest

from audit.sinks import local
from audit.sinks.deliver import RecordSink
from tests.audit.sinks.receivers import delivering


class Daemon:
    """A datagram socket that reads until closed."""

    def __init__(self, path) -> None:
        self.path, self.got = path, []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while data := self._socket.recv(1 << 18):
            self.got.append(data)

    def close(self) -> list[bytes]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as last:
            last.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()
        self.path.unlink()
        return self.got


@pytest.fixture
def daemon(tmp_path):
    return Daemon(tmp_path / "socket")


@pytest.mark.threat("T15")
async def test_syslog_gets_rfc_5424_messages_with_the_record_unchanged(house, daemon):
    log = house.open()
    log.append({"event": "exec.outcome", "policy": {"effect": "deny"}, "note": "a\nb\u2028ü"})
    log.append({"event": "exec.outcome", "big": "x" * 60_000})
    log.close()
    assert await delivering(house, RecordSink("sys", local.syslog(daemon.path, 10))).once()
    got = daemon.close()
    shape = rb"<(\d+)>1 2026-01-02T03:04:0\d\.000000Z \S+ permitgate \d+ (\S+) - (.*)"
    found = [re.fullmatch(shape, one, re.S).groups() for one in got]
    assert [level for level, _, _ in found] == [b"86", b"84", b"86"]
    assert [name for _, name, _ in found] == [b"log.open", b"exec.outcome", b"exec.outcome"]
    assert [line + b"\n" for _, _, line in found] == house.lines()


@pytest.mark.threat("T15")
async def test_the_journal_gets_fields_that_no_record_can_forge(house, daemon):
    log = house.open()
    log.append({"event": "log.recovered", "note": "x\nPRIORITY=0\n"})
    log.close()
    assert await delivering(house, RecordSink("j", local.journald(daemon.path))).once()
    _, entry = daemon.close()
    head, _, rest = entry.partition(b"MESSAGE\n")
    assert head == (
        b"PRIORITY=3\nSYSLOG_IDENTIFIER=permitgate\nPERMITGATE_SEQ=1\n"
        b"PERMITGATE_EVENT=log.recovered\n"
    )
    size = int.from_bytes(rest[:8], "little")
    assert len(rest) == 8 + size + 1
    assert rest[8:-1] + b"\n" == house.lines()[1]
    assert json.loads(rest[8:-1])["note"] == "x\nPRIORITY=0\n"


@pytest.mark.threat("T15")
async def test_records_wait_while_no_daemon_listens(house, tmp_path, daemon):
    house.filled(3)
    path = daemon.path
    daemon.close()
    delivery = delivering(house, RecordSink("sys", local.syslog(path, 1)))
    assert not await delivery.once()
    assert "No such file" in delivery.state.failure
    again = Daemon(path)
    assert await delivery.once()
    assert len(again.close()) == 3


@pytest.mark.threat("T15")
async def test_a_daemon_that_does_not_read_is_left_after_a_while(house, tmp_path, monkeypatch):
    monkeypatch.setattr(local, "FULL_S", 0.05)
    house.filled(400)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(str(tmp_path / "deaf"))
        delivery = delivering(house, RecordSink("sys", local.syslog(tmp_path / "deaf", 1)))
        assert not await delivery.once()
        assert "timed out" in delivery.state.failure

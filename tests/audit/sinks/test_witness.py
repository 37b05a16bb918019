"""A conforming witness cosigns what only grew, and refuses what did not."""

from dataclasses import replace

import pytest

from audit.note import COSIGNATURE, PublicKey, open_checkpoint, open_note
from audit.sinks.cosigned import Cosigned
from audit.sinks.deliver import Delivery
from audit.sinks.follow import Follower
from audit.sinks.http import Endpoint
from audit.sinks.state import Book
from audit.sinks.witness import Witness
from audit.trust import TrustPolicy
from audit.verify import verify
from tests.audit.house import Clock
from tests.audit.sinks.receivers import FAST, ConformingWitness, delivering, following, web

pytestmark = pytest.mark.threat("T15")


@pytest.fixture
def asked(house):
    with web() as receiver:
        receiver.reply = ConformingWitness(house.keys[0])
        yield receiver


def witnessing(house, receiver, name="w1", every_s=1e-9):
    endpoint = Endpoint(receiver.url + "/add-checkpoint")
    key = witness_key(receiver.reply)
    return delivering(house, Witness(name, endpoint, key, every_s=every_s))


def witness_key(witness):
    return PublicKey.parse(witness.vkey, COSIGNATURE)


def kept(house, receiver, size):
    """The checkpoint kept for one size, which the log and this witness signed."""
    data = (house.path / "cosignatures" / str(size)).read_bytes()
    assert open_note(data, [witness_key(receiver.reply)])
    assert data.decode().count(f"— {receiver.reply.name} ") == 1
    return open_checkpoint(data, house.keys)


async def test_each_growth_is_proven_and_cosigned(house, asked):
    sizes = []
    for more in (3, 1, 7, 530, 2):
        house.filled(more)
        assert await witnessing(house, asked).once()
        sizes.append(asked.reply.size)
    assert sizes == [3, 4, 11, 541, 543]
    assert not asked.reply.refused
    assert len(asked.requests) == 5
    for size in sizes:
        assert kept(house, asked, size).size == size
        pinned = (house.path / "cosignatures" / str(size)).read_bytes()
        assert verify(house.path, house.keys, pinned=pinned).code == 0


async def test_nothing_is_asked_while_nothing_is_new_or_it_is_too_soon(house, asked):
    house.filled(3)
    delivery = witnessing(house, asked, every_s=3600)
    assert await delivery.once()
    assert await delivery.once()
    house.filled(2)
    assert await delivery.once()
    assert [body.partition(b"\n")[0] for _, _, body in asked.requests] == [b"old 0"]


async def test_a_lost_memory_is_refreshed_by_the_witness(house, asked):
    house.filled(300)
    assert await witnessing(house, asked).once()
    (house.path / "sinks" / "w1.json").unlink()
    house.filled(400)
    assert await witnessing(house, asked).once()
    assert asked.reply.refused == [409]
    assert asked.reply.size == 700
    (house.path / "sinks" / "w1.json").unlink()
    assert await witnessing(house, asked).once()  # and when nothing grew meanwhile
    assert kept(house, asked, 700).size == 700


async def test_a_log_that_was_rolled_back_is_found_by_the_witness(house, asked):
    house.filled(20)
    assert await witnessing(house, asked).once()
    for path in (*house.path.glob("seg-*"), *house.path.glob("checkpoint*")):
        path.unlink()
    (house.path / "sinks" / "w1.json").unlink()  # whoever rolls back takes this back too
    house.filled(5)
    delivery = witnessing(house, asked)
    assert not await delivery.once()
    assert "has cosigned 20 records" in delivery.state.failure
    house.filled(30)  # grown again, beyond what the witness knows: another history
    delivery = witnessing(house, asked)
    assert not await delivery.once()
    assert "answered 422" in delivery.state.failure
    assert asked.reply.size == 20


async def test_a_second_witness_is_asked_about_the_same_checkpoint(house, asked):
    house.filled(10)
    assert await witnessing(house, asked, every_s=60).once()
    house.filled(4)
    with web() as other:
        other.reply = ConformingWitness(house.keys[0], name="witness.example/w2")
        assert await witnessing(house, other, "w2", every_s=60).once()
        assert other.reply.size == 10
        text = (house.path / "cosignatures" / "10").read_text()
        assert text.count("— ") == 3
        assert kept(house, asked, 10) == kept(house, other, 10)
        quorum = f"log {house.keys[0].vkey}\nwitness w1 {asked.reply.vkey}\n"
        quorum += f"witness w2 {other.reply.vkey}\ngroup both all w1 w2\nquorum both\n"
        report = verify(house.path, TrustPolicy.parse(quorum.encode()))
        assert (report.code, report.witnessed) == (0, 10)


@pytest.mark.parametrize("change", ["time", "name", "key"])
async def test_an_answer_without_its_cosignature_is_no_yes(house, asked, change):
    house.filled(3)
    right = asked.reply
    delivery = witnessing(house, asked)
    other = replace(right, name="witness.example/w9") if change == "name" else right

    def wrong(body):
        status, headers, said = other(body)
        if change == "time":
            text, _, encoded = said.decode().rpartition(" ")
            return status, headers, f"{text} {encoded[:8]}AAAB{encoded[12:]}".encode()
        return status, headers, said if change == "name" else b"thank you\n"

    asked.reply = wrong
    assert not await delivery.once()
    assert delivery.state.position.size == 0


async def test_a_witness_goes_on_after_the_logs_key_was_rotated(house, asked):
    first = house.keys
    house.filled(5)
    assert await witnessing(house, asked).once()
    house.rotated().filled(3)
    asked.reply.log_key = house.keys[0]  # its operator was told the new key
    endpoint = Endpoint(asked.url + "/add-checkpoint")
    witness = Witness("w1", endpoint, witness_key(asked.reply), every_s=1e-9)
    book = Book(house.path, "w1", Clock())
    log = Follower(house.path, lambda: first)  # what the owner pinned is the key that began it
    assert await Delivery(witness, log, book, FAST).once()
    size = log.head().checkpoint.size
    assert asked.reply.size == size
    pinned = (house.path / "cosignatures" / str(size)).read_bytes()
    assert verify(house.path, first, pinned=pinned).code == 0


def test_what_is_kept_of_another_log_is_not_asked_about(house):
    house.filled(3)
    head = following(house).head()
    directory = house.path / "cosignatures"
    directory.mkdir(mode=0o700)
    (directory / "99").write_bytes(head.note)
    assert Cosigned(house.path).choose(head, 0, 60) == head
    assert (directory / "3").read_bytes() == head.note

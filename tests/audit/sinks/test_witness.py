"""A conforming witness cosigns what only grew, and refuses what did not."""

from dataclasses import replace

import pytest

from audit.cosignature import WitnessKey, cosignatures
from audit.errors import NoteError
from audit.note import open_checkpoint
from audit.sinks.cosigned import Cosigned
from audit.sinks.http import Endpoint
from audit.sinks.witness import Witness
from audit.verify import verify
from tests.audit.sinks.receivers import ConformingWitness, delivering, following, web

pytestmark = pytest.mark.threat("T15")


@pytest.fixture
def asked(house):
    with web() as receiver:
        receiver.reply = ConformingWitness(house.keys[0])
        yield receiver


def witnessing(house, receiver, name="w1", every_s=1e-9):
    endpoint = Endpoint(receiver.url + "/add-checkpoint")
    key = WitnessKey.parse(receiver.reply.vkey)
    return delivering(house, Witness(name, endpoint, key, every_s=every_s))


def kept(house, receiver, size):
    """The checkpoint kept for one size, and its cosignatures."""
    data = (house.path / "cosignatures" / str(size)).read_bytes()
    checkpoint = open_checkpoint(data, house.keys)
    lines = data.decode().partition("\n\n")[2].splitlines()
    return checkpoint, cosignatures(
        checkpoint.text(), lines, [WitnessKey.parse(receiver.reply.vkey)]
    )


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
        checkpoint, (one,) = kept(house, asked, size)
        assert (checkpoint.size, one.at) == (size, asked.reply.now)
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
    assert len(kept(house, asked, 700)[1]) == 1


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
        assert len(kept(house, asked, 10)[1]) == len(kept(house, other, 10)[1]) == 1


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


@pytest.mark.parametrize(
    "vkey",
    ["", "name", "name+00000000+AAAA", "name+00000000+*", "n+00000000+" + "BA" + "A" * 42 + "="],
)
def test_only_a_witnesss_own_key_is_one(vkey):
    with pytest.raises(NoteError):
        WitnessKey.parse(vkey)


def test_a_line_of_another_witness_is_passed_over(house):
    witness = ConformingWitness(house.keys[0])
    house.filled(2)
    head = following(house).head()
    line = witness(b"old 0\n\n" + head.note)[2].decode().rstrip("\n")
    text = head.checkpoint.text()
    mine = WitnessKey.parse(witness.vkey)
    stranger = WitnessKey.parse(ConformingWitness(house.keys[0]).vkey)
    assert len(cosignatures(text, [line, "no signature"], [mine])) == 1
    assert cosignatures(text, [line], [stranger]) == []
    with pytest.raises(NoteError, match="does not verify"):
        cosignatures(text + b"x", [line], [mine])


def test_what_is_kept_of_another_log_is_not_asked_about(house):
    house.filled(3)
    head = following(house).head()
    directory = house.path / "cosignatures"
    directory.mkdir(mode=0o700)
    (directory / "99").write_bytes(head.note)
    assert Cosigned(house.path).choose(head, 0, 60) == head
    assert (directory / "3").read_bytes() == head.note

import pytest

from audit.chain import MAX_LINE_BYTES, Chain
from audit.errors import RecordRefused


def test_a_chain_makes_no_line_longer_than_a_line_may_be():
    chain = Chain()
    with pytest.raises(RecordRefused, match="shorten or hash"):
        chain.extend(b'{"a":"' + b"x" * MAX_LINE_BYTES + b'"}')
    assert chain.size == 0


def test_lines_followed_one_by_one_and_in_blocks_lead_to_one_root():
    writer, by_line, by_block = Chain(), Chain(), Chain()
    lines = [writer.extend(b'{"n":%d}' % number) for number in range(1000)]
    raw = [line + b"\n" for line in lines]
    assert Chain().extend_block(b'{"n":%d}' % number for number in range(1000)) == lines
    for line in raw:
        assert by_line.follow_block([line]) == 1
    assert by_block.follow_block(raw[:7]) + by_block.follow_block(raw[7:]) == 1000
    assert by_block.frontier.root() == by_line.frontier.root() == writer.frontier.root()
    assert by_block.tip == by_line.tip
    assert by_block.follow_block([b"x\n"]) == 0
    assert by_block.why_not(b"x") == "it is not a record of this log"


@pytest.mark.threat("T15")
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda raw: raw.replace(b'"@prev":"', b'"@prev":"x'), "not a record"),
        (lambda raw: raw[:10] + b"f" * 64 + raw[74:], "not the hash"),
        (lambda raw: raw.replace(b'"@seq":', b'"@seq":1'), "it says @seq"),
        (lambda raw: raw[:-2] + b"\n", "one complete object"),
        (lambda raw: raw[:-1], "cut short"),
        (lambda raw: raw[:-2] + b"x" * MAX_LINE_BYTES + b"}\n", "at most 65,535"),
        (lambda _: b"\n", "blank line"),
    ],
)
def test_a_block_is_followed_up_to_the_line_that_does_not(place, spoil, why):
    writer, reader, twin = Chain(), Chain(), Chain()
    block = [writer.extend(b'{"n":%d}' % number) + b"\n" for number in range(5)]
    twin.follow_block(block[:place])
    block[place] = spoil(block[place])
    assert reader.follow_block(block) == place
    assert (reader.tip, reader.frontier.root()) == (twin.tip, twin.frontier.root())
    assert why in reader.why_not(block[place])

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
    for line in lines:
        by_line.follow(line)
    raw = [line + b"\n" for line in lines]
    assert by_block.follow_block(raw[:7]) + by_block.follow_block(raw[7:]) == 1000
    assert by_block.frontier.root() == by_line.frontier.root() == writer.frontier.root()
    assert by_block.tip == by_line.tip
    assert by_block.follow_block([b"x\n"]) == 0
    assert by_block.why_not_raw(b"x") == "it is not a record of this log"
    assert by_block.why_not_raw(by_block.extend(b'{"n":1}')) != ""

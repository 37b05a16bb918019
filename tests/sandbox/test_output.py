import hashlib

from hypothesis import given
from hypothesis import strategies as st

from sandbox.output import Collector


@given(st.lists(st.binary(max_size=40), max_size=30), st.integers(0, 64))
def test_head_and_tail_are_kept_and_the_whole_is_counted_and_hashed(chunks, max_bytes):
    collector = Collector(max_bytes)
    for chunk in chunks:
        collector.feed(chunk)
    whole, output = b"".join(chunks), collector.close()
    assert output.total_bytes == len(whole)
    assert output.sha256 == hashlib.sha256(whole).hexdigest()
    assert len(output.head) + len(output.tail) == min(len(whole), max_bytes)
    assert whole.startswith(output.head)
    assert whole.endswith(output.tail)
    assert output.truncated == (len(whole) > max_bytes)
    if not output.truncated:
        assert (output.head, output.tail) == (whole, b"")


def test_memory_stays_bounded_however_long_the_stream_is():
    collector = Collector(1000)
    for _ in range(10_000):
        collector.feed(b"x" * 999)
    assert sum(map(len, collector._tail)) < 3000

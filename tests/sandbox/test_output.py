import hashlib
import tracemalloc

import pytest
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


@pytest.mark.threat("T14")
@pytest.mark.parametrize("chunk_bytes", [1, 999, 5000])
def test_memory_stays_bounded_however_long_the_stream_and_however_small_its_pieces(chunk_bytes):
    collector = Collector(20_000)
    tracemalloc.start()
    for _ in range(200_000 // chunk_bytes):
        collector.feed(b"x" * chunk_bytes)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 80_000

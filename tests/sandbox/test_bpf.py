import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import bpf
from tests.sandbox.seccomp.trial import Filter

ARCH = 0xC000003E
ANSWERS = st.sampled_from([bpf.ALLOW, bpf.ERRNO | 1, bpf.ERRNO | 38])
WORDS = st.integers(0, 9) | st.sampled_from([0x40000000, 0xFFFFFFFF])


def questions(inner: st.SearchStrategy[bpf.Answer]) -> st.SearchStrategy[bpf.Answer]:
    return st.builds(
        bpf.Question, st.integers(0, 1), st.sampled_from([bpf.IS, bpf.AT_LEAST, bpf.HAS]), WORDS,
        inner, inner, st.sampled_from([bpf.ALL_BITS, 0xF]),
    )  # fmt: skip


ANSWERED = st.recursive(ANSWERS, questions, max_leaves=12)


def expected(answer: bpf.Answer, arguments: tuple[int, int]) -> int:
    while isinstance(answer, bpf.Question):
        value = arguments[answer.argument] & answer.mask
        met = {bpf.IS: value == answer.value, bpf.AT_LEAST: value >= answer.value,
               bpf.HAS: bool(value & answer.value)}  # fmt: skip
        answer = answer.yes if met[answer.kind] else answer.no
    return answer


@pytest.mark.threat("T12")
@given(
    calls=st.dictionaries(st.integers(0, 40), ANSWERED, max_size=30),
    above=st.dictionaries(st.integers(1, 50), ANSWERED, max_size=2),
    arguments=st.tuples(WORDS, WORDS),
)
def test_the_program_answers_as_the_table_does(calls, above, arguments):
    others = {0: bpf.ALLOW, **above}
    program = Filter(bpf.assemble(ARCH, calls, others))
    for asked in {*calls, *(each + 1 for each in calls), *others, 60}:
        start = max(each for each in others if each <= asked)
        answer = calls.get(asked, others[start])
        assert program.answer(ARCH, asked, *arguments) == expected(answer, arguments)


def test_a_table_longer_than_a_jump_is_still_answered():
    calls = {number: bpf.bits(number % 6, number + 1, bpf.ERRNO | number) for number in range(900)}
    program = Filter(bpf.assemble(ARCH, calls, {0: bpf.ALLOW}))
    assert len(program.code) > 2_000
    for number in range(900):
        assert program.answer(ARCH, number, *[0xFFFF] * 6) == bpf.ERRNO | number
        assert program.answer(ARCH, number) == bpf.ALLOW
    assert program.answer(ARCH ^ 1, 5) == bpf.KILL

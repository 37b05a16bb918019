"""Answers per system call to a classic BPF program, as seccomp takes it.

Pure. The program finds the call's number by halving, so no call pays for the length of the table.
It is written from its end: every jump of BPF goes forward, so what it jumps to is there already.
Source: seccomp(2), linux/filter.h, linux/seccomp.h (struct seccomp_data, little-endian).
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

KILL, ERRNO, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
IS, AT_LEAST, HAS = 0x15, 0x35, 0x45  # JEQ, JGE, JSET
ALL_BITS = 0xFFFFFFFF

_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_NUMBER_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_LONGEST_JUMP = 250  # 255, less what may come between


@dataclass(frozen=True, slots=True)
class Question:
    """One question about an argument's low half: the kernel reads these arguments as 32 bits."""

    argument: int
    kind: int
    value: int
    yes: "Answer"
    no: "Answer"
    mask: int = ALL_BITS


Answer = int | Question


def bits(argument: int, mask: int, yes: Answer, no: Answer = ALLOW) -> Answer:
    """Return `yes` where the argument has any of these bits."""
    return Question(argument, HAS, mask, yes, no)


def one_of(
    argument: int, values: Iterable[int], yes: Answer, no: Answer, mask: int = ALL_BITS
) -> Answer:
    """Return `yes` where the argument, within the mask, is one of the values."""
    for value in values:
        no = Question(argument, IS, value, yes, no, mask)
    return no


def assemble(arch: int, calls: Mapping[int, Answer], others: Mapping[int, Answer]) -> bytes:
    """Return the program for one architecture; another one's calls kill the process.

    Args:
        arch: its AUDIT_ARCH value.
        calls: what each of these numbers is answered.
        others: the answer to all other numbers, by the number from which on it holds, 0 first.
    """
    starts = dict(others)
    for number in sorted(calls):
        after = max(start for start in others if start <= number + 1)
        starts |= {number: calls[number], number + 1: others[after]}
    merged = [next(same) for _, same in groupby(sorted(starts.items(), key=_first), key=_answer)]
    code = _Backwards()
    search = code.search(merged)
    ours = code.load(_NUMBER_OFFSET, search)
    code.load(_ARCH_OFFSET, code.jump(IS, arch, ours, code.answer(KILL)))
    return code.finish()


def _first(part: tuple[int, Answer]) -> int:
    return part[0]


def _answer(part: tuple[int, Answer]) -> Answer:
    return part[1]


class _Backwards:
    """Instructions, last one first; a place is an index into them."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, int]] = []
        self._places: dict[Answer, int] = {}

    def search(self, parts: list[tuple[int, Answer]]) -> int:
        """Add the search for the part that holds the number; return its place."""
        if len(parts) == 1:
            return self.answer(parts[0][1])
        half = len(parts) // 2
        below, above = self.search(parts[:half]), self.search(parts[half:])
        return self.jump(AT_LEAST, parts[half][0], above, below)

    def answer(self, answer: Answer) -> int:
        """Add an answer, once and within reach of a jump; return its place."""
        place = self._places.get(answer)
        is_far = len(self._code) - (place or 0) > _LONGEST_JUMP
        if place is None or (is_far and isinstance(answer, int)):
            place = self._add(_RETURN, answer) if isinstance(answer, int) else self._ask(answer)
            self._places[answer] = place
        return place

    def _ask(self, asked: Question) -> int:
        yes, no = self.answer(asked.yes), self.answer(asked.no)
        if isinstance(asked.no, Question) and (asked.argument, asked.mask) == (
            asked.no.argument,
            asked.no.mask,
        ):
            no -= 1 if asked.mask == ALL_BITS else 2  # it is loaded already
        place = self.jump(asked.kind, asked.value, yes, no)
        if asked.mask != ALL_BITS:
            place = self._add(_AND, asked.mask)
        return self.load(_ARGUMENTS_OFFSET + 8 * asked.argument, place)

    def jump(self, kind: int, value: int, yes: int, no: int) -> int:
        """Add a question about what is loaded."""
        yes, no = self._near(yes), self._near(no)
        here = len(self._code)
        return self._add(kind, value, here - yes - 1, here - no - 1)

    def load(self, offset: int, then: int) -> int:
        """Add the load of one field, and go on at `then`."""
        if then != len(self._code) - 1:
            self._add(_JUMP, len(self._code) - then - 1)
        return self._add(_LOAD, offset)

    def finish(self) -> bytes:
        return b"".join(struct.pack("=HBBI", *each) for each in reversed(self._code))

    def _near(self, place: int) -> int:
        distance = len(self._code) - place - 1
        return place if distance < _LONGEST_JUMP else self._add(_JUMP, distance)

    def _add(self, op: int, k: int, yes: int = 0, no: int = 0) -> int:
        self._code.append((op, yes, no, k))
        return len(self._code) - 1

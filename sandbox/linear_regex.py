"""Regular expressions in linear time: the subset that an automaton decides, no backtracking.

Pure. A line costs one table look-up per character once the table is warm; the table is built
lazily and bounded. Syntax as in Python's `re` without captures, back-references and look-around,
which cannot be linear. Source: Cox, "Regular Expression Matching Can Be Simple And Fast" (2007).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, assert_never

from sandbox.permit import SandboxError

MAX_PATTERN = 1000
_MAX_STATES = 5000
_MAX_REPEAT = 1000
_MAX_DEPTH = 50
_MAX_TABLE = 50_000  # transitions kept before the table starts afresh
_CLOCK_EVERY = 256  # table misses between looks at the clock
_CLASSES = {"d": str.isdecimal, "w": lambda c: c.isalnum() or c == "_", "s": str.isspace}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_ASSERTIONS: dict[str, "Kind"] = {"b": "boundary", "B": "inside", "A": "begin", "Z": "end"}
Kind = Literal["begin", "end", "boundary", "inside"]
Beside = Literal["edge", "word", "other"]  # what is left or right of a position


class PatternError(SandboxError):
    """The pattern is not of the linear subset; nothing was searched."""


@dataclass(frozen=True, slots=True)
class _Chars:
    ranges: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()  # d w s, upper case for the complement
    negated: bool = False

    def has(self, char: str, *, ignore_case: bool) -> bool:
        found = self._names(char) or (ignore_case and self._names(char.swapcase()))
        return found != self.negated

    def _names(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) or any(
            _CLASSES[name.lower()](char) != name.isupper() for name in self.classes
        )


@dataclass(frozen=True, slots=True)
class _Row:
    items: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Choice:
    items: tuple["_Node", ...]


@dataclass(frozen=True, slots=True)
class _Repeat:
    item: "_Node"
    low: int
    high: int | None


@dataclass(frozen=True, slots=True)
class _Assert:
    kind: Kind


_Node = _Chars | _Row | _Choice | _Repeat | _Assert
_ANY = _Chars(negated=True)


class _Parser:
    """Recursive descent over one pattern; depth, length and repeats are bounded."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def refuse(self, message: str) -> PatternError:
        return PatternError(f"pattern character {self.at + 1}: {message}")

    def peek(self, size: int = 1) -> str:
        return self.text[self.at : self.at + size]

    def take(self) -> str:
        char = self.peek()
        if not char:
            raise self.refuse("the pattern ends too early")
        self.at += 1
        return char

    def choice(self, depth: int = 0) -> _Node:
        if depth > _MAX_DEPTH:
            raise self.refuse(f"groups nest deeper than {_MAX_DEPTH}")
        items = [self.row(depth)]
        while self.peek() == "|":
            self.at += 1
            items.append(self.row(depth))
        return items[0] if len(items) == 1 else _Choice(tuple(items))

    def row(self, depth: int) -> _Node:
        items: list[_Node] = []
        while self.peek() not in {"", "|", ")"}:
            items.append(self.repeat(self.atom(depth)))
        return _Row(tuple(items))

    def repeat(self, item: _Node) -> _Node:
        bounds = self.bounds()
        if bounds is None:
            return item
        if isinstance(item, _Assert):
            raise self.refuse("an assertion cannot repeat")
        if self.peek() == "?":  # lazy: which lines match is the same
            self.at += 1
        if self.peek() in {"*", "+", "?"} and self.peek():
            raise self.refuse("a repeat of a repeat; put the inner one into (?:…)")
        return _Repeat(item, *bounds)

    def bounds(self) -> tuple[int, int | None] | None:
        simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(self.peek())
        if simple is not None:
            self.at += 1
            return simple
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at + 1 : end].partition(",")
        if self.peek() != "{" or end < 0 or not (low or "0").isdecimal() or not low + comma:
            return None  # as in re, a brace that bounds nothing is itself
        if not (high or "0").isdecimal():
            return None
        least = int(low or "0")
        most = (int(high) if high else None) if comma else least
        if max(least, most or 0) > _MAX_REPEAT or (most is not None and most < least):
            raise self.refuse(f"repeat bounds must ascend and be at most {_MAX_REPEAT}")
        self.at = end + 1
        return least, most

    def atom(self, depth: int) -> _Node:
        char = self.take()
        if char == "(":
            return self.group(depth)
        if char == "[":
            return self.brackets()
        if char == "\\":
            return self.escape()
        if char in "*+?":
            raise self.refuse(f"{char!r} has nothing to repeat")
        fixed: dict[str, _Node] = {".": _ANY, "^": _Assert("begin"), "$": _Assert("end")}
        return fixed.get(char, _Chars(((char, char),)))

    def group(self, depth: int) -> _Node:
        if self.peek() == "?":
            if self.peek(2) != "?:":
                raise self.refuse(
                    "only (…) and (?:…) are groups here: look-around, names and inline flags are "
                    "not supported, except (?i) at the start"
                )
            self.at += 2
        inside = self.choice(depth + 1)
        if self.peek() != ")":
            raise self.refuse("a group is not closed")
        self.at += 1
        return inside

    def escape(self) -> _Node:
        char = self.take()
        if char in _ASSERTIONS:
            return _Assert(_ASSERTIONS[char])
        if char.lower() in _CLASSES:
            return _Chars(classes=(char,))
        literal = self.escaped(char)
        return _Chars(((literal, literal),))

    def escaped(self, char: str) -> str:
        if char in {"x", "u"}:
            size = 2 if char == "x" else 4
            digits = self.peek(size)
            if len(digits) != size or any(d not in "0123456789abcdefABCDEF" for d in digits):
                raise self.refuse(f"\\{char} needs {size} hexadecimal digits")
            self.at += size
            return chr(int(digits, 16))
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isalnum():
            raise self.refuse(f"\\{char} is not supported; back-references cannot be linear")
        return char

    def brackets(self) -> _Node:
        negated = self.peek() == "^"
        self.at += negated
        ranges: list[tuple[str, str]] = []
        classes: list[str] = []
        first = True
        while first or self.peek() != "]":
            first = False
            low = self.member(classes)
            if low is None:
                continue
            high = low
            if self.peek() == "-" and self.peek(2) not in {"-]", "-"}:
                self.at += 1
                high = self.member([]) or ""
            if high < low:
                raise self.refuse("a character range must ascend")
            ranges.append((low, high))
        self.at += 1
        return _Chars(tuple(ranges), tuple(classes), negated)

    def member(self, classes: list[str]) -> str | None:
        """Return one character of a bracket, or None after noting a class such as \\d."""
        char = self.take()
        if char != "\\":
            return char
        char = self.take()
        if char.lower() in _CLASSES:
            classes.append(char)
            return None
        return "\b" if char == "b" else self.escaped(char)


class Pattern:
    """A compiled pattern; `found` says whether a line contains a match."""

    def __init__(self, pattern: str) -> None:
        """Compile `pattern`.

        Raises:
            PatternError: syntax outside of the subset, or too large; says at which character.
        """
        if len(pattern) > MAX_PATTERN:
            raise PatternError(f"the pattern is longer than {MAX_PATTERN} characters")
        self._ignore_case = pattern.startswith("(?i)")
        parser = _Parser(pattern.removeprefix("(?i)"))
        tree = parser.choice()
        if parser.peek():
            raise parser.refuse("a ')' closes nothing")
        self._chars: list[_Chars | None] = []
        self._asserts: list[Kind | None] = []
        self._outs: list[tuple[int, ...]] = []
        self._match = self._state()
        self._start = self._build(tree, self._match)
        self._reset()

    def _reset(self) -> None:
        self._table: list[dict[str, int]] = []
        self._kernels: list[tuple[frozenset[int], Beside]] = []
        self._numbers: dict[tuple[frozenset[int], Beside], int] = {}
        self._kept = 0

    def _state(
        self, chars: _Chars | None = None, kind: Kind | None = None, outs: tuple[int, ...] = ()
    ) -> int:
        if len(self._outs) >= _MAX_STATES:
            raise PatternError("the pattern is too large once its repeats are written out")
        self._chars.append(chars)
        self._asserts.append(kind)
        self._outs.append(outs)
        return len(self._outs) - 1

    def _build(self, node: _Node, then: int) -> int:
        """Return the state that matches `node` and goes on at `then`."""
        match node:
            case _Chars():
                return self._state(chars=node, outs=(then,))
            case _Assert(kind=kind):
                return self._state(kind=kind, outs=(then,))
            case _Row(items=items):
                for item in reversed(items):
                    then = self._build(item, then)
                return then
            case _Choice(items=items):
                return self._state(outs=tuple(self._build(item, then) for item in items))
            case _Repeat(item=item, low=low, high=high):
                return self._build_repeat(item, low, high, then)
            case _:
                assert_never(node)

    def _build_repeat(self, item: _Node, low: int, high: int | None, then: int) -> int:
        if high is None:
            loop = self._state()
            self._outs[loop] = (self._build(item, loop), then)
            then = loop
        for _ in range((high or low) - low):
            then = self._state(outs=(self._build(item, then), then))
        for _ in range(low):
            then = self._build(item, then)
        return then

    def found(self, line: str, out_of_time: Callable[[], bool]) -> bool:
        """Return whether `line`, without its line end, contains a match.

        Raises:
            TimeoutError: `out_of_time` said so.
        """
        state = self._number((frozenset((self._start,)), "edge"))
        table = self._table
        misses = 0
        for char in line:
            following = table[state].get(char)
            if following is None:
                misses += 1
                if misses % _CLOCK_EVERY == 0 and out_of_time():
                    raise TimeoutError
                following = self._step(state, char)
                table = self._table
            if following < 0:
                return True
            state = following
        kernel, left = self._kernels[state]
        return self._match in self._closure(kernel, left, "edge")

    def _number(self, kernel: tuple[frozenset[int], Beside]) -> int:
        number = self._numbers.get(kernel)
        if number is None:
            number = self._numbers[kernel] = len(self._kernels)
            self._kernels.append(kernel)
            self._table.append({})
        return number

    def _step(self, state: int, char: str) -> int:
        """Compute and keep one transition; -1 says that a match ended before `char`."""
        kernel, left = self._kernels[state]
        right: Beside = "word" if _CLASSES["w"](char) else "other"
        reached = self._closure(kernel, left, right)
        if self._match in reached:
            self._table[state][char] = -1
            return -1
        onward = {self._start}
        for number in reached:
            chars = self._chars[number]
            if chars is not None and chars.has(char, ignore_case=self._ignore_case):
                onward.update(self._outs[number])
        self._kept += 1
        if self._kept > _MAX_TABLE:
            self._reset()
            return self._number((frozenset(onward), right))
        following = self._number((frozenset(onward), right))
        self._table[state][char] = following
        return following

    def _closure(self, kernel: frozenset[int], left: Beside, right: Beside) -> set[int]:
        """Return every state reachable without a character between `left` and `right`."""
        reached: set[int] = set()
        waiting = list(kernel)
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            reached.add(number)
            kind = self._asserts[number]
            if self._chars[number] is None and (kind is None or _holds(kind, left, right)):
                waiting.extend(self._outs[number])
        return reached


def _holds(kind: Kind, left: Beside, right: Beside) -> bool:
    match kind:
        case "begin":
            # After the first character the left side is never an edge again.
            return left == "edge"
        case "end":
            return right == "edge"
        case "boundary":
            return (left == "word") != (right == "word")
        case "inside":
            return (left == "word") == (right == "word")

"""The words of one command sorted into options, values, positionals and a sub-command.

May touch: words and specs. GNU getopt's ways, one-dash long options, `name=value` words.
INVARIANT: every word ends up in exactly one field of Line, or as the value of an option in it.
Source: getopt_long(3); POSIX.1-2024 XBD §12.2.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from policy.programs.spec import STRONG, Does, Option, Role, Spec
from policy.programs.words import HOLE, Argument

Value = Argument | list[Argument] | None
_BEGINS_PATTERN = frozenset("*?[")
A_WORD = "a word"  # which has a meaning by its look
_SWITCHES = frozenset({"true", "false", "yes", "no", "on", "off", "0", "1"})
_MOST_UNKNOWN = 8
_MOST_GUESSES = 96  # options that abbreviations of one command may mean
_ENDS_COMMAND = frozenset({";", "+"})


class Used(NamedTuple):
    """One option as it was written, and the value it took."""

    name: str
    option: Option
    value: Value = None


@dataclass(slots=True)
class Line:
    """The words of one command, sorted by what they are."""

    used: list[Used] = field(default_factory=list)
    unknown: list[Argument] = field(default_factory=list)
    maybe_options: list[Argument] = field(default_factory=list)
    words: list[Argument] = field(default_factory=list)
    command: Argument | None = None
    rest: list[Argument] | None = None
    doubtful: bool = False  # a cluster held a letter nobody described: its modes are only possible

    @property
    def has_mode(self) -> bool:
        """Return whether an option chose a mode."""
        return any(used.option.mode is not None for used in self.used)


def sort(spec: Spec, words: Sequence[Argument]) -> Line:
    """Return the words of one command, without its name, sorted by the spec."""
    return _Sorter(spec, list(words)).sorted() if words else Line()


class _Sorter:
    def __init__(self, spec: Spec, queue: list[Argument]) -> None:
        self._spec, self._queue, self._index = spec, queue, 0
        self._line = Line()
        self._positions = len(spec.args or ())
        self._unknown = self._guessed = 0

    def sorted(self) -> Line:
        ended = False
        while self._index < len(self._queue):
            word = self._queue[self._index]
            self._index += 1
            if ended:
                if self._positional(word):
                    break
            elif word.text == "--":
                ended = True
                self._use_if_listed("--")
            elif self._is_last(word):
                break
        return self._line

    def _is_last(self, word: Argument) -> bool:
        """Place one word; True when the rest is no longer ours to sort."""
        # Most words are plain, and for them neither question need be asked.
        if (word.how != "exact" or word.several) and self._may_be_option(word):
            self._line.maybe_options.append(word)
        if (word.text[:1] in ("-", "+") or "=" in word.text) and self._is_option(word):
            self._option(word)
            return False
        return self._positional(word)

    def _use_if_listed(self, name: str) -> None:
        if name in self._spec.options:
            self._line.used.append(Used(name, self._spec.options[name]))

    def _may_be_option(self, word: Argument) -> bool:
        """Return whether a word that is not known could begin with a dash, where that matters."""
        dynamic = word.text.startswith(HOLE) or (word.several and HOLE in word.text)
        # Only text that a program hands to a shell still has such a pattern: ours are anchored.
        pattern = word.how == "pattern" and _may_begin_with_dash(word.text)
        return (dynamic or pattern) and self._spec.acts

    def _positional(self, word: Argument) -> bool:
        """Place a word that is no option; True when the rest is no longer ours to sort."""
        line, count = self._line, len(self._line.words)
        if self._spec.words and self._has_own_meaning(word):
            return False
        if self._spec.has_commands and count == self._positions and not line.has_mode:
            line.command, line.rest = word, self._queue[self._index :]
            return True
        greedy = self._spec.greedy
        if greedy == count:
            line.rest = self._queue[self._index - 1 :]
            return True
        line.words.append(word)
        if greedy == count + 1:
            line.rest = self._queue[self._index :]
            return True
        return False

    def _has_own_meaning(self, word: Argument) -> bool:
        """Use a word by its glob; a word that is not known may also be any other."""
        plain = self._spec.plain_words.get(word.text)
        if is_known(word):
            found = [plain] if plain is not None else by_glob(self._spec.words, word)
        else:
            # The many that are not known mean no more than the first few.
            self._unknown += 1
            found = by_glob(self._spec.words, word) if self._unknown <= _MOST_UNKNOWN else []
        self._line.used += [Used(A_WORD, option, word) for option in found]
        return bool(found) and is_known(word)

    def _is_option(self, word: Argument) -> bool:
        text, options = word.text, self._spec.options
        if text[:1] == "-":
            return len(text) > 1
        if text[:1] == "+":
            return text in options or text[:2] in options
        return "=" in text and text[: text.index("=") + 1] in options

    def _option(self, word: Argument) -> None:
        text, options = word.text, self._spec.options
        name, equals, _ = text.partition("=")
        value = word.after(len(name) + 1) if equals else None
        if text in options and not text.endswith("="):
            self._take(text, None)
        elif equals and name in options:
            self._take(name, value)
        elif equals and name + "=" in options:
            self._take(name + "=", value)
        elif text.startswith("--"):
            self._abbreviated(word, name, value)
        elif "-#" in options and text[1:].isdigit():
            self._take("-#", None)
        elif text[:1] == "+":
            self._take(text[:2], word.after(2))
        elif not self._spec.clusters:
            self._line.unknown.append(word)
        else:
            self._cluster(word)

    def _abbreviated(self, word: Argument, name: str, value: Argument | None) -> None:
        """Use every option that the word may be short for: only the program knows which."""
        names = self._spec.long_names
        found = [full for full in names[bisect_left(names, name) :][:32] if full.startswith(name)]
        self._guessed += len(found)
        if self._guessed > _MOST_GUESSES:
            found = []  # nobody abbreviates that much: not described
        start = end = self._index
        for full in found:
            self._index = start
            self._take(full, value)
            end = max(end, self._index)
        self._index = end
        if not found:
            self._line.unknown.append(word)
        elif len({self._spec.options[full] for full in found}) > 1:
            self._line.doubtful = True

    def _cluster(self, word: Argument) -> None:
        for at, letter in enumerate(word.text[1:], start=1):
            name = "-" + letter
            option = self._spec.options.get(name)
            if option is None and letter.isdigit():
                option = self._spec.options.get("-#")
            if option is None:
                self._line.unknown.append(word)
                self._line.doubtful = True
                if not self._spec.harmless:
                    return
            elif option.takes is not None:
                rest = word.after(at + 1)
                self._take(name, rest if rest.text else None)
                return
            else:
                self._line.used.append(Used(name, option))

    def _take(self, name: str, attached: Argument | None) -> None:
        option = self._spec.options[name]
        self._take_value(name, option, attached)
        for role in option.more:
            self._line.used.append(Used(f"{name}+", Option(takes=role), self._next()))

    def _next(self) -> Argument | None:
        """Take the next word, if there is one."""
        self._index += 1
        return self._queue[self._index - 1] if self._index <= len(self._queue) else None

    def _take_value(self, name: str, option: Option, attached: Argument | None) -> None:
        role, used, queue = option.takes, self._line.used, self._queue
        if role is None and attached is not None and attached.text in _SWITCHES:
            used.append(Used(name, option))
        elif role is None and attached is not None:
            # A value where the spec knows of none: keep it in sight.
            self._line.unknown.append(Argument(name + "=" + attached.text, attached.how))
            used.append(Used(name, option))
        elif role is not None and role.starts:
            first = [] if attached is None else [attached]
            used.append(Used(name, option, first + queue[self._index :]))
            self._index = len(queue)
        elif role is None or attached is not None or role.optional:
            used += meanings(name, option, attached)
        elif role.name == "command;":
            self._take_command(name, option)
        else:
            used += meanings(name, option, self._next())

    def _take_command(self, name: str, option: Option) -> None:
        queue, start = self._queue, self._index
        ends = (at for at in range(start, len(queue)) if queue[at].text in _ENDS_COMMAND)
        end = next(ends, len(queue))
        self._line.used.append(Used(name, option, queue[start:end]))
        self._index = end + 1


def _may_begin_with_dash(pattern: str) -> bool:
    head = pattern[: pattern.find("]", 2) + 1] if pattern[:1] == "[" else pattern[:1]
    return pattern[:1] in _BEGINS_PATTERN and fnmatchcase("-", (head or "*").replace("[^", "[!"))


def is_known(word: Argument) -> bool:
    """Return whether a word is one certain text."""
    return word.how == "exact" and not word.several


def by_glob(meanings: Sequence[tuple[str, Option]], word: Argument) -> list[Option]:
    """Return the first meaning whose glob the word matches; all of them if it is not known."""
    if not is_known(word):
        return list(dict.fromkeys(option for _, option in meanings))
    return [option for glob, option in meanings if fnmatchcase(word.text, glob)][:1]


def meanings(name: str, option: Option, value: Value) -> Iterator[Used]:
    """Yield an option with its value, and once more for what that value means besides."""
    yield Used(name, option, value)
    if option.values and isinstance(value, Argument):
        found = by_glob(option.values, value)
        yield from (Used(name, one, value) for one in found)
        if not found:
            unknown = Does("opaque", f"<a value of {name} that is not described>")
            yield Used(name, Option(does=(unknown,)), value)


def bind(
    roles: Sequence[Role], words: Sequence[Argument]
) -> Iterator[tuple[Role | None, Argument | list[Argument]]]:
    """Pair roles with words; a repeated role takes what the roles after it leave over.

    A word that may become several ones could also fall to the strong roles after its own.
    """
    at = 0
    for index, role in enumerate(roles):
        if role.takes_the_rest:
            yield role, list(words[at:])
            return
        if role.repeats:
            end = max(at, len(words) - (len(roles) - index - 1))
            yield from ((role, word) for word in words[at:end])
            at = end
        elif at < len(words):
            yield role, words[at]
            if words[at].several:
                yield from _also(roles[index + 1 :], words[at])
            at += 1
    yield from ((None, word) for word in words[at:])


def _also(roles: Sequence[Role], word: Argument) -> Iterator[tuple[Role, Argument]]:
    for role in roles:
        if role.name in STRONG and not role.takes_the_rest:
            yield role, word

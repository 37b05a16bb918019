"""Step 9 of the road: secrets leave neither to the agent nor to the log.

May touch: values. The digest and size of a stream stay those of what the command printed, so
evidence about the original remains checkable by whoever has it. Besides what every run hides, a
rule may name words: `ACME-*` is hidden from there to the end of the word it stands in.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from audit.redact import Redactor
from mcp_server.known_secrets import of_call
from policy.globs import Token, text_tokens
from sandbox.outcome import (
    ChangesOutcome,
    CommandOutcome,
    Effects,
    FileOutcome,
    Outcome,
    Output,
    RemoteOutcome,
)

LONGEST_SECRET = 4096  # bytes; a longer line is cut by as much on either side
BY_RULE = "[redacted:by-rule]"
_WORD = re.compile(r"\S+")


def redacted(
    redactor: Redactor,
    outcome: Outcome,
    globs: tuple[str, ...] = (),
    entries: tuple[tuple[str, str], ...] = (),
) -> Outcome:
    """Return the outcome without the secrets we can recognise and the words that `globs` name.

    Args:
        redactor: what every call hides.
        outcome: what the runner returned.
        globs: words that the rules behind this call hide.
        entries: the environment that this call set; what is secret in it is known by heart.
    """
    known = of_call(entries)
    hide = _Hiding(redactor.knowing(known) if known else redactor, globs)
    match outcome:
        case CommandOutcome():
            return replace(
                outcome,
                stdout=_output(hide, outcome.stdout),
                stderr=_output(hide, outcome.stderr),
                message=hide.text(outcome.message),
                effects=_effects(hide, outcome.effects),
                contacts=tuple(replace(one, host=hide.text(one.host)) for one in outcome.contacts),
            )
        case ChangesOutcome():
            return replace(outcome, effects=_effects(hide, outcome.effects))
        case FileOutcome():
            return replace(
                outcome,
                content=hide.data(outcome.content),
                matches=tuple(replace(one, text=hide.text(one.text)) for one in outcome.matches),
            )
        case RemoteOutcome():
            hosts = tuple(
                replace(host, stdout=_output(hide, host.stdout), stderr=_output(hide, host.stderr))
                for host in outcome.hosts
            )
            return replace(outcome, hosts=hosts)
        case _:
            return outcome


def _effects(hide: "_Hiding", effects: Effects | None) -> Effects | None:
    """Return what became of the workspace without the secrets in its names."""
    if effects is None:
        return None

    def hidden(paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(hide.text, paths))

    return replace(
        effects,
        created=hidden(effects.created),
        modified=hidden(effects.modified),
        deleted=hidden(effects.deleted),
        attributes=hidden(effects.attributes),
        conflicts=hidden(effects.conflicts),
        left_out=hidden(effects.left_out),
    )


def without_words(text: str, globs: tuple[str, ...]) -> str:
    """Return text without the words that rules hide; for what is no outcome, such as a diff."""
    for glob in globs:
        text = _hidden_word(glob).hide(text)
    return text


@dataclass(frozen=True, slots=True)
class _HiddenWord:
    """A glob over part of a word: how it begins, and what must follow in the same word."""

    start: re.Pattern[str]
    rest: re.Pattern[str] | None  # None: there is no `*`, and each place is hidden

    def hide(self, text: str) -> str:
        rest = self.rest
        if rest is None:
            return self.start.sub(BY_RULE, text)
        # What does not follow the first beginning follows no later one: one look at each word.
        return _WORD.sub(lambda word: self._within(word[0], rest), text)

    def _within(self, word: str, rest: re.Pattern[str]) -> str:
        start = self.start.search(word)
        end = rest.match(word, start.end()) if start is not None else None
        if start is None or end is None:
            return word
        return word[: start.start()] + BY_RULE + word[end.end() :]


@dataclass(frozen=True, slots=True)
class _Hiding:
    redactor: Redactor
    globs: tuple[str, ...]

    def data(self, data: bytes) -> bytes:
        return self._without_words(self.redactor.redact(data))

    def cut(self, head: bytes, tail: bytes) -> tuple[bytes, bytes]:
        head, tail = self.redactor.redact_cut(head, tail)
        return self._without_words(head), self._without_words(tail)

    def _without_words(self, data: bytes) -> bytes:
        if not self.globs:
            return data
        text = data.decode("utf-8", "surrogateescape")
        return without_words(text, self.globs).encode("utf-8", "surrogateescape")

    def text(self, text: str) -> str:
        return without_words(self.redactor.redact_text(text), self.globs)


@lru_cache(maxsize=256)
def _hidden_word(glob: str) -> _HiddenWord:
    pieces = [""]
    for token in text_tokens(glob, hidden=True):
        pieces = [*pieces, ""] if token is None else [*pieces[:-1], pieces[-1] + _one(token)]
    if len(pieces) == 1:
        return _HiddenWord(re.compile(pieces[0]), None)
    # Each piece but the last is taken where it first fits, for good: no way back over the word.
    middle = "".join(rf"(?>.*?{piece})" for piece in pieces[1:-1])
    return _HiddenWord(re.compile(pieces[0]), re.compile(rf"{middle}.*{pieces[-1]}", re.S))


def _one(token: Token) -> str:
    """Return the expression of one character of a word."""
    listed = "".join(re.escape(char) for char in sorted(token.members)) if token else ""
    if token is None or token.negated:
        return rf"[^\s{listed}]"
    return f"[{listed}]"


def _output(hide: _Hiding, output: Output) -> Output:
    head, tail = output.head, output.tail
    if tail:
        # What lies across the cut cannot be recognised from its two ends: whole lines only.
        head, tail = hide.cut(_until_last_line_end(head), _from_first_line_start(tail))
        return replace(output, head=head, tail=tail)
    return replace(output, head=hide.data(head))


def _until_last_line_end(data: bytes) -> bytes:
    end = data.rfind(b"\n", -LONGEST_SECRET)
    return data[: end + 1] if end >= 0 else data[:-LONGEST_SECRET]


def _from_first_line_start(data: bytes) -> bytes:
    end = data.find(b"\n", 0, LONGEST_SECRET)
    # Never empty: the tail is what says that something was cut out.
    return data[end:] if end >= 0 else data[LONGEST_SECRET:] or b"\n"

"""Text that the grammar refuses, scanned crudely into blocks, pipelines and commands.

Never refuses: it splits at every operator, follows the reserved words that open and close blocks,
and hands each written word to `Reading.words`. One pass; the caller's budget counts the tokens.
"""

import re
from dataclasses import replace

import policy.shell.tree as t
from policy.shell.blocks import (
    HIDES_CODE,
    LITERAL,
    MAX_WORDS,
    Block,
    Frame,
    Item,
    Late,
    Reading,
    Written,
    ends,
    plain_words,
)

MAX_NESTING = 12  # substitutions and quotes
MAX_BLOCKS = 16

_TOKEN = re.compile(
    r"(?P<part>\$\(\([^()`\n]*\)\)|\\.|'[^']*'|\$'(?:\\.|[^'\\])*'|[^\s\\'\"$`;|&()<>#]+)"
    r"|(?P<blank>[ \t]+|\\\n)|(?P<open>[$<>]\()|(?P<redirect>&>>?|<<<|<<-?|<>|[<>]&|>>|>\||[<>])"
    r"|(?P<end>\|[|&]?|&&?|;[;&]*|\n)|(?P<paren>\()|(?P<close>\))|(?P<tick>`)|(?P<quote>\")"
    r"|(?P<comment>#[^\n]*)|(?P<other>.)",
    re.S,
)
_QUOTED = re.compile(
    r"(?P<part>\$\(\([^()`\n]*\)\)|\\.|[^\\\"$`]+)|(?P<open>\$\()|(?P<tick>`)|(?P<quote>\")|(?P<other>.)",
    re.S,
)
_PLAIN = re.compile(
    rf"[ \t]*+(?!function[ \t])(([A-Za-z0-9_./:+,@%^-]++)(?:[ \t]++{LITERAL})*)[ \t]*+"
    r"(?:(;(?![;&])|&&|\|\|)|(?=[;&|\n)]|\Z)(?!&>))"
)
_RUN = re.compile(rf"(?:{LITERAL}[ \t]++)+")
_FUNCTION = re.compile(
    r"[ \t]*+(?:function[ \t]++([^\s\\'\"$`;|&()<>#]++)[ \t]*+(?:\([ \t]*+\))?"
    r"|([^\s\\'\"$`;|&()<>#]++)[ \t]*+\([ \t]*+\))[ \t\n]*+"
)
_NUMBERS = re.compile(r"\(\([^()\n]*+\)\)")
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]]*\])?(\+?)=")
_QUOTES = re.compile(r"['\"\\]")
_LEADS = frozenset({"then", "elif", "else", "do", "!", "time", "coproc"})
_OPENERS = frozenset({"{", "if", "while", "until", "for", "select", "case"})
_CLOSES = {
    "}": ("{",),
    "fi": ("if",),
    "done": ("while", "until", "for", "select"),
    "esac": ("case",),
}
_WORDS = _LEADS | _OPENERS | frozenset(_CLOSES) | {"[[", "function"}
_PRINTERS = frozenset({"echo", "true", "false", ":"})  # of literals, to nobody: no effect
_LOOPS = frozenset({"for", "select"})
_CONDITIONED = frozenset({"while", "until"})
_MOST_DOCUMENTS = 32
_COMMAND_COST = 12  # in tokens
_QUOTING = ('"', "never")


class Scan:
    """One pass over one text, with a stack of frames for what is inside what."""

    def __init__(self, reading: Reading, text: str) -> None:
        self.reading, self.text, self.pos = reading, text, 0
        self.frames = [Frame("")]
        self.bodies = dict[int, int]()  # of here-documents: the newline before -> first after
        self.blocks = self.documents = 0
        self.seen, self.functions = set[str](), set[str]()

    def quoted(self) -> list[Item]:
        """Return the commands in the substitutions of quoted text."""
        self.frames.append(Frame("never"))
        self._tokens()
        return self._outermost().inner

    def run(self) -> list[Late]:
        """Return the statements of the text, as far as the budget goes."""
        self._tokens()
        return self._outermost().blocks[0].statements

    def _outermost(self) -> Frame:
        """End everything that is still open."""
        while len(self.frames) > 1:
            self._pop(len(self.text))
        self._end_word(len(self.text))
        self._end("")
        self._close(self.frames[0], None)
        return self.frames[0]

    def _tokens(self) -> None:
        while self.pos < len(self.text) and self.reading.tokens > 0:
            self.reading.tokens -= 1
            frame = self.frames[-1]
            is_quoted = frame.closing in _QUOTING
            if not is_quoted and frame.start < 0 and self._whole(frame):
                continue
            # Both patterns end in one that matches anything.
            found = (_QUOTED if is_quoted else _TOKEN).finditer(self.text, self.pos)
            self._token(next(found), is_quoted)

    def _whole(self, frame: Frame) -> bool:
        """Step over plain words, a plain command or the head of a function: what most text is."""
        if frame.is_data or frame.closed or frame.redirect:
            return False
        if frame.words:
            found = _RUN.match(self.text, self.pos)
            if found:
                self.pos = found.end()
                frame.words += plain_words(found.group())
            return found is not None
        if frame.blocks[-1].opener == "case":
            return False
        found = _PLAIN.match(self.text, self.pos)
        if found and found[2] not in _WORDS:
            self.pos = found.end()
            self._plain(frame, *found.groups())
        elif found := _FUNCTION.match(self.text, self.pos):
            self.pos = found.end()
            frame.blocks[-1].defines = name = found[1] or found[2]
            self.functions.add(name)
        elif found := _NUMBERS.match(self.text, self.pos):
            self.pos = found.end()
        return found is not None

    def _plain(self, frame: Frame, written: str, program: str, separator: str | None) -> None:
        """Take a plain command; one that repeats another or only prints to nobody is dropped."""
        block = frame.blocks[-1]
        alone = not (block.pipeline or frame.redirects or self.text.startswith("|", self.pos))
        if not alone or block.defines:
            frame.words = plain_words(written)
            if separator:
                self._end(separator)
        elif any(outer.function for outer in frame.blocks):
            block.statements.append(written)  # which happens only when the function is called
        elif written not in self.seen and (program not in _PRINTERS or program in self.functions):
            self.seen.add(written)
            block.statements.append(written)

    def _token(self, found: re.Match[str], is_quoted: bool) -> None:
        start, self.pos = self.pos, found.end()
        match found.lastgroup:
            case "blank":
                self._end_word(start)
            case "end":
                self._end_word(start)
                self._end(found.group())
                self.pos = self.bodies.pop(start, self.pos)
            case "redirect":
                self._redirect(found.group(), start)
            case "comment":
                self.pos = self.pos if self.frames[-1].start < 0 else start + 1
            case "paren" if self._opened(start):
                pass
            case "close" if self._closed(start):
                pass
            case _:
                self._nesting(found.lastgroup, start, is_quoted)

    def _opened(self, start: int) -> bool:
        """Begin a subshell; False if the parenthesis is part of a word."""
        frame = self.frames[-1]
        if frame.is_data or (frame.start >= 0 and self.text[start - 1] in "=?*+@!"):
            return False
        self._end_word(start)
        self._lead(frame)
        if frame.words:
            self._end(";")
        self._open(frame, "(")
        return True

    def _closed(self, start: int) -> bool:
        """End a subshell or the pattern of a `case`; False if a substitution ends."""
        frame = self.frames[-1]
        is_open = any(block.opener == "(" for block in frame.blocks)
        if not is_open and frame.closing == ")" and frame.blocks[-1].opener != "case":
            return False
        self._end_word(start)
        self._lead(frame)
        if frame.blocks[-1].opener == "case" and not frame.blocks[-1].pipeline:
            self._drop(frame)
        else:
            self._end("")
            frame.closed = self._close(frame, ("(",))
        return True

    # Substitutions and quotes

    def _nesting(self, kind: str | None, start: int, is_quoted: bool) -> None:
        """Begin or go on with a word; enter or leave what may be nested in it."""
        frame = self.frames[-1]
        closes = kind == "close" or (kind == "tick" and frame.closing == "`")
        if closes or (kind == "quote" and is_quoted):
            self._pop(start)
            return
        if frame.start < 0:
            frame.start = start
        if kind in ("open", "paren"):
            self._push(Frame(")", is_data=kind == "paren"))
        elif kind == "tick":
            self._push(Frame("`"))
        elif kind == "quote":
            self._push(Frame('"'))

    def _push(self, frame: Frame) -> None:
        if len(self.frames) < MAX_NESTING:
            self.frames.append(frame)
        else:
            self.frames[-1].start = -1
            self._end(";")

    def _pop(self, at: int) -> None:
        """Leave a substitution or quotes; what was found inside belongs to the word around."""
        frame = self.frames[-1]
        if len(self.frames) == 1 or (frame.closing == "never" and at < len(self.text)):
            return
        self._end_word(at)
        self._end("")
        self._close(frame, None)
        self.frames.pop()
        self.frames[-1].inner += [*self.settled(frame.blocks[0].statements), *frame.inner]

    # Words and redirections

    def _redirect(self, operator: str, start: int) -> None:
        frame = self.frames[-1]
        fd = None
        if frame.start >= 0 and self.text[frame.start : start].isdecimal():
            fd, frame.start = int(self.text[frame.start : start][:3]), -1
        self._end_word(start)
        frame.redirect = (fd, operator)

    def _end_word(self, at: int) -> None:
        frame = self.frames[-1]
        if frame.start < 0:
            return
        written, frame.start = self.text[frame.start : at], -1
        if frame.closing in _QUOTING or frame.is_data:
            return
        inner, frame.inner = tuple(frame.inner), []
        if frame.redirect is None:
            frame.words.append((written, inner))
            return
        (fd, operator), frame.redirect = frame.redirect, None
        if operator in ("<<", "<<-"):
            self._here_document(frame, fd, written, at)
        else:
            target = self.reading.words(written, inner)[0]
            frame.redirects.append(t.Redirect(fd, operator, target))

    def _here_document(self, frame: Frame, fd: int | None, written: str, at: int) -> None:
        line_end = self.text.find("\n", at)
        self.documents += 1
        if line_end < 0 or self.documents > _MOST_DOCUMENTS:
            return
        delimiter = _QUOTES.sub("", written)
        start = self.bodies.get(line_end, line_end + 1)
        found = re.compile(rf"^\t*{re.escape(delimiter)}$", re.M).search(self.text, start)
        end = found.start() if found else len(self.text)
        self.bodies[line_end] = found.end() if found else end
        body = self.text[start:end]
        frame.redirects.append(t.Redirect(fd, "<<<", t.Word((t.Literal(body.removesuffix("\n")),))))
        if delimiter == written:
            frame.blocks[-1].statements += self.reading.fragment(body, is_quoted=True)

    # Commands and blocks

    def _lead(self, frame: Frame) -> None:
        """Take the reserved words from the front of a command: they open and close blocks."""
        frame.words = ends(frame.words)
        while frame.words and not frame.is_data and (first := frame.words[0][0]) in _WORDS:
            if first in _CLOSES and (closed := self._close(frame, _CLOSES[first])):
                frame.closed = closed
                self._drop(frame)
            elif first in _OPENERS:
                self._open(frame, first)
            elif first == "[[":
                self._drop(frame)
            else:
                self._stepped(frame, first)

    def _stepped(self, frame: Frame, first: str) -> None:
        """Step over a word that begins no block."""
        block = frame.blocks[-1]
        if first == "do" and block.opener in _CONDITIONED and block.condition is None:
            block.condition = t.Sequence(self.settled(block.statements))
            block.statements = []
        is_named = first == "coproc" and [word for word, _ in frame.words[2:3]] == ["{"]
        frame.words = frame.words[2 if is_named else 1 :]

    def _open(self, frame: Frame, opener: str) -> None:
        frame.words = frame.words[1:]
        outer, is_open = frame.blocks[-1], self.blocks < MAX_BLOCKS
        if is_open:
            self.blocks += 1
            frame.blocks.append(Block(opener, function=outer.defines))
            outer.defines = ""
        if opener in _LOOPS and is_open:
            frame.blocks[-1].words, frame.words = frame.words, []
        elif opener in _LOOPS or opener == "case":
            self._drop(frame)

    def _drop(self, frame: Frame) -> None:
        """Forget words that are no command, but not the commands inside them."""
        for written, inner in frame.words:
            hides = not inner and HIDES_CODE.search(written)
            found = self.reading.fragment(written, is_quoted=True) if hides else inner
            frame.blocks[-1].statements += found or ()
        frame.words = []

    def _close(self, frame: Frame, openers: tuple[str, ...] | None) -> t.Command | None:
        """Close the blocks down to the last one with such an opener, or all; return that one."""
        kept = len(frame.blocks) if openers else 1
        for index in range(len(frame.blocks) - 1, 0, -1):
            if openers and frame.blocks[index].opener in openers:
                kept = index
                break
        command: t.Command | None = None
        while len(frame.blocks) > kept:
            block = frame.blocks.pop()
            self.blocks -= 1
            if command is not None:
                block.pipeline.append(command)
            block.flush("")
            command = self._made(block)
        if openers is None and command is not None:
            frame.blocks[-1].pipeline.append(command)
            frame.blocks[-1].flush("")
            return None
        return command

    def _made(self, block: Block) -> t.Command:
        """Return the command that a block is."""
        body = t.Sequence(self.settled(block.statements))
        made: t.Compound | None = None
        if block.opener in _CONDITIONED and block.condition is not None:
            made = t.While(block.condition, body, until=block.opener == "until")
        elif block.opener in _LOOPS and [word for word, _ in block.words[1:2]] == ["in"]:
            words = [one for word in block.words[2:] for one in self._words(*word)]
            made = t.For(block.words[0][0], tuple(words[:MAX_WORDS]), body)
        if not block.function:
            return made or (t.Subshell(body) if block.opener == "(" else t.Group(body))
        return t.FunctionDef(block.function, t.Group(t.Sequence((made,)) if made else body))

    def _end(self, separator: str) -> None:
        """End a command, and its pipeline too if no `|` follows."""
        frame = self.frames[-1]
        if frame.closing in _QUOTING or frame.is_data:
            return
        self._lead(frame)
        command = self._command(frame)
        if command is not None:
            frame.blocks[-1].pipeline.append(command)
        goes_on = separator in ("|", "|&") or (separator == "\n" and command is None)
        if not goes_on:
            frame.blocks[-1].flush(separator)

    def _command(self, frame: Frame) -> t.Command | None:
        words, redirects, closed = frame.words, tuple(frame.redirects), frame.closed
        frame.words, frame.redirects, frame.redirect, frame.closed = [], [], None, None
        if closed is not None:
            if isinstance(closed, t.FunctionDef):
                return closed
            return replace(closed, redirects=redirects)
        return self._simple(words, redirects) if words or redirects else None

    def _simple(self, written: list[Written], redirects: t.Redirects) -> t.Command:
        self.reading.tokens -= _COMMAND_COST + len(written)
        assignments, words = list[t.Assignment](), list[t.Word]()
        for one, inner in written:
            named = _ASSIGN.match(one) if not words else None
            if named:
                value = self.reading.words(one[named.end() :] or "''", inner or ())[0]
                if inner and "[" in named[0]:  # bash computes the subscript too
                    computed = t.Word((t.Substitution(t.Sequence(inner), quoted=True),))
                    assignments.append(t.Assignment(named[1], computed))
                assignments.append(t.Assignment(named[1], value, append=bool(named[2])))
            else:
                words += self._words(one, inner)
        command = t.SimpleCommand(tuple(assignments), tuple(words), redirects)
        return self.reading.evaluated(command)

    def _words(self, written: str, inner: tuple[Item, ...] | None) -> list[t.Word]:
        if inner is None:
            return [t.Word((t.Literal(written),))]
        return self.reading.words(written, inner)

    def settled(self, statements: list[Late]) -> tuple[Item, ...]:
        """Return statements with the plain ones made, as far as the budget goes."""
        made = list[Item]()
        for one in statements:
            if not isinstance(one, str):
                made.append(one)
            elif self.reading.tokens > 0:
                made.append(self._simple(plain_words(one), ()))
        return tuple(made)

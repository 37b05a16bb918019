"""Simple commands, declarations, and the expressions of `[[ ]]`.

Source: Bash Reference Manual §3.2.2, §3.2.5.2 and §3.4; parse.y where the manual is silent.
"""

import re

import policy.shell.tree as t
from policy.shell import evaluation
from policy.shell.builtins import DECLARATIONS, NUMERIC_TESTS
from policy.shell.cursor import MAX_DEPTH
from policy.shell.redirections import REDIRECT, RedirectionReader, is_list
from policy.shell.tildes import Context

_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\+?)=")
_PLAIN_WORD = re.compile(r"([A-Za-z0-9_./:@%+=,^-]+)(?:[ \t]+|(?=[\n;|)]|&(?!>)|\Z))")
_AFTER_EMPTY = re.compile(r"[ \t]|&>|[<>](?!\()|\\\n[ \t]")
_SUBSCRIPT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")
_UNARY = re.compile(r"-[a-hknoprstuvwxzGLNORS](?=[ \t\n])")
_BINARY = re.compile(r"(==|=~|!=|=|<|>|-(?:eq|ne|lt|le|gt|ge|nt|ot|ef))(?=[ \t\n])")
# A regular expression that no expansion touches and no quoting shields: it stays as written.
_ONE = (
    r"[A-Za-z0-9_./:@%,=+*?|^-]|\[\^?(?:\[:[a-z]+:\]|[A-Za-z0-9_./:@%,=+-])+\]"
    r"|\\[]().{}|*+?^$/[-]|\{[0-9]+(?:,[0-9]*)?\}|\$(?=[ \t\n)|])"
)
_GROUP = rf"\((?:{_ONE}|\((?:{_ONE})*\))*\)"
_REGULAR = re.compile(rf"(?:{_ONE}|{_GROUP})+(?=[ \t\n]+(?:\]\]|&&|\|\||\)))")


class SimpleReader(RedirectionReader):
    """Reads one simple command, or what is inside `[[ ]]`."""

    def __init__(self, text: str, depth: int = 0) -> None:
        super().__init__(text, depth)
        self.joined_tests = 0

    def simple(self) -> t.Command:
        """Read a simple command or a declaration."""
        here = self.pos
        if _SUBSCRIPT.match(self.text, here):
            raise self.refuse("array element")
        assignments, words, redirects = list[t.Assignment](), list[t.Word](), list[t.Redirect]()
        keyword = ""
        while not keyword and not self.at_end():
            if found := REDIRECT.match(self.text, self.pos):
                redirects.append(self.redirection(found))
            elif not words and (found := _ASSIGN.match(self.text, self.pos)):
                assignments.append(self._assignment(found, declared=False))
            else:
                words.extend(self.arguments())
                keyword = self._keyword(words, assignments)
            self.blank()
            self._plain_words(words if not keyword else [])
        if self.pos == here:
            raise self.refuse("a command was expected")
        if keyword:
            return self.checked(self._declaration(keyword, redirects), here)
        if words and any(isinstance(one.value.parts[0], t.Array) for one in assignments):
            raise self.refuse("array before a command", here)
        command = t.SimpleCommand(tuple(assignments), tuple(words), tuple(redirects))
        return self.checked(command, here)

    def _plain_words(self, words: list[t.Word]) -> None:
        """Read on for as long as words are plain: most words of most commands are."""
        pos, before = self.pos, len(words)
        while words and (found := _PLAIN_WORD.match(self.text, pos)):
            words.append(t.Word((t.Literal(found[1]),)))
            pos = found.end()
        if pos > self.pos:
            self.pos = pos
            self.spend(len(words) - before)
            self.blank()

    def _keyword(self, words: list[t.Word], assignments: list[t.Assignment]) -> str:
        """Return the declaration keyword this command has just been found to begin with."""
        name = words[0].literal if len(words) == 1 else None
        if name not in DECLARATIONS:
            return ""
        # Bash parses the assignments of a declaration only behind its bare name.
        if assignments or not self.text.startswith(name, self.pos - len(name)):
            raise self.refuse("quoted or prefixed declaration")
        return name

    def _declaration(self, keyword: str, redirects: list[t.Redirect]) -> t.Declaration:
        arguments = list[t.Word | t.Assignment]()
        while not self.at_end():
            if found := REDIRECT.match(self.text, self.pos):
                redirects.append(self.redirection(found))
            elif found := _ASSIGN.match(self.text, self.pos):
                arguments.append(self._assignment(found, declared=True))
            else:
                arguments.extend(self.arguments())
            self.blank()
        self.declares |= any(map(evaluation.may_be_array, arguments))
        return t.Declaration(keyword, tuple(arguments), tuple(redirects))

    def checked(self, command: t.Command, start: int) -> t.Command:
        """Return the command, or refuse it if bash would evaluate data in it as shell text."""
        if reason := evaluation.refusal(command):
            raise self.refuse(reason, start)
        self.counts |= evaluation.splits_numbers(command)
        return command

    def _assignment(self, found: re.Match[str], *, declared: bool) -> t.Assignment:
        self.spend(2)
        self.pos = found.end()
        if self.took("("):
            return t.Assignment(found[1], self._array(), append=bool(found[2]))
        # `x=<(a)` is a value, `x=<a` an empty one before a redirection.
        is_empty = self.at_end() or _AFTER_EMPTY.match(self.text, self.pos) is not None
        read = self.single_word if declared else self.word
        value = t.Word((t.Literal(""),)) if is_empty else read(Context.VALUE)
        return t.Assignment(found[1], value, append=bool(found[2]))

    def _array(self) -> t.Word:
        """Read the words of an array from just inside its parentheses to just after them."""
        start, words = self.pos, list[t.Word]()
        self.lines()
        while not self.took(")"):
            if self.pos >= self.end:
                raise self.refuse("unterminated array", start)
            words.extend([self._indexed(len(words))] if self.at("[") else self.arguments())
            self.lines()
        if any(map(_is_unsure, words)) or not (self.at_end() or self.text[self.pos] in " \t"):
            raise self.refuse("array", start)
        return t.Word((t.Array(tuple(words)),))

    def _indexed(self, index: int) -> t.Word:
        """Read `[index]=value`, which bash does not split; other subscripts it would compute."""
        if not self.took(f"[{index}]="):
            raise self.refuse("array subscript")
        is_empty = self.at_end() or self.text[self.pos] in " \t"
        start, value = self.pos, None if is_empty else self.single_word(Context.VALUE)
        if value is not None and any(map(is_list, value.parts)):
            raise self.refuse("list as an element of an array", start)
        return value or t.Word((t.Literal(""),))

    def expression(self, depth: int = 0) -> t.TestExpression:
        """Read an expression of `[[ ]]`: `||` binds least, then `&&`, then `!`."""
        if depth > MAX_DEPTH:
            raise self.refuse("nested deeper than 32")
        left = self._conjunction(depth)
        while self._takes("||"):
            left = t.BothTests(left, "||", self._conjunction(depth))
        return left

    def _conjunction(self, depth: int) -> t.TestExpression:
        left = self._negation(depth)
        while self._takes("&&"):
            left = t.BothTests(left, "&&", self._negation(depth))
        return left

    def _takes(self, operator: str) -> bool:
        self.lines()
        found = self.took(operator)
        # Each `&&` of `a && b && c` is one level of the tree.
        self.joined_tests += found
        if self.joined_tests > MAX_DEPTH:
            raise self.refuse("more than 32 joined tests")
        return found

    def _negation(self, depth: int) -> t.TestExpression:
        self.lines()
        if self.reserved() == "!":
            self.pos += 1
            if depth > MAX_DEPTH:
                raise self.refuse("nested deeper than 32")
            return t.NotTest(self._negation(depth + 1))
        if self.took("("):
            inner = self.expression(depth + 1)
            self.lines()
            if not self.took(")"):
                raise self.refuse(") was expected")
            return inner
        return self._leaf()

    def _leaf(self) -> t.TestExpression:
        if found := _UNARY.match(self.text, self.pos):
            self.pos = found.end()
            self.blank()
            return t.UnaryTest(found.group(), self.word(Context.VALUE))
        left = self.word(Context.VALUE)
        self.blank()
        found = _BINARY.match(self.text, self.pos)
        if not found:
            return t.UnaryTest("-n", left)
        self.pos = found.end()
        self.blank()
        operator = "==" if found[1] == "=" else found[1]
        if operator == "=~":
            return t.BinaryTest(left, operator, self._regular())
        self.counts |= operator in NUMERIC_TESTS
        context = Context.PATTERN if operator in ("==", "!=") else Context.VALUE
        return t.BinaryTest(left, operator, self.word(context))

    def _regular(self) -> t.Word:
        found = _REGULAR.match(self.text, self.pos)
        if not found:
            raise self.refuse("regular expression match")
        self.pos = found.end()
        return t.Word((t.Glob(found.group()),))


def _is_unsure(word: t.Word) -> bool:
    """Return whether bash may read a word of an array as a subscript, or its tilde otherwise."""
    first, *rest = word.parts
    is_bracket = isinstance(first, t.Glob) and first.text[0] == "["
    return is_bracket or any(isinstance(part, t.Tilde | t.ProcessSubstitution) for part in rest)

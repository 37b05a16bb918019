"""Bash's grammar above the simple command: lists, pipelines, compound commands, functions.

Recursive descent; every level counts against MAX_DEPTH, so no text can exhaust the stack.
Source: parse.y of bash 5.2; Bash Reference Manual §3.2.
"""

import re
from dataclasses import replace

from typing_extensions import override

import policy.shell.tree as t
from policy.shell.builtins import BUILTINS
from policy.shell.cursor import MAX_DEPTH, RefusalError
from policy.shell.redirections import REDIRECT, RESERVED
from policy.shell.simple import SimpleReader
from policy.shell.tildes import Context

_FUNCTION = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*\([ \t]*\)[ \t\n]*(?=[{(])")
_FUNCTION_WORD = re.compile(
    r"function[ \t]+([A-Za-z_][A-Za-z0-9_.-]*)[ \t]*(?:\([ \t]*\))?[ \t\n]*(?=[{(])"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?=[ \t\n;])")
_HEADER_PIECE = re.compile(r"[A-Za-z0-9_ \t+\-*/%<>=!,$]*")
_HEADER_PIECES = 3
_TIME_OPTION = re.compile(r"-p[ \t]+(?![-])")
_CLOSERS = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})


class Grammar(SimpleReader):
    """Reads a whole script, or the commands inside a substitution."""

    def script(self) -> t.Sequence:
        """Read the whole text."""
        sequence = self._sequence()
        if self.pos < self.end:
            raise self.refuse("unexpected token")
        return sequence

    @override
    def substituted(self, closing: str) -> t.Sequence:
        """Read commands from just inside `$(`, `<(` or a backquote to just after `closing`."""
        self.spend(2)
        if closing == "`":
            return self._backquote_body(self.text.index("`", self.pos))
        start, sequence = self.pos, self._nested()
        self._expect(closing)
        if self.heredoc_at >= start and self.line_bound >= self.pos:
            raise self.refuse("here-document that a substitution does not hold", start)
        return sequence

    def _backquote_body(self, close: int) -> t.Sequence:
        inner = Grammar(self.text[self.pos : close], self.depth + 1)
        inner.work = self.work
        try:
            sequence = inner.script()
        except RefusalError as refusal:
            raise self.refuse(refusal.reason, self.pos + refusal.place) from None
        self.work, self.counts = inner.work, self.counts or inner.counts
        self.declares |= inner.declares
        self.pos = close + 1
        return sequence

    def _expect(self, token: str) -> None:
        self.lines()
        if token.isalpha() and self.reserved() != token:
            raise self.refuse(f"{token} was expected")
        if not self.took(token):
            raise self.refuse(f"{token} was expected")

    def _nested(self) -> t.Sequence:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.refuse("nested deeper than 32")
        sequence = self._sequence()
        self.depth -= 1
        return sequence

    def _body(self) -> t.Sequence:
        here, sequence = self.pos, self._nested()
        if not sequence.statements:
            raise self.refuse("empty body", here)
        return sequence

    def _sequence(self) -> t.Sequence:
        statements = list[t.Statement | t.Background]()
        self.lines()
        while self.pos < self.end and not self._at_close():
            statement = self._and_or()
            self.blank()
            statements.append(t.Background(statement) if self._ended_by_and() else statement)
            self.lines()
        return t.Sequence(tuple(statements))

    def _ended_by_and(self) -> bool:
        """Step over what separates two statements, and return whether it was `&`."""
        following = self.text[self.pos : self.pos + 2]
        match following[:1]:
            case "&" if following not in ("&&", "&>"):
                self.pos += 1
                return True
            case ";" if following not in (";;", ";&"):
                self.pos += 1
            case "\n" | ")" | "":
                pass
            case _ if following != ";;":
                raise self.refuse("unexpected token")
        return False

    def _at_close(self) -> bool:
        return self.at(")") or self.at(";;") or self.reserved() in _CLOSERS

    def _and_or(self) -> t.Statement:
        first, rest = self._pipeline(), list[tuple[str, t.Command | t.Pipeline]]()
        self.blank()
        while self.at("&&") or self.at("||"):
            operator = self.text[self.pos : self.pos + 2]
            self.pos += 2
            self.lines()
            rest.append((operator, self._pipeline()))
            self.blank()
        return t.AndOr(first, tuple(rest)) if rest else first

    def _pipeline(self) -> t.Command | t.Pipeline:
        is_timed = self._timed()
        is_negated = self.reserved() == "!"
        if is_negated:
            self.pos += 1
            self.blank()
        commands = [self._command()]
        self.blank()
        while self.at("|") and not self.at("||"):
            self.pos += 1
            if self.took("&"):
                commands[-1] = self._with_both_streams(commands[-1])
            self.lines()
            commands.append(self._command())
            self.blank()
        if len(commands) == 1 and not is_negated and not is_timed:
            return commands[0]
        return t.Pipeline(tuple(commands), is_negated, is_timed)

    def _timed(self) -> bool:
        if self.reserved() != "time":
            return False
        self.pos += 4
        self.blank()
        # `time -p` differs only in how bash prints the times.
        if found := _TIME_OPTION.match(self.text, self.pos):
            self.pos = found.end()
        if self.at("-") or self.reserved() == "time" or self.at_end():
            raise self.refuse("time with options")
        return True

    def _with_both_streams(self, command: t.Command) -> t.Command:
        if isinstance(command, t.FunctionDef):
            raise self.refuse("redirected function definition")
        joined = t.Redirect(2, ">&", t.Word((t.Literal("1"),)))
        return replace(command, redirects=(*command.redirects, joined))

    def _command(self) -> t.Command:
        self.spend(3)
        reserved = self.reserved()
        pattern = _FUNCTION_WORD if reserved == "function" else _FUNCTION
        if (not reserved or reserved == "function") and (
            found := pattern.match(self.text, self.pos)
        ):
            return self._function(found)
        if not reserved and not self.at("("):
            return self.simple()
        here, command = self.pos, self._compound(reserved)
        return self.checked(replace(command, redirects=self._redirects()), here)

    def _compound(self, reserved: str) -> t.Compound:
        match reserved:
            case "":
                return self._parenthesised()
            case "{":
                return self._group()
            case "if":
                return self._if()
            case "[[":
                self.pos += 2
                expression = self.expression()
                self._expect("]]")
                return t.Conditional(expression)
            case _:
                return self._loop_or_case(reserved)

    def _loop_or_case(self, reserved: str) -> t.Compound:
        match reserved:
            case "for":
                return self._for()
            case "while" | "until":
                self.pos += len(reserved)
                condition = self._body()
                return t.While(condition, self._do_group(), until=reserved == "until")
            case "case":
                return self._case()
            case _:
                raise self.refuse(f"reserved word {reserved}")

    def _redirects(self) -> t.Redirects:
        redirects = list[t.Redirect]()
        self.blank()
        while found := REDIRECT.match(self.text, self.pos):
            redirects.append(self.redirection(found))
            self.blank()
        if not self.at_end() and self.reserved() not in _CLOSERS:
            raise self.refuse("word after a compound command")
        return tuple(redirects)

    def _parenthesised(self) -> t.Subshell | t.ArithmeticCommand:
        if self.took("(("):
            return t.ArithmeticCommand(self.arithmetic())
        return self._subshell()

    def _subshell(self) -> t.Subshell:
        self.pos += 1
        body = self._body()
        self._expect(")")
        return t.Subshell(body)

    def _group(self) -> t.Group:
        self.pos += 1
        body = self._body()
        self._expect("}")
        return t.Group(body)

    def _if(self) -> t.If:
        branches, otherwise = list[tuple[t.Sequence, t.Sequence]](), None
        self.pos += len("if")
        while True:
            condition = self._body()
            self._expect("then")
            branches.append((condition, self._body()))
            if self.reserved() != "elif":
                break
            self.pos += len("elif")
        if self.reserved() == "else":
            self.pos += len("else")
            otherwise = self._body()
        self._expect("fi")
        return t.If(tuple(branches), otherwise)

    def _do_group(self) -> t.Sequence:
        self.blank()
        self.took(";")
        self._expect("do")
        body = self._body()
        self._expect("done")
        return body

    def _for(self) -> t.For | t.ArithmeticFor:
        self.pos += len("for")
        self.blank()
        if self.at("(("):
            header = self._arithmetic_header()
            return t.ArithmeticFor(header, self._do_group())
        found = _NAME.match(self.text, self.pos)
        if not found:
            raise self.refuse("for without a name")
        self.pos = found.end()
        self.lines()
        words = [t.Word((t.Variable("@", quoted=True),))]
        if self.reserved() == "in":
            self.pos += len("in")
            words = self._words()
        return t.For(found.group(), tuple(words), self._do_group())

    def _arithmetic_header(self) -> tuple[str, str, str]:
        self.counts = True
        close = self.text.find("))", self.pos)
        pieces = self.text[self.pos + 2 : close].split(";", _HEADER_PIECES)
        is_plain = all(map(_HEADER_PIECE.fullmatch, pieces))
        if close < 0 or len(pieces) != _HEADER_PIECES or not is_plain:
            raise self.refuse("for ((..))")
        self.pos = close + 2
        first, test, step = (piece.strip(" \t") for piece in pieces)
        return first, test, step

    def _words(self) -> list[t.Word]:
        words = list[t.Word]()
        self.blank()
        while not self.at_end():
            words.extend(self.arguments())
            self.blank()
        return words

    def _case(self) -> t.Case:
        self.pos += len("case")
        self.blank()
        subject = self.word(Context.VALUE)
        self._expect("in")
        items = list[t.CaseItem]()
        self.lines()
        while self.reserved() != "esac":
            items.append(self._case_item())
            self.lines()
        self.pos += len("esac")
        return t.Case(subject, tuple(items))

    def _case_item(self) -> t.CaseItem:
        self.took("(")
        patterns = list[t.Word]()
        while not patterns or self.took("|"):
            self.blank()
            patterns.append(self.word(Context.PATTERN))
            self.blank()
        self._expect(")")
        body = self._nested()
        if self.at(";;") and not self.at(";;&"):
            self.pos += 2
        elif self.reserved() != "esac":
            raise self.refuse("case item that falls through")
        return t.CaseItem(tuple(patterns), body)

    def _function(self, found: re.Match[str]) -> t.FunctionDef:
        name = found[1]
        if RESERVED.match(name + " ") or name in BUILTINS:
            raise self.refuse("function named as a builtin")
        self.pos = found.end()
        if self.at("((") or not (self.at("(") or self.reserved() == "{"):
            raise self.refuse("function body")
        body = self._group() if self.at("{") else self._subshell()
        return t.FunctionDef(name, replace(body, redirects=self._redirects()))

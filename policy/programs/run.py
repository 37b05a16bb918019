"""One role applied to one value: the step at which a word becomes an access, or another program.

May touch: arguments and the place they are read in. What a value starts in turn goes to Nested.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from typing_extensions import override

from policy.model import PATH_OPERATIONS
from policy.programs.environment import command_in, is_own_code, leads_outside, poison
from policy.programs.findings import Finding, Runs, Touches, Unknown
from policy.programs.scripts import SCANNERS
from policy.programs.spec import Role
from policy.programs.touching import Touching
from policy.programs.words import FETCHED, HOLE, Argument, Stdin

_LONGEST_SCRIPT = 4096
_MODULE = re.compile(r"[A-Za-z@_][\w@.:-]*")
# `env` takes any word with `=` for one, whatever stands before it.
_ASSIGNMENT = re.compile(r"[^=/]+=")
_COMMENT = re.compile(r"//+\s")  # what a line of many languages begins with, and no path


@dataclass(slots=True)
class Run(Touching):
    """A program that may start others."""

    placeholders: list[str] = field(default_factory=list)
    added: list[Argument] | None = None  # the words that xargs puts after its command

    def value(self, role: Role, value: Argument | list[Argument]) -> None:
        """Apply one role to one value."""
        if isinstance(value, list):
            if role.name == "command;":
                self._command_per_file(value)
            else:
                self.started(role, value)
        elif role.name.startswith("script:"):
            self._script(role.name.removeprefix("script:"), value)
        elif role.name == "name":
            self.named.append(value)
        elif role.name == "change":
            self.operation(Role("fs.read"), value)
            self.operation(Role("fs.write"), value)
        elif role.name == "moved":
            self._moved(role, value)
        elif role.name == "project":
            self.operation(Role("code.exec"), value)
        else:
            self._word(role, value)

    def _moved(self, role: Role, word: Argument) -> None:
        """Read a file that is then deleted where it was."""
        self.operation(Role("fs.read", role.other), word)
        self.operation(Role("fs.delete", role.other), word)

    def _word(self, role: Role, word: Argument) -> None:
        match role.name:
            case "placeholder":
                self.placeholders.append(word.text)
            case "cd":
                self.place = self.place.at(word)
            case "shell":
                self.shell(word)
            case "rest" if word.text.startswith(("/", "~")) and not _COMMENT.match(word.text):
                # Arguments of code that nobody read: a path among them is at least looked at.
                self.operation(Role("fs.read"), word)
            case "text" | "rest" | "flag" | "words":
                self._at_file(word)
                self._code_elsewhere(role, word)
            case "command" | "command;":
                self.argv([word])
            case _:
                self.operation(role, word)

    # What a program starts

    def shell(self, text: Argument, given: Sequence[Argument] | None = None) -> None:
        """Read a value as shell text; `given` are `$0`, `$1` and so on, where that is known."""
        self.accesses += self.nested.text(self._filled(text), self.place, self.stdin, given)

    def started(self, role: Role, words: Sequence[Argument]) -> None:
        """Read the words of a program, or of a module or script that only the project knows."""
        first = words[0] if words else Argument("")
        described = first.how != "exact" or self.nested.knows(first.text)
        if role.name != "module" or described or not _MODULE.fullmatch(first.text):
            self.argv(words)
            return
        self.operation(Role("code.exec"), Argument("."))
        for word in words[1:]:
            self.value(Role("rest"), word)

    def text(self, words: Sequence[Argument]) -> None:
        """Read the words that are joined to one text for a shell, or each kept as it is."""
        joined = [*words, *(self.added or ())]
        self.shell(Argument.of(" ".join(word.text for word in joined)))
        if len(words) > 1 and any(" " in word.text for word in words):
            self.argv(words)

    def script_of(self, file: Argument, rest: Sequence[Argument]) -> None:
        """Read the words after a script that is described by its own name: `manage.py flush`."""
        name = file.text.rpartition("/")[2]
        if file.how == "exact" and self.nested.knows(name):
            self.accesses += self.nested.argv([Argument(name), *rest], self.place, self.stdin)

    def _given(self, name: str, value: str) -> None:
        """Look at a variable that a program starts another with."""
        workspace = self.place.context.workspace
        if f"{self.place.cwd}/".startswith(f"{workspace}/") and is_own_code(name, value):
            self.add("code.exec", workspace, "exact")
            return
        found = poison(name, value, self.program)
        self.accesses += found
        if found and (command := command_in(value, self.nested.knows)):
            self.accesses += self.nested.text(Argument.of(command), self.place, Stdin())
        if leads_outside(name, value, workspace):
            self.add("env.poison", name, "exact")

    def argv(self, words: Sequence[Argument]) -> None:
        """Read the words of a command that this program starts."""
        rest = list(words)
        while rest and _ASSIGNMENT.match(rest[0].text):
            self._given(*rest.pop(0).text.split("=", 1))
        if self.added is not None and not self.placeholders:
            rest += self.added
        if rest and rest[0].text in ("-", "--"):
            rest.pop(0)
        if len(rest) > 1 and rest[0].text in ("-c", "--command"):
            self.shell(rest[1])
            return
        if rest:
            filled = [self._filled(word) for word in rest]
            self.accesses += self.nested.argv(filled, self.place, self.stdin)
            given = len(rest) - len(self.added or ())
            if self.stdin.text is None and 1 < given < len(rest):
                # There may be no words to add.
                self.accesses += self.nested.argv(filled[:given], self.place, self.stdin)

    def _command_per_file(self, words: list[Argument]) -> None:
        """Read the command of `find -exec`: `{}` is some file below where find started."""
        if not words:
            return
        # Without `{}` find adds nothing, and its kind adds the file.
        bare = not any("{}" in word.text for word in words)
        if bare:
            self.accesses += self.nested.argv(words, self.place, self.stdin)
        for file in self.found_files():
            named = [_with_file(word, file) for word in words]
            named += [file] if bare else []
            self.accesses += self.nested.argv(named, self.place, self.stdin)

    def _filled(self, word: Argument) -> Argument:
        braces = ["{}"] if self.added is not None else []
        for placeholder in filter(None, (*self.placeholders, *braces)):
            if placeholder in word.text:
                known = self.stdin.text
                text = self._unseen() if known is None else known.strip()
                word = Argument.of(word.text.replace(placeholder, text))
        return word

    def _unseen(self) -> str:
        return FETCHED if self.stdin.network else HOLE

    # Programs in other languages, and standard input

    def _script(self, language: str, text: Argument) -> None:
        if text.how == "dynamic":
            fetched = FETCHED in text.text
            self.add("code.exec", "<network>" if fetched else f"<{language} text not known>")
            return
        if len(text.text) > _LONGEST_SCRIPT:
            self.add("code.exec", f"<{language} text longer than is read>")
            return
        outer = self.stdin
        if language == "awk":
            # What it prints to a command is that command's standard input.
            self.stdin = Stdin(connected=True, network=outer.network)
        for finding in SCANNERS[language](text.text):
            self.nested.spend(2)
            self._found(finding)
        self.stdin = outer

    def _found(self, finding: Finding) -> None:
        match finding:
            case Runs(shell=shell):
                self.shell(Argument.of(shell))
            case Touches(operation=operation, resource=resource):
                if resource.startswith("<") or operation not in PATH_OPERATIONS:
                    self.add(operation, resource)
                else:
                    self.operation(Role(operation), Argument.of(resource))
            case Unknown(what=what):
                self.add("code.exec", f"<{what}>")
                if self.stdin.network:
                    self.add("code.exec", "<network>")
            case _:
                assert_never(finding)

    @override
    def standard_input(self, role: Role) -> None:
        """Apply the spec's `stdin` role to what is on standard input."""
        stdin = self.stdin
        if role.name == "script:include":
            if stdin.text is not None:
                self.value(role, Argument.of(stdin.text))
        elif role.name == "words":
            hole = self._unseen()
            names = [Argument(one.text.replace(HOLE, hole), one.how) for one in stdin.origins]
            words = [Argument(text) for text in (stdin.text or "").split()]
            self.added = (names or [Argument.of(hole)]) if stdin.text is None else words
        elif role.name in PATH_OPERATIONS and role.name != "code.exec":
            for name in stdin.origins or (Argument.of(self._unseen()),):
                self.operation(role, name)
        else:
            self._standard_code(role, stdin)

    def _standard_code(self, role: Role, stdin: Stdin) -> None:
        """Add what a program does that takes its code from standard input."""
        if stdin.network:
            self.add("code.exec", "<network>")
        elif stdin.file is not None:
            self._path("code.exec", stdin.file)
        elif stdin.text is not None and role.name == "shell":
            self.stdin = Stdin("")
            self.shell(Argument.of(stdin.text))
        elif stdin.text is not None and role.name.startswith("script:"):
            self.value(role, Argument.of(stdin.text))
        elif stdin.connected or role.name in ("shell", "code.exec", "script:code"):
            # To any other program the empty input that a tool's command gets says nothing.
            self.add("code.exec", "<standard input>" if stdin.connected else "<a terminal>")


def _with_file(word: Argument, file: Argument) -> Argument:
    if "{}" not in word.text:
        return word
    text = word.text.replace("{}", file.text)
    return Argument(text, file.how if word.text.startswith("{}") else Argument.of(text).how)

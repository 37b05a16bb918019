"""`make mutants`: take each safeguard of tests/mutants.toml away, and see that its tests notice.

Touches only copies of the project in a temporary directory, each installed in a virtual
environment of its own, so that the installed command is the altered one too. The argument:
1 in a copy nobody altered, every named test passes
2 with one safeguard taken away, at least one of its tests fails; a test that cannot even be
  collected, or stumbles over a name that is gone, has noticed nothing
"""

import argparse
import json
import os
import queue
import re
import shutil
import site
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
LISTED = PROJECT / "tests" / "mutants.toml"
AT_A_TIME = 2
DEADLINE_S = 300
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", ".hypothesis", ".*_cache", "*.egg-info"
)
KEYS = frozenset({"name", "threat", "file", "remove", "replace", "by", "tests"})
FAILED = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.M)
# What Python says of code that no longer holds together, rather than of a rule that is gone.
STUMBLED = re.compile(r"(Name|UnboundLocal|Import|ModuleNotFound|Syntax|Indentation)Error\b")


@dataclass(frozen=True)
class Mutant:
    """One safeguard, how it is taken away, and who must notice."""

    name: str
    threat: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Return the file without the safeguard.

        Raises:
            ValueError: what is to go does not stand there exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: its text is in {self.file} {count} times, not once")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Answer:
    """What the tests said; `noticed_by` is the test that failed, or why none counts."""

    mutant: Mutant
    is_red: bool
    seconds: float
    noticed_by: str


def load() -> list[Mutant]:
    """Return every mutant of the list.

    Raises:
        ValueError: an entry has another form.
    """
    entries = tomllib.loads(LISTED.read_text(encoding="utf-8"))["mutant"]
    return [_mutant(entry) for entry in entries]


def _mutant(entry: dict[str, object]) -> Mutant:
    name = entry.get("name")
    removes, replaces = "remove" in entry, {"replace", "by"} <= entry.keys()
    if not entry.keys() <= KEYS or removes == replaces:
        raise ValueError(f"{name}: has `remove`, or `replace` and `by`, and no key but {KEYS}")
    # Whole lines go with their ends, so that nothing is left but what stood around them.
    old = str(entry["remove"]).strip("\n") + "\n" if removes else str(entry["replace"])
    return Mutant(
        str(name),
        str(entry["threat"]),
        str(entry["file"]),
        old,
        "" if removes else str(entry["by"]),
        tuple(entry["tests"]),
    )


class Copy:
    """The project in a directory of its own, installed in an environment of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.python = home / ".venv" / "bin" / "python"
        self._changes = 0
        shutil.copytree(PROJECT, home, ignore=LEFT_OUT, symlinks=True)
        self._install()

    @contextmanager
    def altered(self, mutant: Mutant) -> Iterator[None]:
        """Take one safeguard away for a while."""
        path = self.home / mutant.file
        text = path.read_text(encoding="utf-8")
        try:
            self._write(path, mutant.applied(text))
            yield
        finally:
            self._write(path, text)

    def test(self, tests: tuple[str, ...]) -> tuple[int, str]:
        """Return pytest's exit code and what it printed; the first failure ends it."""
        command = [self.python, "-m", "pytest", "-q", "-x", "--tb=no", "-rfE", "--color=no"]
        try:
            done = subprocess.run(
                [*command, "-p", "no:cacheprovider", f"--basetemp={self.home}.tmp", *tests],
                cwd=self.home,
                env={**os.environ, "COLUMNS": "400"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return -1, f"no answer within {DEADLINE_S} s"
        return done.returncode, done.stdout + done.stderr

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text, encoding="utf-8")
        self._changes += 1
        os.utime(path, (self._changes, self._changes))  # compiled code is found stale by its time

    def _install(self) -> None:
        """Make `.venv` one in which the five packages come from here and all else as it is."""
        subprocess.run(
            [sys.executable, "-m", "venv", "--without-pip", self.home / ".venv"], check=True
        )
        theirs = Path(site.getsitepackages()[0])
        ours = next((self.home / ".venv" / "lib").glob("python3*")) / "site-packages"
        (ours / "project.pth").write_text(f"{self.home}\n{theirs}\n")
        for found in theirs.glob("permitgate-*.dist-info"):
            shutil.copytree(found, ours / found.name)
            place = {"url": self.home.as_uri(), "dir_info": {"editable": True}}
            (ours / found.name / "direct_url.json").write_text(json.dumps(place))
        script = Path(sys.executable).with_name("permitgate").read_text(encoding="utf-8")
        command = self.python.with_name("permitgate")
        command.write_text(f"#!{self.python}\n" + script.partition("\n")[2], encoding="utf-8")
        command.chmod(0o755)


def judge(copy: Copy, mutant: Mutant) -> Answer:
    """Return whether the tests notice that one safeguard is gone."""
    began = time.monotonic()
    try:
        with copy.altered(mutant):
            code, said = copy.test(mutant.tests)
    except (OSError, ValueError) as error:
        return Answer(mutant, False, 0.0, str(error))
    seconds = time.monotonic() - began
    failed = FAILED.search(said)
    if code != 1 or failed is None:
        why = "every test passed" if code == 0 else _last_line(said)
        return Answer(mutant, False, seconds, why)
    test, reason = failed.groups("")
    stumbled = STUMBLED.match(reason) is not None
    return Answer(mutant, not stumbled, seconds, f"{test} {reason}" if stumbled else test)


def _last_line(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def main() -> int:
    """Judge all mutants, or those whose name holds a word; exit 0 if each was noticed."""
    parser = argparse.ArgumentParser(prog="make mutants", description="Are safeguards tested?")
    parser.add_argument("--only", default="", metavar="WORD", help="names that hold this word")
    only = parser.parse_args().only
    mutants = [mutant for mutant in load() if only in mutant.name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="permitgate-mutants-") as scratch:
        copies = [Copy(Path(scratch) / str(number)) for number in range(AT_A_TIME)]
        named = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
        code, said = copies[0].test(named)
        if code != 0:
            print(f"mutants: with nothing taken away, the named tests must pass:\n{said}")
            return 1
        answers = _judged(copies, mutants)
    survived = sum(not answer.is_red for answer in answers)
    print(f"{len(answers)} mutants, {survived} survived, {time.monotonic() - began:.0f} s")
    return 1 if survived or not answers else 0


def _judged(copies: list[Copy], mutants: list[Mutant]) -> list[Answer]:
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mutant: Mutant) -> Answer:
        copy = free.get()
        try:
            return judge(copy, mutant)
        finally:
            free.put(copy)

    width = max((len(mutant.name) for mutant in mutants), default=0)
    answers = []
    with ThreadPoolExecutor(len(copies)) as pool:
        for answer in pool.map(one, mutants):
            word = "red     " if answer.is_red else "SURVIVED"
            noted = f"{answer.seconds:6.1f} s  {answer.noticed_by}"
            print(f"{answer.mutant.name:{width}}  {word} {noted}", flush=True)
            answers.append(answer)
    return answers


if __name__ == "__main__":
    sys.exit(main())

"""The two laws of the reader against three oracles, over thousands of texts (`make differential`).

    1  read(render(tree)) == tree
    2  bash starts the same argument vectors on a text and on its rendering, all of them announced
    3  the commands we see include those that bashlex and tree-sitter-bash see

The texts are generated, our own corpora, and the benchmark's lines. Prints progress and a table,
and each difference; ends with 1 if there is one. Needs bash and bwrap: every program is a
recorder, in a confinement without network (tests/policy/shell/confinement.py).
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import policy.shell.tree as t
from benchmarks.commands import COMMANDS
from policy.shell.reader import read
from policy.shell.render import render
from tests.policy.rows import rows
from tests.policy.shell.confinement import AVAILABLE, Observed, observe
from tests.policy.shell.laws import is_read_back
from tests.policy.shell.oracles import is_runnable, missed, never_alike, unannounced
from tests.policy.shell.texts import Texts

SEED, WANTED = 11, 5000
BATCH = 200
BATCH_DEADLINE_S = 90
# The confinement's own folders, and words no program can be called.
OWN = re.compile(r"/(?:log|texts|opt|scratch|proc)\b")
NAME = re.compile(r"[^\s/\0]{1,60}")


@dataclass
class Count:
    """What became of the texts of one source."""

    texts: int = 0
    understood: int = 0
    compared: int = 0
    differences: list[str] = field(default_factory=list)
    seconds: float = 0

    def differs(self, law: str, text: str, how: object) -> None:
        """Take note of a difference, and print it at once."""
        self.differences.append(text)
        print(f"\n{law}: {text!r}\n    {how}", flush=True)


def main() -> int:
    """Compare everything and return the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--texts", type=int, default=WANTED, help="generated texts")
    options.add_argument("--seed", type=int, default=SEED)
    chosen = options.parse_args()
    if not AVAILABLE:
        print("differential: bash and bwrap are needed; install bubblewrap")
        return 1
    generated = Texts(chosen.seed)
    counts = {
        name: compared(name, texts)
        for name, texts in (
            ("generated", [generated.text() for _ in range(chosen.texts)]),
            ("red team", [row.command for row in rows("red_team")]),
            ("harmless", [row.command for row in rows("harmless")]),
            ("benchmark", COMMANDS),
        )
    }
    print(f"{'':12}{'texts':>8}{'understood':>12}{'run by bash':>13}{'differences':>13}{'s':>7}")
    for name, one in counts.items():
        numbers = f"{one.texts:8}{one.understood:12}{one.compared:13}{len(one.differences):13}"
        print(f"{name:12}{numbers}{one.seconds:7.0f}")
    return 1 if any(one.differences for one in counts.values()) else 0


def compared(name: str, texts: list[str]) -> Count:
    """Return the counts of one source of texts."""
    count, began = Count(), time.monotonic()
    for start in range(0, len(texts), BATCH):
        pairs = list(_understood(texts[start : start + BATCH], count))
        _run(pairs, count)
        done = min(start + BATCH, len(texts))
        count.seconds = time.monotonic() - began
        print(f"\r{name}: {done}/{len(texts)}, {count.seconds:.0f} s ", end="", flush=True)
    print()
    return count


def _understood(texts: list[str], count: Count) -> Iterator[tuple[str, t.CommandTree]]:
    """Yield the texts that bash can be asked about, after laws 1 and 3."""
    for text in texts:
        count.texts += 1
        tree = read(text)
        if isinstance(tree, t.Opaque):
            continue
        count.understood += 1
        if not is_read_back(tree):
            count.differs("1 not read back as itself", text, render(tree))
        for parser, more in missed(text, tree).items():
            if more:
                count.differs(f"3 {parser} sees more", text, sorted(more))
        if is_runnable(tree) and not OWN.search(text):
            yield text, tree


def _run(pairs: list[tuple[str, t.CommandTree]], count: Count) -> None:
    """Ask bash about some texts; if they do not end, about each half of them."""
    scripts = [(text, render(tree)) for text, tree in pairs]
    programs = {word for both in scripts for text in both for word in _names(text)}
    with tempfile.TemporaryDirectory(prefix="permitgate-differential-") as scratch:
        folder = Path(scratch)
        (folder / "first").mkdir()
        try:
            seen = observe(
                [one for both in scripts for one in both],
                programs,
                folder / "first",
                BATCH_DEADLINE_S * len(pairs) / BATCH + 5,
            )
        except subprocess.TimeoutExpired:
            if len(pairs) > 1:
                _run(pairs[: len(pairs) // 2], count)
                _run(pairs[len(pairs) // 2 :], count)
            return
        count.compared += len(pairs)
        _judge(pairs, seen, count)
        differing = [
            both for both, left, right in zip(scripts, seen[::2], seen[1::2], strict=True)
            if left != right
        ]  # fmt: skip
        for text, rendering in never_alike(differing, programs, folder / "again"):
            count.differs("2 bash starts other programs", text, rendering)


def _judge(pairs: list[tuple[str, t.CommandTree]], seen: list[Observed], count: Count) -> None:
    for (text, tree), one in zip(pairs, seen[::2], strict=True):
        if missing := unannounced(text, tree, one):
            count.differs("2 started and not announced", text, missing)


def _names(text: str) -> Iterator[str]:
    """Yield every word that could be a program's name, generously."""
    for pattern in (r"[\w.+-]+", r"[^\s/'\"]+", r"'([^'/\s]+)'"):
        for name in re.findall(pattern, text):
            if NAME.fullmatch(name) and name not in (".", ".."):
                yield name


if __name__ == "__main__":
    sys.exit(main())

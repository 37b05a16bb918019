"""Bash on a text and bash on its rendering start the same programs, and all were announced."""

import random
from pathlib import Path

import pytest

import policy.shell.tree as t
from policy.shell.reader import read
from policy.shell.render import render
from tests.policy.shell.confinement import AVAILABLE, observe
from tests.policy.shell.oracles import never_alike, unannounced
from tests.policy.shell.texts import Texts

SEED, WANTED = 7, 150
PROGRAMS = [f"c{i}" for i in "0123456789ABC"] + ["p1", "p2", "p3", "if", "!", "z", "b"]
OURS = (
    "c1 a\\\nb; c\\\n2", "c1 a > o b | c2 && c3", "c1 $'\\x41\\tb' $'it\\'s'", "x=*; c1 $x \"$x\"",
    "c1 \"$(c2 \"a $(c3 'b')\")\"", "c1 `c2 $(c3)` {a,b}{1..2}", "c1 '$(c2)' \"\\$(c3)\" \\$(c4)",
    "for i in *.txt; do c1 \"$i\"; done < f | c2", "f() { c1 \"$@\"; }; f 'a b' *; f",
    "c1 <<'E' && c2\n$(c3) `c4`\nE\nc5", "c1 <<E\n$(c3)\nE", "case a in (b) c1;; ?) c2;; esac",
    "{ c1; c2; } 2>&1 | c3; (c4; c5) > o", "! c1 | c2 || c3 & wait", "if c0; then c1; fi; c2",
    "c1 a#b #c2\nc3", "IFS=b; x=abc; c1 $x", "x='-n *'; c1 $x", "cd src; c1 *; cd ..; c2 *",
    "x=~; y=a:~; c1 $x $y ~nobody-else", "c1 \"\" '' $u \"$u\" ''$u", "time c1 | c2", "c1;c2&wait",
)  # fmt: skip


def understood_texts() -> list[tuple[str, t.CommandTree]]:
    source, found = Texts(SEED), list[tuple[str, t.CommandTree]]()
    texts = [*OURS, *(source.text() for _ in range(WANTED * 2))]
    for text in texts:
        tree = read(text)
        if not isinstance(tree, t.Opaque) and len(found) < WANTED + len(OURS):
            found.append((text, tree))
    random.Random(SEED).shuffle(found)
    return found


@pytest.mark.skipif(not AVAILABLE, reason="needs bash and bwrap")
@pytest.mark.threat("T01")
def test_bash_starts_the_same_programs_on_the_text_and_on_its_rendering(tmp_path: Path) -> None:
    texts = understood_texts()
    pairs = [(text, render(tree)) for text, tree in texts]
    (tmp_path / "first").mkdir()
    seen = observe([one for pair in pairs for one in pair], PROGRAMS, tmp_path / "first")
    by_text, by_rendering = seen[::2], seen[1::2]
    assert sum(len(one.starts) for one in seen) > len(texts)
    compared = zip(pairs, by_text, by_rendering, strict=True)
    differing = [pair for pair, left, right in compared if left != right]
    assert never_alike(differing, PROGRAMS, tmp_path / "again") == []
    missing = [unannounced(*pair, one) for pair, one in zip(texts, by_text, strict=True)]
    assert [one for one in missing if one] == []

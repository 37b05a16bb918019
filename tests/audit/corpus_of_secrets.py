"""Secrets and look-alikes of our own, and how many of them the redactor tells apart.

`python -m tests.audit.corpus_of_secrets` prints precision and recall, and every row it gets wrong.
No row was ever anybody's: bodies are made here from the row's own number, and are written nowhere.
"""

import random
import re
import string
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from audit.redact import Redactor

FOLDER = Path(__file__).parent / "corpus"
BODY = re.compile(r"\{(?:(hex|HEX|b64|b32|url|dig|word):)?(\d+)\}|\{(uuid)\}")
ALPHABETS = {
    None: string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "HEX": string.ascii_uppercase + "234567",
    "b64": string.ascii_letters + string.digits + "+/",
    "b32": string.ascii_uppercase + "234567",
    "url": string.ascii_letters + string.digits + "-_",
    "dig": string.digits,
    "word": string.ascii_lowercase,
}


@dataclass(frozen=True)
class Row:
    """One text, and what of it must be hidden; nothing, for a look-alike."""

    template: str
    text: str
    secret: str = ""
    kind: str = ""


def _made(chance: random.Random) -> Callable[[re.Match[str]], str]:
    def make(match: re.Match[str]) -> str:
        alphabet, length, is_uuid = match.groups()
        if is_uuid:
            return str(uuid.UUID(int=chance.getrandbits(128), version=4))
        body = "".join(chance.choices(ALPHABETS[alphabet], k=int(length)))
        # Letters and digits, as almost every real one has; a word ends in one digit.
        if alphabet in (None, "url", "b64") and len(body) > 3:
            body = body[:1].replace("-", "a").replace("+", "a") + body[1:-1] + "7"
        return body[:-1] + "4" if alphabet == "word" else body

    return make


def rows(name: str) -> list[Row]:
    """Return the rows of one file, with bodies."""
    found = []
    lines = (FOLDER / name).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(line for line in lines if not line.startswith("# ")):
        kind, bar, template = line.partition(" | ") if name == "secrets.txt" else ("", "", line)
        template = template.replace("\\n", "\n").replace("\\\n", "\\n")
        text = BODY.sub(_made(random.Random(f"{name}{number}")), template)
        before, _, rest = text.partition("«")
        secret, _, after = rest.partition("»")
        assert bool(bar) == bool(secret), line
        found.append(Row(line, before + secret + after, secret, kind))
    return found


def leaked(row: Row, shown: str) -> bool:
    """Return whether a good part of a row's secret can still be read."""
    part = max(4, len(row.secret) // 2)
    return any(row.secret[i : i + part] in shown for i in range(len(row.secret) - part + 1))


@dataclass(frozen=True)
class Score:
    """How the redactor did on the whole corpus."""

    missed: list[Row]
    wrongly_hidden: list[Row]
    secrets: int
    harmless: int

    @property
    def recall(self) -> float:
        """Return how many of the secrets were hidden."""
        return 1 - len(self.missed) / self.secrets

    @property
    def precision(self) -> float:
        """Return how many of the rows in which something was hidden held a secret."""
        found = self.secrets - len(self.missed)
        return found / (found + len(self.wrongly_hidden))


def score() -> Score:
    """Return the score of the redactor without known values."""
    redactor, secrets, harmless = Redactor(), rows("secrets.txt"), rows("harmless.txt")
    missed = [row for row in secrets if leaked(row, redactor.redact_text(row.text))]
    wrong = [row for row in harmless if redactor.redact_text(row.text) != row.text]
    return Score(missed, wrong, len(secrets), len(harmless))


if __name__ == "__main__":
    result = score()
    for row in result.missed:
        print("missed ", row.template, "->", Redactor().redact_text(row.text)[:160])
    for row in result.wrongly_hidden:
        print("hidden ", row.template, "->", Redactor().redact_text(row.text)[:160])
    print(f"{result.secrets} secrets, {result.harmless} look-alikes:", end=" ")
    print(f"recall {result.recall:.3f}, precision {result.precision:.3f}")
    sys.exit(0)

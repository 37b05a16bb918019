"""Coverage-guided fuzzing of text → tree → canonical script → decision (`make fuzz MINUTES=5`).

Half of what is tried are bytes as they come, half are the pieces of shell text that bytes choose.
Whatever raises, is not read back as itself or cannot be decided ends the run. The bytes are then in
the file that libFuzzer names last (`Test unit written to`): give it as an argument to try it again.
"""

import argparse
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    sys.exit(
        "fuzz: atheris is not here. `make fuzz` installs it, for Python 3.11 to 3.13 on Linux.\n"
        "With another Python, make the environment anew:\n"
        "  rm -r .venv && python3.11 -m venv .venv && make fuzz\n"
        "or run the grammars, which need nothing:\n"
        "  .venv/bin/python -m pytest tests/policy/shell/test_fuzz.py"
    )

with atheris.instrument_imports(include=["policy"]):
    from policy.classify import classify
    from policy.load import load, pack
    from policy.model import Context, Exec, Request, Subject
    from policy.shell.reader import read
    from policy.shell.search import searched
    from policy.shell.tree import Opaque
    from tests.policy.shell.laws import is_read_back

from benchmarks.commands import COMMANDS
from tests.policy.shell.pieces import PIECES

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "host")
SUBJECT = Subject("agent:fuzz@1000", "s", 1000, "local")
POLICY = load([pack("dev-safe")], check_examples=False)
LONGEST = 600


def text_of(data: bytes) -> str:
    """Return the text that the bytes stand for."""
    if data[:1] < b"\x80":
        return data[1:].decode("utf-8", "surrogateescape")
    return "".join(PIECES[byte % len(PIECES)] + (" " if byte > 127 else "") for byte in data[1:])


def try_one(data: bytes) -> None:
    """Read, render, search and decide one text.

    Raises:
        AssertionError: a law does not hold; and whatever else the product raises.
    """
    text = text_of(data)
    tree = read(text)
    if isinstance(tree, Opaque):
        searched(text)
    elif not is_read_back(tree):
        raise AssertionError(f"not read back as itself: {text!r}")
    decision = classify(
        Request(SUBJECT, Exec(text, None, CONTEXT.workspace), "exec"), POLICY, CONTEXT
    )
    if any(verdict.rule_id == "error" for verdict in decision.verdicts):
        raise AssertionError(f"{decision.reason} {text!r}")


def main() -> None:
    """Fuzz for some minutes, from the benchmark's lines on."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("crash", nargs="*", type=Path, help="files to try once, and no more")
    options.add_argument("--minutes", type=float, default=5)
    chosen = options.parse_args()
    for path in chosen.crash:
        print(f"{path}: {text_of(path.read_bytes())!r}")
        try_one(path.read_bytes())
    if chosen.crash:
        return
    with tempfile.TemporaryDirectory(prefix="permitgate-fuzz-") as corpus:
        for number, command in enumerate(COMMANDS):
            (Path(corpus) / str(number)).write_bytes(b"\0" + command.encode())
        limits = (
            f"-max_total_time={chosen.minutes * 60:.0f}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={tempfile.gettempdir()}/permitgate-",
            "-timeout=10",
        )
        atheris.Setup([sys.argv[0], corpus, *limits, "-print_final_stats=1"], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

"""What policy.md shows of the command line: run anew, to be compared or written.

`python -m tests.docs.shown` writes the page. Each console block of the page begins with the one
command whose output it shows.
"""

import os
import re
import shlex
import subprocess
import tempfile
from pathlib import Path

from tests import warm

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
SHOWN = re.compile(r"```console\n\$ permitgate (?P<command>[^\n]*)\n(?P<output>.*?)```", re.S)
WIDTH = "100"


def output(command: str, folder: Path) -> str:
    """Return what a command prints for the user dev in /home/dev/shop, who has no settings."""
    words = shlex.split(command)
    if "--" in words:
        words[words.index("--") : words.index("--")] = ["--workspace", "/home/dev/shop"]
    settings = {
        "HOME": "/home/dev",
        "XDG_CONFIG_HOME": f"{folder}/c",
        "XDG_STATE_HOME": f"{folder}/s",
    }
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1", "COLUMNS": WIDTH, **settings}
    done = subprocess.run(
        [warm.command(), *words], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert not done.stderr, done.stderr
    # A digest says nothing to a reader and is another one with every change of a pack.
    shown = re.sub(r"(policy|digest:) [0-9a-f]{12,64}", r"\1 …", done.stdout)
    return re.sub(r" +$", "", shown, flags=re.M)


def rewritten(text: str) -> str:
    """Return the page with every block's output as it is printed now."""
    (policy,) = [
        block for block in re.findall(r"```yaml\n(.*?)```", text, re.S) if "name: shop" in block
    ]
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "shop.yaml").write_text(policy, encoding="utf-8")

        def fresh(match: re.Match[str]) -> str:
            command = match["command"]
            return f"```console\n$ permitgate {command}\n{output(command, Path(base))}```"

        return SHOWN.sub(fresh, text)


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

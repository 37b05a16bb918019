"""Where the command line starts: `classify` by the short way, everything else by its commands.

May touch: the process's arguments and exit code. The short way reads only what it is sure of; any
other spelling, and any error, goes the long way, which says everything once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

OK = 0
USAGE = 2
INTERRUPTED = 130


def run() -> None:
    """Run the command line; an interrupt is exit 130, a closed pipe is quiet."""
    try:
        if not classified(sys.argv[1:]):
            from mcp_server.cli.main import app  # noqa: PLC0415  # its library loads in 0.1 s

            app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # What is left to flush would fail again, and say so.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(OK) from None
    except Exception as error:
        # The outermost handler: whatever arrives here is a fault of ours, not of the operator.
        if os.environ.get("PERMITGATE_TRACEBACK"):
            raise
        sys.stderr.write(
            f"permitgate: this is a bug: {type(error).__name__}: {error}. "
            "Set PERMITGATE_TRACEBACK=1 to see where, and report it.\n"
        )
        raise SystemExit(USAGE) from None


def classified(words: Sequence[str]) -> bool:
    """Print the decision on `classify [--json] [--policy NAME] [--workspace DIR] -- COMMAND`.

    Return False, with nothing printed, for anything else.
    """
    if words[:1] != ["classify"] or "--" not in words or "_PERMITGATE_COMPLETE" in os.environ:
        return False
    cut = words.index("--")
    options, command = list(words[1:cut]), tuple(words[cut + 1 :])
    chosen: dict[str, list[str]] = {"--json": [], "--policy": [], "--workspace": []}
    while options:
        name = options.pop(0)
        if name not in chosen or (name != "--json" and not options):
            return False
        chosen[name].append("" if name == "--json" else options.pop(0))
    return bool(command) and _answered(chosen, command)


def _answered(chosen: dict[str, list[str]], command: tuple[str, ...]) -> bool:
    from mcp_server.cli import classify as door  # noqa: PLC0415

    workspace = Path(chosen["--workspace"][-1]) if chosen["--workspace"] else None
    given = door.Given(tuple(chosen["--policy"]), workspace)
    try:
        text = door.answer_one(given, command, as_json=bool(chosen["--json"]))
    except Exception:  # noqa: BLE001 - the long way meets it again, and says it properly
        return False
    sys.stdout.write(text)
    sys.stdout.flush()
    return True

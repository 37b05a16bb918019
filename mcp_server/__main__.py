"""The `permitgate` command: check whose code this is, then hand over to the command line.

May touch: the process's exit code, and how often garbage is looked for. Imported before any room,
so nothing foreign runs first.
"""

import gc
import sys

from mcp_server.own_code import ForeignCodeError, check_own_code

OBJECTS_BETWEEN_LOOKS = 50_000


def main() -> None:
    """Run the command line; the documented entry of the product."""
    # A start makes many objects that all stay; looking for garbage among them is a tenth of it.
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS)
    try:
        check_own_code()
    except ForeignCodeError as error:
        sys.stderr.write(f"permitgate: {error}\n")
        sys.exit(2)
    from mcp_server.cli.start import run  # noqa: PLC0415  # nothing of ours loads before the check

    run()


if __name__ == "__main__":
    main()

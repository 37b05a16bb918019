"""The `permitgate` command: check whose code this is, then hand over to the command line.

May touch: the process's exit code. Imported before any room, so nothing foreign runs first.
"""

import sys

from mcp_server.own_code import ForeignCodeError, check_own_code


def main() -> None:
    """Run the command line; the documented entry of the product."""
    try:
        check_own_code()
    except ForeignCodeError as error:
        sys.stderr.write(f"permitgate: {error}\n")
        sys.exit(2)
    from mcp_server.cli.main import run  # noqa: PLC0415  # nothing of ours loads before the check

    run()


if __name__ == "__main__":
    main()

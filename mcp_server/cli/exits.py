"""Exit codes of the command line, and how a failure of the house becomes one.

May touch: standard error. Source: docs/cli.md, which lists them for scripts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer


class Exit(IntEnum):
    """What a script can rely on."""

    OK = 0
    USAGE = 2
    PENDING = 10
    DENIED = 11
    AUDIT_BROKEN = 12
    SANDBOX_BELOW_MINIMUM = 13
    TIMEOUT = 124
    INTERRUPTED = 130


def stop(code: Exit, message: str) -> typer.Exit:
    """Return the exception that ends the command after telling the operator why."""
    typer.echo(f"permitgate: {message}", err=True)
    return typer.Exit(code)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the rooms' errors into their message and exit code; anything else is a bug of ours."""
    try:
        yield
    except typer.Exit:
        raise
    except Exception as raised:
        error = _first(raised)
        for kind, code in _codes().items():
            if isinstance(error, kind):
                raise stop(code, str(error)) from None
        raise


def _codes() -> dict[type[Exception], Exit]:
    """Return the exit code of each room's errors; loaded only when something went wrong."""
    from approvals.request import ApprovalError  # noqa: PLC0415
    from audit.errors import AuditError  # noqa: PLC0415
    from mcp_server.config import ConfigError  # noqa: PLC0415
    from mcp_server.owner import CallRefusedError  # noqa: PLC0415
    from policy.document import PolicyError  # noqa: PLC0415
    from sandbox.permit import SandboxError  # noqa: PLC0415

    return {
        AuditError: Exit.AUDIT_BROKEN,
        SandboxError: Exit.SANDBOX_BELOW_MINIMUM,
        **dict.fromkeys((PolicyError, ConfigError, CallRefusedError, ApprovalError), Exit.USAGE),
    }


def _first(error: Exception) -> Exception:
    """Return what happened inside the task group that wrapped it."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error

"""The human this process works for, and the directories they hand to the agent.

May touch: the password database, the current directory, path resolution.
"""

import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mcp_server.places import find_workspace, is_too_wide

if TYPE_CHECKING:
    # The command line classifies without pydantic.
    from mcp_server.config import Config


class CallRefusedError(Exception):
    """The call cannot be taken up; the message says why and what to do. Nothing ran."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The human this server works for, as the operating system knows them."""

    uid: int
    user: str
    home: Path
    host: str


def current_owner() -> Owner:
    """Return the human this process runs for."""
    uid = os.geteuid()
    try:
        user = pwd.getpwuid(uid).pw_name
    except KeyError:
        user = f"uid-{uid}"
    return Owner(uid, user, Path.home(), socket.gethostname())


def workspace_roots(config: "Config", named: Path | None, home: Path) -> tuple[Path, ...]:
    """Return the workspaces: named on the command line, configured, or the git top level here.

    Raises:
        CallRefusedError: one that was named is missing or too wide.
    """
    if named is not None:
        return checked_roots((named,), home)
    if config.workspace_roots:
        return checked_roots(config.workspace_roots, home)
    found = find_workspace(Path.cwd(), home)
    return () if found is None else (found,)


def checked_roots(roots: tuple[Path, ...], home: Path) -> tuple[Path, ...]:
    """Return the roots resolved.

    Raises:
        CallRefusedError: a root is missing, or would hand over the machine or the whole home.
    """
    for root in roots:
        if not root.is_dir():
            raise CallRefusedError(
                f"workspace {root} is not a directory. Create it or name another."
            )
        if is_too_wide(root, home):
            raise CallRefusedError(
                f"workspace {root} is the whole {'machine' if root == Path('/') else 'home'}; "
                "permitgate will not hand that over. Name a project directory."
            )
    return tuple(root.resolve() for root in roots)


def standing_in(roots: tuple[Path, ...]) -> Path | None:
    """Return the current directory when it lies in a workspace, else the first workspace."""
    here = Path.cwd()
    if any(here.is_relative_to(root) for root in roots):
        return here
    return roots[0] if roots else None

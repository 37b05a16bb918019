"""Where Permitgate keeps things, and which directory is the workspace.

May touch: the environment and path look-ups. Source: XDG Base Directory Specification 0.8.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

APPLICATION = "permitgate"
NOWHERE = Path("/nonexistent")  # stands for a workspace where there is none


@dataclass(frozen=True, slots=True)
class Places:
    """Absolute paths of this user's Permitgate."""

    config_file: Path
    policy_directory: Path
    state: Path

    @property
    def audit(self) -> Path:
        """Return the directory of the audit log."""
        return self.state / "audit"

    @property
    def keys(self) -> Path:
        """Return the directory of the signing key."""
        return self.state / "keys"

    @property
    def approvals(self) -> Path:
        """Return the directory of the approval store and its sockets."""
        return self.state / "approvals"

    @property
    def changes(self) -> Path:
        """Return the directory of change sets: drafts, what is held, what can be undone."""
        return self.state / "changes"

    @property
    def http_token(self) -> Path:
        """Return the file that holds the HTTP bearer token."""
        return self.state / "http-token"


def places() -> Places:
    """Return the places of the current user; `PERMITGATE_CONFIG` names another config file."""
    directories = platformdirs.PlatformDirs(APPLICATION, appauthor=False)
    config = Path(directories.user_config_dir)
    named = os.environ.get("PERMITGATE_CONFIG")
    return Places(
        config_file=Path(named).absolute() if named else config / "config.yaml",
        policy_directory=config / "policy.d",
        state=Path(directories.user_state_dir),
    )


def find_workspace(start: Path, home: Path) -> Path | None:
    """Return the git top level at or above `start`; None where that is none, `/` or the home."""
    start = start.resolve()
    for directory in (start, *start.parents):
        if (directory / ".git").exists():
            return None if is_too_wide(directory, home) else directory
    return None


def is_too_wide(directory: Path, home: Path) -> bool:
    """Return whether a workspace here would hand the agent the machine or the whole home."""
    resolved, resolved_home = directory.resolve(), home.resolve()
    return resolved == resolved_home or resolved in resolved_home.parents

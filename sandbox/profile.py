"""Footprint to profile: what the kernel will be told about one command.

Pure. The table from operations to profiles is the subject of this module.
"""

from dataclasses import dataclass
from typing import Literal

ProfileName = Literal["inspect", "read", "live", "unconfined"]


@dataclass(frozen=True, slots=True)
class Touch:
    """One access of the footprint, in this room's words."""

    operation: str
    resource: str
    how: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A confinement for one command; every path is absolute."""

    name: ProfileName
    workspace: str
    read_roots: tuple[str, ...] = ()  # shown read-only besides the profile's own
    write_paths: tuple[str, ...] = ()  # shown writable: a permitted write outside the workspace

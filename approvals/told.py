"""What is remembered of each target: of which requests it was told, and since when it fails.

May touch: `notify/` in the private directory of the store. It is written after a target took a
notice, so a crash tells it once more and forgets nothing. Only the holder of the lock writes.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from approvals.private import private_directory, replace_private
from approvals.request import ApprovalError

DIRECTORY = "notify"


class Told(BaseModel):
    """How one target stands; `failing_since_ms` is zero while it works."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    waiting: frozenset[str] = frozenset()  # requests it was told of and not yet told the end of
    failing_since_ms: int = 0
    failure: str = ""
    tries: int = 0  # since it began to fail


def load(directory: Path, name: str) -> Told:
    """Return what is remembered of a target; nothing where that cannot be read.

    Then some are told once more, which is better than not at all.
    """
    try:
        return Told.model_validate_json(_path(directory, name).read_bytes())
    except (OSError, ValidationError):
        return Told()


def keep(directory: Path, name: str, told: Told) -> None:
    """Remember how a target stands.

    Raises:
        ApprovalError: it could not be kept; this process knows it all the same.
    """
    path = _path(directory, name)
    private_directory(path.parent)
    try:
        replace_private(path, told.model_dump_json())
    except OSError as error:
        raise ApprovalError(f"{path}: {error.strerror}") from error


def _path(directory: Path, name: str) -> Path:
    return directory / DIRECTORY / f"{name}.json"

"""Refuse to start unless the five packages that decide, record and run are ours alone.

May touch: the metadata of what is installed, and module specs; imports none of the rooms.
The rooms have everyday names, so another distribution or a directory earlier on the path could
supply one of them; then nothing this program says would be true. Every start waits for this, so it
reads the few files it needs itself; importlib.metadata takes three times as long.
Source: packaging.python.org, "Recording installed projects"; setuptools' top_level.txt.
"""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "permitgate"
ROOMS = ("approvals", "audit", "mcp_server", "policy", "sandbox")
_ROOM_LISTED = re.compile(rf"^({'|'.join(ROOMS)})(?:/|\.py,|$)", re.M)


class ForeignCodeError(RuntimeError):
    """One of our package names resolves to somebody else's files; nothing was started."""


def check_own_code() -> None:
    """Return when the five rooms come from one directory that only this distribution supplies.

    Raises:
        ForeignCodeError: with the room, where it was found, and what to do.
    """
    homes = {room: _home(room) for room in ROOMS}
    if None in homes.values() or len(set(homes.values())) > 1:
        found = ", ".join(f"{room} from {home}" for room, home in homes.items())
        raise ForeignCodeError(
            f"permitgate's packages are not all in one place: {found}. Start the installed "
            "`permitgate` command, or `python -I -m mcp_server` in its environment."
        )
    installed = list(_installed())
    for name, information in installed:
        if name != DISTRIBUTION and (room := _room_listed(information)):
            raise ForeignCodeError(
                f"package {room!r} is also installed by {name}. Install permitgate "
                "into an environment of its own, for instance with pipx."
            )
    ours = next((information for name, information in installed if name == DISTRIBUTION), None)
    _check_installed(homes["mcp_server"], ours)


def _home(room: str) -> Path | None:
    spec = find_spec(room)
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None


def _installed() -> Iterator[tuple[str, Path]]:
    """Yield the name and the metadata directory of every distribution on the path, in its order."""
    for entry in dict.fromkeys(sys.path):
        with suppress(OSError):
            for found in sorted(Path(entry).iterdir()):
                if found.suffix in (".dist-info", ".egg-info"):
                    yield found.stem.partition("-")[0].lower(), found


def _room_listed(information: Path) -> str:
    """Return one of our names that a distribution says it installs, or nothing."""
    for listing in ("top_level.txt", "RECORD"):
        with suppress(OSError):
            text = (information / listing).read_text(encoding="utf-8", errors="replace")
            if listed := _ROOM_LISTED.search(text):
                return listed[1]
    return ""


def _check_installed(home: Path | None, information: Path | None) -> None:
    """Hold the directory we import from against where the distribution says it lives."""
    if information is None:
        raise ForeignCodeError(
            "the distribution permitgate is not installed here, so nothing says whose code this "
            "is. Run `make setup`, or `pip install .` in the project."
        )
    expected = {information.parent.resolve()}
    with suppress(FileNotFoundError):
        direct = json.loads((information / "direct_url.json").read_text(encoding="utf-8"))
        expected.add(Path(unquote(urlsplit(direct["url"]).path)).resolve())
    if home is None or home.resolve() not in expected:
        raise ForeignCodeError(
            f"permitgate is installed in {', '.join(sorted(map(str, expected)))}, but its "
            f"packages were found in {home}. Remove that directory from PYTHONPATH."
        )

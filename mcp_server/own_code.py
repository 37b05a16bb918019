"""Refuse to start unless the five packages that decide, record and run are ours alone.

May touch: import metadata and module specs; imports none of the rooms.
The rooms have everyday names, so another distribution or a directory earlier on the path could
supply one of them; then nothing this program says would be true.
"""

import json
from importlib.metadata import Distribution, PackageNotFoundError, packages_distributions
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

DISTRIBUTION = "permitgate"
ROOMS = ("approvals", "audit", "mcp_server", "policy", "sandbox")


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
    owners = packages_distributions()
    for room in ROOMS:
        if others := sorted(set(owners.get(room, ())) - {DISTRIBUTION}):
            raise ForeignCodeError(
                f"package {room!r} is also installed by {', '.join(others)}. Install permitgate "
                "into an environment of its own, for instance with pipx."
            )
    _check_installed(homes["mcp_server"])


def _home(room: str) -> Path | None:
    spec = find_spec(room)
    return Path(spec.origin).parents[1] if spec is not None and spec.origin else None


def _check_installed(home: Path | None) -> None:
    """Hold the directory we import from against where the distribution says it lives."""
    try:
        distribution = Distribution.from_name(DISTRIBUTION)
    except PackageNotFoundError:
        raise ForeignCodeError(
            "the distribution permitgate is not installed here, so nothing says whose code this "
            "is. Run `make setup`, or `pip install .` in the project."
        ) from None
    expected = {Path(str(distribution.locate_file(""))).resolve()}
    direct = distribution.read_text("direct_url.json")
    if direct is not None:
        expected.add(Path(unquote(urlsplit(json.loads(direct)["url"]).path)).resolve())
    if home is None or home.resolve() not in expected:
        raise ForeignCodeError(
            f"permitgate is installed in {', '.join(sorted(map(str, expected)))}, but its "
            f"packages were found in {home}. Remove that directory from PYTHONPATH."
        )

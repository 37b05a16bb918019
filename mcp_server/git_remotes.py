"""Where the remotes of a git repository are, as its own configuration and the owner's say.

May touch: git's configuration files, to read them. No process is started. What they say decides
nothing: it is shown to whoever is asked, and policy is asked about the host of each connection.
"""

from dulwich.config import apply_instead_of
from dulwich.errors import NotGitRepository
from dulwich.repo import Repo


def remotes(directory: str) -> dict[str, str]:
    """Return the address of each remote by name; empty where there is no repository."""
    try:
        with Repo.discover(directory) as repository:
            config = repository.get_config_stack()
            found = {
                section[1].decode(): config.get(section, b"url").decode()
                for section in repository.get_config().sections()
                if section[0] == b"remote" and len(section) > 1
            }
            return {name: apply_instead_of(config, url) for name, url in found.items()}
    except (NotGitRepository, OSError, ValueError, KeyError):
        return {}

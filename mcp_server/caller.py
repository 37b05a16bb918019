"""Who is calling, and for which workspace: the facts every tool needs before it asks the gate.

May touch: values and path resolution. A call without a workspace is answered with what to set.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from mcp_server.client import Client
from mcp_server.owner import CallRefusedError, Owner
from mcp_server.places import NOWHERE
from policy.model import Context, Subject


@dataclass(frozen=True, slots=True)
class Caller:
    """Turns a connection into a subject and a path into a workspace."""

    owner: Owner
    session: str
    auth: str  # stdio, http or cli
    roots: tuple[Path, ...]

    def subject(self, client: Client) -> Subject:
        """Return who asks; the client's name is its own claim, so it never grants anything."""
        return Subject(f"agent:{client.name}", self.session, self.owner.uid, self.auth)

    def cwd(self, asked: str | None) -> Path:
        """Return the absolute working directory of a call: inside one of the workspaces.

        Raises:
            CallRefusedError: there is no workspace, or the directory lies outside all of them.
        """
        root = self._first_root()
        if asked is None:
            return root
        path = _directory(root / asked)
        if path is None:
            raise CallRefusedError(f"cwd {asked[:200]!r} is not a directory. Nothing ran.")
        self.workspace(path)
        return path

    def path(self, asked: str) -> Path:
        """Return an absolute path without `.` and `..`; symbolic links are left to the sandbox.

        Raises:
            CallRefusedError: there is no workspace, or no file can have this name.
        """
        if "\0" in asked:
            raise CallRefusedError(f"path {asked[:200]!r} holds a NUL byte. Nothing ran.")
        joined = self._first_root() / asked
        parts: list[str] = []
        for part in joined.parts[1:]:
            if part == "..":
                parts = parts[:-1]
            else:
                parts.append(part)
        return Path("/", *parts)

    def workspace(self, path: Path) -> Path:
        """Return the workspace that `path` lies in.

        Raises:
            CallRefusedError: it lies in none of them.
        """
        root = self._around(path)
        if root is not None:
            return root
        raise CallRefusedError(
            f"{path} is outside the workspace ({', '.join(map(str, self.roots))}). Use a cwd "
            "inside it, or add the directory to workspace_roots in the configuration. Nothing ran."
        )

    def context(self, workspace: Path) -> Context:
        """Return the facts a decision may depend on."""
        return Context(
            workspace=str(workspace),
            home=str(self.owner.home),
            user=self.owner.user,
            host=self.owner.host,
        )

    def context_around(self, path: Path) -> Context:
        """Return the facts for the workspace that `path` lies in, else for the first."""
        return self.context(self._around(path) or self._first_root())

    def remote_context(self) -> Context:
        """Return the facts for a command on another host: no workspace, and nothing is masked."""
        return replace(self.context(NOWHERE), can_mask=False)

    def _around(self, path: Path) -> Path | None:
        return next((root for root in self.roots if path.is_relative_to(root)), None)

    def _first_root(self) -> Path:
        if not self.roots:
            raise CallRefusedError(
                "There is no workspace: the server was started outside a git checkout, or in / or "
                "the home directory. Start it inside a project, or with --workspace DIR, or set "
                "workspace_roots in the configuration. Nothing ran."
            )
        return self.roots[0]


def _directory(path: Path) -> Path | None:
    """Return the path resolved, or None where no directory can be: too long, a loop, a NUL byte."""
    try:
        resolved = path.resolve()
        return resolved if resolved.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        return None

"""Names that the sandbox holds whatever a command writes: they need no question when it sweeps.

May touch: the text of globs. In the profile that writes the workspace an existing file or folder of
these names is read-only, and a new one is moved out when the command ends, so a write that only
passes by (`sed -i s/a/b/ *`) cannot reach them; tests hold this list to the sandbox's own.
"""

from typing import Final

HELD_NAMES: Final = frozenset(
    {
        ".envrc", ".vscode", ".idea", ".mcp.json", ".claude", ".cursor", ".codex", ".agents",
        ".husky", ".devcontainer", ".github", ".gitlab-ci.yml", ".circleci", ".travis.yml",
        "Jenkinsfile", "azure-pipelines.yml", ".pre-commit-config.yaml", ".gitmodules",
    }
)  # fmt: skip
HELD_PREFIX: Final = ".permitgate"
HELD_IN_GIT: Final = frozenset({"hooks", "config", "config.worktree", "commondir", "attributes"})
HELD_WRITES: Final = frozenset({"fs.write", "fs.create"})


def is_held(glob: str) -> bool:
    """Return whether everything that a path glob matches is held by the sandbox."""
    parts = glob.split("/")
    if parts[-1] == ".git":
        return True  # a repository inside another is swept out when the command ends
    return any(
        part in HELD_NAMES
        or part.startswith(HELD_PREFIX)
        or (before == ".git" and part in HELD_IN_GIT)
        for before, part in zip(["", *parts], parts, strict=False)
    )

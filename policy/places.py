"""Places that are written as data and run later by somebody else: what a policy should ask about.

May touch: nothing. Each is one exact path, so whether a policy allows to write it is decided as for
a command; `~` is the home. Who runs it stands beside it, for people.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Run outside the sandbox: by the owner's shell, git, editor, agent client, or a CI machine.
RUNS_LATER: Final[Mapping[str, str]] = MappingProxyType(
    {
        "${workspace}/.git/hooks/pre-commit": "git",
        "${workspace}/.git/config": "git",
        "${workspace}/.gitattributes": "git",
        "${workspace}/.gitmodules": "git",
        "${workspace}/.husky/pre-commit": "git",
        "${workspace}/.pre-commit-config.yaml": "pre-commit",
        "${workspace}/.github/workflows/ci.yml": "CI",
        "${workspace}/.gitlab-ci.yml": "CI",
        "${workspace}/.circleci/config.yml": "CI",
        "${workspace}/.mcp.json": "the agent's client",
        "${workspace}/.claude/settings.json": "the agent's client",
        "${workspace}/.cursor/mcp.json": "the agent's client",
        "${workspace}/.codex/config.toml": "the agent's client",
        "${workspace}/CLAUDE.md": "the agent's client",
        "${workspace}/AGENTS.md": "the agent's client",
        "${workspace}/.vscode/tasks.json": "the editor",
        "${workspace}/.idea/workspace.xml": "the editor",
        "${workspace}/.devcontainer/devcontainer.json": "the editor",
        "${workspace}/.envrc": "direnv",
        "${workspace}/.npmrc": "npm",
        "~/.bashrc": "the shell",
        "~/.profile": "the shell",
        "~/.zshrc": "the shell",
        "~/.config/fish/config.fish": "the shell",
        "~/.gitconfig": "git",
        "~/.ssh/config": "ssh",
        "~/.ssh/authorized_keys": "sshd",
        "~/.config/autostart/x.desktop": "the desktop",
        "~/.config/systemd/user/x.service": "systemd",
        "~/.local/bin/x": "whoever has it on PATH",
        "~/bin/x": "whoever has it on PATH",
        "/etc/cron.d/x": "cron",
        "/etc/profile.d/x.sh": "every shell",
        "/etc/ld.so.preload": "every program",
        "/etc/systemd/system/x.service": "systemd",
        "/usr/local/bin/x": "whoever has it on PATH",
    }
)
# Run by the project's own tools: contained when the agent starts them, not when the owner does.
BUILD_FILES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "${workspace}/Makefile": "make",
        "${workspace}/package.json": "npm",
        "${workspace}/setup.py": "pip",
        "${workspace}/conftest.py": "pytest",
        "${workspace}/build.rs": "cargo",
        "${workspace}/build.gradle": "gradle",
        "${workspace}/CMakeLists.txt": "cmake",
    }
)

"""Names in a workspace that make somebody else's tools run code, or loosen this project's rules.

Pure: tables. What is here already is read-only to commands that write; what is new is held back.
"""

# What a code host runs, read at the top of a repository alone.
HOSTS_READ = frozenset(
    {
        ".github", ".gitlab", ".gitlab-ci.yml", ".circleci", ".travis.yml", "Jenkinsfile",
        "azure-pipelines.yml", ".forgejo", ".gitea", ".woodpecker", ".woodpecker.yml", ".drone.yml",
        ".buildkite", "bitbucket-pipelines.yml", "appveyor.yml", ".appveyor.yml", "cloudbuild.yaml",
        ".drone.star", ".cirrus.yml", ".cirrus.star", ".semaphore", ".builds", ".build.yml",
        ".teamcity", ".tekton", ".pipelines", ".vsts-ci.yml", ".zuul.yaml", "zuul.yaml", ".zuul.d",
        "buildspec.yml", "buildspec.yaml", "bitrise.yml", "codemagic.yaml", "wercker.yml",
        ".scrutinizer.yml",
    }
)  # fmt: skip
PROTECTED_NAMES = HOSTS_READ | frozenset(
    {
        # what a shell, an editor or an agent runs when it is started here
        ".envrc", ".vscode", ".idea", ".mcp.json", ".claude", ".cursor", ".codex", ".agents",
        ".windsurf", ".gemini", ".kiro", ".roo", ".continue", ".zed", ".vs", ".devcontainer",
        ".devcontainer.json", ".gitpod.yml", ".vimrc", ".exrc", ".nvimrc", ".nvim.lua",
        ".dir-locals.el", ".gdbinit", ".lldbinit", ".mise.toml", "mise.toml", ".lvimrc", ".autoenv",
        ".autoenv.zsh", ".opencode", "opencode.json", "opencode.jsonc", ".amazonq", ".trae",
        ".qwen", ".augment", ".junie", ".aider.conf.yml",
        # what git and hg run
        ".husky", ".pre-commit-config.yaml", ".pre-commit-config.yml", "lefthook.yml",
        ".lefthook.yml", "lefthook.yaml", "lefthook.toml", ".overcommit.yml",
        ".simple-git-hooks.json", ".gitmodules", ".hg",
        # a home, if the workspace is one
        ".gitconfig", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".bash_aliases",
        ".profile", ".zshrc", ".zprofile", ".zshenv", ".zlogin", ".zlogout", ".kshrc", ".cshrc",
        ".tcshrc", ".login", ".inputrc", ".ssh", ".mkshrc", ".xonshrc", ".bash_completion",
        "config.fish", "config.nu", "env.nu",
    }
)  # fmt: skip
PROTECTED_PREFIX, PROTECTED_SUFFIX = ".permitgate", ".code-workspace"
# Inside a git directory, at any depth: what makes git run code or look elsewhere.
GIT_INTERNALS = frozenset({"hooks", "config", "config.worktree", "commondir", "attributes"})
GIT_PLANS = frozenset({"rebase-merge", "rebase-apply", "sequencer"})  # run when git goes on
GIT_DATA = frozenset({"objects", "logs", "refs"})  # content by hash, and names: nothing runs


def is_git_directory(name: str, names: frozenset[str]) -> bool:
    """Return whether git may take a directory of this name, with these names in it, for its own."""
    return name == ".git" or ("HEAD" in names and bool(names & {"objects", "refs", "commondir"}))


def is_protected(name: str, *, is_directory: bool, in_git: bool) -> bool:
    """Return whether a name must stay as it is while commands write around it."""
    if in_git and name in GIT_INTERNALS:
        return True
    if name == ".git":
        return not is_directory  # a gitlink can point anywhere; the directory is known by itself
    return (
        name in PROTECTED_NAMES
        or name.startswith(PROTECTED_PREFIX)
        or name.endswith(PROTECTED_SUFFIX)
    )

"""Traps: what could be left among git's work to make other tools run code, and the same without.

Each is the changed paths with what an upper layer has there; of a trap, also the path to be held.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HOOK = "#!/bin/sh\nevil\n"
OTHER = "0123456789" * 4
Put = Callable[[Path, Path], None]  # (in the upper layer, in the workspace)


@dataclass(frozen=True)
class Text:
    """A file with a text and a mode."""

    text: str | bytes
    mode: int = 0o644

    def __call__(self, upper: Path, _root: Path) -> None:
        upper.write_bytes(self.text.encode() if isinstance(self.text, str) else self.text)
        upper.chmod(self.mode)


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str

    def __call__(self, upper: Path, _root: Path) -> None:
        upper.symlink_to(self.target)


@dataclass(frozen=True)
class Edit:
    """What the workspace has, altered."""

    old: str
    new: str

    def __call__(self, upper: Path, root: Path) -> None:
        text = root.read_text()
        assert self.old in text
        upper.write_text(text.replace(self.old, self.new, 1))


@dataclass(frozen=True)
class More:
    """What the workspace has, with more at its end."""

    more: str

    def __call__(self, upper: Path, root: Path) -> None:
        upper.write_bytes(root.read_bytes() + self.more.encode())


@dataclass(frozen=True)
class Mode:
    """What the workspace has, with another mode."""

    mode: int

    def __call__(self, upper: Path, root: Path) -> None:
        upper.write_bytes(root.read_bytes())
        upper.chmod(self.mode)


def without_submodule(upper: Path, root: Path) -> None:
    upper.write_text(root.read_text().partition('[submodule "sub"]')[0])


def gone(upper: Path, _root: Path) -> None:
    os.mknod(upper, stat.S_IFCHR, 0)


def pipe(upper: Path, _root: Path) -> None:
    os.mkfifo(upper)


def directory(upper: Path, _root: Path) -> None:
    upper.mkdir()


CONFIG, HEAD, WT, SUB = ".git/config", ".git/HEAD", ".git/worktrees/wt", ".git/modules/sub"
TODO = f"{WT}/rebase-merge/git-rebase-todo"
APPLY = f"{SUB}/rebase-apply"
CI = ".github/workflows/ci.yml"


def section(header: str, *lines: str) -> More:
    return More(f"[{header}]\n" + "".join(f"\t{line}\n" for line in lines))


CODE_IN_CONFIG = (
    ("core", "fsmonitor = ./x"), ("core", "hooksPath = other"), ("core", "sshCommand = ./x"),
    ("core", "pager = ./x"), ("core", "editor = ./x"), ("core", "askPass = ./x"),
    ("core", "gitProxy = ./x"), ("core", "attributesFile = x"), ("core", "worktree = ../sub"),
    ("core", "bare = true"), ("CORE", "FsMonitor = ./x"), ("core", "alternateRefsCommand = ./x"),
    ('filter "lfs"', "clean = ./x"), ('filter "lfs"', "process = ./x"), ("alias", "st = !./x"),
    ('diff "x"', "textconv = ./x"), ('merge "x"', "driver = ./x"), ("include", "path = ../x"),
    ('includeIf "gitdir:/"', "path = ../x"), ("credential", "helper = !./x"),
    ("gpg", "program = ./x"), ("uploadpack", "packObjectsHook = ./x"), ("diff", "external = ./x"),
    ('url "ext::sh -c x #"', "insteadOf = https://"), ("protocol", "allow = always"),
    ('protocol "ext"', "allow = always"), ("sequence", "editor = ./x"), ("user", "name = Eve"),
    ("extensions", "partialClone = up"), ("interactive", "diffFilter = ./x"),
    ('remote "up"', "url = ext::sh -c ./x"), ('remote "up"', "url = fd::17"),
    ('remote "up"', "pushurl = ext::sh -c ./x"), ('remote "up"', "url = own::x"),
    ('remote "up"', "url = own://x"), ('remote "up"', "url = -oProxyCommand=./x"),
    ('remote "up"', "url = ssh://-oProxyCommand=./x/y"), ('remote "up"', "url = a\x1b[31m"),
    ('remote "up"', "url = git@-oProxyCommand=./x:y"), ('remote "up"', "vcs = own"),
    ('remote "up"', "uploadpack = ./x"), ('remote "up"', "receivepack = ./x"),
    ('remote "up"', "proxy = x"), ('remote "up"', "fetch = --upload-pack=./x"),
    ('branch "main"', "remote = ext::sh -c ./x"), ('branch "main"', "pushRemote = own::x"),
    ('branch "main"', "mergeOptions = -s ./x"), ('branch "main"', "rebase = ./x"),
    ('submodule "sub"', "update = !./x"), ('submodule "sub"', "url = ext::sh -c ./x"),
    ('submodule "sub"', "update = custom"), ('submodule "sub"', "ignore = x"),
    ("branch.main", "remote = up"), ("submodule", "update = none"),
)  # fmt: skip
NOT_GITS_FORM = {
    "lines that end with a carriage return": More('[remote "up"]\r\n\turl = x\r\n'),
    "a line that goes on": More('[remote "up"]\n\turl = x\\\n\t\ty\n'),
    "a line that goes on after a carriage return": More('[remote "up"]\n\turl = x\\\r\n\t\ty\n'),
    "no spaces around the sign": More('[remote "up"]\n\turl=x\n'),
    "spaces for the tab": More('[remote "up"]\n    url = x\n'),
    "a value in quotes without need": More('[remote "up"]\n\turl = "x"y\n'),
    "an escape that git does not write": More('[remote "up"]\n\turl = x\\b\n'),
    "a remark behind the value": More('[remote "up"]\n\turl = x # y\n'),
    "a remark": More("# nothing\n"),
    "a key without a value": More('[remote "up"]\n\turl\n'),
    "a key on the line of its section": More('[remote "up"] url = x\n'),
    "a section on the line of another": More('[remote "up"] [core] fsmonitor = ./x\n'),
    "a name with a tab in it": More('[remote "u\tp"]\n\turl = x\n'),
    "a section in a section's name": More(
        '[remote "a\\"]\n[core]\n\tfsmonitor = ./x\n[remote "b"]'
    ),
    "an escape in a name": More('[remote "\\x"]\n\turl = x\n'),
    "a NUL byte": More('[remote "up"]\n\turl = x\0\n'),
    "a mark of the byte order": Edit("[core]", "\ufeff[core]"),
    "a key before every section": Edit("[core]", "\turl = x\n[core]"),
    "a section's header gone": Edit("[core]\n", ""),
    "a section's header changed": Edit("[core]", '[remote "up"]'),
    "a key gone": Edit("\tfilemode = true\n", ""),
    "a value changed": Edit("filemode = true", "filemode = false"),
    "a key in another section": Edit("\tbare = false\n", '[branch "x"]\n\tbare = false\n'),
}
GIT = {
    "new/.git/HEAD": Text("ref: refs/heads/main\n"),
    "new/.git/config": Text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n"),
    "new/.git/objects/info": directory,
    "new/.git/refs/heads": directory,
}
WT2 = {
    ".git/worktrees/two/HEAD": Text("ref: refs/heads/old\n"),
    ".git/worktrees/two/commondir": Text("../..\n"),
}
HELD: dict[str, tuple[str, dict[str, Put]]] = {
    **{
        f"configuration: {header} {line!r}": (CONFIG, {CONFIG: section(header, line)})
        for header, line in CODE_IN_CONFIG
    },
    **{f"configuration: {name}": (CONFIG, {CONFIG: put}) for name, put in NOT_GITS_FORM.items()},
    "a configuration that is a link": (CONFIG, {CONFIG: Link("../.config")}),
    "a configuration everybody may write": (CONFIG, {CONFIG: Mode(0o666)}),
    "no configuration": (CONFIG, {CONFIG: gone}),
    "a submodule's configuration": (
        f"{SUB}/config", {f"{SUB}/config": section("core", "fsmonitor = ./x")}
    ),
    "a submodule's working tree outside": (
        f"{SUB}/config", {f"{SUB}/config": Edit("../../../sub", "../../../../x")}
    ),
    "a submodule's working tree in a git directory": (
        f"{SUB}/config", {f"{SUB}/config": Edit("../../../sub", "../../../.git")}
    ),
    "a worktree's configuration": (
        ".git/config.worktree", {".git/config.worktree": Text("[core]\n\tpager = ./x\n")}
    ),
    "a hook": (".git/hooks/pre-commit", {".git/hooks/pre-commit": Text(HOOK, 0o755)}),
    "a hook by another name": (".git/hooks/x", {".git/hooks/x": Link("update.sample")}),
    "a sample that is a link": (".git/hooks/x.sample", {".git/hooks/x.sample": Link("/bin/sh")}),
    "a sample in a directory": (".git/hooks/x/y.sample", {".git/hooks/x/y.sample": Text("")}),
    "a sample gone": (".git/hooks/update.sample", {".git/hooks/update.sample": gone}),
    "hooks elsewhere": (".git/hooks", {".git/hooks": Link("../.husky")}),
    "a submodule's hook": (
        f"{SUB}/hooks/post-checkout", {f"{SUB}/hooks/post-checkout": Text(HOOK, 0o755)}
    ),
    "another common directory": (".git/commondir", {".git/commondir": Text("../evil\n")}),
    "a worktree of another repository": (
        f"{WT}/commondir", {f"{WT}/commondir": Text("../../../evil/.git\n")}
    ),
    "attributes": (".git/info/attributes", {".git/info/attributes": Text("* filter=lfs\n")}),
    "objects elsewhere": (
        ".git/objects/info/alternates", {".git/objects/info/alternates": Text("/evil\n")}
    ),
    "a reference that is a link": (".git/refs/heads/x", {".git/refs/heads/x": Link("/etc/x")}),
    "a directory hidden among references": (
        ".git/refs/.git/config", {".git/refs/.git/config": Text("")}
    ),
    "an address in the old way": (".git/remotes/up", {".git/remotes/up": Text("URL: ext::x\n")}),
    "a name that git does not know": (".git/evil", {".git/evil": Text("")}),
    "a link for a git directory": (".git", {".git": Link("../evil")}),
    "a HEAD that is a link": (HEAD, {HEAD: Link("refs/heads/main")}),
    "a HEAD outside": (HEAD, {HEAD: Text("ref: refs/heads/../../../x\n")}),
    "a HEAD that is no branch": (HEAD, {HEAD: Text("ref: refs/remotes/up/main\n")}),
    "a HEAD of two lines": (HEAD, {HEAD: Text("ref: refs/heads/main\nref: refs/heads/x\n")}),
    "a HEAD without a name": (HEAD, {HEAD: Text("main\n")}),
    "a HEAD with a control character": (HEAD, {HEAD: Text("ref: refs/heads/a\x1bb\n")}),
    "no HEAD": (HEAD, {HEAD: gone}),
    "a worktree's HEAD": (f"{WT}/HEAD", {f"{WT}/HEAD": Text("ref: HEAD\n")}),
    # plans
    "a plan that runs a command": (TODO, {TODO: Text("pick 1234567 x\nexec ./x\n")}),
    "a plan that runs a command, in short": (TODO, {TODO: Text("x ./x\n")}),
    "a plan that runs a command, indented": (TODO, {TODO: Text(" \t exec\t./x\n")}),
    "a plan that nobody knows": (TODO, {TODO: Text("run ./x\n")}),
    "a plan that is a link": (TODO, {TODO: Link("../../../x")}),
    "a strategy of its own": (
        f"{WT}/rebase-merge/strategy", {f"{WT}/rebase-merge/strategy": Text("evil\n")}
    ),
    "a strategy's option": (
        f"{WT}/rebase-merge/strategy_opts",
        {f"{WT}/rebase-merge/strategy_opts": Text(" --ours ; ./x\n")},
    ),
    "a file that plans have not": (
        f"{WT}/rebase-merge/run", {f"{WT}/rebase-merge/run": Text("./x\n")}
    ),
    "an author that is a script": (
        f"{WT}/rebase-merge/author-script",
        {f"{WT}/rebase-merge/author-script": Text("GIT_AUTHOR_NAME='x'; ./x\n")},
    ),
    "options of apply": (f"{APPLY}/apply-opt", {f"{APPLY}/apply-opt": Text(" '--unsafe-paths'\n")}),
    "a plan for picks": (
        ".git/sequencer", {".git/sequencer/todo": Text("exec ./x\n")}
    ),
    "a strategy for picks": (
        ".git/sequencer/opts", {".git/sequencer/opts": Text("[options]\n\tstrategy = evil\n")}
    ),
    # new git directories
    "a new hook": ("new/.git", {**GIT, "new/.git/hooks/pre-push": Text(HOOK, 0o755)}),
    "a new configuration": (
        "new/.git/config", {**GIT, "new/.git/config": Text("[core]\n\tfsmonitor = ./x\n")}
    ),
    "a new link": ("new/.git", {**GIT, "new/.git/objects/ab": Link("/etc")}),
    "a new pipe": ("new/.git", {**GIT, "new/.git/index": pipe}),
    "new attributes": ("new/.git", {**GIT, "new/.git/info/attributes": Text("* filter=x\n")}),
    "new alternates": ("new/.git", {**GIT, "new/.git/objects/info/alternates": Text("/x\n")}),
    "a new common directory": ("new/.git", {**GIT, "new/.git/commondir": Text("../..\n")}),
    "a new HEAD outside": ("new/.git/HEAD", {**GIT, "new/.git/HEAD": Text("ref: ../x\n")}),
    "a new working tree": (
        "new/.git", {**GIT, "new/.git/config": Text("[core]\n\tworktree = /etc\n")}
    ),
    "a new address in the old way": ("new/.git", {**GIT, "new/.git/branches/x": Text("ext::x\n")}),
    "a new plan": ("new/.git", {**GIT, "new/.git/sequencer/todo": Text("exec ./x\n")}),
    "a new name that git does not know": ("new/.git", {**GIT, "new/.git/evil": Text("")}),
    "a new git directory without HEAD": ("new/.git", {"new/.git/config": Text("")}),
    "a new git directory in another": (
        "new/.git", {**GIT, "new/.git/modules/x/HEAD": Text("x"),
                     "new/.git/modules/x/refs/x": Text("")}
    ),
    "a new bare repository": (
        "bare/config",
        {"bare/HEAD": Text("ref: refs/heads/main\n"), "bare/refs": directory,
         "bare/config": Text("[core]\n\tbare = true\n")},
    ),
    "a new bare repository that says it is none": (
        "bare/config",
        {"bare/HEAD": Text("ref: refs/heads/main\n"), "bare/objects": directory,
         "bare/config": Text("[core]\n\tbare = false\n")},
    ),
    "a new worktree of another repository": (
        ".git/worktrees/two",
        {**WT2, ".git/worktrees/two/commondir": Text("../../../evil\n")},
    ),
    "a new worktree that lies outside": (
        ".git/worktrees/two", {**WT2, ".git/worktrees/two/gitdir": Text("/etc/.git\n")}
    ),
    "a submodule's repository gone": (f"{SUB}/config", {SUB: gone}),
    "a repository gone": (".git", {".git": gone}),
    # `.git` files
    "a .git file that leads outside": ("x/.git", {"x/.git": Text("gitdir: /evil/.git\n")}),
    "a .git file that climbs out": ("x/.git", {"x/.git": Text("gitdir: ../../evil/.git\n")}),
    "a .git file through a link": (
        "x/.git", {"x/.git": Text("gitdir: y/../../.git/modules/sub\n")}
    ),
    "a .git file that leads to the repository": ("x/.git", {"x/.git": Text("gitdir: ../.git\n")}),
    "a .git file that leads to nothing": (
        "x/.git", {"x/.git": Text("gitdir: ../.git/modules/none\n")}
    ),
    "a .git file that leads to another's worktree": (
        "x/.git", {"x/.git": Text("gitdir: ../.git/worktrees/wt\n")}
    ),
    "a .git file of two lines": (
        "x/.git", {"x/.git": Text("gitdir: ../.git/modules/sub\nx\n")}
    ),
    "a .git file that leads to a new hook": (
        "x/.git",
        {"x/.git": Text("gitdir: ../.git/modules/x\n"),
         ".git/modules/x/HEAD": Text("ref: refs/heads/main\n"),
         ".git/modules/x/refs": directory,
         ".git/modules/x/hooks/pre-commit": Text(HOOK, 0o755)},
    ),
    "a .git that is a link": ("x/.git", {"x/.git": Link("../.git")}),
    # working files
    "another byte": (CI, {CI: Text("on: pusH\n")}),
    "another mode": (CI, {CI: Text("on: push\n", 0o755)}),
    "a mode gone": (".husky/pre-commit", {".husky/pre-commit": Mode(0o644)}),
    "a file everybody may write": (CI, {CI: Text("on: push\n", 0o666)}),
    "a set-id mode": (".husky/pre-commit", {".husky/pre-commit": Mode(0o4755)}),
    "a link for a file": (CI, {CI: Link("../../README")}),
    "a link for a directory": (".github", {".github": Link("src")}),
    "a pipe for a file": (CI, {CI: pipe}),
    "a directory for a file": (".envrc", {".envrc/x": Text("")}),
    "a file that no commit has": (".github/x.yml", {".github/x.yml": Text("")}),
    "a file of another commit": (".gitlab-ci.yml", {".gitlab-ci.yml": Text("image: x\n")}),
    "a directory that no commit has": (".idea", {".idea/x.xml": Text("")}),
    "a directory that no commit has, left empty": (".idea", {".idea": directory}),
    "a file gone": (CI, {CI: gone}),
    "a directory gone": (".vscode", {".vscode": gone}),
    "a name below a protected one": (".vscode/a/b", {".vscode/a/b": Text("")}),
    "a repository below a protected name": (
        ".idea/x", {**{f".idea{path[3:]}": put for path, put in GIT.items()},
                    ".idea/x": Text("")}
    ),
    "a worktree's file that differs": ("wt/.envrc", {"wt/.envrc": Text("evil\n")}),
    "a submodule's file that differs": (
        "sub/.circleci/config.yml", {"sub/.circleci/config.yml": Text("evil\n")}
    ),
    "a submodule's command": (
        ".gitmodules", {".gitmodules": More("\tupdate = !./x\n")}
    ),
    "a submodule's address": (
        ".gitmodules", {".gitmodules": Edit("../library", "ext::sh -c x")}
    ),
    "a submodule's path": (".gitmodules", {".gitmodules": Edit("path = sub", "path = ../sub")}),
    "modules of another directory": (
        "src/.gitmodules", {"src/.gitmodules": Text('[submodule "x"]\n\tpath = x\n')}
    ),
}  # fmt: skip


PASSES: dict[str, dict[str, Put]] = {
    "a remote": {
        CONFIG: section('remote "up"', "url = https://h/a", "fetch = +refs/heads/*:refs/x/*")
    },
    "a value that git quotes": {CONFIG: section('remote "up"', 'url = "/a b;#\\"\\\\"')},
    "a description": {CONFIG: section('branch "größe"', 'description = a\\nb \\"c\\"\\t')},
    "a section gone": {CONFIG: without_submodule},
    "a new repository": GIT,
    "a new repository with samples": {
        **GIT, "new/.git/hooks/update.sample": Text(HOOK, 0o755), "new/.git/branches": directory,
        "new/.git/info/exclude": Text("# none\n"), "new/.git/description": Text("x"),
    },
    "a new worktree": WT2,
    "a plan without commands": {TODO: Text("# x\nbreak\nb\npick 1 x\nl here\nnoop\n")},
    "a plan at its end": {f"{WT}/rebase-merge": gone},
    "a worktree gone": {WT: gone, "wt": gone},
    "a file as the commit has it": {CI: Text("on: push\n")},
    "a submodule's detached HEAD": {f"{SUB}/HEAD": Text(OTHER)},
    "a submodule's modules": {".gitmodules": More("\tbranch = side\n\tupdate = none\n")},
}  # fmt: skip

"""Repositories turned so that git runs something when the owner uses it later.

{ws} is a repository with a submodule `m`; {ws}/nested is one of its own, with a worktree {ws}/wt.
"""

import subprocess
from pathlib import Path

from tests.sandbox.escapes.attempt import Attempt, Places, does

HOOK = "printf '#!/bin/sh\\ntouch {out}/pwned\\n'"
CONFIG = (
    """printf '[core]\\nrepositoryformatversion = 0\\nfsmonitor = "touch {out}/pwned; false"\\n'"""
)


def _git(places: Places, top: Path, words: str) -> None:
    subprocess.run(
        ["git", "-C", str(top), "-c", "user.name=a", "-c", "user.email=a@b", *words.split()],
        env={"PATH": "/usr/bin:/bin", "HOME": str(places.out), "GIT_EDITOR": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
        check=False,
    )


def runs_planted(places: Places, _: object) -> bool:
    """Use every repository of the workspace as its owner would; return whether that ran a plant."""
    tops = [places.ws, *(path for path in places.ws.glob("*") if path.is_dir())]
    for top in tops:
        if (top / ".git").exists() or (top / "HEAD").exists():
            _git(places, top, "status")
            _git(places, top, "commit -q --allow-empty -m x")
    _git(places, places.ws / "m", "checkout -q -B b")
    _git(places, places.ws, "rebase --continue")
    return (places.out / "pwned").exists()


def hook(name: str, text: str, **more: object) -> Attempt:
    return does(name, "T09", f"cd {{ws}}\n{text}", runs_planted, **more)


def planted(directory: str, name: str = "pre-commit") -> str:
    return f"{HOOK} > {directory}/{name}; chmod +x {directory}/{name}"


COMMON = "mkdir evil; cp -r nested/.git/objects nested/.git/refs evil; " + CONFIG + " > evil/config"

ATTEMPTS: list[Attempt] = [
    hook("write a hook", planted(".git/hooks")),
    hook("write a hook of a repository further down", planted("nested/.git/hooks")),
    hook("write a hook through a link", f"ln -s .git/hooks hk; {planted('hk')}"),
    hook("write a hook through a descriptor",
         f"exec 3< .git/hooks; {planted('/proc/self/fd/3')}"),
    hook("move the hooks away", f"mv .git/hooks .git/h; mkdir .git/hooks; {planted('.git/hooks')}"),
    hook("move the repository away", f"mv .git g; cp -r g .git; {planted('.git/hooks')}"),
    hook("move a working tree away",
         f"mv nested n; mkdir nested; cp -r n/.git nested/; {planted('nested/.git/hooks')}"),
    hook("exchange the repository for a copy", f"""cp -r .git g; {planted('g/hooks')}
python3 -c 'import ctypes; ctypes.CDLL(None).renameat2(-100, b".git", -100, b"g", 2)'"""),
    hook("switch a hook on", "for f in .git/hooks/*.sample; do cp $f ${f%.sample}; done; "
         "sed -i '2i touch {out}/pwned' .git/hooks/pre-commit"),
    hook("set a hooks path", f"mkdir h; {planted('h')}; git config core.hooksPath h"),
    hook("set a monitor", 'git config core.fsmonitor "touch {out}/pwned; false"'),
    hook("include a configuration", f"{CONFIG} > inc; git config include.path ../inc"),
    hook("rename over the configuration", f"{CONFIG} > n; mv -f n .git/config"),
    hook("remove and write the configuration",
         f"rm -f nested/.git/config; {CONFIG} > nested/.git/config"),
    hook("write the configuration through a descriptor",
         f"exec 3< .git/config; {CONFIG} > /proc/self/fd/3"),
    hook("unlock and write the configuration",
         f"chmod 666 .git/config; cp --remove-destination .git/config c; {CONFIG} > .git/config"),
    hook("name another common directory", f"{COMMON}; mv .git/objects .git/o; mv .git/refs .git/r; "
         "echo ../evil > .git/commondir"),
    hook("name another common directory of a worktree",
         f"{COMMON}; echo $PWD/evil > nested/.git/worktrees/wt/commondir"),
    hook("send a worktree elsewhere", f"{COMMON}; cp nested/.git/HEAD evil; "
         "rm -f wt/.git; echo gitdir: $PWD/evil > wt/.git"),
    hook("send a submodule elsewhere", f"{COMMON}; cp nested/.git/HEAD evil; "
         "echo gitdir: ../evil > n; mv -f n m/.git"),
    hook("write a hook of a submodule", planted(".git/modules/m/hooks")),
    hook("make a repository", f"git init -q x; mkdir -p x/.git/hooks; {planted('x/.git/hooks')}"),
    hook("make a repository of little", f"{COMMON}; mkdir -p x/.git; cp nested/.git/HEAD x/.git; "
         "echo ../../evil > x/.git/commondir"),
    hook("make a repository of a link", f"{COMMON}; cp nested/.git/HEAD evil; mkdir x; "
         "ln -s ../evil x/.git"),
    hook("make a repository without a working tree", f"{COMMON}; cp nested/.git/HEAD evil; "
         "git config -f evil/config core.bare false; git config -f evil/config core.worktree ."),
    hook("break a repository, plant and mend it", f"mv .git/HEAD .git/H; {CONFIG} > c; "
         "mv .git/config .git/c; mv c .git/config", then="mv .git/H .git/HEAD", then_in="live"),
    hook("leave a rebase to be continued", """mkdir .git/rebase-merge; cd .git/rebase-merge
git rev-parse HEAD | tee onto orig-head > /dev/null; echo refs/heads/main > head-name
echo 'exec touch {out}/pwned' > git-rebase-todo
touch done interactive; echo 1 > end; echo 0 > msgnum
"""),
]  # fmt: skip

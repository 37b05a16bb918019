"""Homes with toolchains in them, small: real interpreters in the layout that each manager makes.

Managers themselves (pyenv, rustup, go) are a few lines of shell that do what theirs does when a
program is started; what is proven is that all they look at is inside.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.host import Choice, HostFacts
from sandbox.toolchains import equip
from tests.sandbox.rig import HOST

STANDARD = ("/usr/local/bin", "/usr/bin", "/bin")
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
NODE = shutil.which("node", path=":".join(STANDARD))


@dataclass(frozen=True)
class Home:
    """A home below a test's directory, and the PATH its owner has."""

    base: Path

    @property
    def path(self) -> Path:
        return self.base / "home"

    def host(
        self, *entries: str, choice: Choice = "auto", environ: Mapping[str, str] | None = None
    ) -> HostFacts:
        """Return this machine with this home, `entries` of it (`~` left out) first on PATH."""
        own = tuple(str(self.path / entry) for entry in entries)
        facts = replace(
            HOST, home=str(self.path), path_entries=(*own, *STANDARD), toolchains=choice
        )
        return equip(facts, environ or {})

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return file

    def program(self, name: str, *lines: str) -> Path:
        return self.write(name, "\n".join(("#!/bin/sh", *lines, "")), 0o755)

    def link(self, name: str, target: str) -> Path:
        link = self.path / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return link

    def python(self, prefix: str) -> Path:
        """Install a Python below `prefix`: its own program and a library linked from the system."""
        real = Path(os.path.realpath(f"{sys.base_prefix}/bin/python{VERSION}"))
        library = Path(os.__file__).parent
        program = self.path / prefix / f"bin/python{VERSION}"
        program.parent.mkdir(parents=True)
        shutil.copy(real, program)
        lib = self.path / prefix / "lib" / f"python{VERSION}"
        lib.mkdir(parents=True)
        for item in library.iterdir():
            (lib / item.name).symlink_to(item)
        for name in ("python", "python3"):
            (program.parent / name).symlink_to(program.name)
        return program

    def pyenv(self) -> None:
        self.python(".pyenv/versions/9.9.9")
        self.write(".pyenv/version", "9.9.9\n")
        self.program(
            ".pyenv/libexec/pyenv",
            'read -r version < "$PYENV_ROOT/version"',
            'shift; program=$1; shift; exec "$PYENV_ROOT/versions/$version/bin/$program" "$@"',
        )
        self.program(
            ".pyenv/shims/python3",
            f"export PYENV_ROOT={self.path}/.pyenv",
            'exec "$PYENV_ROOT/libexec/pyenv" exec "${0##*/}" "$@"',
        )

    def uv(self) -> None:
        self.python(".local/share/uv/python/cpython-9.9.9")
        self.link(".local/share/uv/python/cpython-9.9", "cpython-9.9.9")
        python = self.path / ".local/share/uv/python/cpython-9.9/bin/python3"
        self.link(".local/share/uv/tools/greet/bin/python", str(python))
        self.write(
            ".local/share/uv/tools/greet/bin/greet",
            f"#!{self.path}/.local/share/uv/tools/greet/bin/python\nprint('greetings')\n",
            0o755,
        )
        self.link(".local/bin/greet", "../share/uv/tools/greet/bin/greet")
        self.write(".local/share/uv/credentials/credentials.toml", "tok-4711")

    def nvm(self) -> None:
        node = self.path / ".nvm/versions/node/v99.0.0/bin/node"
        node.parent.mkdir(parents=True)
        shutil.copyfile(NODE or "/bin/false", node)
        node.chmod(0o755)
        self.write(".nvm/versions/node/v99.0.0/etc/npmrc", "tok-4711")
        self.write(".npmrc", "//registry.example/:_authToken=tok-4711\nprefix=~/.npm-packages\n")
        self.write(
            ".npm-packages/lib/node_modules/greet/cli.js",
            "#!/usr/bin/env node\nconsole.log('hi', process.version !== '')\n",
            0o755,
        )
        self.link(".npm-packages/bin/greet", "../lib/node_modules/greet/cli.js")

    def rust(self) -> None:
        """Lay out rustup's directories; the proxies find the default toolchain as theirs do."""
        self.write(".rustup/settings.toml", 'default_toolchain = "stable"\n')
        self.program(
            ".rustup/toolchains/stable/bin/cargo",
            'test -r "$HOME/.cargo/registry/src/dep/lib.rs" && touch "$HOME/.cargo/.package-cache"',
            "RUSTC=$(rustc --version); echo cargo with $RUSTC; exit 3",
        )
        self.program(".rustup/toolchains/stable/bin/rustc", "echo rustc 9.9.9")
        self.program(
            ".cargo/bin/rustup",
            "grep -q stable ~/.rustup/settings.toml || exit 9",
            'exec ~/.rustup/toolchains/stable/bin/"${0##*/}" "$@"',
        )
        for name in ("cargo", "rustc"):
            self.link(f".cargo/bin/{name}", "rustup")
        self.write(".cargo/registry/src/dep/lib.rs", "")
        self.write(".cargo/credentials.toml", "tok-4711")
        self.write(".cargo/config.toml", "[build]\njobs = 1\n")

    def go(self) -> None:
        """Lay out a GOROOT in ~/sdk and a module cache; `go` is a stand-in."""
        self.write("sdk/go9/VERSION", "go9.9\n")
        self.program(
            "sdk/go9/bin/go", "cat ~/sdk/go9/VERSION ~/go/pkg/mod/example@v1/x.go", "tool", "exit 4"
        )
        self.program("go/bin/tool", "echo a tool of GOPATH")
        self.write("go/pkg/mod/example@v1/x.go", "package example\n")
        self.write("go/src/private/notes.txt", "tok-4711")

    def venv(self, workspace: Path, python: str) -> None:
        """Make .venv in the workspace as `python -m venv` would, on a Python of this home."""
        link = workspace / ".venv/bin/python"
        link.parent.mkdir(parents=True)
        link.symlink_to(self.path / python)
        home = (self.path / python).parent
        (workspace / ".venv/pyvenv.cfg").write_text(f"home = {home}\nversion = {VERSION}\n")


def outside(host: HostFacts, workspace: Path, *argv: str) -> tuple[int, bytes, bytes]:
    """Run a program as its owner would; return exit code, output and errors."""
    environment = {"HOME": host.home, "PATH": ":".join(host.path_entries), "LANG": "C.UTF-8"}
    done = subprocess.run(
        argv, cwd=workspace, env=environment, capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr

"""Whose packages a package manager changes: the project's, or those of the machine."""

import shlex

import pytest

from policy.examples import SAMPLE
from policy.footprint import footprint
from policy.host_sets import PLACEHOLDERS, SET_OF, stands_for
from policy.model import Exec
from policy.programs.index import packaged

PROJECT, MACHINE = "<the project's packages>", "<this machine's packages>"
FETCH_FOR_THE_PROJECT = """
    pip install x|pip3.12 uninstall x|python3 -m pip install -e .|uv add x|uv sync|uv pip install x
    uv run --with x ./a.py|poetry add x|poetry install|pdm add x|hatch env create|pixi install
    pipenv install x|pip-sync|virtualenv --download .venv|python3 -m venv --upgrade-deps .venv|tox
    maturin develop|mypy --install-types src
    npm install x|npm ci|npm update|npm uninstall x|pnpm add x|yarn|yarn add x|bun add x|bun install
    deno add x|lerna bootstrap|ng add x|cargo add x|cargo update|cargo fetch|go get x
    go mod download|bundle|bundle install --path vendor|bundle add x|composer require x/y
    composer install|rails new app|dotnet add package x|dotnet restore|dotnet tool restore
    mix deps.get|mix do deps.get|rebar3 upgrade|dart pub get|swift package update|cabal update
    zig fetch x|pod install|carton install|nuget restore|meson wrap install x|terraform init
"""
INSTALL_ON_THE_MACHINE = """
    pip install --user x|pip install --break-system-packages x|uv pip install --system x
    uv tool install x|uv python install 3.12|uv self update|poetry self add x|pdm self update
    pipenv install --system|pipx install x|conda install x|pyenv install 3.12|python3 -m ensurepip
    npm install -g x|npm -g install x|npm i x --global|npm install --location=global x|npm link
    pnpm add -g x|pnpm setup|yarn global add x|yarn link|bun add -g x|bun upgrade|corepack enable
    deno install -g x|deno upgrade|cargo install x|rustup update|go install x@latest
    go install ./...|gem install x|gem exec x|bundle install --system|bundle plugin install x
    composer global require x/y|composer self-update|dotnet tool install -g x
    dotnet tool install --tool-path /opt x|dotnet workload install x|mix local.hex
    mix archive.install x|mix do local.hex|dart pub global activate x|flutter upgrade
    nimble install x|stack install x|luarocks install x|cpanm x|opam install x|vcpkg install x
    apt install x|apt-get update|dpkg -i x.deb|dnf install x|apk add x|pacman -S x|zypper in x
    brew install x|snap install x|R CMD INSTALL x|helm plugin install x|playwright install
"""
RUN_A_TOOL_ONCE = "npx cowsay@1|npm exec cowsay@1|pnpm dlx x|uvx x|uv tool run x|pipx run x"
LOOK = "npm ls -g|npm outdated -g|pnpm list -g|pip list --user|gem list|dotnet --info|bun pm ls"


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.replace("\n", "|").split("|") if line.strip()]


def accesses(line: str, operation: str):
    found = footprint(Exec(None, tuple(shlex.split(line)), SAMPLE.workspace), SAMPLE).accesses
    return [access for access in found if access.operation == operation]


def packages(line: str) -> set[str]:
    return {access.resource for access in accesses(line, "pkg.install")}


@pytest.mark.threat("T09")
@pytest.mark.parametrize("line", lines(FETCH_FOR_THE_PROJECT))
def test_what_a_project_depends_on_is_the_projects(line):
    assert packages(line) == {PROJECT}


@pytest.mark.threat("T09")
@pytest.mark.parametrize("line", lines(INSTALL_ON_THE_MACHINE))
def test_what_lands_outside_the_workspace_is_the_machines(line):
    assert MACHINE in packages(line)


@pytest.mark.parametrize("line", lines(RUN_A_TOOL_ONCE))
def test_a_tool_fetched_for_one_run_is_installed_nowhere(line):
    assert packages(line) == set()
    assert accesses(line, "net.connect")
    assert accesses(line, "code.exec")


@pytest.mark.parametrize("line", lines(LOOK))
def test_looking_installs_nothing(line):
    assert packages(line) == set()


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("apt install x", "debian"),
        ("apt-get update", "debian"),
        ("dnf install x", "fedora"),
        ("apk add x", "alpine"),
        ("pacman -S x", "arch"),
        ("zypper in x", "suse"),
        ("gem install x", "ruby"),
        ("bundle install", "ruby"),
        ("composer install", "php"),
        ("cargo fetch", "rust"),
        ("go get x", "go"),
        ("npm ci", "node"),
        ("bun install", "node"),
        ("conda install x", "conda"),
        ("mix deps.get", "elixir"),
        ("dotnet restore", "dotnet"),
        ("cabal update", "haskell"),
        ("brew install x", None),
        ("apt install x -o Acquire::http::Proxy=http://a.example", "debian"),
    ],
)
def test_a_package_manager_reaches_the_index_of_its_ecosystem(line, name):
    (access, *_) = accesses(line, "net.connect")
    assert stands_for(access, {name or "": ("a.example",)}) == (("a.example",) if name else None)
    assert (access.resource in PLACEHOLDERS) is (name is not None)


def test_every_program_with_a_set_is_described():
    assert set(SET_OF) <= set(packaged())

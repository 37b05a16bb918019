"""A table of developers' command lines: what they do, and what the pack dev-safe decides of them.

Each row says what a person who knows the manual would say. Below it stand the laws that hold for
every tool: a settings file is judged by where it lies, and a module by whether it is a path.
"""

import shlex

import pytest

from policy.classify import classify
from policy.footprint import footprint
from policy.load import load, pack
from policy.model import Context, Effect, Exec, Request, Subject

WORKSPACE = "/home/dev/work"
CONTEXT = Context(workspace=WORKSPACE, home="/home/dev", user="dev", host="builder")
SUBJECT = Subject("agent:test", "s", 1000, "cli")
POLICY = load([pack("dev-safe")], check_examples=False)
ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY

TABLE = [
    # git: what the reflog brings back
    ("git log -p -n 3", ALLOW, "git.read"),
    ("git log --output=out.txt", ALLOW, "fs.write git.read"),
    ("git diff --no-index a b", ALLOW, "fs.read git.read"),
    ("git grep -O TODO", ASK, "code.exec git.read"),
    ("git add -A", ALLOW, "git.write"),
    ("git add .env", DENY, "fs.read git.write"),
    ("git commit -m msg", ALLOW, "git.write"),
    ("git commit --amend --no-edit", ALLOW, "git.write"),
    ("git commit -m x -- src/a.py", ALLOW, "fs.read git.write"),
    ("git rebase main", ALLOW, "git.write"),
    ("git rebase --continue", ALLOW, "git.write"),
    ("git rebase --exec ./check.sh main", ASK, "code.exec git.write"),
    ("git rebase -i HEAD~3", ASK, "code.exec git.write"),
    ("git merge --no-ff -m 'a merge' topic", ALLOW, "git.write"),
    ("git cherry-pick -x abc", ALLOW, "git.write"),
    ("git revert --no-edit HEAD", ALLOW, "git.write"),
    ("git am fix.patch", ALLOW, "fs.read git.write"),
    ("git apply --index fix.patch", ALLOW, "fs.read git.write"),
    ("git apply --unsafe-paths fix.patch", ASK, "fs.read fs.write git.write"),
    ("git stash push -m wip", ALLOW, "git.write"),
    ("git stash drop", ASK, "git.history"),
    ("git switch -c topic", ALLOW, "git.write"),
    ("git switch -C topic", ASK, "git.history git.write"),
    ("git checkout main", ALLOW, "git.write"),
    ("git checkout v1.2", ALLOW, "git.write"),
    ("git checkout v1.2 -- a", ASK, "git.history git.write"),
    ("git checkout src/a.py", ASK, "git.history"),
    ("git checkout Makefile", ASK, "git.history"),
    ("git checkout -- .", ASK, "git.history"),
    ("git restore --staged .", ALLOW, "git.write"),
    ("git restore .", ASK, "git.history"),
    ("git reset --soft HEAD~1", ALLOW, "git.write"),
    ("git reset --hard HEAD~1", ASK, "git.history git.write"),
    ("git clean -nfd", ALLOW, "git.read"),
    ("git clean -fd", ASK, "git.history"),
    ("git branch -d topic", ALLOW, "git.write"),
    ("git branch -D topic", ASK, "git.history"),
    ("git branch -f topic main", ASK, "git.history"),
    ("git tag v1.0", ALLOW, "git.write"),
    ("git tag -d v1.0", ASK, "git.history"),
    ("git mv a b", ALLOW, "fs.write git.write"),
    ("git mv -f a b", ASK, "fs.write git.history git.write"),
    ("git rm --cached a", ALLOW, "git.write"),
    ("git rm -f a", ASK, "git.history git.write"),
    ("git gc", ALLOW, "git.write"),
    ("git gc --prune=now", ASK, "git.history git.write"),
    ("git maintenance run", ALLOW, "git.write"),
    ("git maintenance start", ASK, "persistence"),
    ("git reflog expire --expire=now --all", DENY, "audit.tamper git.history git.read"),
    ("git worktree add ../other main", ASK, "fs.create git.write"),
    ("git worktree remove other", ASK, "fs.delete git.history"),
    ("git hash-object a", ALLOW, "fs.read git.read"),
    ("git hash-object -w a", ALLOW, "fs.read git.read git.write"),
    ("git checkout-index -a --prefix=/opt/x/", ASK, "fs.write git.write"),
    ("git format-patch -3 -o out", ALLOW, "fs.write git.read"),
    ("git format-patch -1 --stdout", ALLOW, "git.read"),
    ("git fast-export --export-marks=marks HEAD", ALLOW, "fs.write git.read"),
    ("git bundle create a.bundle main", ALLOW, "fs.write git.read"),
    ("git archive -o a.tgz HEAD", ALLOW, "fs.write git.read"),
    ("git -c user.name=x commit -m y", ALLOW, "git.write"),
    ("git -c core.pager=./x log", ASK, "code.exec git.read"),
    ("git -c alias.x='!rm -rf src' x", ASK, "code.exec fs.delete opaque"),
    ("git config user.name", ALLOW, "git.read"),
    ("git config user.name x", ALLOW, "git.read git.write"),
    ("git config init.templateDir ./x", ASK, "git.read persistence"),
    ("git config core.fsmonitor ./x", ASK, "git.read persistence"),
    ("git fetch", ASK, "git.write net.connect"),
    ("git fetch 'ext::./x'", ASK, "code.exec git.write net.connect"),
    ("git push origin main", ASK, "git.read net.connect"),
    ("git push --force origin main", ASK, "git.history git.read net.connect"),
    ("git push origin +main", ASK, "git.history git.read net.connect"),
    ("git submodule foreach git status", ALLOW, "git.read"),
    ("git submodule update --init", ASK, "git.read git.write net.connect persistence"),
    ("git bisect run make test", ALLOW, "code.exec fs.write git.write"),
    ("git difftool", ASK, "code.exec"),
    ("git flow feature start x", ALLOW, "git.write"),
    # other version control
    ("svn status", ALLOW, "git.read"),
    ("svn add src/new.c", ALLOW, "fs.write git.write"),
    ("svn revert -R .", ASK, "git.history"),
    ("svn commit -m x", ASK, "fs.write git.history net.connect"),
    ("hg commit -m x", ALLOW, "git.write"),
    ("hg update -C", ASK, "git.history git.write"),
    ("hg push", ASK, "git.history net.connect"),
    ("jj new main", ALLOW, "git.write"),
    ("jj git push", ASK, "git.history net.connect"),
    ("gh pr list", ASK, "net.connect"),
    ("gh pr create --fill", ASK, "cloud.mutate net.connect"),
    # building
    ("make -j8 test", ALLOW, "code.exec fs.write"),
    ("make install", ASK, "code.exec fs.write"),
    ("make -f - test", ASK, "code.exec fs.write"),
    ("make -C sub test", ALLOW, "code.exec fs.write"),
    ("make CC=clang", ALLOW, "code.exec fs.write"),
    ("make CC='sh -c id'", ASK, "code.exec fs.write sys.inspect"),
    ("make 'X=$(shell id)'", ASK, "code.exec fs.write opaque sys.inspect"),
    ("make deploy", ASK, "code.exec fs.write net.connect"),
    ("cmake -S . -B build", ALLOW, "code.exec fs.write"),
    ("cmake --build build -j4", ALLOW, "code.exec fs.write"),
    ("cmake -DCMAKE_C_COMPILER=gcc .", ALLOW, "code.exec fs.write"),
    ("cmake -DCMAKE_C_COMPILER=./x .", ASK, "code.exec fs.write"),
    ("cmake --install build", ASK, "code.exec fs.write"),
    ("cmake -E rm -rf src", ASK, "code.exec fs.delete fs.write"),
    ("ninja -C build", ALLOW, "code.exec fs.write"),
    ("meson install -C build", ASK, "code.exec fs.write"),
    ("mvn -q package", ALLOW, "code.exec fs.write"),
    ("mvn deploy", ASK, "code.exec fs.write net.connect"),
    ("mvn org.evil:evil-plugin:1.0:run", ASK, "code.exec fs.write net.connect"),
    ("gradle test --tests X", ALLOW, "code.exec fs.write"),
    ("gradle -I /tmp/x.gradle build", ASK, "code.exec fs.write"),
    ("cargo build --release", ALLOW, "code.exec fs.write"),
    ("cargo run -- --x", ALLOW, "code.exec fs.write"),
    ("cargo install ripgrep", ASK, "code.exec net.connect pkg.install"),
    ("cargo --config 'build.rustc-wrapper=\"x\"' build", ASK, "code.exec fs.write"),
    ("go build -ldflags '-s -w' -o bin/app .", ALLOW, "code.exec fs.write"),
    ("go build -toolexec ./x .", ASK, "code.exec fs.write"),
    ("go run example.com/x@latest", ASK, "code.exec fs.write net.connect"),
    ("go env -w A=b", ASK, "persistence sys.inspect"),
    ("gcc -Wall -c a.c -o a.o", ALLOW, "fs.read fs.write"),
    ("gcc -Wl,-plugin,/tmp/x.so a.c", ASK, "code.exec fs.read fs.write"),
    ("gcc -fplugin=./x.so a.c", ASK, "code.exec fs.read fs.write"),
    ("rustc --emit link=/opt/x main.rs", ASK, "fs.read fs.write"),
    ("just test", ALLOW, "code.exec fs.write"),
    ("just deploy", ASK, "code.exec fs.write net.connect"),
    ("turbo run build", ALLOW, "code.exec fs.write"),
    # tests, linters, projects
    ("pytest -q --junitxml=out.xml", ALLOW, "code.exec fs.write"),
    ("pytest -c /tmp/x.ini", ASK, "code.exec fs.write"),
    ("pytest --pastebin=all", ASK, "code.exec fs.write net.connect"),
    ("tox -e py311", ASK, "code.exec fs.write net.connect pkg.install"),
    ("coverage run -m pytest", ALLOW, "code.exec fs.write"),
    ("ruff check --fix .", ALLOW, "code.exec fs.read fs.write"),
    ("mypy --install-types src", ASK, "code.exec fs.read fs.write net.connect pkg.install"),
    ("black src", ALLOW, "code.exec fs.read fs.write"),
    ("pylint --load-plugins=/tmp/x.py src", ASK, "code.exec fs.read fs.write"),
    ("sphinx-build docs out", ALLOW, "code.exec fs.write"),
    ("mkdocs serve", ASK, "code.exec net.listen"),
    ("alembic downgrade base", ASK, "code.exec fs.delete fs.write"),
    ("pre-commit install", ASK, "code.exec fs.write net.connect persistence"),
    ("eslint --fix src", ALLOW, "code.exec fs.read fs.write"),
    ("eslint -c /tmp/x.js src", ASK, "code.exec fs.read fs.write"),
    ("jest --config jest.config.js", ALLOW, "code.exec fs.write"),
    ("vitest --ui", ASK, "code.exec fs.write net.listen"),
    ("playwright install", ASK, "net.connect pkg.install"),
    ("prettier --write .", ALLOW, "code.exec fs.read fs.write"),
    ("webpack serve", ASK, "code.exec fs.write net.listen"),
    ("prisma migrate reset", ASK, "code.exec fs.delete fs.write"),
    ("husky install", ASK, "persistence"),
    ("rspec spec", ALLOW, "code.exec fs.write"),
    ("rubocop -A", ALLOW, "code.exec fs.write"),
    ("phpunit --bootstrap /tmp/x.php", ASK, "code.exec fs.write"),
    ("shellcheck run.sh", ALLOW, "fs.read"),
    # packages
    ("pip list", ALLOW, "sys.inspect"),
    ("pip install x", ASK, "net.connect pkg.install"),
    ("uv run pytest", ALLOW, "code.exec fs.write"),
    ("uv run --with rich ./x.py", ASK, "code.exec fs.write net.connect pkg.install"),
    ("uv run /tmp/x.py", ASK, "code.exec fs.read fs.write"),
    ("poetry add x", ASK, "code.exec net.connect pkg.install"),
    ("npm test", ALLOW, "code.exec fs.write"),
    ("npm run deploy", ASK, "code.exec fs.write net.connect"),
    ("npm ci", ASK, "net.connect pkg.install"),
    ("npm run build --script-shell /tmp/x", ASK, "code.exec fs.read fs.write"),
    ("npm init -y", ALLOW, "fs.write"),
    ("npm pkg set a=b", ALLOW, "fs.write"),
    ("yarn build", ALLOW, "code.exec fs.write"),
    ("yarn add x", ASK, "code.exec net.connect pkg.install"),
    ("pnpm -r test", ALLOW, "code.exec fs.write"),
    ("npx eslint .", ALLOW, "code.exec fs.read fs.write"),
    ("npx cowsay@1", ASK, "code.exec net.connect"),
    ("bundle exec rspec", ALLOW, "code.exec fs.write"),
    ("composer require x/y", ASK, "code.exec net.connect pkg.install"),
    ("rails db:migrate", ALLOW, "code.exec fs.write"),
    ("rails db:drop", ASK, "code.exec fs.delete fs.write"),
    # interpreters and databases
    ("python3 script.py", ALLOW, "code.exec"),
    ("python3 -c 'print(1)'", ASK, "code.exec"),
    ("python3 -m http.server", ASK, "net.listen"),
    ("python3 -m unittest discover -s tests", ALLOW, "code.exec fs.write"),
    ("perl -e 'print 1'", ASK, "code.exec"),
    ("node app.js", ALLOW, "code.exec"),
    ("node -r /tmp/x.js app.js", ASK, "code.exec"),
    ("node --inspect app.js", ASK, "code.exec net.listen"),
    ("deno test", ALLOW, "code.exec fs.write"),
    ("deno run -A a.ts", ASK, "code.exec"),
    ("bun /opt/x.ts", ASK, "code.exec fs.read"),
    ("java -cp out Main", ALLOW, "code.exec fs.write"),
    ("java -cp out:/tmp/x.jar Main", ASK, "code.exec fs.read fs.write"),
    ("php -S localhost:8000", ASK, "code.exec net.listen"),
    ("R CMD INSTALL pkg", ASK, "code.exec pkg.install"),
    ("sqlite3 app.db 'select 1'", ALLOW, "fs.write"),
    ("sqlite3 app.db '.shell id'", ASK, "code.exec fs.write sys.inspect"),
    ("sqlite3 app.db 'drop table t'", ASK, "fs.delete fs.write"),
    ("psql -c 'select 1'", ASK, "cloud.mutate net.connect"),
    ("redis-cli get x", ASK, "cloud.mutate net.connect"),
    ("pg_dump -f out.sql app", ASK, "fs.write net.connect"),
]


def run(line):
    return Exec(command=None, argv=tuple(shlex.split(line)), cwd=WORKSPACE)


def decided(line):
    return classify(Request(SUBJECT, run(line), "exec"), POLICY, CONTEXT).effect


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("line", "effect", "operations"), TABLE)
def test_a_developers_line_does_and_is_decided_as_the_manual_says(line, effect, operations):
    found = {access.operation for access in footprint(run(line), CONTEXT).accesses}
    assert found == set(operations.split())
    assert decided(line) is effect


# Settings, build files and modules: code that a tool runs because an option names it.

SETTINGS = """
    make -f {}|cmake -P {}|ninja -f {}|scons -f {}|mvn -f {} test|mvn -s {} test|gradle -I {} build
    ant -f {} test|just -f {} x|task -t {} x|rake -f {} x|invoke -c {} x|gulp -f {} x
    pytest -c {}|coverage run --rcfile={} -m pytest|mypy --config-file {} src|pylint --rcfile {} src
    flake8 --config {} src|isort --settings-file {} src|black --config {} src
    mkdocs build -f {}|alembic -c {} upgrade head|pre-commit run -c {}
    eslint -c {} src|prettier --config {} --write src|jest -c {}|vitest run -c {}|mocha --config {}
    webpack -c {}|vite build -c {}|rollup -p {} src/a.js|lint-staged -c {}
    golangci-lint run -c {}|rubocop -c {} app|phpunit -c {}|phpstan analyse -c {} src
    node -r {} app.js|node --import {} app.js|tsx --tsconfig {} a.ts|ruby -I {} a.rb|perl -I{} a.pl
    cargo build --manifest-path {}|dotnet test --settings {}|cabal build --project-file {}
    playwright test -c {}|cypress run -C {}|nyc --nycrc-path {} mocha|changeset add -c {}
"""
LINES = [line.strip() for row in SETTINGS.split("\n") for line in row.split("|") if line.strip()]


@pytest.mark.parametrize("line", LINES)
def test_settings_of_the_project_run_without_a_question(line):
    assert decided(line.format("conf/own.cfg")) is ALLOW


@pytest.mark.threat("T02")
@pytest.mark.parametrize("place", ["/tmp/x.cfg", "../x.cfg", "~/x.cfg", "/opt/a/x.cfg"])
@pytest.mark.parametrize("line", LINES)
def test_settings_from_elsewhere_ask(line, place):
    assert decided(line.format(place)) is not ALLOW


REMOTES = ["push", "fetch", "clone https://example.com/x", "ls-remote"]


@pytest.mark.threat("T02")
@pytest.mark.parametrize("option", ["-c core.sshCommand=./x", "-c core.fsmonitor=./x",
                                    "-c credential.helper=!./x", "-c protocol.ext.allow=always",
                                    "-c core.hooksPath=./x", "-c diff.external=./x",
                                    "-c core.pager=./x", "-c include.path=./x",
                                    "-c gpg.program=./x", "-c filter.x.clean=./x",
                                    "--exec-path=./x", "--config-env=core.pager=X"])  # fmt: skip
@pytest.mark.parametrize("command", ["status", "log", "commit -m x", "diff"])
def test_a_git_setting_that_runs_something_asks(option, command):
    assert decided(f"git {option} {command}") is not ALLOW


@pytest.mark.threat("T02")
@pytest.mark.parametrize("option", ["--upload-pack=./x", "--receive-pack=./x", "--exec=./x"])
@pytest.mark.parametrize("command", REMOTES)
def test_a_program_for_the_other_side_of_git_asks(option, command):
    assert decided(f"git {command} {option}") is not ALLOW


# What leaves the workspace says where to, so that its reason is the network and not a guess.


@pytest.mark.parametrize("line", ["npm ci", "pip install x", "cargo add x", "go mod download",
                                  "gh pr list", "bundle install", "poetry add x"])  # fmt: skip
def test_what_connects_says_where_to(line):
    request = Request(SUBJECT, run(line), "exec")
    reason = classify(request, POLICY, CONTEXT).reason
    assert "It reaches the network." in reason
    assert "metadata" not in reason

import re
from pathlib import Path

import pytest

from sandbox.toolchain_table import Entry, _table, entries, names, variables

ENTRIES = {entry.name: entry for entry in entries("/home/u", ())}
KEYS = {"show", "secret", "settings", "links", "programs", "needs", "searched"}
# What holds a home together, or credentials: no toolchain is shown by one of these.
NEVER = (
    "", ".local", ".local/share", ".config", ".cache", ".cargo", ".m2", ".npmrc", ".npm", ".gem",
    ".composer", ".config/composer", ".netrc", ".conda", ".julia", ".gradle", ".sbt", ".ivy2",
    ".hex", ".pub-cache", ".stack", ".bundle", ".local/share/uv", ".cargo/credentials.toml", "go",
)  # fmt: skip


def all_paths(entry: Entry) -> list[str]:
    shown = [path for path, _ in entry.show]
    return [*shown, *entry.secret, *entry.settings, *entry.links, *entry.searched]


def test_the_table_has_the_shape_that_its_reader_takes_for_granted():
    places, rows = _table()
    assert all(isinstance(name, str) and isinstance(path, str) for name, path in places.items())
    for row in rows.values():
        assert set(row) <= KEYS
        assert "show" in row
        assert all(isinstance(text, str) for text in row.values())
    assert set(ENTRIES) == set(names())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_path_is_absolute_and_every_name_known(entry):
    for path in all_paths(entry):
        assert path.startswith("/"), path
        assert not set(path) & set("$~{}?"), path
        assert path.count("*") <= 1, path
    assert set(entry.needs) <= set(ENTRIES)
    assert set(entry.searched) <= {path for path, _ in entry.show}


@pytest.mark.threat("T10")
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_no_toolchain_is_a_directory_with_credentials_at_its_top(entry):
    shown = {path for path, sign in entry.show if not sign}
    assert not shown & {f"/home/u/{name}".rstrip("/") for name in NEVER}


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_secrets_and_links_lie_in_what_is_shown_and_settings_beside_it(entry):
    shown = [path for path, _ in entry.show]
    for path in (*entry.secret, *entry.links):
        assert any(path.startswith(f"{root}/") or path == root for root in shown), path
    for path in entry.settings:
        assert not any(path.startswith(f"{root}/") for root in shown), path


def test_a_variable_of_the_owner_moves_what_depends_on_it():
    moved = {e.name: e for e in entries("/home/u", (("GOPATH", "/data/go"),))}
    assert ("/data/go/pkg/mod", "") in moved["go"].show


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("prefix=@/.packages", True),
        ("prefix = ~/.packages", True),
        ('prefix = "${HOME}/.packages"', True),
        ("prefix=~/absent", False),
        ("# prefix=~/.packages", False),
        ("\udcff", False),
    ],
)
def test_the_prefix_of_npm_is_read_from_its_settings(tmp_path, line, expected):
    (tmp_path / ".packages").mkdir()
    text = f"//host/:_authToken=x\n{line.replace('@', str(tmp_path))}\n"
    (tmp_path / ".npmrc").write_bytes(text.encode("utf-8", "surrogateescape"))
    found = dict(variables({}, str(tmp_path)))
    assert found == ({"NPM_CONFIG_PREFIX": str(tmp_path / ".packages")} if expected else {})


def test_what_cannot_be_looked_at_is_not_there(tmp_path):
    assert variables({"CARGO_HOME": "/proc/1/cwd/x", "HOME": "/x"}, str(tmp_path)) == ()


def test_the_page_lists_exactly_the_toolchains_of_the_table():
    page = Path(__file__).parents[3].joinpath("docs/configuration.md").read_text()
    listed = page.partition("\n- Names: ")[2].partition("\n- ")[0]
    assert re.findall(r"`([^`]+)`", listed) == list(names())

"""Hosts that package managers are configured to reach, found in files of invented machines."""

from pathlib import Path

import pytest

from mcp_server.cli.policy.hosts import FIRST_LINE, as_yaml
from mcp_server.detected_hosts import Detected, detect
from policy.host_sets import SET_OF
from policy.load import load
from policy.rules import Source
from tests.mcp_server.rig import Rig

PIP = "usr/lib/python3/dist-packages/pip/_internal/models/index.py"
PIP_TEXT = """
TestPyPI = 1
PyPI = PackageIndex("https://index.example/", file_storage_domain="files.example")
TestPyPI = PackageIndex("https://test.example/", file_storage_domain="test-files.example")
"""
NPM = (
    "usr/lib/node_modules/npm/node_modules/@npmcli/config/lib/definitions/definitions.js",
    "const x = new Definition('registry', {\n  default: 'https://registry.example/',\n})\n",
)


def found_in(base: Path, files: dict[str, str]) -> dict[str, set[str]]:
    return {name: set(hosts) for name, hosts in detected(base, files).hosts.items()}


def detected(base: Path, files: dict[str, str]) -> Detected:
    """Return what is detected where `~/…` is below the home."""
    root, home = base / "root", base / "home"
    for name, text in files.items():
        path = home / name[2:] if name.startswith("~/") else root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return detect(root, home)


CASES = {
    "nothing": ({}, {}),
    "pip's default": ({PIP: PIP_TEXT}, {"python": {"index.example", "files.example"}}),
    "pip without a host for files": (
        {PIP: 'PyPI = PackageIndex("https://index.example/")\n'},
        {"python": {"index.example"}},
    ),
    "a pip of another shape": ({PIP: "PyPI = Index()\n"}, {}),
    "a pip of the user": (
        {"~/.pyenv/versions/3.12.1/lib/python3.12/site-packages/" + PIP.split("/", 4)[4]: PIP_TEXT},
        {"python": {"index.example", "files.example"}},
    ),
    "pip's settings": (
        {
            PIP: PIP_TEXT,
            "etc/pip.conf": "[global]\nindex-url = https://me:secret@mirror.example/simple\n",
            "~/.config/pip/pip.conf": "[install]\nextra_index_url =\n  https://b.example/x\n"
            "  http://c.example:8080/\nfind-links = /opt/wheels file:///opt https://d.example\n",
        },
        {"python": {"mirror.example", "b.example", "c.example", "d.example"}},
    ),
    "an index in a folder": (
        {PIP: PIP_TEXT, "~/.pip/pip.conf": "[global]\nindex-url = file:///opt/index\n"},
        {},
    ),
    "more than pip's default": (
        {PIP: PIP_TEXT, "etc/pip.conf": "[global]\nextra-index-url = https://b.example\n"},
        {"python": {"index.example", "files.example", "b.example"}},
    ),
    "npm's default": (dict([NPM]), {"node": {"registry.example"}}),
    "npm of another shape": ({NPM[0]: "x"}, {}),
    "npm's settings": (
        dict([NPM, ("~/.npmrc", "@ours:registry=https://ours.example/npm/\n_auth=x\n")]),
        {"node": {"registry.example", "ours.example"}},
    ),
    "another registry": (
        dict([NPM, ("etc/npmrc", "fund=false\nregistry = 'https://mirror.example/'\n")]),
        {"node": {"mirror.example"}},
    ),
    "apt's list": (
        {
            "etc/apt/sources.list": "# deb http://old.example x\n"
            "deb [arch=amd64 signed-by=/x] http://a.example/debian stable main # http://no.example\n"
            "deb-src https://b.example/ stable main\ndeb cdrom:[x]/ stable main\n",
            "etc/apt/sources.list.d/c.list": "deb mirror+https://c.example/list stable main\n",
            "etc/apt/sources.list.d/d.list.disabled": "deb https://d.example stable main\n",
        },
        {"debian": {"a.example", "b.example", "c.example"}},
    ),
    "apt's stanzas": (
        {
            "etc/apt/sources.list.d/x.sources": "Types: deb\nURIs: http://a.example/ "
            "http://b.example/\n https://c.example/\nSuites: stable\n\n"
            "Enabled: no\nURIs: http://d.example/\n\nTypes: deb\n\nuris: http://e.example"
        },
        {"debian": {"a.example", "b.example", "c.example", "e.example"}},
    ),
    "go's defaults": (
        {"usr/local/go/go.env": "# x\nGOPROXY=https://a.example,direct\nGOSUMDB=sum.example\n"},
        {"go": {"a.example", "sum.example"}},
    ),
    "a user's go": (
        {
            "usr/lib/go-1.22/go.env": "GOPROXY=https://a.example\nGOSUMDB=sum.example\n",
            "~/.config/go/env": "GOPROXY=https://b.example/x|https://c.example\nGOSUMDB=off\n",
        },
        {"go": {"b.example", "c.example"}},
    ),
    "go's own checksums": (
        {"~/.config/go/env": "GOSUMDB=sum.example+1234+abcd https://d.example/sum\nGOSUMDB=\n"},
        {},
    ),
    "go's checksums elsewhere": (
        {"~/.config/go/env": "GOSUMDB=sum.example+1234+abcd https://d.example/sum\n"},
        {"go": {"d.example"}},
    ),
    "cargo's settings": (
        {
            "~/.cargo/config.toml": '[source.x]\nregistry = "sparse+https://a.example/i/"\n'
            '[source.y]\ngit = "https://b.example/i"\n[source.z]\ndirectory = "vendor"\n'
            '[registries.w]\nindex = "https://c.example/i"\n[build]\njobs = 2\n'
        },
        {"rust": {"a.example", "b.example", "c.example"}},
    ),
    "cargo's settings of another shape": (
        {"~/.cargo/config.toml": "registries = 1\nsource = {x = 2, y = {registry = 3}}\n"},
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_hosts_are_found_where_package_managers_look(tmp_path: Path, name: str):
    files, expected = CASES[name]
    assert found_in(tmp_path, files) == expected
    assert set(expected) <= set(SET_OF.values())


def test_a_project_says_nothing_of_what_is_reached(tmp_path: Path, monkeypatch):
    (tmp_path / ".npmrc").write_text("registry=https://evil.example/\n")
    monkeypatch.chdir(tmp_path)
    assert found_in(tmp_path, {}) == {}


def test_a_file_that_cannot_be_read_is_said_and_the_others_are_read(tmp_path: Path):
    (tmp_path / "root/etc/apt/sources.list").mkdir(parents=True)
    (tmp_path / "root/etc/npmrc").write_bytes(b"registry=https://\xff.example/\n")
    broken = {
        "etc/pip.conf": "no section\n",
        "~/.cargo/config.toml": "[",
        "~/.config/go/env": "GOPROXY=https://a.example\n",
    }
    found = detected(tmp_path, broken)
    assert set(found.hosts) == {"go"}
    said = [text.removeprefix(f"{tmp_path}/") for text in found.unread]
    assert said == [
        "root/etc/pip.conf: is not written as pip reads it",
        "root/etc/npmrc: is not UTF-8 text",
        "root/etc/apt/sources.list: cannot be read: Is a directory",
        "home/.cargo/config.toml: is not TOML",
    ]


@pytest.mark.threat("T17")
def test_the_sets_are_a_policy_file_and_hold_no_password(tmp_path: Path):
    found = detected(
        tmp_path,
        {
            PIP: PIP_TEXT,
            "etc/pip.conf": "[global]\nextra-index-url = https://me:secret@b.example/\n",
        },
    )
    text = as_yaml(found)
    assert load([Source("hosts.yaml", text)]).host_sets["python"] == (
        "b.example", "files.example", "index.example",
    )  # fmt: skip
    assert "secret" not in text
    assert f'- "b.example"  # "{tmp_path}/root/etc/pip.conf"' in text


def test_the_command_prints_the_sets_or_writes_them_over_none_but_its_own_file(tmp_path: Path):
    rig = Rig.make(tmp_path)
    go = tmp_path / "home" / ".config" / "go" / "env"
    go.parent.mkdir(parents=True)
    go.write_text("GOPROXY=https://proxy.example\n")
    printed = rig.run("policy", "hosts")
    assert printed.stdout.startswith(FIRST_LINE)
    assert '- "proxy.example"' in printed.stdout
    path = tmp_path / "hosts.yaml"
    for _ in "ab":
        written = rig.run("policy", "hosts", "--write", str(path))
        assert (written.returncode, path.read_text()) == (0, printed.stdout)
        assert "@go (" in written.stdout
    other = tmp_path / "other.yaml"
    for text in ("version: 1\nrules: []\n", "", "\N{COPYRIGHT SIGN}"):
        other.write_text(text, encoding="latin-1")
        refused = rig.run("policy", "hosts", "--write", str(other))
        assert (refused.returncode, other.read_text(encoding="latin-1")) == (2, text)
        assert str(other) in refused.stderr
    nowhere = rig.run("policy", "hosts", "--write", str(tmp_path / "no" / "hosts.yaml"))
    assert nowhere.returncode == 2
    assert "No such file" in nowhere.stderr

"""`permitgate policy`: check, test and explain, as an operator and a script see them."""

import json
from pathlib import Path

import pytest

from mcp_server.cli.policy.check import TOOLS
from tests.mcp_server.rig import Rig
from tests.mcp_server.test_cli import Line, rows

BROAD = """\
version: 1
rules:
  - id: everything
    allow: [fs.write]
    resources: ["/**"]
    match: ["touch /x"]
  - id: hosts-file
    deny: [fs.write]
    resources: ["/etc/hosts"]
"""


@pytest.fixture
def line(rig: Rig) -> Line:
    return Line(rig)


def test_check_loads_every_file_and_names_the_first_error_of_each(line: Line):
    base = line.rig.base
    for name, text in (("a", "rules: []"), ("b", "version: 2\nrules: []"), ("c", "version: 1")):
        (base / f"{name}.yaml").write_text(text)
    files = [str(base / f"{name}.yaml") for name in "abc"]
    checked = line.run("policy", "check", *files)
    assert (checked.returncode, checked.stdout) == (2, "")
    errors = checked.stderr.splitlines()
    assert [error.split(": ")[1] for error in errors] == [
        f"{files[0]}:1:1", f"{files[1]}:1:10", f"{files[2]}:1:1",
    ]  # fmt: skip
    as_json = line.run("policy", "check", *files, "--json")
    assert [f"permitgate: {error}" for error in json.loads(as_json.stdout)["errors"]] == errors


def test_check_prints_findings_as_lines_an_editor_can_jump_to(line: Line):
    file = line.rig.base / "broad.yaml"
    file.write_text(BROAD)
    checked = line.run("policy", "check", str(file))
    assert checked.returncode == 0
    assert f"{file}:3:5: warning: everything: allows fs.write on /**" in checked.stdout
    assert checked.stdout.splitlines()[-1] == "2 warnings, 3 notes"
    assert line.run("policy", "check", str(file), "--strict").returncode == 1
    assert line.run("policy", "check", "dev-safe", "--strict").returncode == 0
    (found,) = rows(line.run("policy", "check", str(file), "dev-safe", "--json").stdout)
    assert found["names"] == [str(file), "dev-safe.yaml"]
    kinds = {(one["kind"], one["severity"]) for one in found["findings"]}
    assert ("over-broad", "warning") in kinds


def test_check_reads_a_projects_file_as_one_that_only_tightens(line: Line):
    file = line.rig.base / ".permitgate.yaml"
    file.write_text(BROAD)
    checked = line.run("policy", "check", str(file))
    assert checked.returncode == 2
    assert "may only tighten" in checked.stderr


def test_check_knows_the_tools_that_there_are():
    folder = Path(__file__).parents[2] / "mcp_server" / "tools"
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert [name for name in TOOLS if f'"{name}"' not in text] == []

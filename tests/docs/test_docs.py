"""The pages in docs/ are true where a program can check it: names, keys, numbers, links."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main
import yaml

from mcp_server.cli.exits import Exit
from mcp_server.cli.main import app
from mcp_server.config import Config, HostSettings, PageSettings, ServerSettings, parse_config
from policy.load import FILE_KEYS, load, pack
from policy.model import OPERATIONS
from policy.obligations import LEVELS, LIMITS
from policy.programs.spec import LANGUAGES, ROLES_WITHOUT_OPERATION
from policy.programs.spec_reader import _OPTION_KEYS, _SPEC_KEYS, SpecReader, entries_of
from policy.rewrite_file import REWRITE_KEYS, REWRITE_RULE_KEYS
from policy.risk import RISK
from policy.rule_file import ASK_KEYS, NOT_YET, RULE_KEYS
from policy.rules import Source
from sandbox.profile import TABLE
from tests.docs import shown

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def blocks(name: str, marker: str) -> list[str]:
    """Return the code blocks of a page whose first line is the marker."""
    found = [body for _, body in BLOCK.findall(page(name))]
    return [body for body in found if body.startswith(marker)]


# --- every page -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(path: Path):
    targets = [target for target, _ in LINK.findall(path.read_text(encoding="utf-8")) if target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


SHOWN = sorted(
    {
        line
        for path in PAGES
        for line in re.findall(r"^\$ permitgate (.*)$", path.read_text(encoding="utf-8"), re.M)
    }
)


@pytest.mark.parametrize("line", SHOWN)
def test_every_command_shown_exists_with_its_options(line: str):
    command = typer.main.get_command(app)
    words = shlex.split(line.partition(" -- ")[0], comments=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}), f"{line!r} names no command"
    known = {option for parameter in command.params for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []


def test_every_decision_is_in_the_index():
    folder = ROOT / "docs" / "adr"
    index = {target for target, _ in LINK.findall((folder / "README.md").read_text("utf-8"))}
    assert index == {path.name for path in folder.glob("0*.md")}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs" / "adr").glob("0*.md")), ids=lambda path: path.name
)
def test_every_decision_says_context_options_choice_and_cost(path: Path):
    text = path.read_text(encoding="utf-8")
    assert [
        part for part in ("**Context.", "**Options.", "**Choice.", "**Cost") if part not in text
    ] == []


def test_the_guide_names_every_tool():
    # The surface is built from an open app; its names stand in the tool modules.
    folder = ROOT / "mcp_server" / "tools"
    texts = [path.read_text(encoding="utf-8") for path in folder.glob("*.py")]
    names = {name for text in texts for name in re.findall(r'Tool\(\s*"(\w+)"', text)}
    table = page("operators-guide.md").partition("| tools | do |")[2].partition("\n\n")[0]
    assert len(names) == 14
    assert set(re.findall(r"`(\w+)`", table)) == names


# --- cli.md -----------------------------------------------------------------------------------


def commands():
    def below(name: str, command):
        yield name, command
        for child, inner in getattr(command, "commands", {}).items():
            yield from below(f"{name} {child}".strip(), inner)

    return list(below("", typer.main.get_command(app)))


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: str(value)[:30])
def test_the_page_names_every_command_and_option(name: str, command):
    text = page("cli.md")
    assert name in text
    for parameter in command.params:
        for option in parameter.opts:
            if option.startswith("-") and option != "--help":
                assert f"`{option}" in text, f"{name} {option}"


def test_the_page_names_every_exit_code():
    text = page("cli.md").partition("## Exit codes")[2]
    assert [code.name for code in Exit if f"| {code.value} |" not in text] == []


# --- configuration.md -------------------------------------------------------------------------

SECTIONS = {
    "approvals": Config.model_fields["approvals"].annotation,
    "approvals.page": PageSettings,
    "approvals.server": ServerSettings,
    "limits": Config.model_fields["limits"].annotation,
    "changes": Config.model_fields["changes"].annotation,
    "audit": Config.model_fields["audit"].annotation,
    "http": Config.model_fields["http"].annotation,
    "hosts": HostSettings,
}


def table(heading: str) -> dict[str, str]:
    """Return the rows of a section of configuration.md by key; a row may name several keys."""
    section = page("configuration.md").partition(f"\n## {heading}")[2].partition("\n## ")[0]
    rows = {}
    for line in section.splitlines():
        first, _, rest = line.removeprefix("| ").partition(" | ")
        if line.startswith("| `"):
            rows |= dict.fromkeys(re.findall(r"`(\w+)`", first), rest)
    return rows


def test_the_page_names_exactly_the_keys_of_the_top_level():
    assert table("Top level").keys() == Config.model_fields.keys()


@pytest.mark.parametrize(("section", "model"), SECTIONS.items())
def test_the_page_names_exactly_the_keys_of_a_section(section: str, model):
    assert table(f"`{section}`").keys() == model.model_fields.keys()


@pytest.mark.parametrize("section", ["approvals", "limits", "http"])
def test_the_page_gives_every_default(section: str):
    for key, field in SECTIONS[section].model_fields.items():
        default = field.default
        if isinstance(default, bool):
            default = str(default).lower()
        if default is not None and not isinstance(default, tuple | dict):
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert f"`{shown}`" in table(f"`{section}`")[key], key


def test_the_example_loads_and_sets_every_key():
    (example,) = blocks("configuration.md", "# ~/.config/permitgate/config.yaml\n")
    config = parse_config(example, "example.yaml")
    assert Config.model_fields.keys() == config.model_fields_set
    for section in ("approvals", "limits", "changes", "audit", "http"):
        part = getattr(config, section)
        assert type(part).model_fields.keys() == part.model_fields_set
    assert HostSettings.model_fields.keys() == config.hosts[0].model_fields_set


# --- policy.md --------------------------------------------------------------------------------


def rows(name: str, heading: str) -> list[str]:
    """Return the table rows below a heading, up to the next one of its kind."""
    section = page(name).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ")]


def named(lines: list[str], column: int = 0) -> set[str]:
    """Return what stands in backquotes in one column of table rows."""
    return {name for line in lines for name in re.findall(r"`([^`]+)`", line.split(" | ")[column])}


def test_the_page_lists_exactly_the_operations():
    assert named(rows("policy.md", "Operations")) == OPERATIONS


def test_the_page_gives_the_risk_of_every_operation():
    pairs = re.findall(r"`([\w.]+)` (\d+)", "\n".join(rows("policy.md", "Risk")))
    assert {name: int(number) for name, number in pairs} == dict(RISK)


def test_the_page_gives_the_profile_of_every_operation_that_is_confined():
    found = {}
    for line in rows("policy.md", "From accesses to a profile"):
        operation, *profiles = re.findall(r"`([\w.]+)`", line) or [""]
        if profiles:
            found[operation] = tuple(profiles)
    assert found == TABLE


def first_column(heading: str, name: str = "policy.md") -> list[str]:
    """Return the names in the first column of the table that has this heading."""
    found = page(name).partition(f"| {heading} | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    return [
        key for line in found.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1])
    ]


def test_the_page_lists_exactly_the_keys_of_files_rules_and_obligations():
    assert sorted(first_column("rule key")) == sorted(RULE_KEYS | REWRITE_RULE_KEYS)
    assert [key for key in REWRITE_KEYS if f"`{key}`" not in page("policy.md")] == []
    assert sorted(first_column("obligation")) == sorted(ASK_KEYS)
    assert {*first_column("file key"), "version", "rules", "name", "description"} == FILE_KEYS
    text = page("policy.md")
    assert [key for key in (*FILE_KEYS, *NOT_YET, *LIMITS) if f"`{key}`" not in text] == []
    assert [level for level in LEVELS if f"`{level}`" not in text] == []


def test_the_page_lists_exactly_the_keys_and_roles_of_program_entries():
    scanners = {f"script:{language}" for language in LANGUAGES}
    keys = _SPEC_KEYS | _OPTION_KEYS | {"allow", "ask", "deny"}
    assert named(rows("policy.md", "Programs")) == keys | ROLES_WITHOUT_OPERATION | scanners
    reader = SpecReader("policy.md")
    (entry,) = blocks("policy.md", "grep")
    for node in entries_of(reader, yaml.compose(entry, Loader=yaml.SafeLoader)).values():
        assert reader.program(node).modes.keys() == {"files"}


def test_every_policy_on_the_page_loads_and_its_examples_hold():
    texts = blocks("policy.md", "version: 1\n")
    assert texts
    for text in texts:
        assert load([pack("dev-safe"), Source("shop.yaml", text)]).rules


def test_what_the_page_shows_is_what_is_printed():
    text = page("policy.md")
    assert len(shown.SHOWN.findall(text)) == 6
    assert shown.rewritten(text) == text

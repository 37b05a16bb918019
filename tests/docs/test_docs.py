"""The pages in docs/ are true where a program can check it: names, keys, numbers, links."""

import re
from pathlib import Path

import pytest
import typer.main

from mcp_server.cli.exits import Exit
from mcp_server.cli.main import app
from mcp_server.config import Config, HostSettings, parse_config

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
    "limits": Config.model_fields["limits"].annotation,
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
        if first.startswith("`"):
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
        if not isinstance(default, tuple):
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert f"`{shown}`" in table(f"`{section}`")[key], key


def test_the_example_loads_and_sets_every_key():
    (example,) = blocks("configuration.md", "# ~/.config/permitgate/config.yaml\n")
    config = parse_config(example, "example.yaml")
    assert Config.model_fields.keys() == config.model_fields_set
    for section in ("approvals", "limits", "audit", "http"):
        part = getattr(config, section)
        assert type(part).model_fields.keys() == part.model_fields_set
    assert HostSettings.model_fields.keys() == config.hosts[0].model_fields_set

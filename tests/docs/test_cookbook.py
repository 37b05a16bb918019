"""The cookbook and the pages of the packs: every snippet loads, every table is what is decided."""

import re
from pathlib import Path

import pytest

from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Exec, Request, Subject
from policy.rules import Policy, Source

pytestmark = pytest.mark.untraced

DOCS = Path(__file__).parents[2] / "docs"
CONTEXT = Context("/home/dev/shop", "/home/dev", "dev", "box")
SNIPPET = re.compile(r"```yaml\n(version: 1\n.*?)```", re.S)
ROW = re.compile(r"^\| `(?P<command>.+)` \| (?P<cells>.+?) \|$", re.M)


def recipes() -> dict[str, str]:
    text = (DOCS / "cookbook.md").read_text(encoding="utf-8")
    return {part.split("\n")[0]: part for part in text.split("\n## ")[1:]}


RECIPES = recipes()
BEFORE = load([pack("dev-safe")], check_examples=False)


def decided(command: str, policy: Policy) -> str:
    request = Request(Subject("agent:x@1000", "s", 1000, "cli"), _exec(command), "exec")
    return classify(request, policy, CONTEXT).effect.name.lower()


def _exec(command: str) -> Exec:
    return Exec(command.replace("\\|", "|"), None, CONTEXT.workspace)


def with_snippets(recipe: str) -> Policy:
    """Return the policy that a recipe makes: its snippets beside dev-safe, or what they include."""
    own = [Source("own.yaml", text) for text in SNIPPET.findall(recipe)]
    if any("include:" in source.text for source in own):
        return load(own)
    named = ["dev-safe", "ops-inspect"] if "ops-inspect" in recipe else ["dev-safe"]
    return load([*map(pack, named), *own])


def test_there_are_at_least_twenty_questions():
    assert len(RECIPES) >= 20
    assert all(title.split(" ", 1)[1].endswith("?") for title in RECIPES)


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_does_what_its_table_says(title: str):
    after = with_snippets(RECIPES[title])
    for row in ROW.finditer(RECIPES[title]):
        found = f"{decided(row['command'], BEFORE)} | {decided(row['command'], after)}"
        assert found == row["cells"], row["command"]


def test_a_recipe_changes_something():
    """A table whose columns are alike shows nothing, unless obligations are the point."""
    tables = {title: list(ROW.finditer(text)) for title, text in RECIPES.items()}
    alike = {
        title[:2]
        for title, found in tables.items()
        if found and all(len(set(row["cells"].split(" | "))) == 1 for row in found)
    }
    assert alike == {"12", "15", "16"}


PAGES = sorted((DOCS / "packs").glob("[!R]*.md"))


def test_every_pack_has_its_page():
    assert [page.stem for page in PAGES] == [
        "agent-sandbox", "ci-strict", "dev-safe", "guardrails", "ops-inspect",
    ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_packs_page_says_what_is_decided(page: Path):
    text = page.read_text(encoding="utf-8")
    named = re.search(r"^`policy: \[(.+)\]`", text, re.M)
    assert named is not None
    policy = load([pack(name) for name in named[1].split(", ")])
    rows = list(ROW.finditer(text))
    assert len(rows) >= 12
    for row in rows:
        cell, _, why = row["cells"].partition(" | ")
        assert decided(row["command"], policy) == cell, row["command"]
        assert why
    assert set(re.findall(r"^- `([a-z0-9-]+)`", text, re.M)) <= {rule.id for rule in policy.rules}

"""The timeline's page in a real browser: rows, filters, proofs; hostile text stays text."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from audit.note import PublicKey
from audit.prove import prove, verify_proof
from audit.query import Query
from audit.reading import Reading, read
from mcp_server.cli.log.page import page
from tests import chromium
from tests.audit.house import House
from tests.stories import HOSTILE, hostile, log_of, many, working_days

pytestmark = pytest.mark.untraced
browser = chromium.browser
SANE_BYTES = 3 << 20


class Seen(chromium.Seen):
    """The file, opened as it is."""

    def __init__(self, browser: Browser, file: Path, width: int, scheme: str) -> None:
        super().__init__(browser, width, scheme)
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", timeout=30_000)

    def rows(self) -> list[str]:
        return self.page.locator("summary .what").all_inner_texts()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path):
    seen: list[Seen] = []

    def open_page(reading: Reading, width: int = 1280, scheme: str = "light") -> Seen:
        file = tmp_path / "timeline.html"
        file.write_text(page(reading), encoding="utf-8")
        seen.append(Seen(browser, file, width, scheme))
        return seen[-1]

    yield open_page
    for one in seen:
        one.context.close()


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublicKey]:
    return log_of(tmp_path_factory.mktemp("days"), working_days)


def test_the_page_says_what_ran_changed_was_reached_denied_and_approved(opened, days):
    seen = opened(read(days[0], [days[1]], Query(), last=1000))
    counts = dict(
        reversed(text.split("\n")) for text in seen.page.locator("#kinds button").all_inner_texts()
    )
    assert counts == {
        "ran": "15",
        "changed files": "4",
        "reached out": "2",
        "denied": "5",
        "answered by people": "7",
        "waited for a yes": "1",
        "outside the sandbox": "1",
    }
    assert "VERIFIED" in seen.page.locator("header").inner_text()
    assert "pip install requests==2.32.5" in seen.rows()
    assert seen.said == []


def test_filters_narrow_by_kind_text_agent_host_and_time(opened, days):
    seen = opened(read(days[0], [days[1]], Query(), last=1000))
    every = seen.rows()
    seen.page.get_by_role("button", name="denied").click()
    assert seen.rows()[:2] == ["cat .env", "cat ./.env | head -3"]
    seen.page.get_by_role("button", name="denied").click()
    seen.page.locator("#text").fill("CHECKOUT.PY")
    assert seen.rows() == ["fs.write src/shop/checkout.py fs.write tests/test_checkout.py"]
    seen.page.locator("#text").fill("")
    seen.page.locator("#actor").select_option("agent:codex")
    assert "docker compose up -d" in seen.rows()
    assert "ls -la" not in seen.rows()
    seen.page.get_by_role("button", name="Clear").click()
    seen.page.locator("#host").select_option("api.example.com:443")
    expect(seen.page.locator("summary")).to_have_count(1)
    assert seen.rows()[0].startswith("curl -H")
    seen.page.get_by_role("button", name="Clear").click()
    expect(seen.page.locator("summary")).to_have_count(len(every))
    seen.page.locator("#from").fill("2026-03-05")
    assert seen.rows()[0].startswith("policy in force")
    assert "of 25 entries" in seen.page.locator("#count").inner_text()


def test_a_row_opens_by_keyboard_and_its_proof_is_the_one_that_audit_prove_prints(opened, days):
    log, key = days
    seen = opened(read(log, [key], Query(), last=1000))
    seen.page.locator("summary").first.focus()
    for _ in range(7):
        seen.page.keyboard.press("ArrowDown")
    seen.page.keyboard.press("Enter")
    records = seen.page.locator("details[open] section.record")
    records.first.wait_for()
    titles = records.locator("h3").all_inner_texts()
    assert titles == ["Record 12 · patch.intent", "Record 13 · patch.outcome"]
    for place, seq in enumerate((12, 13)):
        records.nth(place).get_by_role("button", name="Proof", exact=True).press("Enter")
        text = records.nth(place).locator("pre.proof").text_content()
        assert text is not None
        assert text.encode() == prove(log, seq)
        assert verify_proof(text.encode(), [key]).index == seq


def test_the_proof_of_a_log_whose_key_was_rotated_leads_to_the_key_that_began_it(opened, tmp_path):
    house = House(tmp_path).filled(3)
    first = house.keys
    house.rotated().filled(3)
    seen = opened(read(house.path, first, Query(), last=1000))
    seen.page.locator("summary").last.press("Enter")
    seen.page.get_by_role("button", name="Proof", exact=True).press("Enter")
    text = seen.page.locator("pre.proof").text_content()
    assert text is not None
    index = verify_proof(text.encode(), first).index
    assert text.encode() == prove(house.path, index)


@pytest.mark.threat("T24")
@pytest.mark.parametrize("width", [1280, 390])
def test_what_an_agent_wrote_neither_runs_nor_loads_nor_steers_the_page(
    opened, tmp_path, width: int
):
    log, key = log_of(tmp_path, hostile)
    seen = opened(read(log, [key], Query(), last=1000), width)
    for summary in seen.page.locator("summary").all():
        summary.evaluate("(one) => one.click()")
    expect(seen.page.locator("details[open] .body")).to_have_count(46)
    assert seen.page.evaluate("globalThis.ran") is None
    assert seen.said == []
    assert seen.strange("file://") == []
    assert len(seen.asked) == 1
    text = seen.page.locator("body").inner_text()
    raw = "".join(HOSTILE)
    hidden = {letter for letter in raw if not letter.isprintable()} - {"\n", "\t"}
    assert hidden
    assert [letter for letter in hidden if letter in text] == []
    assert "\\u202e" in text
    assert seen.page.locator("main script, main img, main svg, main a").count() == 0
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tallest = "Math.max(...[...document.querySelectorAll('summary')].map((s) => s.offsetHeight))"
    assert seen.page.evaluate(tallest) < 200


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_against_wcag_2_2_aa(opened, days, width, scheme):
    seen = opened(read(days[0], [days[1]], Query(), last=1000), width, scheme)
    for row in (7, 12, 20):
        seen.page.locator("summary").nth(row).press("Enter")
    seen.page.locator("details[open] section.record").first.wait_for()
    seen.page.get_by_role("button", name="Proof", exact=True).first.press("Enter")
    seen.page.locator("pre.proof").first.wait_for()
    seen.page.evaluate("scrollTo(0, 0)")  # a row half under the header is no small target
    assert seen.violations() == []


@pytest.mark.threat("T24")
def test_the_name_of_a_log_is_text_too(opened, tmp_path):
    name = "<img/src=x/onerror=globalThis.ran=1>@@DATA@@"
    log, key = log_of(tmp_path, working_days, name)
    for verdict in ("VERIFIED", "TAMPERED"):
        seen = opened(read(log, [key], Query(), last=5))
        assert seen.page.evaluate("[globalThis.ran ?? null, document.images.length]") == [None, 0]
        assert verdict in seen.page.locator("header").inner_text()
        (log / "checkpoint").write_bytes((log / "checkpoint.durable").read_bytes()[:-3])


@pytest.mark.threat("T24")
def test_only_the_pages_own_script_may_run_on_it(opened, days):
    seen = opened(read(days[0], [days[1]], Query(), last=10))
    tried = """() => {
        const made = document.createElement("script");
        try { made.textContent = "globalThis.ran = 1"; document.body.append(made); } catch {}
        const image = new Image(); image.src = "https://track.example/x.png";
        return new Promise((done) => setTimeout(() => done(globalThis.ran ?? null), 200));
    }"""
    assert seen.page.evaluate(tried) is None
    assert any("Content Security Policy" in line or "TrustedHTML" in line for line in seen.said)


def test_where_trust_ends_is_drawn(opened, tmp_path):
    log, key = log_of(tmp_path, working_days)
    (segment,) = log.glob("seg-*")
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[6] = lines[6].replace(b"git log", b"git lag")
    segment.write_bytes(b"".join(lines))
    seen = opened(read(log, [key], Query(), last=1000))
    header = seen.page.locator("header").inner_text()
    assert "TAMPERED" in header
    assert "record 6" in header
    assert "not proven" in seen.page.locator("#rows").inner_text()
    seen.page.locator("summary").first.press("Enter")
    expect(seen.page.locator("details[open]")).to_contain_text("no proof")


def test_ten_thousand_records_are_a_page_of_sane_size_that_opens_quickly(opened, tmp_path):
    log, key = log_of(tmp_path, many(10_000), at_once=True)
    reading = read(log, [key], Query(), last=20_000)
    assert len(page(reading)) < SANE_BYTES
    seen = opened(reading)
    assert len(seen.rows()) < 1000
    seen.page.locator("#text").fill("-n 4711 ")
    assert seen.rows() == ["git log --oneline -n 4711 -- src/module_55.py"]

"""The page in a real browser: sign in, read, approve and deny; hostile text stays text."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from approvals.notice import opened as opened_notice
from approvals.reach import Counted, Earlier
from approvals.request import Answer, Level, Need, State
from approvals.scope import Offer, Scope
from tests import chromium
from tests.approvals.conftest import ALICE
from tests.approvals.test_grants import OFFERS, act
from tests.approvals.web_rig import House, serving

pytestmark = pytest.mark.untraced
browser = chromium.browser
HOSTILE = (
    "</script><script>globalThis.ran=1</script>",
    "<img src=x onerror=globalThis.ran=1>",
    "javascript:globalThis.ran=1",
    "\x1b[2J\u202egnp.exe\u200b \u0430pt",
    "@@SCRIPT@@ ${globalThis.ran=1} {{ran}}",
    "x" * 100_000,
    "</pre></article></body>",
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with serving(tmp_path / "approvals") as house:
        yield house


class Seen(chromium.Seen):
    """The page; each house has an origin of its own, so nothing is kept from one to the next."""

    def enter(self, house: House) -> None:
        self.page.goto(house.link())
        self.page.wait_for_selector("html[data-ready=inside]")

    def rows(self) -> list[str]:
        return self.page.locator(".row .what").all_text_contents()

    def choose(self, text: str) -> None:
        self.page.locator(".row", has_text=text).click()
        expect(self.page.locator("#approve")).to_be_enabled()


@pytest.fixture(scope="module")
def pages(browser: Browser) -> Iterator[dict[tuple[int, str], Seen]]:
    made: dict[tuple[int, str], Seen] = {}
    yield made
    for seen in made.values():
        seen.context.close()


@pytest.fixture
def opened(browser: Browser, pages: dict[tuple[int, str], Seen], house: House):
    def open_page(width: int = 1280, scheme: str = "light") -> Seen:
        if (width, scheme) not in pages:
            pages[width, scheme] = Seen(browser, width, scheme)
        seen = pages[width, scheme]
        seen.enter(house)
        return seen

    yield open_page
    for seen in pages.values():
        seen.page.goto("about:blank")
        seen.said.clear()
        seen.asked.clear()


def asks(house: House, command: str, **changes):
    return house.asks(facts=(("command", command), ("why-asked", "It writes.")), **changes)


def test_a_request_is_found_read_and_approved_by_keyboard_alone(house, opened):
    first, second = asks(house, "make one"), asks(house, "make two", preview="-old\n+new")
    seen = opened()
    assert seen.rows() == ["make one", "make two"]
    assert "login" not in seen.page.url
    for key in ("j", "j", "k", "j"):
        seen.page.keyboard.press(key)
    expect(seen.page.locator(".headline")).to_have_text("make two")
    expect(seen.page.locator("#statement")).to_contain_text(f"request {second.request_digest}")
    expect(seen.page.locator(".diff .added")).to_have_text("+new")
    expect(seen.page.locator("#approve")).to_be_enabled()
    seen.page.keyboard.press("a")
    expect(seen.page.locator("#sure-what")).to_have_text("make two")
    seen.page.keyboard.press("Enter")  # typed on: too early to have been read
    assert house.desk.get(second.id).state is State.PENDING
    expect(seen.page.locator("#sure-yes")).to_have_attribute("aria-disabled", "false")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#told")).to_contain_text("approved")
    assert house.desk.get(second.id).state is State.APPROVED
    assert house.desk.get(first.id).state is State.PENDING
    expect(seen.page.locator(".row")).to_have_count(1)
    assert seen.said == []
    assert seen.strange(house.url) == []


def test_a_denial_carries_its_reason_and_stands_among_the_answered(house, opened):
    pending = asks(house, "git push --force")
    seen = opened()
    seen.choose("git push")
    seen.page.keyboard.press("d")
    seen.page.keyboard.type("push a branch instead")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator(".row")).to_have_count(0)
    expect(seen.page.locator("#empty")).to_have_text("Nothing waits for an answer.")
    (vote,) = house.desk.get(pending.id).votes
    assert (vote.answer, vote.reason) == (Answer.DENY, "push a branch instead")
    seen.page.get_by_role("button", name="Answered").click()
    seen.page.locator(".row").click()
    expect(seen.page.locator(".done")).to_contain_text("denied")
    expect(seen.page.locator(".done")).to_contain_text("push a branch instead")
    expect(seen.page.locator("#actions")).to_be_hidden()


def test_what_happens_elsewhere_is_seen_at_once(house, opened):
    seen = opened()
    assert seen.rows() == []
    pending = asks(house, "make later")
    expect(seen.page.locator(".row")).to_have_count(1)
    assert seen.page.title() == "(1) Approvals"
    seen.choose("make later")
    house.desk.vote(pending.id, Answer.DENY, ALICE, pending.request_digest)
    expect(seen.page.locator(".done")).to_contain_text("alice@1000 via api")
    expect(seen.page.locator("#actions")).to_be_hidden()
    house.stop()
    expect(seen.page.locator("#live")).to_have_text("not connected")


def test_a_yes_for_the_session_is_offered_where_the_question_offers_it(house, opened):
    asks(house, "make plain")
    offered = asks(house, "curl example.com", for_session=("connects-to example.com:443",))
    seen = opened()
    seen.choose("make plain")
    expect(seen.page.locator("#session")).to_be_hidden()
    seen.choose("curl example.com")
    expect(seen.page.locator("#offer")).to_contain_text("connects-to example.com:443")
    seen.page.locator("#session").click()
    expect(seen.page.locator("#told")).to_contain_text("approved")
    assert house.desk.get(offered.id).votes[0].answer is Answer.APPROVE_FOR_SESSION


def test_a_grant_is_chosen_by_what_it_would_have_covered_and_revoked_among_the_grants(
    house, opened
):
    given = {"offers": OFFERS, "act": act("ours net.connect", program=("git push",))}
    asks(house, "git push one", session="s1", **given)
    pending = asks(house, "git push two", session="s1", **given)
    house.earlier = Earlier(1, (Counted(0), Counted(1, ({"ts": "2027"},)), Counted()))
    seen = opened()
    seen.choose("git push two")
    expect(seen.page.locator("#offers")).to_contain_text("git push with any arguments")
    expect(seen.page.locator("#offers")).to_contain_text("covered: 2027  a longer statement")
    seen.page.keyboard.press("g")
    program = seen.page.locator(".scope", has_text="git push with any arguments")
    expect(program).to_contain_text("covered 1 of the 1 asked before")
    program.click()
    seen.page.get_by_label("Uses").fill("0")
    expect(seen.page.locator("#granting-yes")).to_have_attribute("aria-disabled", "false")
    seen.page.get_by_role("button", name="Approve and grant").click()
    assert house.desk.grants.live() == []  # no uses, no grant
    assert seen.violations() == []
    seen.page.get_by_label("Uses").fill("3")
    seen.page.get_by_role("button", name="Approve and grant").click()
    expect(seen.page.locator("#told")).to_contain_text("is granted")
    (made,) = house.desk.grants.live()
    assert (made.request, made.scope, made.uses) == (pending.id, Scope.PROGRAM, 3)
    seen.page.get_by_role("button", name="Grants").click()
    expect(seen.page.locator(".grant")).to_contain_text("3 of 3 uses left")
    assert seen.violations() == []
    seen.page.get_by_role("button", name="Revoke").click()
    expect(seen.page.get_by_text("Nothing is granted.")).to_be_visible()
    assert house.desk.grants.live() == []
    assert seen.said == []


def test_the_card_says_first_what_is_asked_then_what_holds_it_then_why(house, opened):
    tree = "ASK, risk 20\n  sh\n    fs.write a\n      ASK by x\n    fs.read b\n      ALLOW by y"
    facts = (("change-set", "5e7"), ("lets-in", "created a"), ("lets-in", "modified b"))
    more = (("why-asked", "It writes."), ("profile", "write (no network)"), ("stdin", "9 bytes"))
    house.asks(facts=(*facts, *more), preview=f"{tree}\n\nA a  +1\n--- a\n+++ b\n+new")
    seen = opened()
    assert seen.rows() == ["created a, modified b"]
    seen.choose("created a")
    expect(seen.page.locator(".headline")).to_have_text("created a\nmodified b")
    assert seen.page.locator("#body h3").all_inner_texts() == [
        "What the sandbox will enforce",
        "What it would change",
        "Why it is asked, access by access",
        "Also in it",
        "The statement, word for word: a yes is to this and nothing else",
    ]
    expect(seen.page.locator(".diff .ask")).to_have_text("      ASK by x")
    expect(seen.page.locator(".diff .allow")).to_have_text("      ALLOW by y")
    expect(seen.page.locator(".diff .added")).to_have_text("+new")
    assert seen.page.locator("dd").all_inner_texts() == [
        "It writes.", "write (no network)", "9 bytes"
    ]  # fmt: skip


@pytest.mark.threat("T19")
def test_a_click_that_a_script_made_up_or_that_was_meant_for_another_answers_nothing(house, opened):
    one, two = asks(house, "make one"), asks(house, "make two")
    seen = opened()
    seen.choose("make one")
    seen.page.evaluate("document.getElementById('approve').click()")
    seen.page.locator(".row", has_text="make two").click()
    expect(seen.page.locator(".headline")).to_have_text("make two")
    seen.page.locator("#approve").dispatch_event("click")
    expect(seen.page.locator("#approve")).to_be_enabled()
    assert [house.desk.get(each.id).state for each in (one, two)] == [State.PENDING] * 2


def test_a_request_that_arrives_after_another_tab_was_chosen_is_not_shown(house, opened):
    asks(house, "make one")
    seen = opened()
    held: list[Route] = []
    one = "**/api/v1/approvals/ap_*"

    def hold(route: Route) -> None:
        held.append(route)

    seen.page.route(one, hold)
    with seen.page.expect_request(one):
        seen.page.locator(".row").click()
    seen.page.get_by_role("button", name="Grants").click()
    expect(seen.page.get_by_text("Nothing is granted.")).to_be_visible()
    with seen.page.expect_response(one):
        held[0].continue_()
    seen.page.unroute(one)
    expect(seen.page.locator("#card")).to_be_hidden()
    assert seen.said == []


def test_too_weak_a_yes_says_so_and_the_request_stays(house, opened):
    pending = asks(house, "make strong", need=Need(Level.SEPARATE))
    seen = opened()
    seen.choose("make strong")
    seen.page.locator("#approve").click()
    expect(seen.page.locator("#told")).to_contain_text("does not reach the level 3")
    assert house.desk.get(pending.id).state is State.PENDING


@pytest.mark.threat("T07")
def test_a_used_link_and_a_bare_url_show_nothing_but_how_to_get_in(house, opened):
    pending = asks(house, "make secret")
    seen = opened()
    stranger = seen.context.browser.new_context()
    page = stranger.new_page()
    page.goto(house.url)
    expect(page.locator("#outside")).to_contain_text("permitgate approvals page")
    page.goto(f"{house.url}/#login=used")
    expect(page.locator("#why")).to_contain_text("used or is too old")
    assert pending.id not in page.content()
    stranger.close()
    seen.page.get_by_role("button", name="Sign out").click()
    expect(seen.page.locator("#outside")).to_be_visible()
    seen.page.reload()
    expect(seen.page.locator("#outside")).to_be_visible()


def test_another_tab_and_a_reload_keep_the_session(house, opened):
    asks(house, "make one")
    seen = opened()
    tab = seen.context.new_page()
    tab.goto(house.url)
    expect(tab.locator(".row")).to_have_count(1)
    tab.reload()
    expect(tab.locator(".row")).to_have_count(1)
    tab.close()


@pytest.mark.threat("T24")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_what_an_agent_wrote_neither_runs_nor_loads_nor_steers_the_page(
    house, opened, width, scheme
):
    everywhere = "".join(HOSTILE)
    house.asks(
        facts=tuple((key, text) for key in ("command", "cwd", "agent-says") for text in HOSTILE),
        tool=everywhere,
        preview="\n".join(("+" + everywhere, "-" + everywhere, *HOSTILE)),
        for_session=HOSTILE,
        offers=(Offer(Scope.EXACT, ("key",), HOSTILE),),
        warnings=HOSTILE,
    )
    seen = opened(width, scheme)
    seen.page.locator(".row").first.click()
    expect(seen.page.locator("#statement")).to_be_visible()
    expect(seen.page.locator("#offers dd")).to_have_count(2)
    expect(seen.page.locator("#approve")).to_be_enabled()
    seen.page.locator("#grant").click()
    expect(seen.page.locator("#granting-yes")).to_have_attribute("aria-disabled", "false")
    seen.page.keyboard.press("Escape")
    assert seen.page.evaluate("globalThis.ran ?? null") is None
    assert (seen.said, seen.strange(house.url)) == ([], [])
    text = seen.page.locator("body").inner_text()
    assert not [letter for letter in "\x1b\u202e\u200b\u0430" if letter in text]
    assert r"\u202egnp" in text
    assert seen.page.locator("main script, main img, main a").count() == 0
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.locator("#approve").scroll_into_view_if_needed()
    assert seen.page.locator("#approve").bounding_box()["width"] > 80


@pytest.mark.threat("T24")
def test_only_the_pages_own_script_may_run_on_it(house, opened):
    seen = opened()
    tried = """() => {
        const made = document.createElement("script");
        try { made.textContent = "globalThis.ran = 1"; document.body.append(made); } catch {}
        const image = new Image(); image.src = "https://track.example/x.png";
        return globalThis.ran ?? null;
    }"""
    assert seen.page.evaluate(tried) is None
    assert any("Content Security Policy" in line or "Trusted" in line for line in seen.said)


def test_on_a_phone_a_request_fills_the_screen_and_leads_back_to_the_list(house, opened):
    pending = asks(house, "make one " + "long" * 40)
    seen = opened(390, "dark")
    seen.choose("make one")
    expect(seen.page.locator("#side")).to_be_visible()
    box = seen.page.locator("#card").bounding_box()
    assert (box["x"], box["width"]) == (0, 390)
    for name in ("approve", "deny", "back"):
        assert seen.page.locator(f"#{name}").bounding_box()["height"] >= 40
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.page.locator("#back").click()
    expect(seen.page.locator("#card")).to_be_hidden()
    seen.choose("make one")
    seen.page.locator("#deny").click()
    expect(seen.page.locator("#card")).to_be_hidden()
    assert house.desk.get(pending.id).state is State.DENIED


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_axe_finds_nothing_against_wcag_2_2_aa(house, opened, width, scheme):
    facts = (("command", "make"), ("profile", "unconfined (OUTSIDE THE SANDBOX)"), ("risk", "9"))
    diff = "tree\n--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new"
    more = {"for_session": ("connects-to x",), "need": Need(ttl_s=30)}
    denied = asks(house, "make two")
    house.asks(facts=facts, preview=diff, warnings=("careful",), **more)
    house.desk.vote(denied.id, Answer.DENY, ALICE, denied.request_digest, "no")
    seen = opened(width, scheme)
    found = {"list": seen.violations()}
    seen.choose("make")
    found["card"] = seen.violations()
    seen.page.keyboard.press("a")
    expect(seen.page.locator("#sure-yes")).to_have_attribute("aria-disabled", "false")
    found["sure"] = seen.violations()
    seen.page.keyboard.press("Escape")
    seen.page.keyboard.press("Escape")
    seen.page.get_by_role("button", name="Answered").click()
    seen.page.locator(".row").click()
    expect(seen.page.locator(".done")).to_be_visible()
    found["history"] = seen.violations()
    seen.page.keyboard.press("j")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert seen.page.evaluate(outline) != "none"
    seen.page.keyboard.press("Escape")
    seen.page.get_by_role("button", name="Sign out").click()
    expect(seen.page.locator("#outside")).to_be_visible()
    found["login"] = seen.violations()
    assert not any(found.values()), found
    assert seen.said == []


def test_a_thousand_requests_are_listed_searched_and_moved_through_quickly(house, opened):
    for number in range(1000):
        asks(house, f"make target-{number:04}", session=f"many-{number // 8}")
    with house.client(**house.token()) as web:
        assert len(web.get("/api/v1/approvals").json()["approvals"]) == 1000
        started = time.perf_counter()
        web.get("/api/v1/approvals")
        print(f"\n1,000 requests listed in {(time.perf_counter() - started) * 1000:.0f} ms")
    seen = opened()
    expect(seen.page.locator("#count")).to_have_text("1000")
    seen.page.locator("#filter").fill("target-0777")
    expect(seen.page.locator(".row .what")).to_have_text("make target-0777")
    seen.page.locator("#filter").fill("")
    seen.page.keyboard.press("Escape")
    for _ in range(5):
        seen.page.keyboard.press("j")
    seen.page.locator(".headline", has_text="make target-0004").wait_for()
    expect(seen.page.locator(".row")).to_have_count(1000)


@pytest.mark.threat("T30")
def test_the_link_of_a_notice_shows_its_request_to_who_is_signed_in_and_answers_nothing(
    house, opened
):
    asks(house, "make one")
    pending = asks(house, "make two")
    seen = opened()
    link = opened_notice(pending, house.url).data["link"]
    for _ in range(2):  # as a new address and, for one that stands there already, as a new fragment
        seen.page.goto(link)
        expect(seen.page.locator(".headline")).to_have_text("make two")
        assert seen.page.url == f"{house.url}/"
    assert house.desk.get(pending.id).state is State.PENDING
    seen.context.clear_cookies()
    seen.page.goto("about:blank")
    seen.page.goto(link)
    expect(seen.page.locator("#outside")).to_be_visible()
    assert "make two" not in seen.page.content()

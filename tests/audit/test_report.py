"""A session's report: what it holds, and Markdown in which no text of the log is markup."""

import pytest
from markdown_it import MarkdownIt

from audit.report import LONGEST_CELL, MOST_FILES, MOST_ROWS, markdown, report
from tests.stories import Teller, changes, hostile, many, records_of, working_days


def of(story, session="s1"):
    records = [one for one in records_of(story) if one.get("session") == session]
    return report(session, records, known_hosts=(), trust="VERIFIED")


def section(found, title):
    (one,) = [one for one in found.sections if one.title == title]
    return one


def test_it_counts_and_lists_decisions_changes_refusals_and_approvals():
    found = of(working_days)
    facts = dict(found.facts)
    assert facts["decisions"] == "8 allowed, 3 asked, 2 denied"
    assert facts["agent"] == "agent:claude-code"
    assert [row[1] for row in section(found, "Blocked").rows] == [
        "cat .env",
        "cat ./.env | head -3",
    ]
    assert section(found, "Network refusals").rows[0][1:3] == (
        "telemetry.example.net:443",
        "refused no rule permits it",
    )
    assert len(section(found, "Network").rows) == 2
    assert len(section(found, "Approvals").rows) == 3
    assert ("2026-03-04 08:21:13", "created", "tests/test_checkout.py") in [
        row[:3] for row in section(found, "Changes").rows
    ]
    held = [row[1] for row in section(of(working_days, "s2"), "Changes").rows]
    assert "held: 214 in all" in held


def test_grants_are_listed_with_their_uses():
    grant = {"id": "gr_1", "scope": "program", "covers": ["git push"], "by": ["owner@0"]}
    records = [
        {"event": "grant.made", "session": "s1", "grant": grant},
        {"event": "grant.used", "session": "s1", "grant": grant},
    ]
    found = report("s1", records, known_hosts=(), trust="VERIFIED")
    assert section(found, "Grants").rows == (
        ("", "grant gr_1 (program): git push", "approve program by owner@0", "1", "used"),
    )


def test_sections_without_rows_are_left_out_and_long_ones_are_cut_and_say_so():
    found = of(many(2 * MOST_ROWS + 20))
    assert [one.title for one in found.sections] == ["All calls"]
    assert (len(found.sections[0].rows), found.sections[0].left_out) == (MOST_ROWS, 10)
    assert "10 more are not shown." in markdown(found)
    assert "\nNone.\n" in markdown(found)


def test_one_call_cannot_fill_the_report():
    def story(tell: Teller) -> None:
        names = [f"f{number}" for number in range(MOST_FILES + 5)]
        tell.call("touch", outcome=changes(created=names))

    assert len(section(of(story), "Changes").rows) == MOST_FILES + 1


def test_a_session_without_records_has_a_report_without_times():
    assert dict(report("x", [], known_hosts=(), trust="t").facts)["agent"] == "-"


def test_a_finding_of_many_records_names_the_first():
    def story(tell: Teller) -> None:
        for number in range(9):
            tell.call(f"cat .env{number}", "deny", status="denied")
        tell.call("cat notes")
        tell.call("  ", "deny", status="denied")

    assert "records 0, 1, 2, 3, 4, 5, 6, 7 and more" in markdown(of(story))


@pytest.mark.threat("T24")
def test_no_text_of_the_log_is_markup_and_no_cell_ends_early():
    def story(tell: Teller) -> None:
        hostile(tell)
        for text in ("\\", "\\|", "`", "``x`", "a\\\\|b", "|", " `a", "```", "``` ` ``"):
            tell.call(text, "deny", status="denied", rule=text)

    found = of(story)
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown(found))
    inner = [one for token in tokens for one in (token, *(token.children or ()))]
    kinds = {one.type for one in inner}
    assert "code_inline" in kinds
    assert kinds.isdisjoint({"html_block", "html_inline", "link_open", "image", "fence"})
    blocked = section(found, "Blocked")
    codes = [one.content for one in inner if one.type == "code_inline"]
    for row in blocked.rows:
        for cell in row:
            shown = cell.replace("\\\\|", "\\x7c").replace("\\|", "\\x7c").strip()
            assert shown in [code.strip() for code in codes] or not shown or "|" in cell
    cells = [len(row) for row in blocked.rows]
    assert set(cells) == {len(blocked.columns)}
    rows = sum(len(one.rows) + 1 for one in found.sections)
    assert sum(token.type == "tr_open" for token in tokens) == rows
    columns = sum((len(one.rows) + 1) * len(one.columns) for one in found.sections)
    assert sum(token.type in ("td_open", "th_open") for token in tokens) == columns
    assert max(map(len, codes)) <= 2 * LONGEST_CELL

"""The tree that a person reads before answering."""

import json

from policy.explain import as_data, as_text, explain, shortened, steps
from policy.model import Access, Decision, Effect, Obligations, Verdict
from policy.programs.words import HOLE


def decision(effect, verdicts, **obligations) -> Decision:
    return Decision(
        effect, tuple(verdicts), 45, "It deletes.", (), Obligations(**obligations), "0" * 64
    )


def test_the_tree_goes_from_command_to_program_to_access_to_rule():
    tree = explain(
        decision(
            Effect.ASK,
            [
                Verdict(Access("fs.list", "/w", "exact", "ls"), Effect.ALLOW, "look", "p:1:1", ""),
                Verdict(
                    Access("fs.delete", f"/w/{HOLE}", "dynamic", "rm"),
                    Effect.ASK, "default", "p:2:10", "no rule",
                ),
            ],
            level=2, quorum=2, timeout_s=600,
        )
    )  # fmt: skip
    assert as_text(tree).splitlines() == [
        "ASK, risk 45, level owner, 2 approvals, within 600 s: It deletes.",
        "  ls",
        "    fs.list /w",
        "      ALLOW by look at p:1:1",
        "  rm",
        "    fs.delete /w/… (dynamic)",
        "      ASK by default at p:2:10: no rule",
    ]


def test_nothing_a_terminal_would_act_on_is_shown_raw():
    verdict = Verdict(Access("fs.read", "/w/\x1b[2J\u202e\n"), Effect.DENY, "error", "", "")
    text = as_text(explain(decision(Effect.DENY, [verdict])))
    assert "fs.read /w/\\x1b[2J\\u202e\\n" in text
    assert "(the shell)" in text


def test_a_decision_without_a_reason_is_only_its_headline():
    allowed = Decision(Effect.ALLOW, (), 0, "", (), Obligations(), "0" * 64)
    assert as_text(explain(allowed)) == "ALLOW, risk 0"


def test_one_approval_at_a_level_without_a_name_is_shown_by_number():
    text = as_text(explain(decision(Effect.ASK, [], level=9)))
    assert text == "ASK, risk 45, level 9: It deletes."


def test_what_one_rule_says_of_several_resources_stands_together_and_the_strictest_first():
    read = [
        Verdict(Access("fs.read", f"/w/{name}", "exact", "cat"), Effect.ALLOW, "r", "p:1:1", "")
        for name in "abc"
    ]
    denied = Verdict(Access("fs.read", "/w/.env", "exact", "cat"), Effect.DENY, "d", "p:2:1", "No.")
    other = Verdict(Access("fs.list", "/w", "exact", "ls"), Effect.ALLOW, "r", "p:1:1", "")
    (cat, ls) = steps(decision(Effect.DENY, [*read, denied, other]))
    assert (cat.program, cat.effect, ls.effect) == ("cat", Effect.DENY, Effect.ALLOW)
    assert [line.resources for line in cat.lines] == [("/w/.env",), ("/w/a", "/w/b", "/w/c")]


def test_data_holds_every_access_whole():
    long = "/w/" + "x" * 5000
    verdict = Verdict(Access("fs.read", long, "exact", "cat"), Effect.ASK, "r", "p:1:1", "Why.",
                      certain=False)  # fmt: skip
    data = json.loads(json.dumps(as_data(decision(Effect.ASK, [verdict], level=2))))
    assert data["accesses"] == [
        {"operation": "fs.read", "resource": long, "how": "exact", "program": "cat",
         "effect": "ask", "certain": False, "rule": "r", "place": "p:1:1", "reason": "Why.",
         "lifted": []}
    ]  # fmt: skip
    assert data["obligations"]["level"] == "owner"
    assert "may be ASK by r" in as_text(explain(decision(Effect.ASK, [verdict])))


def test_a_long_text_is_shortened_in_its_middle_to_exactly_the_room():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghij", 5) == "ab…ij"
    assert shortened("abcdefghij", 4) == "a…ij"
    assert shortened("abcdefghij", 1) == "…"

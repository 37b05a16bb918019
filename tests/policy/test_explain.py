"""The tree that a person reads before answering."""

from policy.explain import as_text, explain
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
    assert [child.effect for child in tree.children] == [Effect.ALLOW, Effect.ASK]


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

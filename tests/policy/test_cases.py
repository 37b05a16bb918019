"""Files of commands and expectations: read strictly, judged by the policy alone."""

import pytest

from policy.cases import read_cases, run_case
from policy.document import PolicyError
from policy.load import load, pack
from policy.model import Effect

GOOD = """\
policy: [dev-safe, ./mine.yaml]
workspace: /srv/shop/
tests:
  - command: cat ~/.ssh/id_ed25519
    expect: deny
    rule: secrets-of-people
    why: Credentials stay out of reach.
  - argv: [rm, -rf, src]
    cwd: sub
    tool: ssh
    expect: ask
"""


def test_a_file_is_read_with_places_and_defaults():
    suite = read_cases("t.yaml", GOOD)
    assert suite.policies == ("dev-safe", "./mine.yaml")
    assert (suite.context.workspace, suite.context.home) == ("/srv/shop", "/home/dev")
    first, second = suite.cases
    assert (first.place, first.expect, first.tool) == ("t.yaml:4:5", Effect.DENY, "exec")
    assert (second.argv, second.cwd, second.tool) == (("rm", "-rf", "src"), "sub", "ssh")


MISTAKES = [
    ("policy: [dev-safe]", "t.yaml:1:1: the key 'tests' is missing"),
    ("tests: [{command: a, expect: ask}]", "t.yaml:1:1: the key 'policy' is missing"),
    ("policy: [a]\ntests: []", "t.yaml:2:8: tests is a list"),
    ("policy: [a]\ntests: [b]", "t.yaml:2:9: a test is a mapping"),
    ("policy: [a]\ntests: [{command: b}]", "t.yaml:2:9: the test expects nothing"),
    ("policy: [a]\ntests: [{expect: ask}]", "t.yaml:2:9: a test has either command or argv"),
    ("policy: [a]\ntests: [{command: b, argv: [c], expect: ask}]", "t.yaml:2:9: a test has either"),
    ("policy: [a]\ntests: [{command: b, expect: maybe}]", "t.yaml:2:30: expect 'maybe' is not"),
    ("policy: [a]\ntests: [{command: b, expects: ask}]", "t.yaml:2:22: a test has no key 'exp"),
    ("policy: [a]\nhome: x\ntests: [{command: b, expect: ask}]", "t.yaml:2:7: home 'x' is not"),
    ("policy: [a]\nworkspace: /\ntests: [{command: b, expect: ask}]", "t.yaml:2:12: workspace"),
    ("- a", "t.yaml:1:1: a file of tests is a mapping"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_every_mistake_is_refused_with_its_place(text, message):
    with pytest.raises(PolicyError) as raised:
        read_cases("t.yaml", text)
    assert str(raised.value).startswith(message)


def test_a_case_is_wrong_by_its_effect_or_by_the_rule_that_decided():
    policy = load([pack("dev-safe")], check_examples=False)
    text = """\
policy: [dev-safe]
tests:
  - {command: ls ., expect: allow, rule: look-around}
  - {command: ls ., expect: deny}
  - {command: ls ., expect: allow, rule: nobody}
  - {command: cat x, cwd: /etc, expect: allow}
"""
    suite = read_cases("t.yaml", text)
    wrong = [run_case(case, policy, suite.context).wrong for case in suite.cases]
    assert wrong == [
        "",
        "expected deny, got allow",
        "expected it of rule nobody, got it of look-around",
        "",
    ]

"""The starter policies: every example holds, in any home, and the machine's own limits stand."""

from functools import cache

import pytest

from policy.classify import classify
from policy.decide import denied_reads
from policy.examples import check_examples
from policy.load import load, pack
from policy.model import Context, Decision, Effect, Exec, Request, Subject
from sandbox.profile import Touch, derive
from tests.policy.rows import rows

SUBJECT = Subject("agent:test@1000", "s", 1000, "local")
DEV = load([pack("dev-safe")], check_examples=False)
BOTH = load([pack("dev-safe"), pack("ops-inspect")], check_examples=False)
ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY

HOMES = [
    ("/home/dev/work", "/home/dev"),
    ("/root/work", "/root"),
    ("/root", "/root"),
    ("/srv/people/dev/src", "/srv/people/dev"),
    ("/usr/src/app", "/root"),
    ("/work", "/home/dev"),
]


def decide(command: str, workspace="/home/dev/work", home="/home/dev", policy=DEV):
    context = Context(workspace, home, "root" if home == "/root" else "dev", "box")
    request = Request(SUBJECT, Exec(command, None, workspace), "exec")
    return classify(request, policy, context)


PACKS = ["guardrails", "dev-safe", "ops-inspect", "ci-strict", "agent-sandbox"]


@pytest.mark.parametrize("name", PACKS)
def test_every_example_holds(name):
    check_examples(load([pack(name)], check_examples=False))


@pytest.mark.parametrize("policy", [DEV, BOTH])
def test_every_ask_and_deny_says_why_and_examples_try_most_rules(policy):
    stopping = [rule for rule in policy.rules if rule.effect is not ALLOW]
    assert [rule.id for rule in stopping if not rule.reason] == []
    assert sum(bool(rule.examples) for rule in policy.rules) > len(policy.rules) * 2 / 3


def test_no_rule_needs_more_than_the_owner():
    assert {rule.obligations.level for rule in BOTH.rules} == {1, 2}


@pytest.mark.parametrize(("workspace", "home"), HOMES)
@pytest.mark.parametrize(
    "command",
    ["cat README.md", "grep -r todo .", "touch notes.txt", "mkdir -p a/b", "chmod +x run.sh",
     "rm -rf node_modules", "git add .", "git commit -m done", "./run.sh", "ls -la /"],
)  # fmt: skip
def test_the_workspace_is_the_developers_wherever_it_is(command, workspace, home):
    assert decide(command, workspace, home).effect is ALLOW


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("workspace", "home"), HOMES)
@pytest.mark.parametrize(
    "command",
    ["cat ~/.ssh/id_ed25519", "cat /home/other/.aws/credentials", "cat /root/.netrc",
     "cat ~/.local/state/permitgate/log", "rm -rf ~/.config/permitgate",
     "echo x > ~/.config/permitgate/policy.d/mine.yaml", "cat /etc/shadow", "cat .env",
     "rm -rf /", "rm -rf /*", "rm -rf ~/.ssh", "chmod -R 777 /", "tee /etc/passwd", "rm -rf /home"],
)  # fmt: skip
def test_what_is_denied_is_denied_from_every_home(command, workspace, home):
    assert decide(command, workspace, home).effect is DENY


@pytest.mark.threat("T02")
@pytest.mark.parametrize(("workspace", "home"), HOMES)
def test_the_sandbox_masks_the_gates_own_state_and_not_the_workspace(workspace, home):
    denied = denied_reads(DEV, Context(workspace, home, "dev", "box"))
    for below in (".local/state/permitgate/log", ".config/permitgate/policy.d/x", ".ssh/id"):
        assert denied.denies(f"{home}/{below}")
    assert denied.denies(f"{workspace}/sub/.env")
    assert not denied.denies(workspace)
    assert not denied.denies(home)
    assert not denied.denies(f"{workspace}/src/main.py")
    assert not denied.denies(f"{workspace}/.env.example")


@pytest.mark.parametrize(
    ("command", "effect", "level"),
    [
        ("rm -rf src", ASK, 1),
        ("touch .git/hooks/pre-commit", ASK, 1),
        ("python3 -c 'print(1)'", ASK, 1),
        ("touch /opt/x", ASK, 2),
        ("git reset --hard HEAD~1", ASK, 2),
        ("sudo ls", ASK, 2),
        ("eval \"$x\"", ASK, 2),
    ],
)  # fmt: skip
def test_asks_inside_the_workspace_are_attested_and_others_are_the_owners(command, effect, level):
    decision = decide(command)
    assert (decision.effect, decision.obligations.level) == (effect, level)


def test_diagnosing_reads_what_developing_does_not():
    assert decide("cat /var/lib/dpkg/status").effect is ASK
    assert decide("cat /var/lib/dpkg/status", policy=BOTH).effect is ALLOW
    assert decide("cat /var/lib/docker/x", policy=BOTH).effect is DENY
    alone = load([pack("ops-inspect")], check_examples=False)
    assert decide("touch notes.txt", policy=alone).effect is ASK


# What each pack promises as a whole, over every row of our own corpora

ROWS = (*rows("red_team"), *rows("harmless"))


@cache
def decided(name: str) -> tuple[tuple[str, Decision], ...]:
    policy = load([pack(name)], check_examples=False)
    return tuple((row.command, decide(row.command, policy=policy)) for row in ROWS)


@pytest.mark.untraced
def test_nobody_is_ever_asked_in_the_agents_sandbox():
    assert [one for one, decision in decided("agent-sandbox") if decision.effect is ASK] == []


@pytest.mark.untraced
@pytest.mark.threat("T09")
@pytest.mark.parametrize("name", ["agent-sandbox", "ci-strict"])
def test_whatever_a_pack_allows_fits_into_a_profile_of_the_sandbox(name):
    """As test_profiles.py shows it of dev-safe."""
    wide = []
    for command, decision in decided(name):
        touches = [Touch(one.operation, one.resource, one.how) for one in decision.accesses]
        profile = derive(touches, workspace="/home/dev/work", read_roots=("/usr", "/etc"))
        if decision.effect is ALLOW and getattr(profile, "name", "none") == "unconfined":
            wide.append(command)
    assert wide == []


@pytest.mark.parametrize("name", ["agent-sandbox", "ci-strict"])
def test_a_pack_without_a_desk_forbids_at_least_what_the_developers_pack_asks_about(name):
    """Places that something outside the sandbox runs."""
    (asked,) = (rule for rule in DEV.rules if rule.id == "places-that-run-later")
    policy = load([pack(name)], check_examples=False)
    denied = next(rule for rule in policy.rules if rule.id.endswith("-places-that-run-later"))
    assert denied.effect is DENY
    assert set(asked.resources) <= set(denied.resources)

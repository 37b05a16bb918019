"""The kernel keeps the classifier's promise: what runs unasked gets a profile that cannot do harm.

Every command of our own corpora, of the benchmark and of the programs' examples that dev-safe (or
dev-safe with ops-inspect) allows is walked, and the profile it would get is looked at.
"""

from importlib.resources import files

import pytest

from benchmarks.commands import COMMANDS
from policy.classify import classify
from policy.decide import denied_reads, readable_roots
from policy.load import load, pack
from policy.model import Context, Effect, Exec, Request, Subject
from sandbox.profile import BY_STRENGTH, NoProfile, Touch, derive, is_within
from tests.policy.programs.examples import examples
from tests.policy.rows import rows

pytestmark = pytest.mark.untraced

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "laptop")
SUBJECT = Subject("agent:test@1000", "s", 1000, "local")
POLICIES = {
    "dev-safe": load([pack("dev-safe")], check_examples=False),
    "with ops-inspect": load([pack("dev-safe"), pack("ops-inspect")], check_examples=False),
}
LOOKS = frozenset(
    {
        "fs.read", "fs.list", "git.read", "sys.inspect", "proc.inspect", "credential.read",
        "resource.exhaust",
    }
)  # fmt: skip
STAYS = LOOKS | {"fs.write", "fs.create", "fs.delete", "fs.perm", "git.write", "code.exec"}


def commands():
    yield from COMMANDS
    for corpus in ("red_team", "harmless"):
        yield from (row.command for row in rows(corpus))
    for entry in files("policy.programs").iterdir():
        if entry.name.endswith(".yaml"):
            for shown in examples(entry.name, entry.read_text(encoding="utf-8")).values():
                yield from (one.command for one in shown if one.effect == "allow")


def allowed(policy):
    """Return each allowed command with its footprint and the profile it would get."""
    roots = readable_roots(policy, CONTEXT)
    found = []
    for command in dict.fromkeys(commands()):
        request = Request(SUBJECT, Exec(command, None, CONTEXT.workspace), "exec")
        decision = classify(request, policy, CONTEXT)
        if decision.effect is Effect.ALLOW:
            touches = [Touch(one.operation, one.resource, one.how) for one in decision.accesses]
            profile = derive(touches, workspace=CONTEXT.workspace, read_roots=roots)
            found.append((command, set(decision.operations), profile))
    return found


@pytest.fixture(scope="module", params=POLICIES)
def runs_unasked(request):
    policy = POLICIES[request.param]
    return policy, allowed(policy)


@pytest.mark.threat("T02")
def test_what_only_looks_gets_a_profile_that_cannot_write_or_connect(runs_unasked):
    _, found = runs_unasked
    looking = [one for one in found if one[1] <= LOOKS - {"resource.exhaust"}]
    assert len(looking) > len(found) / 3
    wrong = [
        (command, profile)
        for command, _, profile in looking
        if isinstance(profile, NoProfile)
        or profile.name not in ("read", "inspect")
        or profile.write_paths
    ]
    assert wrong == []


@pytest.mark.threat("T02")
def test_what_writes_stays_in_the_workspace_without_network(runs_unasked):
    _, found = runs_unasked
    # A command that no profile carries out does not run at all.
    carried = [one for one in found if not isinstance(one[2], NoProfile)]
    assert [one[0] for one in carried if one[2].name == BY_STRENGTH[-1]] == []
    assert [one[0] for one in carried if one[2].write_paths] == []
    assert [(command, touched) for command, touched, _ in found if touched - STAYS] == []


@pytest.mark.threat("T02")
def test_nothing_that_runs_unasked_is_shown_a_credential(runs_unasked):
    policy, found = runs_unasked
    secret = denied_reads(policy, CONTEXT)
    shown = {
        (command, path)
        for command, _, profile in found
        if not isinstance(profile, NoProfile)
        for path in (*profile.read_roots, *profile.reads)
        if not is_within(path, CONTEXT.workspace) and secret.denies(path)
    }
    assert shown == set()

"""Least privilege from past actions: what ran runs again, what did not run is not opened."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.facts import places
from policy.learn import learn
from policy.learned_text import quoted
from policy.lint import lint
from policy.load import load, pack
from policy.model import Access, Context, Effect, Exec, Request, Subject
from policy.programs.words import HOLE
from policy.proof import Wish, prove
from policy.replay import Past, Replay
from policy.rules import Source

CONTEXT = Context("/home/dev/shop", "/home/dev", "dev", "box")
ELSEWHERE = Context("/srv/app", "/root", "root", "box")
WHO = Subject("agent:x", "s", 1, "cli")
DEV_SAFE = load([pack("dev-safe")], check_examples=False)
COMMANDS = [
    "cat src/a.py", "cat src/b.py", "cat src/c.py", "head README.md", "grep -r todo .", "ls -la .",
    "ls src docs", "cat src/*.py", "cat src/[ab].py", "touch out.txt", "echo x > docs/one.md",
    "echo x > docs/two.md", "echo x > docs/three.md", "echo x > CLAUDE.md", "git status",
    "git diff | head", "git add .", "git commit -m done", "./run.sh", "pytest -q", "make",
    "rm main.o", "rm -rf node_modules", "env", "cat $(git ls-files)", "find . -name x",
    "cat /etc/hosts /etc/hostname /etc/issue", "ps aux", "uname -a", "cat 'odd \"name\\'",
    "cat 'a{b,c}*'", "cd src && cat x", "cat .gitignore", "sort src/a.py -o src/sorted.txt",
]  # fmt: skip
STOPPED = [
    "cat .env", "rm -rf /", "curl https://example.com/", "rm -rf src", "python3 -c 'print(1)'",
    "sudo ls", "git push --force", "cat ~/.ssh/id_rsa", "cat src/server.key", "cat docs/.hidden",
    "echo x > .git/hooks/pre-commit", "cat ~/notes.txt", "touch /opt/x", "kill 1", "a=(; b",
    'rm -rf "$DIR"', "cat src/*.pem", "LD_PRELOAD=x ls", "cat /home/dev/other.txt",
]  # fmt: skip


def past(seq: int, command: str, *, approved: bool = False, context: Context = CONTEXT) -> Past:
    request = Request(WHO, Exec(command, None, context.workspace), "exec")
    effect = (
        Replay(DEV_SAFE).decision(Past(seq, "t", request, context, Effect.ASK, ran=False)).effect
    )
    ran = effect is Effect.ALLOW or (approved and effect is Effect.ASK)
    return Past(
        seq, "t", request, context, effect, ran, approved=approved and effect is Effect.ASK,
        status="" if ran else "denied" if effect is Effect.DENY else "pending",
    )  # fmt: skip


def history(*commands: str, approved: tuple[str, ...] = ()) -> list[Past]:
    return [past(seq, one, approved=one in approved) for seq, one in enumerate(commands)]


def rules(text: str) -> dict[str, dict[str, object]]:
    return {rule["id"]: rule for rule in yaml.safe_load(text)["rules"]}


@pytest.mark.untraced
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(COMMANDS + STOPPED),
            st.booleans(),
            st.sampled_from([CONTEXT, ELSEWHERE]),
        ),
        max_size=25,
    ),
    st.builds(Wish, st.just("learned"), st.booleans(), st.sampled_from(["ask", "deny"])),
)
def test_what_ran_runs_again_and_what_did_not_run_stays_closed(chosen, wish):
    actions = [
        past(seq, command, approved=approved, context=context)
        for seq, (command, approved, context) in enumerate(chosen)
    ]
    text, proof = learn(actions, wish, ["why"])
    assert proof.holds
    assert learn(actions, wish, ["why"])[0] == text
    # The proof is about this text, not about how it was made.
    source = Source("learned.yaml", text)
    replay = Replay(load([source], check_examples=False))
    stopped = {one.past.seq for one in proof.exceptions}
    ran_once = {one.what for one in actions if one.ran}
    for one in actions:
        effect = replay.decision(one).effect
        if not one.ran and (one.was_refused or one.what not in ran_once):
            assert effect is not Effect.ALLOW
        elif one.ran and one.seq not in stopped:
            wanted = Effect.ASK if one.approved and not wish.trust_approved else Effect.ALLOW
            assert effect <= wanted
    # Only what is never learned is stricter than it was.
    never = ("opaque", "credential.read", "privilege.escalate", "code.exec", "env.poison")
    if not wish.trust_approved and wish.default == "ask":
        assert [one for one in proof.exceptions if not one.why.startswith(never)] == []
    # Trust may well have been given to a place that runs later.
    warned = {one.kind for one in lint(replay.policy, [source], {}) if one.severity == "warning"}
    assert warned <= ({"runs-later"} if wish.trust_approved else set())


def test_three_siblings_become_their_folder_and_two_do_not():
    text, _ = learn(history("cat src/a.py", "cat src/b.py", "cat docs/x"), Wish(), [])
    assert list(rules(text)) == ["fs-read-seen"]
    text, _ = learn(history("cat src/a.py", "cat src/b.py", "cat src/c.py"), Wish(), [])
    found = rules(text)
    assert found["fs-read-beside"]["resources"] == ["${workspace}/src/*.py"]
    assert "3 files, 3 times, records 0 to 2" in text
    text, _ = learn(history("cat src/a.py", "cat src/b", "cat src/c.md"), Wish(), [])
    assert rules(text)["fs-read-beside"]["resources"] == ["${workspace}/src/*"]


@pytest.mark.parametrize("pattern", ["cat src/*.py", "cat src/*"])
def test_a_folder_that_a_pattern_opened_needs_no_rule_of_its_own(pattern):
    text, _ = learn(history("cat src/a.py", "cat src/b.py", "cat src/c.py", pattern), Wish(), [])
    assert list(rules(text)) == ["fs-read-seen"]


@pytest.mark.parametrize(
    "closed",
    ["cat src/.hidden", "cat src/server.key", "cat src/credentials.json", "cat src/deep/x.py",
     "cat other/a.py", "touch src/d.py", "cat ../src/a.py"],
)  # fmt: skip
def test_a_folder_opens_neither_hidden_nor_secret_names_nor_what_lies_below(closed):
    text, _ = learn(history("cat src/a", "cat src/b.py", "cat src/c.md"), Wish(), [])
    replay = Replay(load([Source("learned.yaml", text)], check_examples=False))
    assert replay.decision(past(9, "cat src/new.txt")).effect is Effect.ALLOW
    assert replay.decision(past(9, closed)).effect is not Effect.ALLOW


def test_what_runs_later_is_allowed_by_its_own_name_only():
    writes = [f"echo x > {name}" for name in ("a.md", "b.md", "c.md", "Makefile")]
    text, _ = learn(history(*writes), Wish(), [])
    replay = Replay(load([Source("learned.yaml", text)], check_examples=False))
    assert replay.decision(past(9, "echo x > d.md")).effect is Effect.ALLOW
    assert replay.decision(past(9, "echo x > Makefile")).effect is Effect.ALLOW
    assert replay.decision(past(9, "echo x > AGENTS.md")).effect is Effect.ASK


def test_a_folder_is_not_widened_over_what_was_refused():
    files = [f"cat src/{name}.py" for name in "abc"]
    refused = [
        Past(9, "t", past(9, "cat src/d.py").request, CONTEXT, Effect.ASK, ran=False,
             status="declined")
    ]  # fmt: skip
    text, proof = learn([*history(*files), *refused], Wish(), [])
    assert proof.holds
    assert list(rules(text)) == ["fs-read-seen"]


def test_what_was_asked_about_only_together_is_not_opened_by_its_parts():
    parts = history("echo x > Makefile", "make all", "cat a", "echo x > Makefile && make all")
    assert [one.ran for one in parts] == [True, True, True, False]
    text, proof = learn(parts, Wish(), [])
    assert proof.holds
    replay = Replay(load([Source("learned.yaml", text)], check_examples=False))
    effects = [replay.decision(one).effect for one in parts]
    assert effects[2:] == [Effect.ALLOW, Effect.ASK]
    assert len(proof.exceptions) == effects[:2].count(Effect.ASK) == 1


def test_where_a_place_is_not_enough_the_whole_operation_is_not_learned():
    request = past(9, "touch docs/new.md").request
    declined = Past(9, "t", request, CONTEXT, Effect.ASK, ran=False, status="declined")
    text, proof = learn([*history("cp a docs/*.md", "cat b"), declined], Wish(), [])
    assert proof.holds
    assert (
        Replay(load([Source("learned.yaml", text)], check_examples=False)).decision(declined).effect
        is Effect.ASK
    )


def test_an_approved_action_asks_again_unless_it_is_trusted():
    actions = history("git push origin main", approved=("git push origin main",))
    for trusted, effect in ((False, Effect.ASK), (True, Effect.ALLOW)):
        text, proof = learn(actions, Wish(trust_approved=trusted), [])
        replay = Replay(load([Source("learned.yaml", text)], check_examples=False))
        assert replay.decision(actions[0]).effect is effect
        assert (proof.exceptions, proof.holds) == ((), True)


def test_what_waited_and_then_ran_is_learned_and_what_was_declined_is_not():
    waited = past(0, "rm -rf src")
    ran = past(1, "rm -rf src", approved=True)
    declined = Past(2, "t", ran.request, CONTEXT, Effect.ASK, ran=False, status="declined")
    trust = Wish(trust_approved=True)
    text, proof = learn([waited, ran], trust, [])
    assert Replay(proof.policy).decision(ran).effect is Effect.ALLOW
    text, proof = learn([waited, ran, declined], trust, [])
    assert proof.holds
    assert (
        Replay(load([Source("learned.yaml", text)], check_examples=False)).decision(ran).effect
        is Effect.ASK
    )
    assert [one.past.seq for one in proof.exceptions] == [1]


@pytest.mark.parametrize(
    "command", ["sudo ls", "python3 -c 'print(1)'", "echo $AWS_SECRET_ACCESS_KEY", "a=(; b"]
)
def test_what_is_never_allowed_asks_even_when_trusted(command):
    actions = history(command, approved=(command,))
    _, proof = learn(actions, Wish(trust_approved=True, default="deny"), [])
    assert Replay(proof.policy).decision(actions[0]).effect is not Effect.ALLOW
    assert len(proof.exceptions) == len([one for one in actions if one.ran])


def test_an_ask_that_would_concern_what_ran_freely_is_left_to_the_default():
    both = history("cat $(git ls-files)", "cat ~/other.txt", approved=("cat ~/other.txt",))
    text, proof = learn(both, Wish(), [])
    assert (proof.holds, proof.exceptions) == (True, ())
    assert [name for name in rules(text) if name.endswith("-ask")] == []
    _, denying = learn(both, Wish(default="deny"), [])
    assert [one.past.seq for one in denying.exceptions] == [0]


def test_an_allow_that_an_ask_covers_is_left_out():
    other = past(1, "LD_PRELOAD=x ls", approved=True, context=ELSEWHERE)
    text, proof = learn([past(0, "ls -la ."), other], Wish(default="deny"), [])
    assert list(rules(text)) == ["env-poison-ask", "fs-list-ask"]
    assert [one.past.seq for one in proof.exceptions] == [0]


def test_what_nobody_can_name_has_no_rule_of_its_own():
    sweep = 'rm -rf "$DIR"'
    both = history(sweep, "rm -rf src", approved=(sweep, "rm -rf src"))
    assert rules(learn(both[:1], Wish(default="deny"), [])[0]) == {}
    assert list(rules(learn(both, Wish(default="deny"), [])[0])) == ["fs-delete-ask"]


def test_one_action_that_touches_a_place_twice_counts_once():
    text, _ = learn(history("cat a && head a", "cat a"), Wish(), [])
    assert "# 2 times, records 0 to 1" in text


def test_the_rest_is_asked_about_or_denied():
    for default in ("ask", "deny"):
        _, proof = learn(history("cat a"), Wish(default=default), [])
        assert Replay(proof.policy).decision(past(9, "cat b")).effect.name.lower() == default


def test_a_proof_that_does_not_hold_says_which_action_would_be_allowed():
    closed = history("cat a", "rm -rf src")
    text = "version: 1\nrules:\n  - {id: a, allow: [fs.delete], resources: [/home/**]}\n"
    proof = prove(text, closed, Wish())
    assert (proof.holds, proof.violations) == (False, (closed[1],))


PLACES = [
    (Access("fs.read", "/home/dev/shop/a b"), "${workspace}/a b"),
    (Access("fs.read", "/home/dev/x"), "~/x"),
    (Access("fs.read", "/home/dev/shop"), "${workspace}"),
    (Access("fs.read", "/home/dev/shopping"), "~/shopping"),
    (Access("fs.read", "/a[b]*{c}"), "/a\\[b\\]\\*\\{c\\}"),
    (Access("fs.read", "/home/dev/shop/src/*.p?", "pattern"), "${workspace}/src/*.p?"),
    (Access("fs.read", "/home/dev/shop/src/[ab]x", "pattern"), "${workspace}/src/*x"),
    (Access("fs.read", "/home/dev/shop/**/*.py", "pattern"), "${workspace}/**/*.py"),
    (Access("fs.read", f"/home/dev/shop/{HOLE}", "dynamic"), "${workspace}/**"),
    (Access("fs.read", f"/home/dev/shop/a{HOLE}/b", "dynamic"), "${workspace}/**"),
    (Access("fs.read", HOLE, "dynamic"), "<unknown path>"),
    (Access("fs.read", "/", "exact"), "/"),
    (Access("git.read", "git status"), "git status"),
    (Access("net.connect", "https://…/x", "dynamic"), "https://*/x"),
    (Access("code.exec", "<unknown program x>", "dynamic"), "<unknown program x>"),
]


@pytest.mark.parametrize(("access", "glob"), PLACES)
def test_a_place_is_written_as_wide_as_it_may_be_and_no_wider(access, glob):
    assert [one.glob for one in places(access, CONTEXT)] == [glob]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_is_quoted_so_that_yaml_reads_it_back(text):
    line = quoted(text)
    assert line.isprintable()
    assert yaml.safe_load(line) == text

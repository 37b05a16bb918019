"""What narrows a rule besides its resource: an allow is certain of it, an ask or a deny may be."""

import time

import pytest

from policy.decide import decide, matching_rules
from policy.load import load
from policy.model import Access, Context, Effect, Exec, Request, Ssh, Subject
from policy.narrowing import Asked, asked_by
from policy.programs.words import HOLE, Argument
from policy.rules import Source

CONTEXT = Context("/w", "/home/dev", "dev", "box")
ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY


def policy_of(*rules: str):
    lines = "".join(f"  - {{id: r{n}, {rule}}}\n" for n, rule in enumerate(rules))
    return load([Source("p.yaml", f"version: 1\nrules:\n{lines}")])


def words(*commands: str) -> dict[str, list[list[Argument]]]:
    """Return vectors by program; a word with … is not known, one with * is a pattern."""
    found: dict[str, list[list[Argument]]] = {}
    for command in commands:
        vector = [word_of(text) for text in command.split(" ")]
        found.setdefault(vector[0].text, []).append(vector)
    return found


def word_of(text: str) -> Argument:
    if text.startswith("$"):
        return Argument(HOLE, "dynamic", several=True)
    if "…" in text:
        return Argument.of(text.replace("…", HOLE))
    return Argument(text, "pattern" if "*" in text else "exact", several="*" in text)


def ruling(rule: str, access: Access, asked: Asked):
    return decide([access], policy_of(rule), CONTEXT, asked)


PUSH = Access("git.write", "x", "exact", "git push")


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("command", "allowed", "denied"),
    [
        ("git push --force", ALLOW, DENY),
        ("git push --force-with-lease=x", ALLOW, DENY),
        ("git push -f", ASK, ASK),  # another word: neither rule speaks of it
        ("git push $MORE", ASK, ASK),  # it could be
        ("git push …", ASK, ASK),
        ("git push --force-…", ALLOW, DENY),
        ("git push --f*", ASK, ASK),
        ("git push origin", ASK, ASK),
    ],
)
def test_an_argument_is_matched_as_a_whole_and_as_written(command, allowed, denied):
    asked = Asked(words=words(command))
    assert ruling("allow: [git.write], args: ['--force*']", PUSH, asked).effect is allowed
    rule = "deny: [git.write], args: ['--force*']"
    assert ruling(rule, PUSH, asked).effect is denied


@pytest.mark.threat("T02")
def test_a_word_that_is_not_known_only_may_match():
    rule = "deny: [git.write], args: ['--force']"
    for command, matches in (("git push $X", True), ("git push a*", False), ("git push a", False)):
        found = ruling(rule, PUSH, Asked(words=words(command)))
        (verdict,) = found.verdicts
        assert (verdict.rule_id == "r0") is matches, command
        assert verdict.certain is not matches
        assert found.obligations.level == (2 if matches else 1)


@pytest.mark.threat("T02")
def test_of_several_commands_an_allow_needs_all_and_a_deny_any():
    both = Asked(words=words("git push --force", "git push origin"))
    assert ruling("allow: [git.write], args: [--force]", PUSH, both).effect is ASK
    assert ruling("deny: [git.write], args: [--force]", PUSH, both).effect is DENY
    other = Asked(words=words("git push --force", "git log origin"))
    assert ruling("allow: [git.write], args: [--force]", PUSH, other).effect is ALLOW
    hidden = Asked(words=words("git $X --force", "git log --force"))
    assert ruling("allow: [git.write], args: [--force]", PUSH, hidden).effect is ALLOW
    assert ruling("deny: [git.write], args: [log]", PUSH, hidden).effect is ASK


@pytest.mark.threat("T18")
def test_many_long_words_that_are_not_known_are_not_compared_for_ever():
    long = [Argument(HOLE + "ab" * 400, "dynamic") for _ in range(400)]
    asked = Asked(words={"git": [[Argument("git"), Argument("push"), *long]]})
    rule = "deny: [git.write], args: ['*b*b*b*b*x*', '--force']"
    started = time.process_time()
    assert ruling(rule, PUSH, asked).effect is ASK
    assert time.process_time() - started < 1


def test_what_is_no_programs_has_no_arguments_and_words_not_known_may_be_any():
    rule = "deny: [git.write], args: ['*']"
    assert matching_rules([Access("git.write", "x")], policy_of(rule), CONTEXT) == set()
    (verdict,) = ruling(rule, PUSH, Asked()).verdicts
    assert (verdict.rule_id, verdict.effect, verdict.certain) == ("r0", ASK, False)


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("resource", "allowed", "denied"),
    [
        ("https://a/", ALLOW, DENY),
        ("https://a:8001/", ALLOW, DENY),
        ("http://a/", ASK, ASK),
        ("a", ASK, ASK),
    ],
)
def test_a_port_is_certain_or_asks(resource, allowed, denied):
    access = Access("net.connect", resource, "exact", "curl")
    rule = ": [net.connect], ports: [443, 8000-8999]"
    assert ruling("allow" + rule, access, Asked()).effect is allowed
    assert ruling("deny" + rule, access, Asked()).effect is denied
    matches = matching_rules([access], policy_of("deny" + rule), CONTEXT)
    assert (matches == {"r0"}) is (resource != "http://a/")


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("hosts", "allowed", "denied"),
    [
        (("web1",), ALLOW, DENY),
        (("web1", "web2"), ALLOW, DENY),
        (("web1", "db1"), ASK, DENY),
        (("db1",), ASK, ASK),
        ((), ASK, ASK),
    ],
)
def test_one_call_is_for_all_its_remote_hosts(hosts, allowed, denied):
    access = Access("sys.inspect", "x", "exact", "uptime")
    rule = ": [sys.inspect], remote_hosts: ['web*']"
    assert ruling("allow" + rule, access, Asked(remote_hosts=hosts)).effect is allowed
    assert ruling("deny" + rule, access, Asked(remote_hosts=hosts)).effect is denied


def test_a_rule_for_some_subjects_is_for_no_other():
    rule = "allow: [git.write], subjects: ['agent:claude-code@*', 'agent:${user}@0']"
    for name, effect in (
        ("agent:claude-code@7", ALLOW),
        ("agent:dev@0", ALLOW),
        ("agent:x@7", ASK),
        ("", ASK),
    ):
        assert ruling(rule, PUSH, Asked(subject=name)).effect is effect


def test_everything_that_narrows_must_hold():
    rule = "allow: [git.write], tools: [exec], programs: [git], args: [a], subjects: ['s@*']"
    good = Asked("exec", "s@1", (), words("git push a"))
    assert ruling(rule, PUSH, good).effect is ALLOW
    for bad in (
        Asked("ssh", "s@1", (), words("git push a")),
        Asked("exec", "t@1", (), words("git push a")),
        Asked("exec", "s@1", (), words("git push b")),
    ):
        assert ruling(rule, PUSH, bad).effect is ASK


def test_what_was_asked_is_told_with_the_uid_and_the_hosts():
    subject = Subject("agent:claude-code", "s", 1000, "stdio")
    ssh = Request(subject, Ssh(("web1",), "ls", None), "ssh")
    assert asked_by(ssh, {}) == Asked("ssh", "agent:claude-code@1000", ("web1",))
    here = Request(subject, Exec("ls", None, "/w"), "exec")
    assert asked_by(here, {}) == Asked("exec", "agent:claude-code@1000")


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("resource", "method", "allowed", "denied", "matches"),
    [
        ("http://a/", None, ALLOW, ASK, True),  # the broker holds what an allow says
        ("HTTP://a/", None, ALLOW, ASK, True),
        ("https://a/", None, ASK, ASK, True),
        ("a", None, ASK, ASK, True),
        ("http://a:80", "GET", ALLOW, DENY, True),
        ("http://a:80", "POST", ASK, ASK, False),
        ("http://a:80", "", ASK, ASK, True),  # a connection that shows no method
        ("tls://a:443", "", ASK, ASK, True),
    ],
)
def test_a_method_is_that_of_the_connection_and_in_words_only_the_scheme_is_known(
    resource, method, allowed, denied, matches
):
    access, asked = Access("net.connect", resource, "exact", "curl"), Asked(method=method)
    rule = ": [net.connect], methods: [GET, HEAD]"
    assert ruling("allow" + rule, access, asked).effect is allowed
    assert ruling("deny" + rule, access, asked).effect is denied
    found = matching_rules([access], policy_of("deny" + rule), CONTEXT, asked)
    assert (found == {"r0"}) is matches


def test_a_url_that_is_not_known_may_have_any_method():
    access = Access("net.connect", "http://…/", "dynamic", "curl")
    assert ruling("allow: [net.connect], methods: [GET]", access, Asked()).effect is ASK

"""The examples inside rules: a rule that does not do what its author wrote beside it is refused.

May touch: policies, footprints. May not touch: files.
They run in one made-up context, so an example means the same on every machine.
"""

from dataclasses import replace
from typing import Final, NoReturn

from policy.decide import matching_rules
from policy.document import refuse
from policy.footprint import footprint
from policy.model import Context, Exec
from policy.narrowing import Asked
from policy.rewriting import apply
from policy.rules import Example, Policy, Rewrite, Rule

SAMPLE: Final = Context(
    workspace="/home/dev/work", home="/home/dev", user="dev", host="sample", can_mask=True
)


def check_examples(policy: Policy) -> None:
    """Run every `match` and `not_match` of a policy.

    Raises:
        PolicyError: the first that fails, with its place.
    """
    for rule in policy.rules:
        for example in rule.examples:
            _check(rule, example, policy)
    for rewrite in policy.rewrites:
        for example in rewrite.examples:
            _check_rewrite(rewrite, example)


def _check(rule: Rule, example: Example, policy: Policy) -> None:
    action = Exec(command=example.command, argv=None, cwd=SAMPLE.workspace)
    # A rule for some tools is tried through the first of them.
    if rule.subjects or rule.remote_hosts:
        # Who asks, and of which hosts, is not in a command: the rest of the rule is tried.
        rule = replace(rule, subjects=(), remote_hosts=())
        policy = replace(policy, rules=(rule,))
    touched = footprint(action, SAMPLE)
    asked = Asked(tool=min(rule.tools, default=""), words=touched.words)
    found = matching_rules(touched.accesses, policy, SAMPLE, asked)
    if (rule.id in found) is not example.matches:
        says = "does not match" if example.matches else "matches"
        names = ", ".join(sorted(found)) or "none"
        more = f". With {SAMPLE.workspace} as workspace the rules that match are {names}"
        _refuse(rule.id, says, example, more)


def _check_rewrite(rule: Rewrite, example: Example) -> None:
    action = Exec(command=example.command, argv=None, cwd=SAMPLE.workspace)
    done = apply(action, [rule]).done
    if bool(done) is not example.matches:
        _refuse(rule.id, "does not rewrite" if example.matches else "rewrites", example)


def _refuse(rule_id: str, says: str, example: Example, more: str = "") -> NoReturn:
    what = f"rule {rule_id!r} {says} its example {example.command!r}"
    refuse(example.place, f"{what}; correct the rule or the example{more}")

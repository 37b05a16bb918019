"""Every packaged entry shows what is decided of it, and the pack dev-safe decides just that."""

from importlib.resources import files

import pytest

from policy.classify import classify
from policy.load import load, pack
from policy.model import Context, Exec, Request, Subject
from tests.policy.programs.examples import examples

CONTEXT = Context("/home/dev/work", "/home/dev", "dev", "builder")
SUBJECT = Subject("agent:test", "s", 1000, "cli")
POLICY = load([pack("dev-safe")], check_examples=False)
ENTRIES = {
    f"{entry.name} {' '.join(names)}": shown
    for entry in sorted(files("policy.programs").iterdir(), key=lambda entry: entry.name)
    if entry.name.endswith(".yaml")
    for names, shown in examples(entry.name, entry.read_text(encoding="utf-8")).items()
}
SHOWN = {name: shown for name, shown in ENTRIES.items() if shown}


def decided(command):
    action = Exec(command, None, CONTEXT.workspace)
    return classify(Request(SUBJECT, action, "exec"), POLICY, CONTEXT)


@pytest.mark.untraced
@pytest.mark.threat("T02")
@pytest.mark.parametrize("shown", SHOWN.values(), ids=SHOWN.keys())
def test_the_examples_of_an_entry_are_decided_as_it_says(shown):
    wrong = []
    for example in shown:
        decision = decided(example.command)
        if decision.effect.name.lower() != example.effect:
            said = f"{decision.effect.name.lower()}: {decision.reason}"
            wrong.append(f"{example.place}: {example.command!r} is {said}")
    assert wrong == []


def test_every_entry_shows_what_is_decided_of_it():
    assert [name for name, shown in ENTRIES.items() if not shown] == []

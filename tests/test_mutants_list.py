"""The list of mutants fits the code as it stands; `make mutants` takes the safeguards away."""

import ast
import re
from functools import lru_cache

import pytest
import yaml

from tests.mutants import PROJECT, Mutant, load

pytestmark = pytest.mark.untraced

MUTANTS = load()


def test_no_two_safeguards_have_one_name():
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_safeguard_stands_once_in_its_file_which_can_be_read_without_it(mutant: Mutant):
    text = (PROJECT / mutant.file).read_text(encoding="utf-8")
    altered = mutant.applied(text)
    assert meaning(mutant.file, altered) != meaning(mutant.file, text)


@lru_cache(maxsize=2)  # the mutants of one file follow one another
def meaning(file: str, text: str) -> object:
    if file.endswith(".py"):
        return ast.dump(ast.parse(text))
    return yaml.safe_load(text)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_safeguard_names_tests_that_exist_and_a_threat_of_the_model(mutant: Mutant):
    assert mutant.tests
    for test in mutant.tests:
        file, _, name = test.partition("::")
        assert (PROJECT / file).exists(), test
        if name:
            assert f"def {name}(" in (PROJECT / file).read_text(encoding="utf-8"), test
    model = (PROJECT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {mutant.threat} \|", model, re.M), mutant.threat

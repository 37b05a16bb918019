"""The spec language: what it reads, and the place and advice of what it refuses."""

import pytest

from policy.programs.index import Programs, packaged
from policy.programs.spec import Role, SpecError
from tests.policy.programs.examples import Example, examples

REFUSED = {
    "an unknown key": ("ls: {arguments: text}", "t.yaml:1:6: unknown key 'arguments'"),
    "an unknown option key": (
        "ls: {options: {-l: {takess: text}}}",
        "t.yaml:1:21: unknown key 'takess'",
    ),
    "a repeated key": ("ls:\n  args: text\n  args: text", "t.yaml:3:3: 'args' is given twice"),
    "a name twice in one key": ("ls ls: {}", "t.yaml:1:1: 'ls' is named twice"),
    "a program twice": ("ls dir: {}\ndir vdir: {}", "t.yaml:2:1: program 'dir' is described twice"),
    "a sub-command twice": (
        "git: {commands: {log show: {}, show: {}}}",
        "t.yaml:1:32: 'show' is described twice",
    ),
    "a quote inside a key": ('ls: {options: {-a "-b": flag}}', "t.yaml:1:16: '-a \"-b\"' holds"),
    "a key that names nothing": ("ls: {options: {' ': flag}}", "t.yaml:1:16: the key names"),
    "a key that is a list": ("[ls]: {}", "t.yaml:1:1: a key must be plain words"),
    "an undefined mode": (
        "tar:\n  options: {-x: {as: extract}}",
        "t.yaml:2:12: option -x chooses mode 'extract'; describe it",
    ),
    "two repeating roles": ("cp: {args: fs.read... fs.write...}", "t.yaml:1:12: only one role"),
    "a repeating role and a rest": ("cp: {args: text... rest}", "t.yaml:1:12: only one role"),
    "args that repeat beside commands": (
        "git: {args: text..., commands: {log: {}}}",
        "t.yaml:1:13: with sub-commands, args cannot repeat",
    ),
    "an unknown operation": ("ls: {args: fs.look}", "t.yaml:1:12: 'fs.look' is not an operation"),
    "an unknown second operation": ("ls: {args: fs.read|no.such}", "t.yaml:1:12: 'no.such'"),
    "an unknown operation done": ("ls: {does: fs.look}", "t.yaml:1:12: 'fs.look' is not"),
    "no role at all": ("ls: {args: FS.READ}", "t.yaml:1:12: 'FS.READ' is not a role"),
    "an unknown scanner": ("ls: {args: script:cobol}", "t.yaml:1:12: no scanner for 'cobol'"),
    "an unknown promise": ("ls: {unknown: fine}", "t.yaml:1:15: unknown: 'fine' is not one of"),
    "an option without a dash": ("ls: {options: {l: flag}}", "t.yaml:1:16: 'l' is not an option"),
    "a list for one line": ("ls: {args: [text]}", "t.yaml:1:12: expected one line of text"),
    "a word for a mapping": ("ls: text", "t.yaml:1:5: expected a mapping of names"),
    "examples below the program": (
        "git: {commands: {log: {allow: [git log]}}}",
        "t.yaml:1:24: 'allow' is for whole programs; move it up",
    ),
    "a value with many words": (
        "cc: {options: {-x: {takes: command, values: {a: text}}}}",
        "t.yaml:1:45: values are of one word",
    ),
    "a value that means many words": (
        "cc: {options: {-x: {values: {a: text...}}}}",
        "t.yaml:1:33: the role is for many words",
    ),
    "a word that means many words": ("cc: {words: {a: rest}}", "t.yaml:1:17: the role is for many"),
    "several words of which one is many": (
        "cc: {options: {-x: text rest}}",
        "t.yaml:1:20: each of several roles takes one word",
    ),
    "a value of several words": (
        "cc: {options: {-x: {values: {a: text text}}}}",
        "t.yaml:1:33: the role is for many words",
    ),
    "clusters that are not none": ("cc: {clusters: all}", "t.yaml:1:16: clusters: 'all' is not"),
    "a value twice": ("cc: {options: {-x: {values: {a b: text, b: flag}}}}", "t.yaml:1:41: 'b' is"),
    "a value after all": (
        'cc: {options: {-x: {values: {"*": text, b: flag}}}}',
        "t.yaml:1:41: 'b' comes after *; no word is left",
    ),
    "a value that chooses an undefined mode": (
        "cc: {options: {-x: {values: {a: {as: look}}}}}",
        "t.yaml:1:15: option -x chooses mode 'look'; describe it",
    ),
    "an empty file": ("# nothing", "t.yaml:1:1: the file is empty"),
    "no YAML": ("ls: {", "t.yaml:2:1: not YAML"),
    "a character YAML forbids": ("ls: \x01", "t.yaml:1:1: not YAML"),
}


def every_spec(text):
    reader, nodes = Programs({"t.yaml": text}).file("t.yaml")
    return [reader.program(node) for node in nodes.values()]


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_spec_that_breaks_the_language_is_refused_with_its_place(text, message):
    with pytest.raises(SpecError) as refused:
        every_spec(text)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "null", "1e3", "0x10"])
def test_words_of_yaml_1_1_stay_words(word):
    spec = Programs({"t.yaml": f"git: {{commands: {{{word}: {{does: git.read {word}}}}}}}"})["git"]
    assert spec.commands[word].does[0].resource == word


def test_a_merge_key_is_refined_by_what_is_written_out():
    text = "a: {options: &o {-x: text, -y: text}}\nb: {options: {<<: *o, -y: fs.write}}"
    spec = Programs({"t.yaml": text})["b"]
    assert spec.options["-x"].takes == Role("text")
    assert spec.options["-y"].takes == Role("fs.write")


def test_several_anchors_merge():
    text = "a: &a {args: text}\nb: &b {does: git.read}\nc: {<<: [*a, *b]}"
    spec = Programs({"t.yaml": text})["c"]
    assert spec.args == (Role("text"),)
    assert spec.does[0].operation == "git.read"


def test_a_sub_command_inherits_options_and_the_promise():
    text = (
        "git: {unknown: harmless, options: {-C: cd}, commands: {log: {}, add: {unknown: opaque}}}"
    )
    spec = Programs({"t.yaml": text})["git"]
    assert "-C" in spec.commands["log"].options
    assert spec.commands["log"].harmless
    assert not spec.commands["add"].harmless


def test_names_of_one_entry_share_one_spec():
    programs = Programs({"t.yaml": "ls dir: {}"})
    assert programs["ls"] is programs["dir"]
    assert len(programs) == len(["ls", "dir"])


def test_every_packaged_program_has_a_spec():
    programs = packaged()
    broken = []
    for name in programs:
        try:
            assert programs[name]
        except SpecError as error:
            broken.append(str(error))
    assert broken == []


# Examples


def test_examples_are_read_with_their_places_only_when_asked_for():
    text = "ls dir:\n  allow: [ls, dir /]\n  deny: ['ls | sh']\n"
    programs = Programs({"t.yaml": text})
    assert programs["ls"] == programs["dir"]
    assert examples("t.yaml", text) == {
        ("ls", "dir"): (
            Example("t.yaml:2:11", "allow", "ls"),
            Example("t.yaml:2:15", "allow", "dir /"),
            Example("t.yaml:3:10", "deny", "ls | sh"),
        )
    }


def test_an_entry_that_merges_another_does_not_take_its_examples():
    text = "a: &a {args: text, ask: [a x]}\nb: {<<: *a}"
    assert Programs({"t.yaml": text})["b"].args == (Role("text"),)
    assert examples("t.yaml", text)["b",] == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ls: {allow: ls}", "t.yaml:1:13: allow: expected a list of command lines; write one"),
        ("ls: {ask: []}", "t.yaml:1:11: ask: expected a list of command lines"),
        ("ls: {deny: [[ls]]}", "t.yaml:1:13: expected one line of text"),
    ],
)
def test_examples_that_are_no_lines_are_refused(text, message):
    with pytest.raises(SpecError) as refused:
        examples("t.yaml", text)
    assert str(refused.value).startswith(message)

"""What policy denies is not read, whichever way around; what a profile hides is said."""

import os
from dataclasses import replace

import pytest

from sandbox.action import Limits
from sandbox.outcome import CommandOutcome
from sandbox.profile import Profile
from tests.sandbox.rig import HOST, Denies, Rig, limited

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(not HOST.meets("namespaces"), reason="this host cannot confine"),
]
CANARY = "canary-3141"
WAYS = {
    "grep": "grep -r canary .",
    "tar": "tar cf - . | cat",
    "link": "ln -s .env $TMPDIR/x; cat $TMPDIR/x; ln -sf $PWD/.env $TMPDIR/y; cat $TMPDIR/y",
    "git": "git diff --no-index /dev/null .env",
    "glob": "cat .[e]nv .e?v .*nv",
    "cp": "cp -r . $TMPDIR/copy; cat $TMPDIR/copy/.env $TMPDIR/copy/deep/private/key",
    "hard link": "ln .env $TMPDIR/hard; cat $TMPDIR/hard; cat spare deep/spare",
    "directory": "cat deep/private/key; ls deep/private; find . -name key -exec cat {} +",
    "root": "cat /proc/self/root$PWD/.env /proc/self/cwd/.env /dev/fd/../cwd/.env",
    "dots": "cat deep/../.env ./././.env $PWD//.env",
    "descriptor": "exec 9< . ; cat /proc/self/fd/9/.env",
    "case": "cat .ENV .Env",
    "other tools": "sed -n p .env; awk 1 .env; dd if=.env; head .env; od -c .env; sort .env",
    "linked": "cat to-env; cat deep/to-private/key",
    "denied link": "cat real-target",
    "python": "/usr/bin/python3 -c 'print(open(\".env\").read())'",
    "map": "/usr/bin/python3 -c 'import mmap; print(mmap.mmap(open(\".env\").fileno(), 0)[:])'",
    "archive": "git hash-object -w .env; cat .env > $TMPDIR/z; cat $TMPDIR/z",
}
MOVES = {  # these need a workspace that can be written
    "rename": "mv .env seen; cat seen; mv deep moved; cat moved/private/key",
    "rename above": "mv above moved; cat moved/secret.d/key",
    "exchange": "mkdir new; mv -T --exchange deep new; cat new/private/key",
    "remove": "rm -f .env; cat .env",
    "hard link": "ln .env seen; cat seen",
    "mode": "chmod 777 .env; cat .env",
    "write first": "echo more >> .env; cat .env",
}


@pytest.fixture
def rig(lasting: Rig) -> Rig:
    made = lasting.tidied(".env", "private", ".linked", ".ssh")
    private = made.workspace / "deep" / "private"
    private.mkdir(parents=True)
    above = made.workspace / "above" / "secret.d"
    above.mkdir(parents=True)
    for file in (made.workspace / ".env", private / "key", above / "key"):
        file.write_text(CANARY)
    os.link(made.workspace / ".env", made.workspace / "spare")
    os.link(private / "key", made.workspace / "deep" / "spare")
    (made.workspace / "to-env").symlink_to(".env")
    (made.workspace / "deep" / "to-private").symlink_to("private")
    (made.workspace / "real-target").write_text(CANARY)
    (made.workspace / ".linked").symlink_to("real-target")
    # One rule speaks of a whole path: it stops matching when a directory above is renamed.
    wider = _Denies(made.denied, str(above / "key"))
    made.runner._denies = made.runner._walker._denies = wider
    return made


class _Denies(Denies):
    def __init__(self, names: set[str], path: str) -> None:
        super().__init__(names)
        self._path = path

    def __call__(self, path: str) -> bool:
        return path == self._path or super().__call__(path)


def everything(outcome: CommandOutcome) -> str:
    return (outcome.stdout.head + outcome.stdout.tail + outcome.stderr.head).decode()


@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", ["read", "inspect", "write"])
async def test_no_way_leads_around_a_mask(rig: Rig, profile):
    tried = "\n".join(f"echo; echo == {way}; ( {text} ) 2>&1" for way, text in WAYS.items())
    outcome = await rig.run(rig.script(f"TMPDIR=/tmp; {tried}", profile))
    found = dict(part.split("\n", 1) for part in everything(outcome).split("\n== ")[1:])
    assert found.keys() == WAYS.keys(), outcome.message
    assert [way for way, said in found.items() if CANARY in said] == []


@pytest.mark.threat("T10")
@pytest.mark.parametrize("way", MOVES)
async def test_a_mask_stays_where_a_name_is_moved(rig: Rig, way: str):
    outcome = await rig.run(rig.script(MOVES[way], "live"))
    assert outcome.status != "error", outcome.message
    assert CANARY not in everything(outcome)
    again = "cat seen moved/*/key moved/.env new/*/key .env above/*/key; grep -r canary ."
    assert CANARY not in await rig.says(again, "read")


@pytest.mark.threat("T10")
@pytest.mark.parametrize("profile", ["read", "inspect"])
async def test_the_servers_own_eyes_are_not_borrowed(rig: Rig, profile):
    with (rig.workspace / ".env").open() as opened:
        own = f"/proc/{os.getpid()}"
        paths = f"{own}/root{rig.workspace}/.env {own}/cwd/.env {own}/fd/{opened.fileno()}"
        assert await rig.says(f"cat {paths}; head -c 99 {own}/environ", profile) == ""


@pytest.mark.threat("T10")
@pytest.mark.parametrize(
    "shut", ["chmod 311 deep", "chmod 0 deep", "chmod 444 deep", "chmod 311 ."]
)
async def test_a_directory_that_was_shut_uncovers_nothing(rig: Rig, shut: str):
    (rig.workspace / "deep" / ".env").write_text(CANARY)
    await rig.run(rig.script(shut, "live"))
    assert CANARY not in await rig.says("cat deep/.env deep/private/key .env", "read")
    assert CANARY not in await rig.says("chmod 755 . deep; cat deep/.env .env", "live")


@pytest.mark.threat("T10")
async def test_what_was_moved_too_deep_to_be_named_is_not_read(rig: Rig):
    name = "d" * 200
    (rig.workspace / "conf").mkdir()
    (rig.workspace / "conf" / ".env").write_text(CANARY)
    deep = f"for i in $(seq 22); do mkdir {name}; cd -P {name}; done"
    await rig.run(rig.script(f"w=$PWD; {deep}; mv $w/conf .", "live"))
    down = f"for i in $(seq 22); do cd -P {name}; done; cat conf/.env"
    assert CANARY not in await rig.says(down, "read")
    await rig.run(rig.script("rm -rf d*", "live"))


@pytest.mark.threat("T10")
async def test_a_file_that_is_denied_from_now_on_is_covered_from_now_on(rig: Rig):
    (rig.workspace / "later").write_text(CANARY)
    assert CANARY in await rig.says("cat later")
    (rig.workspace / "later").rename(rig.workspace / "deep" / ".env")
    assert CANARY not in await rig.says("cat deep/.env")


# What runs code later


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    ("plant", "name"),
    [
        ("mkdir d; echo x > d/.envrc; touch -d @1 d .", "d/.envrc"),
        ("mkdir d; echo x > d/.envrc; chmod 311 d", "d/.envrc"),
        ("mkdir d; echo x > d/.envrc; chmod 555 d", "d/.envrc"),
        ("mkdir .vscode; echo x > .vscode/tasks.json; chmod 555 .vscode", ".vscode"),
        ("mkdir -p a/.git; echo ../evil > a/.git/commondir", "a/.git"),
        ("mkdir -p b/.git; mkfifo b/.git/pipe", "b/.git"),
        ("rm link; ln -s evil link2; mv link2 .envrc", ".envrc"),
        ("mkdir -p bare; cd bare; echo > HEAD; echo ../evil > commondir", "bare/commondir"),
        ("echo x > evil.code-workspace", "evil.code-workspace"),
        ("mkdir k; ln -s k .ssh", ".ssh"),
        ("mkdir .ssh; echo x > .ssh/rc", ".ssh"),
        ("for i in $(seq 6); do mkdir -p e/$i; chmod 0 e/$i; done; echo > .envrc; chmod 0 e",
         ".envrc"),
    ],
)  # fmt: skip
async def test_what_was_planted_is_taken_out_however_it_was_hidden(rig: Rig, plant, name):
    outcome = await rig.run(rig.script(plant, "live"))
    assert "Held back" in outcome.message
    assert not os.path.lexists(rig.workspace / name)  # noqa: ASYNC240  # a look


@pytest.mark.threat("T09")
async def test_what_a_protected_link_leads_to_is_read_only(rig: Rig):
    (rig.workspace / "dot").write_text("kept")
    (rig.workspace / ".envrc").symlink_to("dot")
    await rig.run(rig.script("echo evil > dot; echo evil > .envrc", "live"))
    assert await rig.says("cat dot") == "kept"
    swapped = await rig.run(rig.script("echo evil > e; rm .envrc; ln -s e .envrc", "live"))
    assert "Held back" in swapped.message


@pytest.mark.threat("T09")
async def test_a_protected_file_is_read_only_under_every_name_it_has(rig: Rig):
    (rig.workspace / ".bashrc").write_text("kept")
    os.link(rig.workspace / ".bashrc", rig.workspace / "notes")
    await rig.run(rig.script("echo evil >> notes; ln .bashrc more; echo evil >> more", "live"))
    assert (rig.workspace / ".bashrc").read_text() == "kept"


# What is said


@pytest.mark.threat("T25")
async def test_a_path_that_exists_and_is_not_shown_is_said(rig: Rig):
    (rig.outside / "there").write_text("x")
    ws, there, absent = str(rig.workspace), f"{rig.outside}/there", f"{rig.outside}/absent"
    (rig.workspace / "own").write_text("mine")
    profile = Profile("read", ws, reads=(there, absent, f"{ws}/own"), reads_only=True)
    outcome = await rig.run(replace(rig.script("cat own"), profile=profile))
    assert (outcome.stdout.head, outcome.hidden) == (b"mine", (there,))


@pytest.mark.threat("T25")
@pytest.mark.parametrize("name", ["read", "inspect"])
async def test_an_answer_that_would_be_false_is_refused(rig: Rig, name):
    (rig.outside / "there").write_text("x")
    there = f"{rig.outside}/there"
    profile = Profile(name, str(rig.workspace), reads=(there,), reads_only=True)
    outcome = await rig.run(replace(rig.script(f"cat {there}"), profile=profile))
    assert outcome.status == "error"
    assert f"everything this command reads is hidden in profile {name} ({there})" in outcome.message
    more = replace(profile, reads_only=False)  # it answers from more than what it reads
    assert (await rig.run(replace(rig.script("true"), profile=more))).hidden == (there,)


async def test_what_is_not_there_is_truly_not_found(rig: Rig):
    absent = f"{rig.outside}/absent"
    profile = Profile("read", str(rig.workspace), reads=(absent,), reads_only=True)
    outcome = await rig.run(replace(rig.script(f"cat {absent}"), profile=profile))
    assert (outcome.status, outcome.hidden) == ("failed", ())
    assert b"No such file" in outcome.stderr.head


@pytest.mark.threat("T10")
async def test_what_a_person_knows_not_to_be_covered_whole_runs(rig: Rig, monkeypatch):
    command = rig.script("echo ran; cat .env")
    assert everything(await rig.run(command)) == "ran\n"
    monkeypatch.setattr(rig.runner._walker, "_max_entries", 3)
    assert "too many files" in (await rig.run(command)).message
    known = replace(command, profile=replace(command.profile, unmasked=True))
    assert everything(await rig.run(known)) == "ran\n"  # the top levels are searched first


@pytest.mark.threat("T14")
async def test_more_pipes_than_a_view_has_room_for_are_a_clear_refusal(rig: Rig):
    for number in range(2_001):
        os.mkfifo(rig.workspace / f"p{number}")
    outcome = await rig.run(limited(rig.script("true"), Limits(wall_s=5.0)))
    assert "find . -type p -delete" in outcome.message

"""The live screen: what it shows, which key is an answer, and a person at a real terminal."""

import json
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from approvals.desk import Desk
from approvals.request import Answer, Level, Need, Principal
from approvals.statement import MAGIC
from approvals.store import Store
from approvals.terminal import respond
from approvals.voters import Voters
from mcp_server.cli.watch.card import card
from mcp_server.cli.watch.keys import key
from mcp_server.cli.watch.screen import FASTEST_READER_S, Say, Screen
from tests.approvals.conftest import OWNER, question
from tests.mcp_server.rig import until
from tests.warm import INSTALLED

LONG = "\n".join(f"+ line {number}" for number in range(60))


class Booth:
    """A screen over a real desk, at times of the test's choosing."""

    def __init__(self, base: Path) -> None:
        self.desk = Desk(Store(base / "approvals" / "db"), lambda _: None)
        self.screen, self.now_s = Screen(width=80, height=24), time.time()

    def ask(self, name="one", need=None, **changes):
        facts = (("command", f"touch {name}"), ("cwd", "/srv"))
        return self.desk.open(
            question(need, action_digest=name, facts=changes.pop("facts", facts), **changes)
        )

    def look(self) -> str:
        """Take the list, show what is to be looked at, and draw."""
        listed = self.reply(do="list").listed
        wanted = self.screen.listed(listed)
        if wanted != (self.screen.shown.id if self.screen.shown else ""):
            self.show(wanted)
        return str(self.screen.drawn(self.now_s))

    def show(self, request_id: str) -> None:
        shown = self.reply(do="show", id=request_id).shown if request_id else None
        self.screen.show(shown)

    def reply(self, **ask):
        return respond(self.desk, OWNER, json.dumps(ask).encode(), Voters(OWNER.uid))

    def press(self, name: str) -> Say | None:
        return self.screen.answer(name, self.now_s)

    def wait(self, seconds: float = FASTEST_READER_S) -> None:
        self.now_s += seconds


@pytest.fixture
def booth(tmp_path: Path) -> Booth:
    return Booth(tmp_path)


@pytest.mark.parametrize(
    ("name", "answer"), [("yes", Answer.APPROVE), ("no", Answer.DENY)]
)  # fmt: skip
def test_one_key_answers_what_is_drawn_by_its_digest(booth, name, answer):
    pending = booth.ask()
    assert "> " in booth.look()
    booth.wait()
    assert booth.press(name) == Say(pending.id, pending.request_digest, answer)


@pytest.mark.threat("T24")
@pytest.mark.parametrize("name", ["yes", "no"])
def test_a_key_meant_for_another_request_answers_nothing(booth, name):
    first, second = booth.ask("one"), booth.ask("two")
    booth.look()
    booth.wait()
    booth.desk.cancel(first.id)  # and the second comes up under the finger
    booth.look()
    assert booth.press(name) is None
    assert "came up just now" in booth.screen.notice
    booth.wait()
    assert booth.press(name).request_id == second.id


@pytest.mark.threat("T24")
def test_a_yes_needs_that_all_was_read_and_a_no_does_not(booth):
    booth.ask(preview=LONG)
    assert "more rows: space" in booth.look()
    booth.wait()
    assert booth.press("yes") is None
    assert "more to read" in booth.screen.notice
    assert booth.press("no") is not None
    seen = booth.look()
    while booth.press("yes") is None:
        booth.screen.scroll("more")
        seen += booth.look()
    assert all(line in seen for line in LONG.splitlines())


def test_the_end_key_and_back_are_the_readers_own_choice(booth):
    booth.ask(preview=LONG)
    top = booth.look()
    booth.wait()
    booth.screen.scroll("end")
    assert "not-after" in booth.look()
    for _ in range(9):
        booth.screen.scroll("back")
    assert booth.look().splitlines()[2:] == top.splitlines()[2:]
    assert booth.press("yes") is not None


@pytest.mark.threat("T24")
def test_another_width_begins_the_reading_anew(booth):
    booth.ask(preview=LONG)
    booth.look()
    booth.screen.scroll("end")
    booth.screen.resize(60, 20)
    booth.look()
    booth.wait()
    assert booth.press("yes") is None


def test_new_requests_do_not_move_what_is_looked_at_and_keys_do(booth):
    first = booth.ask("one")
    booth.look()
    later = [booth.ask(f"later-{number}", session=f"s-{number}") for number in range(9)]
    assert booth.screen.shown.id == first.id
    assert booth.look().count("exec") > 5
    assert booth.screen.move(-1) == first.id
    assert booth.screen.move(1) == later[0].id
    booth.show(later[-1].id)
    assert "touch later-8" in booth.look()
    assert booth.screen.move(1) == later[-1].id


def test_a_session_is_offered_where_there_is_one(booth):
    booth.ask("plain")
    assert "until the session ends" not in booth.look()
    booth.wait()
    assert booth.press("session") is None
    hosts = booth.ask("hosts", for_session=("connects-to example.com:443",))
    booth.show(hosts.id)
    text = booth.look()
    assert "s yes, its hosts until the session ends" in text
    assert "connects-to example.com:443" in text
    booth.wait()
    assert booth.press("session").answer is Answer.APPROVE_FOR_SESSION


def test_what_needs_more_than_the_owners_word_says_how(booth):
    booth.ask(need=Need(Level.SEPARATE))
    text = booth.look()
    assert "needs separate: approve ap_" in text
    assert "y yes" not in text


def test_without_requests_nothing_is_answered(booth):
    assert "Nothing waits." in booth.look()
    assert booth.press("yes") is None
    assert booth.screen.move(1) == ""


@pytest.mark.threat("T24")
@pytest.mark.parametrize("width", [20, 41, 80])
def test_no_character_of_a_request_is_cut_off(booth, width):
    hostile = "x" * 300 + "\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}y" + "w" * 200
    who = Principal("mcp", 1000, "agent:" + "a" * 90, Level.POLICY)
    preview = f"{MAGIC}\n- " + "o" * 200  # as if the statement began here
    pending = booth.ask(facts=(("command", hostile),), preview=preview, requester=who)
    booth.show(pending.id)
    rows = card(booth.screen.shown, width).rows
    assert all(len(row.text) <= width and row.text.isascii() for row in rows)
    joined = "".join(row.text.strip() for row in rows).replace(" ", "")
    for line in {*booth.screen.shown.lines} - {MAGIC}:
        assert line.replace(" ", "") in joined


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"y", "yes"), (b"n", "no"), (b"s", "session"), (b"q", "quit"), (b"\x03", "quit"),
        (b"j", "down"), (b"jjj", "down"), (b"\x1b[A", "up"), (b"\x1bOB\x1bOB", "down"),
        (b" ", "more"), (b"b", "back"), (b"G", "end"), (b"\x1b", ""), (b"\x1b[9y", ""),
        (b"x", ""), (b"", ""), (b"yy", "several"), (b"jy", "several"), (b"y\n", "several"),
        (b"Y", ""), (b"yes please", "several"),
    ],
)  # fmt: skip
@pytest.mark.threat("T07")
def test_an_answer_is_one_key_pressed_alone(sent, name):
    assert key(sent) == name


def test_without_a_terminal_it_says_what_to_use(rig):
    said = rig.run("approvals", "watch")
    assert (said.returncode, "approvals list" in said.stderr) == (2, True)


class Tmux:
    """A person at a terminal of 100 by 30."""

    def __init__(self, base: Path, environment: dict[str, str]) -> None:
        self.base = ["tmux", "-S", str(base / "tmux"), "-f", "/dev/null"]
        self.environment = {**environment, "TERM": "screen", "LC_ALL": "C.UTF-8"}

    def __call__(self, *arguments: str) -> str:
        return subprocess.run(
            [*self.base, *arguments], env=self.environment, capture_output=True, text=True,
            timeout=20, check=True,
        ).stdout  # fmt: skip

    def sees(self, text: str) -> bool:
        return text in self("capture-pane", "-p")


@pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux here")
def test_in_tmux_a_person_approves_one_and_denies_another(rig):
    store = Store(rig.state / "approvals" / "approvals.sqlite")
    desk = Desk(store, lambda _: None)
    asked = [
        desk.open(question(action_digest=name, facts=(("command", name),), session=name))
        for name in ("touch this", "remove that")
    ]
    tmux = Tmux(rig.base, rig.environment)
    watch = shlex.join([str(INSTALLED), "approvals", "watch"])
    tmux("new-session", "-d", "-x", "100", "-y", "30", watch + "; echo ended; exec cat")
    try:
        until(lambda: tmux.sees("2 wait for an answer"))
        tmux("send-keys", "Down")
        until(lambda: tmux.sees("command remove that\n"))
        until(lambda: answered(tmux, "n", asked[1].id))
        until(lambda: tmux.sees("1 wait for an answer"))
        until(lambda: answered(tmux, "y", asked[0].id))
        until(lambda: tmux.sees("Nothing waits."))
        tmux("send-keys", "q")
        until(lambda: tmux.sees("ended"))
        assert not tmux.sees("wait for an answer")
    finally:
        tmux("kill-server")
    states = [desk.get(pending.id).state.value for pending in asked]
    assert states == ["approved", "denied"]
    store.close()


def answered(tmux: Tmux, pressed: str, request_id: str) -> bool:
    """Press a key, as often as a person would who is told to look first."""
    tmux("send-keys", pressed)
    time.sleep(0.2)
    return tmux.sees(f"{request_id} is ")

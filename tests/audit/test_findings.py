"""What an auditor would stop at is found, with its records, and nothing is found in a quiet day."""

from audit.findings import of_session
from audit.story import told
from tests.stories import Clock, Teller, contact, many, records_of, working_days


def findings(story, session="s1", known=()):
    records = [one for one in records_of(story) if one.get("session") == session]
    return of_session(told(records), known)


def kinds(story, session="s1", known=()):
    return [one.kind for one in findings(story, session, known)]


def test_the_first_contact_of_a_log_with_a_host_is_found_once():
    found = [one.text for one in findings(working_days) if one.kind == "first_host"]
    assert found == [
        "first contact of this log with packages.example.org:443",
        "first contact of this log with api.example.com:443",
    ]
    known = {"packages.example.org", "api.example.com"}
    assert "first_host" not in kinds(working_days, known=known)


def test_a_refused_host_is_found_but_not_one_that_only_did_not_answer():
    def story(tell: Teller) -> None:
        down = [contact("a.example", "failed"), contact("b.example", "refused")]
        tell.call("curl a.example", outcome={"network": down})

    assert [one.text for one in findings(story)] == ["tried to reach b.example:443"]


def test_a_program_that_was_refused_twice_and_then_ran_otherwise_is_found():
    (found,) = [one for one in findings(working_days) if one.kind == "around_a_no"]
    assert "refused 2 times, then asked otherwise, and ran: cat .env.example" in found.text
    assert len(found.seqs) == 4

    def once(tell: Teller) -> None:
        tell.call("cat .env", "deny", status="denied")
        tell.call("cat notes.txt")
        tell.call("ls", "ask", status="declined")
        tell.call("ls", "ask", status="declined")
        tell.call("ls", "ask")  # the same, once a person said yes

    assert kinds(once) == []


def test_a_secret_a_run_outside_the_sandbox_and_a_lost_outcome_are_found():
    assert "secret" in kinds(working_days)
    (found,) = [one for one in findings(working_days, "s2") if one.kind == "unconfined"]
    assert found.text == "ran outside the sandbox, let by dev (terminal)"

    def story(tell: Teller) -> None:
        tell.call("make", status="lost", request={"profile": "unconfined"})

    assert [one.text for one in findings(story)] == [
        "ran outside the sandbox, let by nobody the record names",
        "nobody knows what became of it: its writer died",
    ]


def test_held_changes_that_were_let_in_are_found_with_who_let_them():
    (found,) = [one for one in findings(working_days, "s2") if one.kind == "held_let_in"]
    assert found.text == ("what was held (214 files would be deleted) was let in by dev (terminal)")

    def story(tell: Teller) -> None:
        held = {"id": "c", "held": [{"rule": "r", "text": "hooks"}]}
        tell.call("a", outcome={"changes": held})
        tell.call(None, family="patch", request={"change_set": "c"}, status="denied")
        tell.call(None, family="patch", request={"change_set": "c"})

    assert [one.text for one in findings(story)] == [
        "what was held (hooks) was let in by nobody the record names"
    ]


def test_a_policy_that_changed_within_the_session_is_found():
    assert kinds(working_days).count("policy_changed") == 0
    (found,) = [one for one in findings(working_days, "s2") if one.kind == "policy_changed"]
    assert found.text == "the policy changed: from bbbbbbbbbbbb to cccccccccccc"


def test_nothing_is_found_in_a_quiet_day():
    assert kinds(many(20)) == []
    assert of_session([], ()) == []
    assert Clock()() > Clock().now

"""Records become what a reader thinks in, and no record is too odd to be shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.story import LONGEST, Contact, told
from tests.stories import hostile, records_of, working_days


@pytest.fixture(scope="module")
def entries():
    return told(records_of(working_days))


def of(entries, what: str):
    return [entry for entry in entries if entry.what.startswith(what)]


def test_intent_and_outcome_are_one_call(entries):
    (entry,) = of(entries, "ls -la")
    assert (entry.kind, entry.family, entry.status, entry.ran) == ("call", "exec", "ok", True)
    assert len(entry.seqs) == 2
    assert entry.dur_us == 412_000


def test_a_call_that_did_not_run_says_so_and_by_which_rule(entries):
    entry = of(entries, "cat .env")[0]
    assert (entry.status, entry.ran, entry.rules) == ("denied", False, ("secrets-anywhere",))


def test_changes_contacts_and_who_said_yes_are_told(entries):
    entry = of(entries, "pip install")[-1]
    assert entry.changed == (("created", "venv/lib/requests/__init__.py"),)
    assert [str(one) for one in entry.contacts] == [
        "packages.example.org:443",
        "telemetry.example.net:443",
    ]
    assert [one.host for one in entry.refused] == ["telemetry.example.net"]
    assert entry.approved_by == ("dev (terminal)",)
    (patched,) = of(entries, "fs.write")
    assert patched.changed == (
        ("modified", "src/shop/checkout.py"),
        ("created", "tests/test_checkout.py"),
    )


def test_an_approval_is_one_entry_with_its_answer(entries):
    approvals = [entry for entry in entries if entry.kind == "approval"]
    assert [(one.what, one.status, one.approved_by) for one in approvals] == [
        ("pip install requests==2.32.5", "consumed", ("approve by dev terminal",)),
        ("git push --force origin main", "denied", ("deny by dev terminal",)),
    ]


def test_a_grant_is_one_entry_with_who_gave_it_and_how_often_it_was_used():
    granted = {"id": "gr_1", "approval_id": "ap_1", "scope": "program", "covers": ["git push", "x"]}
    made = {**granted, "by": ["owner@0 via terminal"], "requester": "agent:x@0 via stdio"}
    (entry,) = told(
        [
            {"@seq": 1, "event": "grant.made", "session": "s", "grant": made},
            {"@seq": 2, "event": "grant.applied", "grant": {"id": "gr_1", "state": "made"}},
            {"@seq": 3, "event": "grant.used", "session": "s", "grant": granted},
            {"@seq": 4, "event": "grant.applied", "grant": {"id": "gr_1"}},
        ]
    )
    assert (entry.kind, entry.seqs, entry.uses, entry.status) == ("grant", (1, 2, 3, 4), 1, "used")
    assert entry.what == "grant gr_1 (program): git push · x"
    assert entry.approved_by == ("approve program by owner@0 via terminal",)
    assert (entry.actor, entry.approval_id) == ("agent:x@0 via stdio", "ap_1")
    ended = {"event": "grant.revoked", "grant": {"id": "gr_1", "revoked_by": "root@0 via terminal"}}
    (entry,) = told([{"event": "grant.made", "grant": made}, ended])
    assert (entry.status, entry.approved_by[1:]) == ("revoked", ("revoked by root@0 via terminal",))
    (nameless,) = told([{"@seq": 5, "event": "grant.used"}])
    assert (nameless.kind, nameless.what) == ("event", "grant.used")


def test_held_changes_and_the_set_that_let_them_in_share_its_name(entries):
    held = of(entries, "rm -rf")[0]
    let_in = of(entries, "change set cs_9")[0]
    assert held.held == ("214 files would be deleted",)
    assert held.change_count == 214
    assert held.change_set == let_in.change_set == "cs_9"


def test_a_secret_is_named_by_its_kind(entries):
    assert [entry.secrets for entry in entries if entry.secrets] == [("bearer",)]
    record = {"event": "x", "a": [{"$redacted": {"kind": "aws", "sha256": "0"}}], "n": 1}
    assert told([record])[0].secrets == ("aws",)


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ({"event": "log.open", "writer": {"pid": 9}}, "log opened by process 9"),
        (
            {"event": "log.recovered", "kept": [3, 4], "bytes": 7},
            "recovered after a crash: kept records 3 4 unsigned, cut 7 bytes",
        ),
        ({"event": "policy.refused", "error": "no\n"}, "policy refused: no\\n"),
        (
            {"event": "tool.classified", "request": {"argv": ["ls", "a b"]}},
            "asked what policy thinks of: ls 'a b'",
        ),
        ({"event": "audit.read", "tool": "audit_query"}, "the log was read: audit_query"),
        ({"event": "key.rotate"}, "the log was handed over to another key"),
        ({"event": "anchor.made"}, "anchor.made"),
        ({}, ""),
        ({"event": "approval.read"}, "approval.read"),
    ],
)
def test_other_records_are_events(record, what):
    (entry,) = told([record])
    assert (entry.kind, entry.what) == ("event", what)
    assert not entry.ran


@pytest.mark.parametrize(
    ("request_", "what"),
    [
        ({"argv": ["rm", "a b"]}, "rm 'a b'"),
        ({"argv": ["x"], "asked_argv": ["y"]}, "y"),
        ({"operation": "read_file", "path": "/w/a"}, "read_file /w/a"),
        ({"query": "all"}, "all"),
        ({"hosts": ["a", "b"], "command": "uptime"}, "a b: uptime"),
        ({}, ""),
    ],
)
def test_what_was_asked_is_one_line(request_, what):
    record = {"event": "exec.intent", "action_id": "a", "request": request_}
    (entry,) = told([record])
    assert (entry.what, entry.status, entry.ran) == (what, "running", True)


def test_an_approval_without_a_statement_is_known_by_its_name():
    (entry,) = told([{"event": "approval.voted", "approval": {"id": "ap_9"}}])
    assert (entry.what, entry.status) == ("approval ap_9", "")


def test_an_outcome_without_a_status_is_unknown():
    (entry,) = told([{"event": "exec.outcome", "action_id": "a"}])
    assert (entry.status, entry.ran) == ("unknown", False)


def test_a_place_without_a_port_is_its_host():
    assert str(Contact("example.org", 0, "refused")) == "example.org"


@pytest.mark.threat("T24")
def test_every_text_of_an_entry_is_harmless_and_not_without_end():
    for entry in told(records_of(hostile)):
        texts = [entry.what, entry.actor, entry.message, entry.profile, *entry.rules]
        texts += [path for _, path in entry.changed]
        texts += [text for one in entry.contacts for text in (one.host, one.reason)]
        assert all(text.isprintable() for text in texts)
        assert max(map(len, (entry.what, entry.message))) <= LONGEST


NESTED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "host", "path", "status", "by", "x"]), inner)
    ),
    max_leaves=8,
)
EVENTS = ["exec.outcome", "patch.outcome", "approval.voted", "grant.made"]
FIELDS = [
    "@seq",
    "event",
    "action_id",
    "actor",
    "approval",
    "grant",
    "request",
    "outcome",
    "policy",
    "ts",
]


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), NESTED), max_size=4))
def test_no_record_is_an_error(records):
    told(records)


@given(NESTED, NESTED, st.sampled_from(EVENTS))
def test_no_outcome_or_answer_is_an_error(part, other, event):
    names = ("files", "changes", "network", "message", "held", "created")
    outcome = {name: [part, {"path": other, "operation": part}] for name in names}
    outcome["changes"] = {name: [part, {"text": other}] for name in names}
    told(
        [
            {
                "event": event,
                "action_id": "a",
                "outcome": outcome,
                "approval": {"id": "x", "by": part},
                "grant": {"id": "x", "by": part, "covers": other, "state": part},
            }
        ]
    )

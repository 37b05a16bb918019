import base64
import errno
import re
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.canonical import Spelled, spell
from audit.directory import LogDirectory
from audit.errors import AuditError, AuditTampered, AuditUnavailable, RecordRefused
from audit.openings import Openings, commitment, salts
from audit.patterns import _OWN_FORM, has_own_form, own_forms
from audit.redact import MAX_HELD_BYTES, Redactor
from tests.audit.corpus_of_secrets import rows

pytestmark = pytest.mark.threat("T17")

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\nBBBB\n-----END OPENSSH PRIVATE KEY-----"
B36 = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
SECRETS = [
    ("AKIA" + "ABCDEFGHIJ234567", "aws"),
    ("ghp_" + B36, "github"),
    ("github_pat_" + B36, "github"),
    ("glpat-" + B36[:20], "gitlab"),
    ("npm_" + B36, "npm"),
    ("pypi-AgE" + B36, "pypi"),
    ("hf_" + B36[:34], "huggingface"),
    ("sk_" + "live_" + B36[:24], "stripe"),
    ("xox" + "b-" + "123456789012-" + B36[:12], "slack"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0." + B36, "jwt"),
    (KEY, "private_key"),
    ("$6$saltsalt$" + B36 + B36, "shadow"),
]
IN_PLACE = [
    ("Authorization: Bearer abcdef123456", "abcdef123456"),
    ("authorization: Basic dXNlcjpwdw==", "dXNlcjpwdw=="),
    ("curl -H 'X: bearer abcdefghijklmnop1'", "abcdefghijklmnop1"),
    ("machine h.example login me password hunter2x", "hunter2x"),
    ("machine h.example\n  login me\n  password hunter2x", "hunter2x"),
    ("mysql --password hunter2x -u me", "hunter2x"),
    ("mysql --password=hunter2x", "hunter2x"),
    ("tool --api-key 'hunter2 x'", "hunter2 x"),
    ("password=hunter2x", "hunter2x"),
    ("PGPASSWORD=hunter2x psql", "hunter2x"),
    ("DB_PASSWORD: hunter2x", "hunter2x"),
    ('{"client_secret": "hunter2xyz"}', "hunter2xyz"),
    ("AWS_SECRET_ACCESS_KEY=" + B36 + "abcd", B36 + "abcd"),
    ("https://me:hunter2x@h.example/x", "hunter2x"),
    ("https://hooks.slack.com/services/T0000/B0000/" + B36, B36),
]
HARMLESS = [
    "max_tokens=2048",
    "pwd: /home/a",
    "PWD=/home/a",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "123e4567-e89b-12d3-a456-426614174000",
    "def login(password: str) -> None:",
    "password = getpass()",
    "export PASSWORD=$SECRET",
    "https://h.example:8080/a@b",
    "root:x:0:0:root:/root:/bin/bash",
    "tokens: 12, token_count=9",
    "secret: /run/secrets/db",
    "git commit 0123456789abcdef0123456789abcdef01234567",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI public",
]


@pytest.mark.parametrize(("secret", "kind"), SECRETS, ids=lambda value: value[:24])
def test_each_provider_shape_is_hidden_and_named(secret, kind):
    assert Redactor().redact_text(f"before {secret} after") == f"before [redacted:{kind}] after"


@pytest.mark.parametrize(("text", "secret"), IN_PLACE)
def test_a_secret_is_hidden_where_its_neighbour_gives_it_away(text, secret):
    shown = Redactor().redact_text(text)
    assert secret not in shown
    assert "[redacted:" in shown
    assert shown[:6] == text[:6]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_stays(text):
    assert Redactor().redact_text(text) == text


@given(st.binary(min_size=6, max_size=40), st.binary(max_size=7), st.binary(max_size=7))
def test_a_known_value_is_hidden_in_every_spelling(value, before, after):
    redactor = Redactor({"token": value})
    assert value not in redactor.redact(before + b" " + value + b" " + after)
    assert b"[redacted:token]" in redactor.redact(base64.b64encode(before + value))
    assert value.hex().encode() not in redactor.redact(value.hex().encode())


def test_a_known_value_is_hidden_in_base64_at_any_offset():
    redactor = Redactor({"token": "correct-horse-battery"})
    for before in (b"", b"x", b"xy", b"user:"):
        for after in (b"", b"\n", b"zz"):
            shown = redactor.redact(base64.b64encode(before + b"correct-horse-battery" + after))
            assert b"[redacted:token]" in shown


def test_a_known_value_is_hidden_url_encoded_and_escaped():
    redactor = Redactor({"token": 'p@ss/w"rd é'})
    for spelled in ("p%40ss%2Fw%22rd%20%C3%A9", 'p@ss/w\\"rd é', "p%40ss%2Fw%22rd+%C3%A9"):
        assert redactor.redact_text(spelled) == "[redacted:token]"
    assert (
        Redactor({"token": b"\xff\xfe\xfd\xfc"}).redact(b"\xff\xfe\xfd\xfc") == b"[redacted:token]"
    )


def test_a_value_too_short_to_know_hides_nothing():
    assert Redactor({"pin": "12"}).redact_text("12 12") == "12 12"


@pytest.mark.parametrize("size", [1, 7, 4096, 100_000])
@pytest.mark.parametrize("place", [0, 3000, 9000])
def test_a_secret_split_across_chunks_is_caught(size, place):
    secret = "ghp_" + B36
    text = ("word " * 4000).encode()
    text = text[:place] + b" " + secret.encode() + b" known-value " + text[place:]
    redactor = Redactor({"k": "known-value"})
    stream = redactor.stream()
    step = max(size, 64) if size == 1 else size
    shown = b"".join(stream.feed(text[i : i + step]) for i in range(0, len(text), step))
    assert shown + stream.finish() == redactor.redact(text)
    assert b"ghp_" not in redactor.redact(text)


def test_a_stream_shows_what_is_settled_before_it_ends():
    assert Redactor().stream().feed(b"line of text\n" * 2000)


def test_a_private_key_longer_than_what_is_held_is_hidden_to_its_end():
    body = b"QUJD" * MAX_HELD_BYTES
    stream = Redactor().stream()
    text = b"a\n-----BEGIN PRIVATE KEY-----\n" + body + b"\n-----END PRIVATE KEY-----\nafter\n"
    shown = b"".join(stream.feed(text[i : i + 5000]) for i in range(0, len(text), 5000))
    shown += stream.finish()
    assert b"QUJD" not in shown
    assert shown.startswith(b"a\n[redacted:private_key]")
    assert shown.endswith(b"after\n")


def test_a_key_that_never_ends_is_hidden_to_the_end_of_the_stream():
    stream = Redactor().stream()
    shown = stream.feed(b"-----BEGIN PRIVATE KEY-----\n" + b"QUJD" * MAX_HELD_BYTES)
    assert shown + stream.feed(b"QUJD") + stream.finish() == b"[redacted:private_key]"


def test_a_token_longer_than_what_is_held_is_hidden_to_its_end():
    stream = Redactor().stream()
    shown = stream.feed(b"npm_" + b"a" * (2 * MAX_HELD_BYTES)) + stream.feed(b"aaaa after")
    assert shown + stream.finish() == b"[redacted:npm] after"


def test_output_without_spaces_still_flows():
    text = b"x" * 50_000
    stream = Redactor().stream()
    shown = stream.feed(text)
    assert shown
    assert shown + stream.finish() == text


def test_a_whole_secret_in_a_record_becomes_a_salted_commitment(tmp_path):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))
    redactor = Redactor({"db": "correct-horse"})
    record = {"argv": ["mysql", "--password", "hunter2x", "-e", "x correct-horse y", 7], "n": None}
    found = redactor.redact_record({**record, "env": "correct-horse"}, openings.seal)
    mark = found["argv"][2]["$redacted"]
    assert mark["kind"] == "password"
    assert re.fullmatch("[0-9a-f]{64}", mark["sha256"])
    assert found["argv"][3:] == ["-e", "x [redacted:db] y", 7]
    assert found["env"]["$redacted"]["kind"] == "db"
    kept = (tmp_path / "log" / "openings.jsonl").read_text()
    assert "hunter2x" not in kept
    salt = re.search('"salt": "([0-9a-f]{64})"', kept)[1]
    assert commitment(bytes.fromhex(salt), b"hunter2x") == mark["sha256"]


def test_a_record_without_a_secret_stays_what_it_is_also_where_its_words_are_known(monkeypatch):
    monkeypatch.setattr("audit.redact.MAX_CLEAN_LINES", 3)
    redactor, clean = Redactor({"db": "correct-horse"}), {"cwd": "/w", "argv": ["a", "b"], "n": 0.5}
    for number in range(9):
        record = {**clean, "number": f"call {number}"}
        assert redactor.redact_record(record, len) is record
        found = redactor.redact_record({**record, "text": f"{number} correct-horse"}, len)
        assert found == {**record, "text": f"{number} [redacted:db]"}
    more = redactor.knowing({"place": "call 8"}).redact_record(record, "{}".format)
    assert more == {**clean, "number": {"$redacted": {"kind": "place", "sha256": "b'call 8'"}}}


def sealed(data: bytes) -> str:
    return sha256(data).hexdigest()


def spelled(redactor: Redactor, record: dict) -> Spelled | str:
    try:
        return spell(redactor.redact_record(record, sealed))
    except RecordRefused as refused:
        return str(refused)


TEXTS = st.sampled_from(
    [*(secret for secret, _ in SECRETS), *(text for text, _ in IN_PLACE), *HARMLESS]
    + [row.text for name in ("secrets.txt", "harmless.txt") for row in rows(name)]
    + ["--password", "hunter2x", "mysql", "-phunter2x", "correct", "horse", "correct horse", ""]
) | st.text(max_size=12)
PARTS = st.recursive(
    TEXTS | st.integers(0, 9) | st.none() | st.booleans() | st.just(0.5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
RECORDS = st.lists(st.dictionaries(st.sampled_from("abcd"), PARTS, max_size=4), max_size=6)


@given(st.lists(RECORDS, max_size=4))
def test_records_spelled_together_are_what_each_is_alone(batches):
    """Whatever was seen before, and whatever stands beside it."""
    known = {"phrase": "correct horse", "name": "Überraschung"}
    redactor = Redactor(known)
    for batch in batches:
        found = redactor.spell_all(batch, sealed)
        alone = [spelled(Redactor(known), record) for record in batch]
        assert [one if isinstance(one, Spelled) else str(one) for one in found] == alone


def test_a_list_of_what_has_no_place_in_a_record_is_refused_and_no_other_is():
    records = [{"a": [object(), 1]}, {"a": [{"b": 1}]}]
    refused, spelled = Redactor().spell_all(records, sealed)
    assert isinstance(refused, RecordRefused)
    assert spelled == {"a": '[{"b":1}]'}


def test_a_secret_is_hidden_also_where_its_parts_were_seen_before():
    redactor = Redactor({"phrase": "correct horse"})
    (first,) = redactor.spell_all([{"a": ["correct"], "b": [{"c": "horse"}, {"c": 1}]}], sealed)
    assert first == {"a": '["correct"]', "b": '[{"c":"horse"},{"c":1}]'}
    listed = {"a": [7, {"b": ["correct", "horse"]}]}
    for _ in range(2):
        for one in redactor.spell_all([{"a": "correct"}, listed, listed], sealed)[1:]:
            assert "horse" not in one["a"]


def test_what_was_seen_is_forgotten_before_it_is_much(monkeypatch):
    monkeypatch.setattr("audit.redact.MAX_CLEAN_LINES", 3)
    monkeypatch.setattr("audit.redact.MAX_CLEAN_LISTS", 3)
    redactor = Redactor()
    for number in range(20):
        record = {
            "a": f"text {number}",
            "b": [{"c": number}],
            "d": "long " * 99,
            "e": [{"f": "l" * 5000}],
        }
        assert redactor.spell_all([record], sealed) == [spell(record)]
        assert len(redactor._words) <= 3
        assert len(redactor._words.lists) <= 3


def test_a_search_that_breaks_off_leaves_nothing_that_counts_as_clean(monkeypatch):
    redactor = Redactor({"name": "correct-horse"})
    record = {"a": "x correct-horse", "b": [{"c": "correct-horse"}]}
    with monkeypatch.context() as patch:
        patch.setattr("audit.redact.shapes_of", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            redactor.spell_all([record], sealed)
    (found,) = redactor.spell_all([record], sealed)
    assert found["a"] == '"x [redacted:name]"'
    assert "horse" not in found["b"]


def test_a_commitment_that_cannot_be_kept_refuses_its_own_record_alone():
    def full(_: bytes) -> str:
        raise AuditUnavailable("full")

    found = Redactor({"name": "correct-horse"}).spell_all(
        [{"a": "correct-horse"}, {"a": "x"}], full
    )
    assert str(found[0]) == "full"
    assert found[1] == {"a": '"x"'}


WITHOUT_LOOKING_BACK = {
    kind: form for kind, form in _OWN_FORM.items() if b"++" not in form and b"}+" not in form
}


@pytest.mark.untraced
@pytest.mark.parametrize("kind", WITHOUT_LOOKING_BACK)
@settings(max_examples=12)
@given(data=st.data())
def test_each_form_of_its_own_is_seen_by_the_quick_look(kind, data):
    token = data.draw(st.from_regex(re.compile(_OWN_FORM[kind]), fullmatch=True))
    text = b"x " + token + b" y"
    assert has_own_form(text) == any(True for _ in own_forms(text))


@given(
    st.lists(
        st.sampled_from(
            [*(row.text for row in rows("secrets.txt")), *HARMLESS, "eyJ", ".", "a" * 30]
        )
    )
)
def test_the_quick_look_sees_what_the_long_one_finds(words):
    for text in ("".join(words).encode(), " ".join(words).encode()):
        assert has_own_form(text) == any(True for _ in own_forms(text))


def test_two_commitments_to_one_value_do_not_show_that_they_are_equal(tmp_path):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))
    assert openings.seal(b"x") != openings.seal(b"x")


def test_a_commitment_whose_salt_cannot_be_kept_is_none(tmp_path, monkeypatch):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.write", full)
    with pytest.raises(AuditUnavailable, match=r"openings\.jsonl: No space left"):
        openings.seal(b"x")


@pytest.mark.threat("T23")
def test_openings_are_private_deletable_and_never_follow_a_link(tmp_path):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))
    openings.seal(b"x")
    path = tmp_path / "log" / "openings.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    openings.seal(b"y")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AuditTampered):
        openings.seal(b"z")
    assert not (tmp_path / "elsewhere").exists()


def test_overlapping_shapes_become_one_mark():
    assert Redactor().redact_text("password=ghp_" + B36) == "password=[redacted:password]" or (
        Redactor().redact_text("password=ghp_" + B36) == "password=[redacted:github]"
    )


def test_the_words_before_one_in_a_list_say_what_it_is(tmp_path):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))
    argv = ["mysql", "-u", "dev", "-phunter2x", "shop", 3, "-phunter2x"]
    found = Redactor().redact_record({"argv": argv}, openings.seal)["argv"]
    assert found[3] == "-p[redacted:password]"
    assert found[:3] + found[4:] == ["mysql", "-u", "dev", "shop", 3, "-phunter2x"]


def test_a_redactor_for_one_call_knows_more_and_leaves_the_other_as_it_was():
    redactor = Redactor([("a", "first-value"), ("a", "second-value")])
    more = redactor.knowing({"b": "x" * 5000})
    assert more.redact_text("first-value second-value") == "[redacted:a] [redacted:a]"
    assert more.redact_text("x" * 5000) == "[redacted:b]"
    assert more.hold_bytes > redactor.hold_bytes
    assert redactor.redact_text("x" * 5000) == "x" * 5000


def test_a_private_key_in_code_hides_no_code():
    line = 'START = b"-----BEGIN PRIVATE KEY-----"\nprint(START)\n'
    assert Redactor().redact_text(line) == 'START = b"[redacted:private_key]"\nprint(START)\n'


@pytest.mark.parametrize("text", ["{}\n", "[1]\n", '{"salt":"x","sha256":"y"}\n', "word\n"])
def test_an_opening_that_is_none_is_named_by_its_line(tmp_path, text):
    openings = Openings(LogDirectory.prepare(tmp_path / "log"))
    digest = openings.seal(b"x")
    assert commitment(salts(tmp_path / "log")[digest], b"x") == digest
    path = tmp_path / "log" / "openings.jsonl"
    path.write_text(path.read_text() + text)
    with pytest.raises(AuditError, match=r"openings\.jsonl:2: is not an opening"):
        salts(tmp_path / "log")
    path.unlink()
    assert salts(tmp_path / "log") == {}
    path.mkdir()
    with pytest.raises(AuditError, match="cannot be read"):
        salts(tmp_path / "log")


def private_key_lines(count: int) -> bytes:
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + b"QUJDRA+/\n" * count


END = b"-----END RSA PRIVATE KEY-----\n"
MARK = b"[redacted:private_key]"


@pytest.mark.parametrize(
    ("head", "tail", "shown"),
    [
        # the cut is inside the key, and its end is in the tail
        (b"a\n" + private_key_lines(3), b"QUJD\n" + END + b"b\n", (b"a\n" + MARK, MARK + b"\nb\n")),
        # its beginning was cut out too
        (b"a\n", b"\nQUJDRA==\n" + END + b"b\n", (b"a\n", MARK + b"\nb\n")),
        # its end was never printed
        (private_key_lines(3), b"QUJDRA+/\nQUJDRA+/\n", (MARK, MARK)),
        (private_key_lines(3) + END, b"words of text\n", (MARK + b"\n", b"words of text\n")),
        (b"a\n", b"password=hunter2x\n", (b"a\n", b"password=[redacted:password]\n")),
    ],
)  # fmt: skip
def test_what_a_cut_leaves_of_a_private_key_is_hidden(head, tail, shown):
    assert Redactor().redact_cut(head, tail) == shown


@pytest.mark.untraced
def test_a_stream_in_single_bytes_looks_at_each_only_a_few_times():
    data = private_key_lines(5000)
    redactor = Redactor()
    spans, looked = redactor.spans, []

    def counted(held):
        looked.append(len(held))
        return spans(held)

    redactor.spans = counted
    stream = redactor.stream()
    shown = b"".join(stream.feed(data[i : i + 1]) for i in range(len(data)))
    assert shown + stream.finish() == MARK
    assert sum(looked) < 20 * len(data)

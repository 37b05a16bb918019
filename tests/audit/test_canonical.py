import json
from collections import OrderedDict
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import _FORMS, MAX_DEPTH, decode, decode_object, encode, os_value, spell
from audit.errors import RecordRefused

KEYS = st.text("abcxyz019_.$@-", min_size=1, max_size=6)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_encoded_decodes_to_itself_on_one_line(value):
    data = encode(value)
    assert decode(data) == value == json.loads(data)
    assert b"\n" not in data


@given(st.binary(max_size=60))
def test_decoding_any_bytes_gives_a_value_of_these_bytes_or_refuses(data):
    try:
        value = decode(data)
    except RecordRefused:
        return
    assert encode(value) == data


def test_the_bytes_are_those_of_rfc_8785():
    # The strings of RFC 8785 §3.2.3's example, within this domain's keys.
    value = {"string": '\u20ac$\u000f\nA\'B"\\\\"/', "literals": [None, True, False], "b": "\x7f"}
    expected = (
        '{"b":"\x7f","literals":[null,true,false],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert encode(value) == expected.encode()
    assert encode("\b\t\n\f\r\x00\x1f\u2028") == '"\\b\\t\\n\\f\\r\\u0000\\u001f\u2028"'.encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'{"a":1,"a":1}', "duplicate key 'a'"),
        (b'{"b":{"a":1,"a":2}}', "duplicate key 'a'"),
        (b'{"a": 1}', "canonical"),
        (b'{"b":1,"a":1}', "canonical"),
        (b'{"a":"\\u0041"}', "canonical"),
        (b'{"a":1.0}', "not an integer"),
        (b'{"a":1e3}', "not an integer"),
        (b'{"a":NaN}', "float"),
        (b'{"a":-0}', "canonical"),
        (b'{"A":1}', "key"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_a_second_spelling_is_refused_with_its_reason(data, why):
    with pytest.raises(RecordRefused, match=why):
        decode(data)


def test_depth_is_bounded():
    value = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    encode(value)
    with pytest.raises(RecordRefused, match="levels deep"):
        encode([value])


def test_a_refusal_names_the_place():
    with pytest.raises(RecordRefused, match=r"record\.a\[1\]\.b"):
        encode({"a": [1, {"b": 1.5}]})


def test_a_record_is_an_object():
    with pytest.raises(RecordRefused, match="object"):
        decode_object(b"[]")


def test_os_bytes_are_text_or_base64():
    assert os_value(b"caf\xc3\xa9") == "caf\u00e9"
    assert os_value(b"\xff") == {"$b64": "/w=="}


class Word(str):
    __slots__ = ()


class Number(int):
    pass


@given(VALUES)
def test_the_bytes_are_those_of_the_standard_library_s_encoder(value):
    plain = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert encode(value) == plain.encode()


@given(st.dictionaries(KEYS, VALUES, min_size=1, max_size=4), KEYS, VALUES)
def test_members_spelled_apart_make_the_record_they_were_spelled_from(record, key, value):
    spelled = spell(record)
    assert spelled.to_bytes() == encode(record)
    spelled[key] = encode(value).decode()
    assert spelled.to_bytes() == encode({**record, key: value})


def test_what_derives_from_a_type_of_json_is_spelled_like_it():
    value = MappingProxyType({"b": Word("x"), "a": (Number(7), OrderedDict(c=True))})
    assert encode(value) == b'{"a":[7,{"c":true}],"b":"x"}'


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({1: "x"}, r"record: key 1 is not"),
        ({"a": {"": 1}}, r"record\.a: key '' is not"),
        ({"a": [{"b": "\ud800"}]}, r"record\.a\[0\]\.b: lone surrogate"),
        ({"a": ["x", 2**53]}, r"record\.a\[1\]: the integer"),
        ({"a": None, "b": {1}}, r"record\.b: set has no place"),
        ({"a": b"x"}, r"record\.a: bytes has no place"),
        ({"a": "€", "b": "\udfff"}, r"record\.b: lone surrogate"),
    ],
)
def test_a_record_outside_the_domain_is_not_spelled_and_the_place_is_named(record, why):
    for refuse in (spell, encode):
        with pytest.raises(RecordRefused, match=why):
            refuse(record)


@pytest.mark.parametrize("levels", [MAX_DEPTH, 100_000])
def test_too_deep_a_record_is_not_spelled_however_deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    with pytest.raises(RecordRefused, match="levels deep"):
        spell({"a": [value]})


def test_brackets_in_a_text_are_no_levels():
    assert spell({"a": "[{" * 100}) == {"a": json.dumps("[{" * 100)}


def test_no_number_of_different_records_fills_the_memory(monkeypatch):
    monkeypatch.setattr("audit.canonical.MAX_FORMS", 2)
    for number in range(9):
        assert encode({f"k{number}": {}}) == b'{"k%d":{}}' % number
    assert len(_FORMS) <= 2

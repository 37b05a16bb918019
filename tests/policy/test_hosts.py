"""One host has one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.hosts import host_of


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "resource",
    [
        "http://169.254.169.254/latest", "http://2852039166/", "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/", "http://169.254.43518/", "169.254.169.254:80",
        "http://[::ffff:169.254.169.254]/", "http://user:pw@169.254.169.254:80/x",
        "http://good.example@169.254.169.254/", "/dev/tcp/169.254.169.254/80", "169.254.169.254.",
    ],
)  # fmt: skip
def test_every_spelling_of_an_address_is_one_host(resource):
    assert host_of(resource) == "169.254.169.254"


@pytest.mark.parametrize(
    ("resource", "host"),
    [
        ("https://Example.COM./x", "example.com"),
        ("dev@example.com:src/x", "example.com"),
        ("example.com", "example.com"),
        ("fe80::1", "fe80::1"),
        ("http://good.example\\@evil.example/", None),
        ("http://[nonsense]/", None),
        ("1.2.3.4.5", None),
        ("08", None),
        ("1.256.3.4", None),
        ("1.2.3.256", None),
        ("a" * 256, None),
        ("ü" * 256, None),
        ("a\u200db.example", None),
        ("https://bücher.example/", "xn--bcher-kva.example"),
        ("http://\uff11\uff12\uff17\u30020.0.1/", "127.0.0.1"),
        ("exa mple", None),
        ("", None),
    ],
)
def test_a_host_is_certain_or_none(resource, host):
    assert host_of(resource) == host


@given(st.text())
def test_any_text_has_a_host_or_none(text):
    host = host_of(text)
    assert host is None or host == host.lower()

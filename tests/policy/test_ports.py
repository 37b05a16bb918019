"""The port of a network access: known for certain, or not known at all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.model import Access
from policy.ports import port_of

KNOWN = [
    ("https://a.example/x", 443),
    ("http://a.example:8080/x:1", 8080),
    ("HTTP://u:p@a.example/", 80),
    ("https://[fd00::1]/", 443),
    ("https://[fd00::1]:8443/", 8443),
    ("https://a.example:/", 443),
    ("postgres://db/x", 5432),
    ("/dev/tcp/a.example/25", 25),
    ("https://a:80@b/", 443),
    ("odd://a.example/", None),
    ("https://a:99999/", None),
    ("https://a:8x/", None),
    ("https://a\\b:80/", 443),
    ("a.example", None),
    ("2852039166", None),
]


@pytest.mark.parametrize(("resource", "port"), KNOWN)
def test_a_port_is_the_one_written_or_the_schemes_own(resource, port):
    assert port_of(Access("net.connect", resource, "exact", "curl")) == port


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("program", "resource", "port"),
    [
        ("curl", "a.example:8080/x", 8080),
        ("openssl s_client", "[fd00::1]:443", 443),
        ("scp", "a.example:443", None),
        ("git push", "git@a.example:443", None),
        ("", "a.example:443", None),
    ],
)
def test_host_and_number_is_a_port_only_to_those_that_read_it_so(program, resource, port):
    assert port_of(Access("net.connect", resource, "exact", program)) == port


def test_a_listener_may_name_its_port_alone():
    assert port_of(Access("net.listen", "8000")) == 8000
    assert port_of(Access("net.listen", "0.0.0.0:8000")) == 8000
    assert port_of(Access("net.listen", "http.server")) is None


@pytest.mark.threat("T02")
def test_what_is_not_known_has_no_port():
    for how in ("pattern", "dynamic"):
        assert port_of(Access("net.connect", "https://…/", how)) is None


@given(st.text())
def test_any_text_has_a_port_or_none(text):
    port = port_of(Access("net.connect", text, "exact", "curl"))
    assert port is None or 0 <= port <= 65_535

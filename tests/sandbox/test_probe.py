import pytest

from sandbox import probe
from tests.sandbox.rig import HOST

pytestmark = pytest.mark.as_user


@pytest.mark.threat("T25")
def test_without_bubblewrap_the_rung_is_none_and_says_which_package():
    controls = probe._namespaces("")
    assert {control.seen for control in controls} == {"absent"}
    assert "install bubblewrap" in controls[0].fix


@pytest.mark.threat("T25")
def test_a_bubblewrap_that_fails_is_not_believed():
    controls = probe._namespaces("/bin/false")
    assert {control.seen for control in controls} == {"absent"}
    assert "AppArmor" in controls[0].fix


@pytest.mark.threat("T25")
def test_a_bubblewrap_that_only_pretends_is_found_out(tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n')
    fake.chmod(0o755)
    seen = {control.name: control.seen for control in probe._namespaces(str(fake))}
    assert seen["processes"] == "absent"


@pytest.mark.threat("T25")
def test_a_missing_landlock_is_said(monkeypatch):
    monkeypatch.setattr(probe, "CANARY_FILTERS", "print('seccomp')")
    locked, filtered = probe._kernel_filters(0)
    assert (locked.seen, filtered.seen) == ("absent", "enforced")
    assert "lsm=landlock" in locked.fix


@pytest.mark.threat("T25")
def test_a_machine_without_a_table_is_not_filtered(monkeypatch):
    monkeypatch.setattr(probe.platform, "machine", lambda: "riscv64")
    assert [control.seen for control in probe._kernel_filters(7)] == ["absent", "absent"]


def test_a_probe_that_cannot_start_is_an_answer():
    assert probe._try(["/does/not/exist"])[0] == -1


def test_each_control_has_evidence_and_what_is_absent_has_a_fix():
    for control in HOST.controls:
        assert control.evidence
        assert control.fix or control.seen != "absent"


def test_no_secret_of_the_system_is_among_what_is_shown():
    assert not set(HOST.system.secret_files) & set(HOST.system.directories)
    assert "/etc/shadow" in HOST.system.secret_files

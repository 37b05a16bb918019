"""State lies where only its owner can reach it, or nothing is read or written."""

import os
import stat

import pytest

from approvals.private import private_directory, private_file
from approvals.request import ApprovalError
from approvals.store import Store


@pytest.mark.threat("T23")
def test_the_database_and_its_companions_are_for_the_owner_alone(path, store):
    modes = {file.name: stat.S_IMODE(file.lstat().st_mode) for file in path.parent.iterdir()}
    assert modes == {path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.threat("T23")
def test_a_symlink_is_never_followed(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (tmp_path / "linked").symlink_to(elsewhere)
    with pytest.raises(ApprovalError, match="symlink"):
        Store(tmp_path / "linked" / "db")
    (elsewhere / "db").symlink_to(tmp_path / "target")
    with pytest.raises(ApprovalError):
        Store(elsewhere / "db")
    assert not (tmp_path / "target").exists()


@pytest.mark.threat("T23")
def test_modes_that_let_others_in_are_refused_with_the_mending_command(tmp_path):
    tmp_path.chmod(0o750)
    with pytest.raises(ApprovalError, match=f"run: chmod 0700 {tmp_path}"):
        private_directory(tmp_path)
    tmp_path.chmod(0o700)
    (tmp_path / "db").touch(mode=0o600)
    (tmp_path / "db").chmod(0o604)
    with pytest.raises(ApprovalError, match="run: chmod 0600"):
        private_file(tmp_path / "db")


@pytest.mark.threat("T23")
def test_what_belongs_to_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ApprovalError, match="not to uid 12345"):
        private_directory(tmp_path / "state")


@pytest.mark.threat("T23")
def test_something_else_in_the_place_is_refused(tmp_path):
    (tmp_path / "file").touch(mode=0o600)
    with pytest.raises(ApprovalError, match="No approval can be given"):
        private_directory(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ApprovalError, match="special file"):
        private_file(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with pytest.raises(ApprovalError, match="Is a directory"):
        private_file(tmp_path / "directory")

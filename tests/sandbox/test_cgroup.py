from sandbox import cgroup
from sandbox.cgroup import Group


def test_a_group_holds_its_bound_and_is_gone_when_closed(tmp_path, monkeypatch):
    monkeypatch.setattr(Group, "close", lambda _: None)
    group = Group(str(tmp_path), 7)
    group.enter(2**22 + 1)
    (directory,) = tmp_path.iterdir()
    assert (directory / "pids.max").read_text() == "7"


def test_what_a_dead_server_left_is_removed_and_what_lives_stays(tmp_path, monkeypatch):
    (tmp_path / "permitgate-4194305-aa").mkdir()
    (tmp_path / "permitgate-1-aa").mkdir()
    (tmp_path / "permitgate-4194306-aa" / "busy").mkdir(parents=True)
    cgroup._clear_left_over(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"permitgate-1-aa", "permitgate-4194306-aa"}


def test_without_a_hierarchy_there_is_no_group(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "HIERARCHY", tmp_path / "absent")
    monkeypatch.setattr(cgroup, "UNIFIED", tmp_path / "absent")
    assert cgroup.find() == ""

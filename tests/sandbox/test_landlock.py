import os

import pytest

from sandbox import landlock

pytestmark = [
    pytest.mark.as_user,
    pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock"),
]


def inside(rules, attempt) -> bytes:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            landlock.restrict(rules, refuse_tcp=True)
            attempt()
            os.write(writer, b"allowed")
        except PermissionError:
            os.write(writer, b"refused")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        return answer.read()


@pytest.mark.threat("T10")
def test_only_listed_paths_can_be_opened_and_only_as_listed(tmp_path):
    (tmp_path / "shown").mkdir()
    file, other = tmp_path / "shown" / "file", tmp_path / "other"
    file.write_text("x")
    other.write_text("x")
    rules = [(str(tmp_path / "shown"), landlock.READ), ("/does/not/exist", landlock.CHANGE)]
    assert inside(rules, lambda: file.open().close()) == b"allowed"
    assert inside(rules, lambda: other.open().close()) == b"refused"
    assert inside(rules, lambda: file.open("w").close()) == b"refused"
    listed = [(str(tmp_path), landlock.LIST)]
    assert inside(listed, lambda: list((tmp_path / "shown").iterdir())) == b"allowed"
    assert inside(listed, lambda: file.open().close()) == b"refused"


@pytest.mark.threat("T10")
def test_a_link_in_the_place_of_a_listed_path_allows_nothing(tmp_path):
    (tmp_path / "secret").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path)
    rules = [(str(tmp_path / "link"), landlock.READ), (f"{tmp_path}/link/secret", landlock.READ)]
    assert inside(rules, lambda: (tmp_path / "secret").open().close()) == b"refused"


@pytest.mark.threat("T12")
@pytest.mark.skipif(landlock.abi() < landlock.ABI_SCOPE, reason="signals are scoped from ABI 6")
def test_processes_outside_cannot_be_signalled():
    parent = os.getpid()
    assert inside([("/", landlock.READ)], lambda: os.kill(parent, 0)) == b"refused"


def test_a_rule_that_the_kernel_refuses_is_an_error(monkeypatch):
    monkeypatch.setattr(landlock, "RULE_PATH_BENEATH", 99)
    with pytest.raises(landlock.LandlockError, match="allow /usr"):
        landlock.restrict([("/usr", landlock.READ)], refuse_tcp=False)

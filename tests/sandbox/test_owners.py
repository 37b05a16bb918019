import os
from pathlib import Path

import pytest

from sandbox.owners import examine, is_roots, takes_rights

BIN = ("/usr/bin",)


@pytest.mark.threat("T02")
def test_a_program_of_the_system_is_roots_and_one_of_anybodys_is_not(tmp_path):
    mine = tmp_path / "ps"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    assert is_roots("/usr/bin/env")
    assert not is_roots(str(mine))  # a directory on the way is for everyone
    found = examine(None, ("ps", "env", "nowhere"), (str(tmp_path), *BIN))
    assert found.foreign == (str(mine),)
    assert examine(None, (str(mine),), BIN).foreign == (str(mine),)
    assert not is_roots(str(tmp_path / "absent"))


@pytest.mark.threat("T02")
@pytest.mark.root_only
def test_roots_own_file_that_others_may_write_is_not_roots():
    directory = Path("/usr/local/permitgate-test")
    directory.mkdir(mode=0o755)
    try:
        file = directory / "x"
        file.touch(0o755)
        assert is_roots(str(file))
        file.chmod(0o757)
        assert not is_roots(str(file))
        file.chmod(0o755)
        os.chown(file, 1000, 0)
        assert not is_roots(str(file))
    finally:
        file.unlink()
        directory.rmdir()


@pytest.mark.threat("T12")
def test_set_id_files_are_known_by_their_mode(tmp_path):
    file = tmp_path / "x"
    file.touch(0o755)
    assert not takes_rights(str(file))
    file.chmod(0o2755)
    assert takes_rights(str(file))
    assert not takes_rights(str(tmp_path / "absent"))
    assert examine(("x",), ("x",), (str(tmp_path),)).set_id == ("x",)

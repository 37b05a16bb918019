"""Which workspace a path belongs to, where there are several."""

from pathlib import Path

import pytest

from mcp_server.caller import Caller
from mcp_server.owner import CallRefusedError, Owner

ROOTS = (Path("/srv/first"), Path("/srv/second"))
CALLER = Caller(Owner(1000, "dev", Path("/home/dev"), "box"), "s", "stdio", ROOTS)


@pytest.mark.parametrize(
    ("path", "workspace"),
    [
        ("/srv/first/a", "/srv/first"),
        ("/srv/second/a", "/srv/second"),
        ("/srv/second", "/srv/second"),
        ("/srv/secondary", "/srv/first"),
        ("/etc/hosts", "/srv/first"),
    ],
)
def test_a_path_is_judged_in_its_own_workspace_and_else_in_the_first(path, workspace):
    assert CALLER.context_around(Path(path)).workspace == workspace


def test_a_name_that_only_begins_like_a_workspace_is_outside():
    with pytest.raises(CallRefusedError, match="outside the workspace"):
        CALLER.workspace(Path("/srv/secondary"))


def test_another_host_has_no_workspace_and_hides_nothing():
    context = CALLER.remote_context()
    assert (context.workspace, context.can_mask) == ("/nonexistent", False)

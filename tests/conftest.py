"""What holds for every test: hypothesis profiles, and no skip where it would hide a gap."""

import os
import sys
import threading
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.world import World

# No example database: the suite also runs as a user who may not write here.
settings.register_profile(
    "default", max_examples=60, deadline=None, database=None, derandomize=True
)
settings.register_profile(
    "thorough",
    max_examples=2_000,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_cell_is_left() -> Iterator[None]:
    """End what the test opened, rigs and apps; those of wider fixtures go on."""
    rigs = getattr(sys.modules.get("tests.sandbox.rig"), "OPEN", [])
    apps = getattr(sys.modules.get("tests.mcp_server.indoors"), "OPEN", [])
    before = len(rigs), len(apps)
    yield
    while len(rigs) > before[0]:
        rigs.pop().runner.close()
    while len(apps) > before[1]:
        apps.pop().close()


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give the one internet of all tests that reach for one."""
    made = World.start(tmp_path_factory.mktemp("outside") / "world")
    yield made
    made.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure no coverage in a test marked untraced: following its lines is most of its time."""
    if item.get_closest_marker("untraced") is None:
        return (yield)
    tracers = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracers[0])
        threading.settrace(tracers[1])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only the other kind of user can do; the suite runs as both."""
    other = "ordinary_only" if os.geteuid() == 0 else "root_only"
    left_out = [item for item in items if item.get_closest_marker(other)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI, where a skip is a failure: {report.longrepr}"
    return report

import pytest

from tests.audit.house import House


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)

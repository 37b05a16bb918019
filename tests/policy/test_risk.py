"""The table of risk."""

from policy.model import OPERATIONS
from policy.risk import RISK, risk


def test_every_operation_is_rated_between_0_and_100():
    assert RISK.keys() == OPERATIONS
    assert all(0 <= number <= 100 for number in RISK.values())


def test_the_riskiest_operation_speaks_and_an_unknown_one_is_the_worst():
    assert risk([]) == 0
    assert risk(["fs.read", "fs.delete"]) == RISK["fs.delete"]
    assert risk(["fs.read", "fs.never-heard-of"]) == 100

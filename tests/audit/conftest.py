import inspect

import pytest

from audit.trust import TrustPolicy
from audit.verify import Code
from tests.audit import independent_verifier
from tests.audit.house import House


@pytest.fixture
def house(tmp_path) -> House:
    return House(tmp_path)


@pytest.fixture(autouse=True)
def two_verifiers_agree(request, monkeypatch):
    """Wherever a test verifies a log, the verifier made from the format page must say the same.

    It knows nothing of witnesses and does not look into records, so such verdicts are ours alone;
    a pinned file that is no checkpoint is a usage error, which it has no word for.
    """
    ours = getattr(request.module, "verify", None)
    if ours is None or "progress" not in inspect.signature(ours).parameters:
        return

    def both(directory, keys, *, pinned=None, **asked):
        report = ours(directory, keys, pinned=pinned, **asked)
        kinds = {finding.kind for finding in report.findings}
        is_plain = not asked and not isinstance(keys, TrustPolicy) and len(keys) == 1
        if is_plain and "pinned" not in kinds:
            kept = pinned.rstrip(b"\n") + b"\n" if pinned else None
            code = independent_verifier.verify(directory, keys[0].vkey, kept)
            assert Code(code) is report.code, report.findings
        return report

    monkeypatch.setattr(request.module, "verify", both)

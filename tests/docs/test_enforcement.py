"""docs/enforcement.md shows the table that the code prints."""

from pathlib import Path

from sandbox.attempts import ATTEMPTS
from sandbox.enforcement import CONTROLS, table

PAGE = Path(__file__).parents[2] / "docs" / "enforcement.md"


def test_the_page_ends_with_the_table_of_the_code():
    text = PAGE.read_text("utf-8")
    assert text.endswith("\n\n" + table()), (
        f"python -m sandbox.enforcement prints what {PAGE} lacks"
    )


def test_every_attempt_belongs_to_a_control_and_every_control_is_tried():
    assert {control for control, _, _ in ATTEMPTS} == {law.name for law in CONTROLS}
    assert {what for law in CONTROLS for _, what in law.permitted} <= {
        what for _, what, _ in ATTEMPTS
    }

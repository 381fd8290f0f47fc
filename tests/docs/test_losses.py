"""The page of losses is what the code says."""

from pathlib import Path

from onnxwright.losses import kinds, page

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_that_the_code_writes():
    assert (ROOT / "docs" / "losses.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_each_measure_has_its_row():
    for kind in kinds().values():
        assert f"| `{kind.name}` | {kind.serves} | {kind.told} | {kind.budget:g} | {kind.labelled} |" in page()

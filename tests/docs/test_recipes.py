"""The page of recipes is what the code says."""

from pathlib import Path

from onnxwright.recipes import page, recipes

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_that_the_code_writes():
    assert (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_each_recipe_has_its_row():
    for one in recipes().values():
        assert f"| `{one.name}` |" in page()
        assert one.told in page()

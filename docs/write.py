"""Writes the pages of this folder that come from the code."""

from pathlib import Path

from onnxwright import findings, losses, recipes, repairs

PAGES = {
    "findings.md": findings.page,
    "losses.md": losses.page,
    "recipes.md": recipes.page,
    "repairs.md": repairs.page,
}

if __name__ == "__main__":
    for name, page in PAGES.items():
        (Path(__file__).parent / name).write_text(page(), encoding="utf-8")

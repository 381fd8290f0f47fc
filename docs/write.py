"""Writes the pages of this folder that come from the code."""

from pathlib import Path

from onnxwright.findings import page

if __name__ == "__main__":
    (Path(__file__).parent / "findings.md").write_text(page(), encoding="utf-8")

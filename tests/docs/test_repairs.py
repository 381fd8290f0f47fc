"""The page of repairs is what the code says."""

from pathlib import Path

from onnxwright.repairs import page, repairs

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_that_the_code_writes():
    assert (ROOT / "docs" / "repairs.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_each_repair_has_a_section_that_says_what_it_does():
    sections = {part.split("\n")[0]: part for part in page().split("\n## ")[1:]}

    assert sections.keys() == repairs().keys()
    for name, repair in repairs().items():
        assert f"| [`{name}`](#{name}) | {repair.summary} |" in page()
        assert len(sections[name]) > 100


def test_the_readme_leads_to_the_page():
    assert "(docs/repairs.md)" in (ROOT / "README.md").read_text(encoding="utf-8")

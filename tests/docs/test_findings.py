"""The page of findings is what the code says."""

from pathlib import Path

from onnxwright.findings import KINDS, Kind, page

ROOT = Path(__file__).parents[2]


def test_the_page_is_the_one_that_the_code_writes():
    assert (ROOT / "docs" / "findings.md").read_text(encoding="utf-8") == page(), "run `make docs`"


def test_each_finding_has_its_title_meaning_remedy_and_whether_it_blocks():
    sections = {part.split("\n")[0]: part for part in page().split("\n## ")[1:]}

    assert sections.keys() == KINDS.keys()
    for code, kind in KINDS.items():
        assert kind.title in sections[code]
        assert kind.meaning in sections[code]
        assert kind.remedy[1:] in sections[code]
        assert ("It blocks a proof." in sections[code]) is kind.blocks_proof
        assert f"| [`{code}`](#{code}) | {kind.title} | {'yes' if kind.blocks_proof else ''} |" in page()


def test_a_changed_finding_changes_the_page(monkeypatch):
    before = page()
    monkeypatch.setitem(KINDS, "not-tried", Kind("Title", "Meaning.", "Remedy."))

    assert page() != before


def test_the_readme_leads_to_the_page():
    assert "(docs/findings.md)" in (ROOT / "README.md").read_text(encoding="utf-8")

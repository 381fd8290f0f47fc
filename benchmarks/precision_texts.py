"""Texts with what people say of them, in two halves: one to make variants with, the other to judge them."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from onnxwright.backends import Array
from precision_store import Store, unpack


class Labelled(NamedTuple):
    """A text, and its label."""

    text: str
    label: Any


class News:
    """The test data of gensim: news, and how alike people find texts and words."""

    def __init__(self, store: Store):
        self._folder = store.package("gensim", "4.4.0") / "gensim" / "test" / "test_data"

    def halves(self) -> tuple[list[str], list[str]]:
        """Returns news texts in two halves."""
        lines = _lines(self._folder / "lee_background.cor")
        return lines[::2], lines[1::2]

    def lee(self) -> tuple[list[str], Array]:
        """Returns fifty documents, and how alike people find each two of them: float64[50, 50]."""
        return _lines(self._folder / "lee.cor"), np.loadtxt(self._folder / "similarities0-1.txt")

    def words(self) -> tuple[list[str], list[str], Array]:
        """Returns pairs of words, and how alike people find them."""
        rows = [line.split("\t") for line in _lines(self._folder / "wordsim353.tsv") if not line.startswith("#")]
        known = [row for row in rows if len(row) >= 3 and row[2].replace(".", "").isdigit()]
        return [row[0] for row in known], [row[1] for row in known], np.array([float(row[2]) for row in known])


def reviews(store: Store) -> tuple[list[Labelled], list[Labelled]]:
    """Returns snippets of film reviews with their sentiment: four fifths to learn and calibrate by, the rest to judge.

    People have rated each snippet of vaderSentiment from -4 to 4; those that they found neutral are left out.
    """
    resources = store.sources("vaderSentiment", "3.3.2", "vader") / "additional_resources"
    folder = resources / "hutto_ICWSM_2014"
    if not folder.is_dir():
        unpack(resources / "hutto_ICWSM_2014.tar.gz", resources)
    cells = [line.split("\t") for line in _lines(folder / "movieReviewSnippets_GroundTruth.txt")]
    rated = [(row[2], float(row[1])) for row in cells if len(row) == 3]
    rows = [Labelled(text, "POSITIVE" if rating > 0 else "NEGATIVE") for text, rating in rated if abs(rating) >= 0.5]
    random.Random(0).shuffle(rows)
    learned = len(rows) * 4 // 5
    return rows[:learned], rows[learned:]


def letters() -> tuple[list[Labelled], list[Labelled]]:
    """Returns sentences with personal data, and what each stretch is; no name of one half is in the other."""
    return _written(_FIRST, 0), _written(_SECOND, 1)


def _written(words: Mapping[str, Sequence[str]], seed: int) -> list[Labelled]:
    draw = random.Random(seed)
    return [_filled(draw.choice(_SENTENCES), words, draw) for _ in range(_COUNT)]


def _filled(sentence: str, words: Mapping[str, Sequence[str]], draw: random.Random) -> Labelled:
    text, entities, at = "", [], 0
    for slot in re.finditer(r"\{(\w+)\}", sentence):
        text += sentence[at : slot.start()]
        value, kind = _value(slot[1], words, draw), slot[1]
        entities.append({"start": len(text), "end": len(text) + len(value), "label": kind})
        text, at = text + value, slot.end()
    return Labelled(text + sentence[at:], entities)


def _value(kind: str, words: Mapping[str, Sequence[str]], draw: random.Random) -> str:
    if kind in words:
        return draw.choice(words[kind])
    if kind == "EMAIL":
        return f"{draw.choice(words['SURNAME']).lower()}{draw.randrange(100)}@example.com"
    return "".join(str(draw.randrange(10)) if one == "#" else one for one in _NUMBERS[kind])


def _lines(file: Path) -> list[str]:
    text = file.read_text(encoding="utf-8", errors="replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


_COUNT: Final = 300
_NUMBERS: Final = {"PHONE": "(###) 555-####", "BUILDING_NUMBER": "###", "ZIP_CODE": "#####", "TAX_ID": "###-##-####"}
_SENTENCES: Final = (
    "My name is {GIVEN_NAME} {SURNAME} and I live at {BUILDING_NUMBER} {STREET_NAME}, {CITY}, {STATE} {ZIP_CODE}.",
    "Call me on {PHONE} or write to {EMAIL}.",
    "{GIVEN_NAME} {SURNAME} moved from {CITY} to {STATE} last spring, and nobody has heard of her since.",
    "Please send the invoice to {BUILDING_NUMBER} {STREET_NAME} in {CITY}, as we agreed on the phone.",
    "Hi {GIVEN_NAME}, the social security number on my form should be {TAX_ID}. Could you correct it?",
    "The meeting is at noon; ask {GIVEN_NAME} {SURNAME} for the room, or ring {PHONE}.",
    "I can't log in with {EMAIL} any more, though I changed nothing. Regards, {GIVEN_NAME}",
    "We have no record of a {SURNAME} in {CITY}. Is the zip code {ZIP_CODE} right?",
    "The weather was fine, the trains were late, and the soup was cold.",
    "Ship both boxes to {GIVEN_NAME} {SURNAME}, {BUILDING_NUMBER} {STREET_NAME}, {CITY}, and call {PHONE} before.",
)
_FIRST: Final = {
    "GIVEN_NAME": ("Alice", "Robert", "Maria", "David", "Susan", "Ahmed", "Julia", "Peter"),
    "SURNAME": ("Johnson", "Miller", "Garcia", "Schmidt", "Walker", "Khan", "Rossi", "Taylor"),
    "STREET_NAME": ("Baker Street", "Maple Avenue", "Hill Road", "Station Road", "Elm Street"),
    "CITY": ("Boston", "Denver", "Houston", "Seattle", "Phoenix"),
    "STATE": ("Texas", "Ohio", "Oregon", "Colorado"),
}
_SECOND: Final = {
    "GIVEN_NAME": ("Emma", "Thomas", "Laura", "James", "Nina", "Omar", "Helen", "George"),
    "SURNAME": ("Brown", "Wilson", "Martinez", "Fischer", "Cooper", "Singh", "Moretti", "Clark"),
    "STREET_NAME": ("Park Avenue", "Oak Street", "Mill Lane", "Church Road", "Pine Street"),
    "CITY": ("Chicago", "Atlanta", "Portland", "Dallas", "Miami"),
    "STATE": ("Florida", "Georgia", "Nevada", "Michigan"),
}

"""What files say of samples: texts, pairs, words, labels, arrays."""

import json

import numpy as np
import pytest

from onnxwright.errors import UsageError
from onnxwright.records import Record, read_arrays, read_labels, read_records, to_record


@pytest.mark.parametrize(
    ("given", "record"),
    [
        ("one", Record(("one",))),
        (["one", "two"], Record(("one", "two"))),
        (["one"], Record(("one",))),
        ({"text": "one", "label": "good"}, Record(("one",), "good")),
        ({"text": "one", "text_pair": "two", "score": 0.5}, Record(("one", "two"), 0.5)),
        ({"query": "one", "passage": "two"}, Record(("one", "two"))),
        ({"id": 7, "question": "one", "context": "two", "answers": ["two"]}, Record(("one", "two"), ["two"])),
        ({"tokens": ["one", "two"], "labels": ["O", "B-X"]}, Record(("one two",), ["O", "B-X"], ("one", "two"))),
        ({"text": "one", "entities": []}, Record(("one",), [])),
        ({"text": "one", "label": 0}, Record(("one",), 0)),
    ],
)
def test_a_line_is_a_text_a_pair_or_names_them(given, record):
    assert to_record(given, "line 1") == record


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (7, "line 1: expected a text, a pair of texts or a mapping, got '7'"),
        (["one", "two", "three"], "line 1: expected a text, a pair"),
        ({"question": "one"}, "line 1: expected a mapping with text, tokens, or text and text_pair; .*got question"),
        ({"text": 7}, "line 1: expected a mapping with text"),
        ({"text": "one", "label": 1, "score": 2}, "line 1: has several labels, label and score. Keep one"),
    ],
)
def test_other_lines_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        to_record(given, "line 1")


def test_lines_without_text_are_left_out(tmp_path):
    (tmp_path / "texts.txt").write_text("one\n\n  \ntwo\n")
    (tmp_path / "texts.jsonl").write_text(json.dumps({"text": "", "label": 1}) + '\n"one"\n')

    assert read_records(tmp_path / "texts.txt") == [Record(("one",)), Record(("two",))]
    assert read_records(tmp_path / "texts.jsonl") == [Record(("one",))]


def test_labels_stand_one_a_line(tmp_path):
    (tmp_path / "labels.txt").write_text("good\n 1 \n\nbad\n\n")
    (tmp_path / "labels.jsonl").write_text('"good"\n[0, 1]\n0.5\n')

    assert read_labels(tmp_path / "labels.txt") == ["good", "1", "", "bad"]
    assert read_labels(tmp_path / "labels.jsonl") == ["good", [0, 1], 0.5]


def test_a_file_without_labels_is_refused(tmp_path):
    (tmp_path / "labels.txt").write_text("\n\n")

    with pytest.raises(UsageError, match=r"labels '.*labels.txt': no label in it; expected one a line"):
        read_labels(tmp_path / "labels.txt")


def test_arrays_are_read_and_nothing_else(tmp_path):
    np.savez(tmp_path / "plain.npz", x=np.arange(3))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))

    assert read_arrays(tmp_path / "plain.npz")["x"].tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match=r"not an \.npz file of plain arrays"):
        read_arrays(tmp_path / "objects.npz")


def test_names_labels_that_are_missing(tmp_path):
    with pytest.raises(UsageError, match=r"labels '.*none.txt': no such file. Give a text file with one label a line"):
        read_labels(tmp_path / "none.txt")


def test_refuses_samples_without_text(tmp_path):
    (tmp_path / "blank.txt").write_text("\n \n")

    with pytest.raises(UsageError, match=r"samples '.*blank.txt': no text in it; expected one a line"):
        read_records(tmp_path / "blank.txt")

"""Samples in two halves: disjoint, the same for a seed, as the model takes them, and honest about what they are."""

import json
from pathlib import Path

import numpy as np
import pytest

from onnxwright.corpus import FEW, corpus_of
from onnxwright.errors import SignatureError, UsageError
from onnxwright.losses import loss_of
from onnxwright.losses.tokens import UNLABELLED
from onnxwright.profile import Profile
from onnxwright.samples import Floats, Mask, Sampler, Tokens
from onnxwright.signature import Signature, TensorSpec
from onnxwright.source import Source
from onnxwright.text import built_in

WORDS = (
    *("red", "green", "blue", "fast", "slow", "cat", "dog", "bird", "runs", "sings"),
    *("anna", "lives", "in", "paris", "who", "where", "?", ".", "it", "is", "a", "the"),
)
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
NER = ["O", "B-PER", "I-PER", "B-LOC"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tokenizer that knows a few words, each one token."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors

    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    raw = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    made = tmp_path_factory.mktemp("model")
    raw.save(str(made / "tokenizer.json"))
    settings = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    (made / "tokenizer_config.json").write_text(json.dumps(settings))
    return made


def text_source(folder, task="embedding", *, batch=(1, 2, 4), sequence=(1, 8, 16), options=None):
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in names)
    outputs = {
        "embedding": {"sentence_embedding": ("batch", 4)},
        "classification": {"logits": ("batch", 2)},
        "token-classification": {"logits": ("batch", "sequence", 4)},
        "question-answering": dict.fromkeys(("start_logits", "end_logits"), ("batch", "sequence")),
    }[task]
    signature = Signature(inputs, tuple(TensorSpec(name, "float32", shape) for name, shape in outputs.items()))
    meanings = {name: Tokens("int64", 20) for name in names} | {"attention_mask": Mask("int64")}
    return Source(
        name="tiny",
        sampler=Sampler(signature, meanings),
        profile=Profile(batch=batch, sequence=sequence),
        traced={"batch": 2, "sequence": 5},
        graph=Path("tiny.onnx"),
        task=task,
        task_options=options or {},
        folder=folder,
    )


def tensor_source(*, batch=(1, 2, 4), fixed=False):
    rows = 2 if fixed else "batch"
    inputs = (TensorSpec("x", "float32", (rows, "length")), TensorSpec("table", "float32", (3,)))
    signature = Signature(inputs, (TensorSpec("y", "float32", (rows, "length")),))
    ranges = {"length": (2, 4, 40)} | ({} if fixed else {"batch": batch})
    return Source(
        name="tensors",
        sampler=Sampler(signature, {"x": Floats("float32"), "table": Floats("float32")}),
        profile=Profile(ranges),
        traced={"batch": 2, "length": 5},
        graph=Path("tensors.onnx"),
    )


def lines(folder, name, given):
    file = folder / name
    is_text = file.suffix == ".txt"
    file.write_text("\n".join(one if is_text else json.dumps(one) for one in given))
    return file


def keys(calls):
    return [tuple(array.tobytes() for array in call.values()) for call in calls]


def codes(corpus):
    return [finding.code for finding in corpus.findings]


def test_halves_share_no_sample_and_leave_none_out(folder, tmp_path):
    given = [*[f"cat {WORDS[a]} {WORDS[b]}" for a in range(6) for b in range(5)], "cat red red", "cat green blue"]

    corpus = corpus_of(text_source(folder), lines(tmp_path, "texts.txt", given))

    calibration, judged = set(keys(corpus.calibration)), set(keys(corpus.judged))
    assert not calibration & judged
    assert (len(calibration), len(judged)) == (15, 15)
    assert len(corpus.calibration) + len(corpus.judged) == 32
    assert corpus.origin == "32 texts of 'texts.txt'"
    assert codes(corpus) == []


def test_halves_depend_on_the_seed_alone(folder, tmp_path):
    file = lines(tmp_path, "texts.txt", [f"cat {one}" for one in WORDS])

    first, second, other = (keys(corpus_of(text_source(folder), file, seed=seed).judged) for seed in (0, 0, 1))

    assert first == second
    assert set(first) != set(other)


def test_texts_stand_alone_at_their_own_length(folder, tmp_path):
    corpus = corpus_of(text_source(folder), lines(tmp_path, "texts.txt", ["cat", "cat sings", "red cat sings"] * 3))

    calls = [*corpus.calibration, *corpus.judged]
    assert {call["input_ids"].shape for call in calls} == {(1, 3), (1, 4), (1, 5)}
    assert all(call["attention_mask"].all() for call in calls)
    assert {call["input_ids"][0, 0] for call in calls} == {2}
    assert corpus.specials == {2, 3}


def test_short_texts_are_filled_up_to_the_least_length(folder, tmp_path):
    source = text_source(folder, sequence=(6, 8, 16))

    corpus = corpus_of(source, lines(tmp_path, "texts.txt", ["cat", "dog"]))

    assert corpus.judged[0]["input_ids"].shape == (1, 6)
    assert corpus.judged[0]["attention_mask"].tolist() == [[1, 1, 1, 0, 0, 0]]


def test_a_model_that_takes_no_single_rows_gets_batches(folder, tmp_path):
    source = text_source(folder, batch=(2, 2, 4))

    corpus = corpus_of(source, lines(tmp_path, "texts.txt", [f"cat {one}" for one in WORDS[:10]]))

    assert [call["input_ids"].shape for call in corpus.judged] == [(2, 4)] * 2
    with pytest.raises(UsageError, match="the model takes batches of 2, and one half holds 1"):
        corpus_of(source, lines(tmp_path, "few.txt", ["cat", "dog"]))


def test_long_texts_are_cut_and_told(folder, tmp_path):
    given = [f"cat {one}" for one in WORDS[:10]]

    corpus = corpus_of(text_source(folder), lines(tmp_path, "texts.txt", [*given, "cat " * 40]))

    assert max(call["input_ids"].shape[1] for call in (*corpus.calibration, *corpus.judged)) == 16
    assert codes(corpus) == ["samples-cut"]
    assert corpus.findings[0].message == "1 of 11 texts are longer than 16 tokens and were cut."


def test_prompts_and_case_are_the_tasks(folder, tmp_path):
    source = text_source(folder, options={"prompt": "Red ", "max_length": 4})

    corpus = corpus_of(source, lines(tmp_path, "texts.txt", ["cat sings", "dog sings"]))

    assert {call["input_ids"][0, 1] for call in (*corpus.calibration, *corpus.judged)} == {4}
    assert corpus.judged[0]["input_ids"].shape == (1, 4)


def test_a_tokenizer_in_older_files_is_that_of_transformers(folder, tmp_path):
    from dataclasses import replace

    (tmp_path / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    settings = {"tokenizer_class": "BertTokenizer", "pad_token": "[PAD]", "model_max_length": 12}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    file = lines(tmp_path, "texts.txt", ["Cat sings", "dog runs . " * 9])
    source = text_source(tmp_path)
    with_text = replace(source, sampler=replace(source.sampler, text=lambda *_: {}))

    found = corpus_of(with_text, file)

    ids = [call["input_ids"][0].tolist() for call in (*found.calibration, *found.judged)]
    assert [2, 4 + WORDS.index("cat"), 4 + WORDS.index("sings"), 3] in ids
    assert max(map(len, ids)) == 12
    assert not list(tmp_path.glob("tokenizer.json"))
    with pytest.raises(UsageError, match="texts need a tokenizer, and 'tiny' has none"):
        corpus_of(source, file)


def test_texts_of_another_language_are_told(folder, tmp_path):
    known = [f"cat {one}" for one in WORDS]

    foreign = corpus_of(text_source(folder), lines(tmp_path, "foreign.txt", [f"katze {one}" for one in WORDS]))

    assert codes(corpus_of(text_source(folder), lines(tmp_path, "known.txt", known))) == []
    assert codes(foreign) == ["foreign-samples"]
    assert foreign.findings[0].message == "50% of the samples' tokens are unknown to the tokenizer."


def test_texts_that_are_taken_apart_letter_by_letter_are_told(folder, tmp_path):
    source = text_source(folder, sequence=(1, 8, 64))
    apart = corpus_of(source, lines(tmp_path, "apart.txt", ["a . " * number for number in range(1, 14)]))
    beside = [f"{'a ' * 40} 猫 {'cat ' * number}" for number in range(9)]
    wide = corpus_of(source, lines(tmp_path, "wide.txt", beside))

    assert "foreign-samples" in codes(apart)
    assert "pieces of 1.0 characters" in apart.findings[-1].message
    assert "foreign-samples" not in codes(wide)


def test_without_samples_built_in_texts_serve_and_that_is_told(folder):
    corpus = corpus_of(text_source(folder))

    assert len(corpus.calibration) + len(corpus.judged) == len(built_in())
    assert codes(corpus)[0] == "built-in-samples"
    assert "not on yours" in corpus.findings[0].message
    assert "built-in texts" in corpus.origin


def test_built_in_texts_are_many_and_different():
    found = built_in()

    assert len(found) == len(set(found)) >= 150
    assert all(text == text.strip() and text for text in found)
    assert max(map(len, found)) > 300
    assert min(map(len, found)) < 10


def test_tasks_about_pairs_have_built_in_pairs(folder):
    corpus = corpus_of(text_source(folder, "question-answering", options={"max_answer_tokens": 15}))

    assert all(call["token_type_ids"].max() == 1 for call in corpus.judged)
    assert "pairs of built-in texts" in corpus.origin


def test_without_a_tokenizer_inputs_are_drawn_at_many_sizes_and_that_is_told():
    first, second, other = (corpus_of(tensor_source(), seed=seed) for seed in (0, 0, 1))

    lengths = {call["x"].shape[1] for call in first.judged}
    assert len(lengths) > 10
    assert min(lengths) >= 2
    assert max(lengths) <= 40
    assert {call["x"].shape[0] for call in first.judged} == {1}
    assert codes(first) == ["drawn-samples"]
    assert first.origin == "64 random inputs"
    assert keys(first.judged) == keys(second.judged)
    assert keys(first.judged) != keys(other.judged)
    assert not set(keys(first.judged)) & set(keys(first.calibration))


def test_sizes_that_may_not_be_are_not_drawn():
    from dataclasses import replace

    source = replace(tensor_source(), is_within=lambda sizes: sizes["length"] == 7, traced={"batch": 2, "length": 5})

    assert {call["x"].shape[1] for call in corpus_of(source).judged} <= {7, 5}


def arrays(folder, **changes):
    rng = np.random.default_rng(0)
    made = {"x": rng.normal(size=(20, 6)).astype(np.float32), "table": np.arange(3, dtype=np.float32)} | changes
    np.savez(folder / "own.npz", **{name: array for name, array in made.items() if array is not None})
    return folder / "own.npz"


def test_an_npz_is_taken_apart_along_axis_0(tmp_path):
    corpus = corpus_of(tensor_source(), arrays(tmp_path))

    assert [call["x"].shape for call in corpus.judged] == [(1, 6)] * 10
    assert {call["table"].shape for call in corpus.judged} == {(3,)}
    assert corpus.origin == "20 samples of 'own.npz'"


def test_a_fixed_batch_is_filled(tmp_path):
    corpus = corpus_of(tensor_source(fixed=True), arrays(tmp_path))

    assert [call["x"].shape for call in corpus.judged] == [(2, 6)] * 5
    assert {call["table"].shape for call in corpus.judged} == {(3,)}


def test_an_npz_is_cut_to_the_range(tmp_path):
    corpus = corpus_of(tensor_source(), arrays(tmp_path, x=np.random.default_rng(0).normal(size=(9, 50)).astype("f4")))

    assert corpus.judged[0]["x"].shape == (1, 40)
    assert codes(corpus) == ["samples-cut"]
    assert "Dim 'length' of the samples is 50, and was cut to 40" in corpus.findings[0].message


def broken(value):
    x = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    x[11, 2] = value
    return x


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"x": broken(np.nan)},
            UsageError,
            r"own.npz', array 'x', row 11: holds NaN or infinity. Leave that sample out",
        ),
        ({"x": broken(np.inf)}, UsageError, "array 'x', row 11: holds NaN or infinity"),
        ({"x": np.ones((20, 6), np.float32)}, UsageError, "samples: all 20 are the same"),
        ({"x": np.ones((1, 6), np.float32)}, UsageError, "samples: there is one; expected some to make"),
        ({"x": np.ones((0, 6), np.float32)}, UsageError, "no sample in it"),
        ({"x": np.ones((20, 1), np.float32)}, UsageError, "dim 'length' is 1, less than 2"),
        ({"x": np.ones(20, np.float32)}, UsageError, r"array 'x': expected float32\[batch, length\], got \[20\]"),
        ({"x": np.random.default_rng(0).normal(size=(20, 6))}, SignatureError, "input 'x': expected float32"),
        ({"table": None}, UsageError, "expected the arrays x, table, got x"),
        ({"z": np.ones(3)}, UsageError, "expected the arrays x, table, got x, table, z"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        corpus_of(tensor_source(), arrays(tmp_path, **changes))


def test_arrays_of_other_lengths_are_refused(folder, tmp_path):
    ids = np.ones((4, 5), np.int64)
    np.savez(tmp_path / "own.npz", input_ids=ids, attention_mask=ids, token_type_ids=ids[:3])

    with pytest.raises(UsageError, match="expected as many samples in each array, got 4 in 'input_ids', 4 in 'att"):
        corpus_of(text_source(folder), tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["cat", "cat", "cat"], "samples: all 3 are the same; expected some to make a variant, and others to judge it"),
        (["cat"], "samples: there is one; expected some to make a variant"),
        (["", " "], "no text in it; expected one a line"),
    ],
)
def test_texts_that_tell_nothing_are_refused(folder, tmp_path, given, message):
    with pytest.raises(UsageError, match=message):
        corpus_of(text_source(folder), lines(tmp_path, "texts.txt", given))


def test_few_samples_are_told(folder, tmp_path):
    few = corpus_of(text_source(folder), lines(tmp_path, "few.txt", [f"cat {one}" for one in WORDS[: FEW - 1]]))
    enough = corpus_of(text_source(folder), lines(tmp_path, "enough.txt", [f"cat {one}" for one in WORDS[:FEW]]))

    assert codes(few) == ["few-samples"]
    assert few.findings[0].message == "There are 7 different samples in both halves together."
    assert codes(enough) == []


def test_no_more_samples_are_used_than_asked_for(folder, tmp_path):
    file = lines(tmp_path, "texts.txt", [f"cat {one}" for one in WORDS])

    corpus = corpus_of(text_source(folder), file, count=12)

    assert (len(corpus.calibration), len(corpus.judged)) == (6, 6)


def test_texts_without_a_tokenizer_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"texts need a tokenizer, and 'tensors' has none. Give an \.npz file"):
        corpus_of(tensor_source(), lines(tmp_path, "texts.txt", ["cat", "dog"]))


def test_a_missing_file_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match=r"samples '.*none.npz': no such file"):
        corpus_of(tensor_source(), tmp_path / "none.npz")


def test_one_text_for_a_task_about_two_is_refused(folder, tmp_path):
    with pytest.raises(UsageError, match="sample 0: question-answering is about two texts, got one"):
        corpus_of(text_source(folder, "question-answering"), lines(tmp_path, "texts.txt", ["cat", "dog"]))


def test_labels_stay_with_their_samples(folder, tmp_path):
    given = [f"{'cat' if number % 2 else 'dog'} {one}" for number, one in enumerate(WORDS)]
    source = text_source(folder, "classification", options={"labels": ["dog", "cat"], "activation": "softmax"})
    beside = [{"text": text, "label": text[:3]} for text in given]

    apart = corpus_of(
        source, lines(tmp_path, "texts.txt", given), lines(tmp_path, "labels.txt", [t[:3] for t in given])
    )
    together = corpus_of(source, lines(tmp_path, "texts.jsonl", beside))

    ids = {"cat": 4 + WORDS.index("cat"), "dog": 4 + WORDS.index("dog")}
    assert [ids[label] for label in apart.labels] == [call["input_ids"][0, 1] for call in apart.judged]
    assert set(apart.labels) == {"cat", "dog"}
    assert together.labels == apart.labels


@pytest.mark.parametrize(
    ("samples", "labels", "message"),
    [
        (["cat", "dog"], ["1"], "labels: expected one for each of 2 samples, got 1"),
        ([{"text": "cat", "label": 1}, "dog"], None, "labels: 1 of 2 samples have one. Give each one, or none"),
        (
            [{"text": "cat", "label": 1}, {"text": "dog", "label": 0}],
            ["1", "0"],
            "stand beside the samples, and in a file",
        ),
        (None, ["1"], "labels: given without samples"),
    ],
)
def test_labels_that_do_not_match_are_refused(folder, tmp_path, samples, labels, message):
    source = text_source(folder, "classification")
    files = (
        None if samples is None else lines(tmp_path, "texts.jsonl", samples),
        None if labels is None else lines(tmp_path, "labels.txt", labels),
    )

    with pytest.raises(UsageError, match=message):
        corpus_of(source, *files)


def test_labels_of_an_npz_stand_in_a_file(tmp_path):
    corpus = corpus_of(tensor_source(), arrays(tmp_path), lines(tmp_path, "labels.txt", [str(n) for n in range(20)]))

    assert len(corpus.labels) == 10
    with pytest.raises(UsageError, match="labels: expected one for each of 20 samples, got 3"):
        corpus_of(tensor_source(), tmp_path / "own.npz", lines(tmp_path, "labels.txt", ["1", "2", "3"]))


def test_pairs_with_scores_are_two_texts_in_a_row(folder, tmp_path):
    given = [{"text": f"cat {one}", "text_pair": "dog", "score": number / 9} for number, one in enumerate(WORDS[:10])]

    corpus = corpus_of(text_source(folder), lines(tmp_path, "pairs.jsonl", given))

    firsts = [call["input_ids"][0, 1] - 4 for call in corpus.judged]
    assert firsts == [WORDS.index("cat"), WORDS.index("dog")] * 5
    ranks = [WORDS.index(WORDS[call["input_ids"][0, 2] - 4]) for call in corpus.judged[::2]]
    assert [rank / 9 for rank in ranks] == list(corpus.labels)


def test_a_text_of_two_pairs_does_not_calibrate_where_it_judges(folder, tmp_path):
    given = [{"text": f"cat {one}", "text_pair": "dog"} for one in WORDS[:10]]

    corpus = corpus_of(text_source(folder), lines(tmp_path, "pairs.jsonl", given))

    assert (len(corpus.calibration), len(corpus.judged)) == (5, 10)
    assert not set(keys(corpus.calibration)) & set(keys(corpus.judged))
    with pytest.raises(UsageError, match="every sample of one half is in the other, too"):
        corpus_of(text_source(folder), lines(tmp_path, "both.jsonl", [["cat", "dog"], ["dog", "cat"]]))


def test_words_give_their_first_token_a_label(folder, tmp_path):
    source = text_source(folder, "token-classification", options={"labels": NER})
    words = ["Anna", "lives", "in", "paris."]
    line = {"tokens": words, "labels": ["B-PER", "O", "O", "B-LOC"]}
    other = {"tokens": ["cat"], "labels": [0]}

    corpus = corpus_of(
        source, lines(tmp_path, "words.jsonl", [line, {**line, "tokens": ["anna", *words[1:3], "it"]}, other])
    )

    expected = [UNLABELLED, 1, 0, 0, 3, UNLABELLED, UNLABELLED], [UNLABELLED, 1, 0, 0, 3, UNLABELLED], [-100, 0, -100]
    assert all(labels in expected for labels in corpus.labels)
    assert [len(labels) for labels in corpus.labels] == [call["input_ids"].shape[1] for call in corpus.judged]


def aligned(folder, task, texts, label, words=(), **options):
    from onnxwright.losses import Given
    from onnxwright.text import Tokenizer

    source = text_source(folder, task, options=options)
    loss = loss_of(task, source.signature, options)
    (encoding,) = Tokenizer.open(folder).encode([texts])
    return loss.kind.aligned(Given(label, words), encoding, loss.purpose)


def test_a_token_that_begins_with_a_space_is_of_the_word_behind_it():
    from onnxwright.losses import Given
    from onnxwright.text import Encoding

    source = text_source(None, "token-classification", options={"labels": NER})
    loss = loss_of(source.task, source.signature, source.task_options)
    encoding = Encoding(
        texts=("anna lives",),
        ids=(2, 5, 6, 7, 8),
        attention_mask=(1,) * 5,
        type_ids=(0,) * 5,
        offsets=((0, 0), (0, 3), (3, 4), (4, 9), (9, 10)),
        word_ids=(None, 0, 0, 1, 1),
        sequence_ids=(None, 0, 0, 0, 0),
        special_tokens_mask=(1, 0, 0, 0, 0),
        pieces=("<s>", "ann", "a", " live", "s"),
        is_truncated=False,
        decoder="".join,
    )

    found = loss.kind.aligned(Given(["B-PER", "O"], ["anna", "lives"]), encoding, loss.purpose)

    assert found == [UNLABELLED, 1, UNLABELLED, 0, UNLABELLED]


def test_entities_label_the_tokens_they_cover(folder):
    label = [{"start": 0, "end": 9, "label": "PER"}, {"start": 22, "end": 27, "label": "LOC"}]

    found = aligned(folder, "token-classification", "anna anna lives in the paris .", label, labels=NER)

    assert found == [UNLABELLED, 1, 2, 0, 0, 0, 3, 0, UNLABELLED]


@pytest.mark.parametrize(
    ("label", "words", "message"),
    [
        ("PER", (), "label 'PER': expected a list, of a label for each word or of entities"),
        (["O"], ("cat", "dog"), "labels: expected one for each of 2 words, got 1"),
        (["X", "O"], ("cat", "dog"), "label 'X': the model has none of that name; expected one of B-LOC, B-PER"),
        (
            [{"start": 0, "end": 99, "label": "PER"}],
            (),
            "expected an entity as .* by places in its text of 7 characters",
        ),
        ([{"start": 0, "end": 3, "label": "DATE"}], (), "label 'DATE': the model has none"),
        ([7], (), "label 7: expected an entity"),
    ],
)
def test_entities_that_do_not_fit_are_refused(folder, label, words, message):
    with pytest.raises(UsageError, match=message):
        aligned(folder, "token-classification", "cat dog", label, words, labels=NER)


@pytest.mark.parametrize(
    ("label", "spans"),
    [
        ("paris", [(8, 8)]),
        (["in paris", "paris"], [(7, 8), (8, 8)]),
        ({"text": ["anna"], "answer_start": [0]}, [(5, 5)]),
        ("a", None),
        ({"text": ["paris"], "answer_start": [3]}, None),
        (7, None),
    ],
)
def test_answers_are_spans_of_the_context(folder, label, spans):
    def find():
        return aligned(folder, "question-answering", ("who sings ?", "Anna lives in Paris".lower()), label)

    if spans is None and label != "a":
        with pytest.raises(UsageError, match=r"label .*: (doesn't stand in its context|expected an answer)"):
            find()
    elif spans is not None:
        assert find() == spans
    else:
        assert len(find()) == 3


def test_an_answer_that_was_cut_off_has_no_span(folder, tmp_path):
    given = [
        {"question": f"who {one} ?", "context": "it is " * 12 + "anna", "answers": ["anna"]}
        for one in ("sings", "runs")
    ]

    corpus = corpus_of(text_source(folder, "question-answering"), lines(tmp_path, "answers.jsonl", given))

    assert corpus.labels == [[]]


def test_labels_of_a_corpus_are_those_that_the_loss_takes(folder, tmp_path):
    source = text_source(folder, "question-answering", options={"max_answer_tokens": 15})
    given = [{"question": "who sings ?", "context": f"{one} anna", "answers": "anna"} for one in WORDS[:10]]
    corpus = corpus_of(source, lines(tmp_path, "answers.jsonl", given))
    right = [
        {name: np.eye(call["input_ids"].shape[1])[[place]] for name in ("start_logits", "end_logits")}
        for call in corpus.judged
        for place in [call["input_ids"].shape[1] - 2]
    ]
    wrong = [{name: np.roll(array, -1) for name, array in one.items()} for one in right]

    found = loss_of(source.task, source.signature, source.task_options).compare(
        right, wrong, corpus.judged, corpus.labels
    )

    assert (found.reference_metric, found.metric, found.loss) == (1.0, 0.0, 1.0)

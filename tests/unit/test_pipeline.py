import json
import shutil

import msgspec
import numpy as np
import pytest

from onnxwright.artifact import Package
from onnxwright.errors import EngineError, OutOfRangeError, SourceError, UsageError
from onnxwright.pipelines import Answer, pipeline
from onnxwright.records import read_texts
from onnxwright.signature import Signature, TensorSpec
from onnxwright.stages.run import run
from onnxwright.text import Tokenizer

RAGGED = [f"{'word ' * (number * 7 % 13)}{number}" for number in range(11)]
WITHOUT_MASK = """
<ir_version: 8, opset_import: ["" : 17]>
summing (int64[batch, sequence] input_ids) => (float[batch, 1] sentence_embedding) {
    ids = Cast <to = 1> (input_ids)
    axis = Constant <value = int64[1] {1}> ()
    sentence_embedding = ReduceSum (ids, axis)
}
"""
TYPED = """
<ir_version: 8, opset_import: ["" : 17]>
typed (int32[batch, sequence] input_ids, int32[batch, sequence] attention_mask, int32[batch, sequence] token_type_ids)
    => (float[batch, 1] logits) {
    real = Mul (token_type_ids, attention_mask)
    types = Cast <to = 1> (real)
    axis = Constant <value = int64[1] {1}> ()
    logits = ReduceSum (types, axis)
}
"""


def specs(*names, dtype="int64", shape=("batch", "sequence")):
    return tuple(TensorSpec(name, dtype, shape) for name in names)


@pytest.fixture
def embedder(counting, minilm):
    """Makes a package that answers (sum of ids, number of tokens) for a text."""

    def make(**changes):
        folder = counting(**{"task": "embedding", **changes})
        shutil.copy(minilm / "tokenizer.json", folder)
        shutil.copy(minilm / "tokenizer_config.json", folder)
        return folder

    return make


@pytest.fixture
def reranker(make_package, minilm):
    """Makes a package that counts the tokens of the second text."""

    def make(name="reranker", **changes):
        signature = Signature(
            specs("input_ids", "attention_mask", "token_type_ids", dtype="int32"), specs("logits", shape=("batch", 1))
        )
        options = {"task": "reranking", "task_options": {"activation": "identity"}, **changes}
        folder = make_package(name, TYPED, signature, **options)
        shutil.copy(minilm / "tokenizer.json", folder)
        return folder

    return make


def counted(minilm, text, max_length=16):
    (encoding,) = Tokenizer.open(minilm).encode([text], max_length=max_length)
    return [float(sum(encoding.ids)), float(len(encoding))]


def test_answers_a_text(embedder, minilm):
    assert pipeline(embedder())("hello world") == counted(minilm, "hello world")


@pytest.mark.parametrize("batch_size", [None, 1, 2, 3, 4])
def test_keeps_the_order_of_ragged_texts(embedder, minilm, batch_size):
    answers = pipeline(embedder(), batch_size=batch_size)(RAGGED)
    assert answers == [counted(minilm, text) for text in RAGGED]


def test_fills_up_to_the_least_batch_and_sequence(embedder, minilm):
    folder = embedder(ranges={"batch": (3, 4), "sequence": (8, 16)})
    assert pipeline(folder)("hello") == counted(minilm, "hello")
    assert pipeline(folder)(RAGGED) == [counted(minilm, text) for text in RAGGED]


def test_fills_up_fixed_axes(make_package, minilm):
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    fixed (int64[2, 8] input_ids, int64[2, 8] attention_mask) => (float[2, 1] sentence_embedding) {
        real = Mul (input_ids, attention_mask)
        ids = Cast <to = 1> (real)
        axis = Constant <value = int64[1] {1}> ()
        sentence_embedding = ReduceSum (ids, axis)
    }
    """
    signature = Signature(
        specs("input_ids", "attention_mask", shape=(2, 8)), specs("sentence_embedding", shape=(2, 1), dtype="float32")
    )
    folder = make_package("fixed", text, signature, ranges={"none": (1, 1)}, task="embedding")
    shutil.copy(minilm / "tokenizer.json", folder)
    found = pipeline(folder)
    assert found(["hello", "a b c", "x"]) == [counted(minilm, given)[:1] for given in ("hello", "a b c", "x")]
    assert found.max_length == 8


def test_uses_the_usual_batch_of_the_profile(embedder):
    assert pipeline(embedder(profile={"batch": (1, 2, 4), "sequence": (1, 8, 16)})).batch_size == 2
    assert pipeline(embedder(name="wide", profile={"batch": (1, 64, 64), "sequence": (1, 8, 16)})).batch_size == 4


@pytest.mark.parametrize("batch_size", [0, 5])
def test_refuses_a_batch_beyond_the_proven_one(embedder, batch_size):
    with pytest.raises(OutOfRangeError, match=f"batch_size {batch_size}: this package was proven for batches up to 4"):
        pipeline(embedder(), batch_size=batch_size)


@pytest.mark.parametrize(("options", "expected"), [({}, 16), ({"max_length": 6}, 6), ({"max_length": 300}, 16)])
def test_cuts_to_what_was_proven_and_what_the_task_allows(embedder, minilm, options, expected):
    found = pipeline(embedder(task_options=options))
    assert found.max_length == expected
    assert found("word " * 50) == counted(minilm, "word " * 50, expected)


def test_cuts_to_the_limit_of_the_tokenizer(embedder):
    folder = embedder()
    (folder / "tokenizer_config.json").write_text('{"model_max_length": 7}')
    assert pipeline(folder)("word " * 50)[1] == 7.0


def test_tells_which_texts_were_cut(embedder):
    short, long = pipeline(embedder()).answer(["hello", "word " * 50])
    assert (short.tokens, short.is_truncated) == (3, False)
    assert (long.tokens, long.is_truncated) == (16, True)


def test_puts_the_prompt_before_and_lowers_the_case(embedder, minilm):
    folder = embedder(task_options={"prompt": "Query: ", "is_lowercase": True})
    assert pipeline(folder)("HELLO") == counted(minilm, "query: hello")


def test_empty_text_has_its_special_tokens(embedder):
    assert pipeline(embedder())("") == [203.0, 2.0]


def test_refuses_a_text_without_tokens(embedder):
    folder = embedder()
    stored = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**stored, "post_processor": None}))
    with pytest.raises(UsageError, match="text 1: has no tokens"):
        pipeline(folder)(["fine", " "])


def test_without_a_mask_only_equal_lengths_share_a_batch(make_package, minilm):
    signature = Signature(specs("input_ids"), (TensorSpec("sentence_embedding", "float32", ("batch", 1)),))
    folder = make_package(
        "bare", WITHOUT_MASK, signature, ranges={"batch": (1, 4), "sequence": (3, 16)}, task="embedding"
    )
    shutil.copy(minilm / "tokenizer.json", folder)
    assert pipeline(folder)(RAGGED) == [counted(minilm, text)[:1] for text in RAGGED]
    with pytest.raises(UsageError, match="a text of 2 tokens: the proven range begins at 3, and without the input"):
        pipeline(folder)("")


class TestPairs:
    @pytest.mark.parametrize(
        "pair",
        [
            ("a query", "one two three"),
            {"text": "a query", "text_pair": "one two three"},
            {"query": "a query", "passage": "one two three"},
            {"context": "one two three", "question": "a query"},
        ],
    )
    def test_takes_pairs_in_every_form(self, reranker, pair):
        assert pipeline(reranker())(pair) == {"score": 4.0}
        assert pipeline(reranker(name="many"))([pair, pair]) == [{"score": 4.0}] * 2

    def test_takes_lists_as_pairs_inside_a_list(self, reranker):
        assert pipeline(reranker())([["q", "one"], ["q", "one two"]]) == [{"score": 2.0}, {"score": 3.0}]

    def test_refuses_one_text(self, reranker):
        with pytest.raises(UsageError, match=r"text 0: reranking is about two texts, got one. Give \(first, second\)"):
            pipeline(reranker())("alone")

    def test_refuses_a_pair_for_a_task_about_one(self, embedder):
        with pytest.raises(UsageError, match="text 1: embedding is about one text, got a pair"):
            pipeline(embedder())(["fine", ("a", "b")])

    def test_question_answering_keeps_the_question_whole(self, reranker):
        folder = reranker(task="question-answering", task_options={"max_answer_tokens": 15})
        with pytest.raises(UsageError, match="leaves no room for its context in 16"):
            pipeline(folder)(("why " * 20, "because"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], "no texts: expected at least one"),
        ([3], "text 0: expected a text, or a pair of texts, got int '3'"),
        (None, "text 0: expected a text, or a pair of texts, got NoneType"),
        (["ok", b"bytes"], "text 1: expected a text, or a pair of texts, got bytes"),
        ([("a", 3)], "got tuple"),
        ([("a", "b", "c")], "got tuple"),
        ([{"txt": "a"}], "expected a mapping with text alone, or text and text_pair; .* got txt"),
        ([{"text": 3}], "got tuple"),
    ],
)
def test_refuses_what_is_no_text(embedder, given, words):
    with pytest.raises(UsageError, match=words):
        pipeline(embedder())(given)


def test_refuses_a_package_without_task(counting):
    with pytest.raises(UsageError, match=r"has no task, so texts mean nothing to it.*feed tensors"):
        pipeline(counting())


def test_refuses_a_package_without_tokenizer(counting):
    with pytest.raises(SourceError, match=r"has no tokenizer.json"):
        pipeline(counting(task="embedding"))


def test_refuses_an_unknown_engine(embedder):
    with pytest.raises(EngineError, match="'tvm' is unknown"):
        pipeline(embedder(), engine="tvm")


def test_refuses_inputs_that_are_no_tokens(make_package, minilm):
    text = """
    <ir_version: 8, opset_import: ["" : 17]>
    picture (float[batch, sequence] pixels) => (float[batch, sequence] sentence_embedding) {
        sentence_embedding = Relu (pixels)
    }
    """
    signature = Signature(specs("pixels", dtype="float32"), specs("sentence_embedding", dtype="float32"))
    folder = make_package("picture", text, signature, task="embedding")
    shutil.copy(minilm / "tokenizer.json", folder)
    with pytest.raises(UsageError, match=r"input 'pixels' .* can't be made from text alone; expected input_ids"):
        pipeline(folder)


def test_says_what_runs(embedder):
    assert pipeline(embedder()).ran.backend == "onnxruntime"


def test_opens_what_package_opens(embedder):
    folder = embedder()
    ids = np.array([[101, 102]])
    answer = Package.open(folder).session().run({"input_ids": ids, "attention_mask": np.ones_like(ids)})
    assert answer["sentence_embedding"].tolist() == [pipeline(folder)("")]


class TestRun:
    def test_yields_an_answer_for_each_text(self, embedder, minilm):
        answers = list(run(embedder(), iter(RAGGED), batch_size=2))
        assert [answer.answer for answer in answers] == [counted(minilm, text) for text in RAGGED]
        assert msgspec.json.decode(msgspec.json.encode(answers[0]), type=Answer) == answers[0]

    def test_yields_block_by_block(self, embedder):
        many = ("word" for _ in range(2500))
        assert sum(1 for _ in run(embedder(), many)) == 2500

    def test_fails_before_the_first_text(self, counting):
        with pytest.raises(UsageError, match="has no task"):
            run(counting(), [])

    def test_reads_a_text_a_line(self, tmp_path):
        file = tmp_path / "texts.txt"
        file.write_bytes('one\r\n\n["not", "a pair"]\nzwölf\u2028still'.encode())
        assert list(read_texts(file)) == ["one", "", '["not", "a pair"]', "zwölf\u2028still"]

    def test_reads_json_lines(self, tmp_path, reranker):
        file = tmp_path / "pairs.jsonl"
        file.write_text('["q", "one"]\n\n{"query": "q", "passage": "one two"}\n')
        assert [answer.answer for answer in run(reranker(), read_texts(file))] == [{"score": 2.0}, {"score": 3.0}]

    def test_names_a_missing_file(self, tmp_path):
        with pytest.raises(UsageError, match=r"no such file. Give a text file"):
            read_texts(tmp_path / "missing.txt")

    @pytest.mark.parametrize("line", ['{"query": ', "[" * 100_000])
    def test_names_the_line_that_is_not_json(self, line, tmp_path):
        (tmp_path / "pairs.jsonl").write_text(f'"fine"\n{line}\n')
        with pytest.raises(UsageError, match=r"line 2: not JSON.*Write a string"):
            list(read_texts(tmp_path / "pairs.jsonl"))

    def test_refuses_another_encoding(self, tmp_path):
        (tmp_path / "texts.txt").write_bytes("zwölf".encode("latin-1"))
        with pytest.raises(UsageError, match="is not UTF-8 text"):
            list(read_texts(tmp_path / "texts.txt"))

import json

import numpy as np
import pytest

from onnxwright.errors import SourceError, UsageError
from onnxwright.tasks import labels, task, tasks
from onnxwright.tasks.activations import identity, sigmoid, softmax
from onnxwright.text import Tokenizer

TEXTS = [
    "Hugging Face is based in New York City.",
    "short",
    "Ångström visited Zürich, 東京 and São Paulo with Mr. O'Neill!",
    "unknown ☃☃☃ snowmen",
]
PAIRS = [
    ("Where is it?", "The tower, built in 1889, stands in Paris on the Champ de Mars."),
    ("Who wrote it?", "Nobody-knows who wrote extraordinarily complicated words."),
    ("What?", "Yes"),
]


@pytest.fixture(scope="module")
def tokenizer(minilm):
    return Tokenizer.open(minilm)


@pytest.fixture(scope="module")
def reference_tokenizer(minilm):
    import transformers

    return transformers.AutoTokenizer.from_pretrained(minilm)


def make_model(auto_class, **config):
    import torch
    import transformers

    torch.manual_seed(3)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = getattr(transformers, auto_class).from_config(transformers.BertConfig(**small, **config)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.6)
    return model


def run(model, encodings):
    """Runs the model on padded encodings, as the graph would, and returns its outputs by name."""
    import torch

    names = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    with torch.no_grad():
        answered = model(
            **{name: torch.tensor([getattr(e, field) for e in encodings]) for name, field in names.items()}
        )
    return {name: array.numpy() for name, array in answered.items()}


def encode(tokenizer, texts, cut="longest_first"):
    encodings = tokenizer.encode(texts, cut=cut)
    longest = max(map(len, encodings)) + 2
    return [tokenizer.pad(encoding, longest) for encoding in encodings]


def ask(model, tokenizer, name, texts, folder=None):
    found = task(name)
    encodings = encode(tokenizer, texts, found.cut)
    return found.answer(run(model, encodings), encodings, through_json(found.options(model.config.to_dict(), folder)))


def through_json(options):
    return json.loads(json.dumps(options))


class TestTable:
    def test_each_task_has_a_row(self):
        assert sorted(tasks()) == [
            "classification",
            "embedding",
            "question-answering",
            "reranking",
            "text-generation",
            "token-classification",
        ]

    def test_names_the_tasks_for_an_unknown_one(self):
        with pytest.raises(SourceError, match="task 'summarize' is unknown; expected one of classification, embedding"):
            task("summarize")

    @pytest.mark.parametrize(
        ("architecture", "config", "expected"),
        [
            ("BertModel", {"vocab_size": 9}, "embedding"),
            ("XLMRobertaModel", {"vocab_size": 9}, "embedding"),
            ("T5EncoderModel", {"vocab_size": 9, "is_encoder_decoder": True}, "embedding"),
            ("T5Model", {"vocab_size": 9, "is_encoder_decoder": True}, None),
            ("ViTModel", {}, None),
            ("GPT2LMHeadModel", {"vocab_size": 9}, "text-generation"),
            ("T5ForCausalLM", {"is_encoder_decoder": True}, None),
            ("GPT2DoubleHeadsModel", {"vocab_size": 9}, None),
            ("BertForMaskedLM", {"vocab_size": 9}, None),
            ("BertForSequenceClassification", {}, "classification"),
            ("BertForSequenceClassification", {"id2label": {"0": "a", "1": "b", "2": "c"}}, "classification"),
            ("BertForSequenceClassification", {"id2label": {"0": "LABEL_0"}}, "reranking"),
            ("BertForSequenceClassification", {"num_labels": 1, "problem_type": "regression"}, "classification"),
            (
                "BertForSequenceClassification",
                {"num_labels": 1, "problem_type": "regression", "sentence_transformers": {"version": "5"}},
                "reranking",
            ),
            (
                "BertForSequenceClassification",
                {"id2label": {"0": "no", "1": "maybe", "2": "yes"}, "sentence_transformers": {"version": "5"}},
                "classification",
            ),
            ("BertForTokenClassification", {}, "token-classification"),
            ("BertForQuestionAnswering", {}, "question-answering"),
        ],
    )
    def test_finds_the_one_task_that_fits(self, architecture, config, expected):
        assert [name for name, row in tasks().items() if row.fits(architecture, config)] == (
            [expected] if expected else []
        )

    def test_outputs_are_those_of_the_models(self, tokenizer):
        for row in tasks().values():
            outputs = run(make_model(row.auto_class), encode(tokenizer, ["text"]))
            assert set(row.outputs()) - {"sentence_embedding"} <= outputs.keys()

    def test_labels_are_in_the_order_of_their_numbers(self):
        assert labels({"id2label": {str(number): f"l{number}" for number in reversed(range(12))}}) == [
            f"l{number}" for number in range(12)
        ]
        assert labels({"num_labels": 3}) == ["LABEL_0", "LABEL_1", "LABEL_2"]
        assert labels({}) == ["LABEL_0", "LABEL_1"]


class TestActivations:
    def test_agree_with_torch(self):
        import torch

        logits = np.array([[-800.0, -1.5, 0.0], [2.5, 90.0, 800.0]], dtype=np.float32)
        assert sigmoid(logits) == pytest.approx(torch.sigmoid(torch.tensor(logits)).numpy(), abs=1e-7)
        assert softmax(logits) == pytest.approx(torch.softmax(torch.tensor(logits), -1).numpy(), abs=1e-7)
        assert identity(logits) is logits

    @pytest.mark.filterwarnings("error")
    def test_do_not_overflow(self):
        assert np.isfinite(sigmoid(np.array([-1e4, 1e4], dtype=np.float32))).all()
        assert np.isfinite(softmax(np.array([-1e4, 1e4], dtype=np.float32))).all()


class TestEmbedding:
    def test_answers_the_sentence_vector_of_each_text(self, tokenizer):
        outputs = {"last_hidden_state": np.ones((3, 2, 2)), "sentence_embedding": np.array([[1, 2], [3, 4], [0, 0.5]])}
        encodings = tokenizer.encode(["a", "b"])
        assert task("embedding").answer(outputs, encodings, {}) == [[1.0, 2.0], [3.0, 4.0]]

    def test_says_that_the_sentence_vector_is_missing(self, tokenizer):
        with pytest.raises(UsageError, match="expected 'sentence_embedding', got last_hidden_state"):
            task("embedding").answer({"last_hidden_state": np.ones((1, 2, 2))}, tokenizer.encode(["a"]), {})

    def test_takes_the_length_of_sentence_transformers(self, minilm, tmp_path):
        assert task("embedding").options({}, minilm) == {"max_length": 256}
        assert task("embedding").options({}, tmp_path) == {}

    def test_takes_prompt_and_case_of_sentence_transformers(self, tmp_path):
        (tmp_path / "modules.json").write_text('[{"idx": 0, "path": "0_Transformer"}]')
        (tmp_path / "0_Transformer").mkdir()
        settings = '{"max_seq_length": 64, "do_lower_case": true}'
        (tmp_path / "0_Transformer" / "sentence_bert_config.json").write_text(settings)
        saved = '{"prompts": {"query": "query: ", "other": ""}, "default_prompt_name": "query"}'
        (tmp_path / "config_sentence_transformers.json").write_text(saved)
        assert task("embedding").options({}, tmp_path) == {
            "max_length": 64,
            "prompt": "query: ",
            "is_lowercase": True,
        }

    def test_names_a_broken_file(self, tmp_path):
        (tmp_path / "modules.json").write_text("[{")
        with pytest.raises(SourceError, match=r"modules.json' is not JSON"):
            task("embedding").options({}, tmp_path)


class TestClassification:
    @pytest.mark.parametrize(
        "config",
        [
            {"num_labels": 3},
            {"id2label": {0: "good", 1: "bad"}, "label2id": {"good": 0, "bad": 1}},
            {"num_labels": 4, "problem_type": "multi_label_classification"},
            {"num_labels": 1, "problem_type": "regression"},
            {"num_labels": 1},
        ],
    )
    @pytest.mark.parametrize("texts", [TEXTS, PAIRS])
    def test_answers_as_the_pipeline_of_transformers(self, tokenizer, reference_tokenizer, config, texts):
        import transformers

        model = make_model("AutoModelForSequenceClassification", **config)
        pipeline = transformers.pipeline("text-classification", model=model, tokenizer=reference_tokenizer)
        answers = ask(model, tokenizer, "classification", texts)
        for text, answer in zip(texts, answers, strict=True):
            given = text if isinstance(text, str) else {"text": text[0], "text_pair": text[1]}
            reference = pipeline(given, top_k=None)
            assert [row["label"] for row in answer] == [row["label"] for row in reference]
            assert [row["score"] for row in answer] == pytest.approx(
                [row["score"] for row in reference], rel=1e-5, abs=1e-6
            )


class TestReranking:
    @pytest.mark.parametrize(
        ("config", "saved", "activation"),
        [
            ({}, None, "sigmoid"),
            ({"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}}, None, "identity"),
            ({"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}, None, "sigmoid"),
            ({"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"}, None, "identity"),
            ({}, '{"activation_fn": "torch.nn.modules.linear.Identity"}', "identity"),
        ],
    )
    def test_respects_the_activation_that_was_saved(self, tmp_path, config, saved, activation):
        if saved:
            (tmp_path / "config_sentence_transformers.json").write_text(saved)
        options = task("reranking").options({"num_labels": 1, **config}, tmp_path)
        assert options == {"activation": activation}

    def test_scores_each_pair_by_itself(self, tokenizer, tmp_path):
        model = make_model("AutoModelForSequenceClassification", num_labels=1)
        answers = ask(model, tokenizer, "reranking", PAIRS, tmp_path)
        logits = run(model, encode(tokenizer, PAIRS))["logits"]
        assert [answer["score"] for answer in answers] == pytest.approx((1 / (1 + np.exp(-logits)))[:, 0], abs=1e-6)
        assert len({answer["score"] for answer in answers}) == len(PAIRS)

    def test_refuses_an_unknown_activation(self, tmp_path):
        config = {"num_labels": 1, "sentence_transformers": {"activation_fn": "my.module.Magic"}}
        with pytest.raises(SourceError, match=r"activation 'my.module.Magic' .* unknown; expected one of identity"):
            task("reranking").options(config, tmp_path)

    def test_refuses_several_labels(self, tmp_path):
        with pytest.raises(SourceError, match=r"expected a head with one label, got 3. Use `--task classification`"):
            task("reranking").options({"num_labels": 3}, tmp_path)


class TestTokenClassification:
    @pytest.mark.parametrize(
        "names", [["O", "B-PER", "I-PER", "B-LOC", "I-LOC"], ["NOUN", "VERB", "O"], ["S-A", "B-A", "I-A", "O", "E-A"]]
    )
    def test_answers_as_the_pipeline_of_transformers(self, tokenizer, reference_tokenizer, names):
        import transformers

        config = {"id2label": dict(enumerate(names)), "label2id": {name: at for at, name in enumerate(names)}}
        model = make_model("AutoModelForTokenClassification", **config)
        pipeline = transformers.pipeline(
            "token-classification", model=model, tokenizer=reference_tokenizer, aggregation_strategy="simple"
        )
        answers = ask(model, tokenizer, "token-classification", TEXTS)
        for answer, reference in zip(answers, pipeline(TEXTS), strict=True):
            assert [{**row, "score": 0} for row in answer] == [{**row, "score": 0} for row in reference]
            assert [row["score"] for row in answer] == pytest.approx(
                [row["score"] for row in reference], rel=1e-5, abs=1e-6
            )
        assert any(answers), "the random model labels something"
        json.dumps(answers)


def best_span(model, tokenizer, question, context):
    """The span by trying them all, on a row without padding."""
    (encoding,) = tokenizer.encode([(question, context)])
    outputs = run(model, [encoding])
    inside = [number == 1 for number in encoding.sequence_ids]
    considered = [0, *np.flatnonzero(inside)]

    def shares(logits):
        exponents = {token: np.exp(np.float64(logits[token])) for token in considered}
        return {token: exponents[token] / sum(exponents.values()) for token in considered}

    first, last = shares(outputs["start_logits"][0]), shares(outputs["end_logits"][0])
    spans = [(first[a] * last[b], a, b) for a in considered[1:] for b in considered[1:] if a <= b < a + 15]
    return encoding, max(spans)


class TestQuestionAnswering:
    def test_finds_the_likeliest_span(self, tokenizer):
        model = make_model("AutoModelForQuestionAnswering")
        answers = ask(model, tokenizer, "question-answering", PAIRS)
        for (question, context), answer in zip(PAIRS, answers, strict=True):
            encoding, (score, first, last) = best_span(model, tokenizer, question, context)
            assert answer["score"] == pytest.approx(score, rel=1e-5)
            assert answer["start"] <= encoding.offsets[first][0]
            assert answer["end"] >= encoding.offsets[last][1]
            assert answer["answer"] == context[answer["start"] : answer["end"]]
        json.dumps(answers)

    def make_outputs(self, encoding, first, last):
        starts, ends = np.zeros((1, len(encoding)), np.float32), np.zeros((1, len(encoding)), np.float32)
        starts[0, first], ends[0, last] = 9, 9
        return {"start_logits": starts, "end_logits": ends}

    def ask(self, tokenizer, context, first, last, **options):
        (encoding,) = tokenizer.encode([("why", context)])
        outputs = self.make_outputs(encoding, 3 + first, 3 + last)
        options = {"max_answer_tokens": 15, **options}
        return task("question-answering").answer(outputs, [encoding], options)[0]

    def test_widens_to_whole_words(self, tokenizer):
        context = "so antidisestablishmentarianism it is"
        assert self.ask(tokenizer, context, 2, 3)["answer"] == "antidisestablishmentarianism"

    def test_never_ends_before_it_starts(self, tokenizer):
        answer = self.ask(tokenizer, "one two three four", 3, 1)
        assert answer["start"] < answer["end"]

    def test_is_no_longer_than_allowed(self, tokenizer):
        answer = self.ask(tokenizer, "one two three four five six", 0, 5, max_answer_tokens=2)
        assert len(answer["answer"].split()) <= 2

    def test_stays_in_the_context(self, tokenizer):
        (encoding,) = tokenizer.encode([("why", "because of it")])
        answer = task("question-answering").answer(
            self.make_outputs(encoding, 1, 1), [encoding], {"max_answer_tokens": 15}
        )[0]
        assert answer["answer"] in "because of it"
        assert answer["answer"]

    def test_has_no_answer_in_an_empty_context(self, tokenizer):
        (encoding,) = tokenizer.encode([("why", " ")])
        answer = task("question-answering").answer(
            self.make_outputs(encoding, 1, 1), [encoding], {"max_answer_tokens": 15}
        )
        assert answer == [{"answer": "", "score": 0.0, "start": 0, "end": 0}]


class TestTextGeneration:
    def test_answers_the_likeliest_tokens_after_the_last_one_that_is_read(self, tokenizer):
        short, long = tokenizer.encode(["short", "a text of some more words"])
        padded = tokenizer.pad(short, len(long))
        logits = np.random.default_rng(0).normal(size=(2, len(long), 50)).astype(np.float32)
        first, second = task("text-generation").answer({"logits": logits}, [padded, long], {})

        for answer, row in ((first, logits[0, len(short) - 1]), (second, logits[1, len(long) - 1])):
            assert [one["token_id"] for one in answer] == np.argsort(-row)[:5].tolist()
            assert answer[0]["score"] == pytest.approx(float(softmax(row).max()))

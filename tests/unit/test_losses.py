"""What accuracy a variant loses: equal answers lose nothing, wrong ones more than they may, broken ones all."""

import math

import msgspec
import numpy as np
import pytest

from onnxwright.errors import UsageError
from onnxwright.losses import kinds, loss_of
from onnxwright.losses.tokens import UNLABELLED
from onnxwright.manifest import Accuracy
from onnxwright.signature import Signature, TensorSpec

LENGTHS = (3, 7, 5, 12, 4, 9, 6, 8, 10, 5)
NER = ["O", "B-PER", "I-PER", "B-LOC"]


def signature(**outputs):
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in names)
    return Signature(inputs, tuple(TensorSpec(name, "float32", shape) for name, shape in outputs.items()))


CASES = {
    "embedding": (
        ("embedding", signature(last_hidden_state=("batch", "sequence", 16), sentence_embedding=("batch", 16)), {})
    ),
    "labels": ("classification", signature(logits=("batch", 5)), {"activation": "softmax", "labels": list("abcde")}),
    "language": ("text-generation", signature(logits=("batch", "sequence", 40)), {}),
    "ranking": ("reranking", signature(logits=("batch", 1)), {"activation": "sigmoid"}),
    "relative": (None, signature(y=("batch", 3), z=("batch", "sequence", 2)), {}),
    "spans": (
        "question-answering",
        signature(start_logits=("batch", "sequence"), end_logits=("batch", "sequence")),
        {"max_answer_tokens": 15},
    ),
    "tokens": ("token-classification", signature(logits=("batch", "sequence", 4)), {"labels": NER}),
}


def feeds(lengths=LENGTHS, padding=2):
    """One row a sample, of its own length, the last places padded."""
    rng = np.random.default_rng(5)
    made = []
    for length in lengths:
        ids = rng.integers(0, 40, (1, length + padding))
        mask = np.array([[1] * length + [0] * padding])
        types = np.array([[0] + [1] * (length - 1 + padding)])
        made.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": types})
    return made


def answers(sign, fed, seed=1, scale=3.0):
    rng = np.random.default_rng(seed)
    found = []
    for one in fed:
        sizes = dict(zip(("batch", "sequence"), one["input_ids"].shape, strict=True))
        found.append(
            {
                spec.name: rng.normal(0, scale, spec.resolve(sizes)).astype(spec.dtype or "float32")
                for spec in sign.outputs
            }
        )
    return found


def noisy(expected, size, seed=2):
    rng = np.random.default_rng(seed)
    return [
        {name: (array + rng.normal(0, size, array.shape)).astype(array.dtype) for name, array in one.items()}
        for one in expected
    ]


def loss(kind):
    task, sign, options = CASES[kind]
    return loss_of(task, sign, options)


def expected(kind, fed=None):
    return answers(CASES[kind][1], fed or feeds())


def test_every_measure_has_a_case():
    assert set(kinds()) == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_each_task_has_its_measure(kind):
    chosen = loss(kind)

    assert chosen.name == kind
    assert chosen.told == chosen.told.rstrip(".")
    assert 0 < chosen.budget < 0.1


def test_a_regression_is_judged_by_its_numbers():
    task, sign, options = CASES["labels"]

    assert loss_of(task, sign, {**options, "activation": "identity"}).name == "relative"


@pytest.mark.parametrize("kind", CASES)
def test_equal_answers_lose_nothing(kind):
    right = expected(kind)

    found = loss(kind).compare(right, right, feeds())

    assert found.loss == 0.0
    assert found.interval[0] <= 0.0 <= found.interval[1]
    assert found.samples == len(LENGTHS)
    assert (found.is_labelled, found.message) == (False, "")


@pytest.mark.parametrize("kind", CASES)
def test_other_answers_lose_more_than_they_may(kind):
    wrong = answers(CASES[kind][1], feeds(), seed=9)

    found = loss(kind).compare(expected(kind), wrong, feeds())

    assert found.loss > loss(kind).budget
    assert found.interval[0] <= found.loss <= found.interval[1]


@pytest.mark.parametrize("kind", CASES)
def test_more_noise_loses_more(kind):
    right = expected(kind)

    little, much = (loss(kind).compare(right, noisy(right, size), feeds()).loss for size in (0.05, 5.0))

    assert little < much


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_number_that_is_none_loses_everything(kind, broken):
    right = expected(kind)
    wrong = noisy(right, 0.0)
    output = list(wrong[3])[-1]
    wrong[3][output].flat[0] = broken

    found = loss(kind).compare(right, wrong, feeds())

    assert found.amount == math.inf
    assert found.message == f"sample 3, output '{output}': NaN or infinity where the reference answers numbers."


@pytest.mark.parametrize("kind", CASES)
def test_another_shape_loses_everything(kind):
    right = expected(kind)
    name = next(iter(right[0]))
    wrong = [{**one, name: np.concatenate([one[name], one[name]])} for one in right]

    found = loss(kind).compare(right, wrong, feeds())

    assert found.amount == math.inf
    assert "expected the shape" in found.message


@pytest.mark.parametrize("kind", CASES)
def test_a_missing_output_loses_everything(kind):
    right = expected(kind)
    name = next(iter(right[0]))

    found = loss(kind).compare(right, [{k: v for k, v in one.items() if k != name} for one in right], feeds())

    assert found.message == f"sample 0: the answer has no output '{name}'."


@pytest.mark.parametrize("kind", ["tokens", "spans", "language"])
def test_padded_places_do_not_count(kind):
    right = expected(kind)
    wrong = noisy(right, 0.0)
    for one in wrong:
        for array in one.values():
            array[:, -2:] = np.nan

    assert loss(kind).compare(right, wrong, feeds()).loss == 0.0


@pytest.mark.parametrize("kind", ["tokens", "spans", "language", "embedding"])
def test_padded_places_of_a_fixed_length_do_not_count(kind):
    task, sign, options = CASES[kind]
    fixed = [tuple(16 if dim == "sequence" else dim for dim in spec.shape) for spec in sign.outputs]
    outputs = tuple(TensorSpec(spec.name, spec.dtype, shape) for spec, shape in zip(sign.outputs, fixed, strict=True))
    inputs = tuple(TensorSpec(spec.name, spec.dtype, ("batch", 16)) for spec in sign.inputs)
    fed = [one for length in LENGTHS for one in feeds((length,), padding=16 - length)]
    right = answers(sign, fed)
    wrong = noisy(right, 0.0)
    for one, given in zip(wrong, fed, strict=True):
        for name in {"logits", "start_logits", "end_logits", "last_hidden_state"} & one.keys():
            one[name][given["attention_mask"] == 0] *= -1

    found = loss_of(task, Signature(inputs, outputs), options).compare(right, wrong, fed)

    assert found.loss == 0.0
    assert found.parts.get("mean cosine of tokens", 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["tokens", "spans", "language"])
def test_places_that_are_not_padded_count(kind):
    right = expected(kind)
    wrong = noisy(right, 0.0)
    wrong[0][next(iter(wrong[0]))][:, -3] = np.nan

    assert loss(kind).compare(right, wrong, feeds()).loss is None


@pytest.mark.parametrize("kind", CASES)
def test_a_loss_is_the_same_each_time_and_survives_json(kind):
    right = expected(kind)
    wrong = noisy(right, 1.0)

    first, second = (loss(kind).compare(right, wrong, feeds()) for _ in range(2))

    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first), type=Accuracy) == first


def test_an_infinite_loss_survives_json():
    right = expected("labels")

    found = loss("labels").compare(right, [{"logits": one["logits"] * np.nan} for one in right], feeds())

    assert msgspec.json.decode(msgspec.json.encode(found), type=Accuracy).amount == math.inf


def test_no_samples_are_refused():
    with pytest.raises(UsageError, match="samples: none to judge a variant by"):
        loss("labels").compare([], [], [])


def test_a_reference_that_is_no_number_is_told():
    right = expected("embedding")
    right[0]["sentence_embedding"][0, 0] = np.nan

    found = loss("embedding").compare(right, right, feeds())

    assert found.loss is None
    assert "the reference itself answers NaN or infinity" in found.message


def test_answers_that_show_little_are_told():
    right = [{"y": np.ones((1, 3)), "z": np.zeros((1, length, 2))} for length in LENGTHS]

    same, zero = loss("relative").blind_spots(right)

    assert (same.code, same.message) == ("constant-output", "Output 'y' of the reference is the same for all samples.")
    assert zero.message == "Output 'z' of the reference is zero for all samples."
    assert loss("relative").blind_spots(expected("relative")) == ()
    assert loss("relative").blind_spots(right[:1])[0].message.startswith("Output 'z'")


def test_a_wrong_token_vector_shows_beside_a_right_pooled_one():
    right = expected("embedding")
    wrong = [{**one, "last_hidden_state": -one["last_hidden_state"]} for one in right]

    found = loss("embedding").compare(right, wrong, feeds())

    assert found.loss == 0.0
    assert found.parts["mean cosine of tokens"] == pytest.approx(-1.0)


def test_tokens_that_are_ruled_out_do_not_count():
    right = expected("language")
    for one in right:
        one["logits"][..., 3] = -np.inf
    fed = [{**one, "input_ids": np.where(one["input_ids"] == 3, 4, one["input_ids"])} for one in feeds()]

    assert loss("language").compare(right, right, fed).loss == 0.0
    assert loss("language").compare(right, noisy(right, 1.0), fed).loss > 0.01


def test_the_loss_of_a_language_model_is_that_of_all_tokens_however_many():
    fed = feeds((40, 17, 2), padding=3)
    right = answers(CASES["language"][1], fed)
    found = noisy(right, 0.5)

    shares = [
        [_log_softmax(one["logits"][0][:length]) for one, length in zip(many, (40, 17, 2), strict=True)]
        for many in (right, found)
    ]
    ids = [one["input_ids"][0, :length] for one, length in zip(fed, (40, 17, 2), strict=True)]
    surprise = [
        sum(-part[range(len(own) - 1), own[1:]].sum() for part, own in zip(many, ids, strict=True)) for many in shares
    ]
    divergence = sum((np.exp(one) * (one - other))[:-1].sum() for one, other in zip(*shares, strict=True))
    told = loss("language").compare(right, found, fed)

    tokens = 39 + 16 + 1
    assert told.parts["perplexity"] == pytest.approx(math.exp(surprise[1] / tokens), rel=1e-12)
    assert told.parts["reference's perplexity"] == pytest.approx(math.exp(surprise[0] / tokens), rel=1e-12)
    assert told.parts["KL divergence"] == pytest.approx(divergence / tokens, rel=1e-9)
    assert told.loss == pytest.approx(math.exp(max(surprise[1] - surprise[0], divergence) / tokens) - 1, rel=1e-9)


def _log_softmax(logits):
    wide = logits.astype(np.float64)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def test_the_loss_of_an_embedding_is_one_minus_the_cosine():
    right = [{"sentence_embedding": np.array([[1.0, 0.0]]), "last_hidden_state": np.ones((1, 3, 2))}] * 2
    wrong = [{**right[0], "sentence_embedding": 7 * np.array([[0.8, 0.6]])}, right[1]]

    found = loss("embedding").compare(right, wrong, feeds((1, 1)))

    assert found.loss == pytest.approx(0.1)
    assert found.parts["least cosine"] == pytest.approx(0.8)


def test_vectors_that_turn_together_keep_their_ranking_but_lose():
    right = expected("embedding")
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(16, 16)))[0]
    wrong = [{**one, "sentence_embedding": one["sentence_embedding"] @ turn} for one in right]

    found = loss("embedding").compare(right, wrong, feeds())

    assert found.loss > 0.1
    assert found.parts["ranking"] == pytest.approx(1.0)
    assert found.parts["nearest neighbours kept"] == 1.0


def test_without_a_pooled_vector_the_mean_of_the_tokens_is_compared():
    sign = signature(last_hidden_state=("batch", "sequence", 16))
    right = answers(sign, feeds())
    chosen = loss_of("embedding", sign)

    assert chosen.name == "embedding"
    assert chosen.compare(right, right, feeds()).loss == 0.0
    assert chosen.compare(right, noisy(right, 3.0), feeds()).loss > chosen.budget


def test_a_changed_label_is_one_of_so_many():
    right = expected("labels")
    wrong = noisy(right, 0.0)
    wrong[0]["logits"] = -wrong[0]["logits"]

    found = loss("labels").compare(right, wrong, feeds())

    assert found.loss == pytest.approx(1 / len(LENGTHS))
    assert found.interval[0] > 0.0
    assert found.parts["mean probability shift"] > 0.01


def test_a_shift_of_all_logits_is_no_shift_of_probabilities():
    right = expected("labels")

    found = loss("labels").compare(right, [{"logits": one["logits"] + 100} for one in right], feeds())

    assert found.loss == 0.0
    assert found.parts["mean probability shift"] == pytest.approx(0.0, abs=1e-5)


def test_labels_that_do_not_exclude_others_each_count():
    task, sign, options = CASES["labels"]
    chosen = loss_of(task, sign, {**options, "activation": "sigmoid"})
    right = [{"logits": np.array([[4.0, 3.0, -2.0, -2.0, -2.0]])}] * 4
    wrong = [*right[:3], {"logits": np.array([[4.0, -3.0, -2.0, -2.0, -2.0]])}]

    assert chosen.compare(right, wrong, feeds(LENGTHS[:4])).loss == 0.25
    assert loss("labels").compare(right, wrong, feeds(LENGTHS[:4])).loss == 0.0


def test_a_changed_token_is_one_of_all_that_are_not_padded():
    right = expected("tokens")
    wrong = noisy(right, 0.0)
    wrong[1]["logits"][0, 2] *= -1

    found = loss("tokens").compare(right, wrong, feeds())

    assert found.loss == pytest.approx(1 / sum(LENGTHS))
    assert found.parts["samples changed"] == pytest.approx(1 / len(LENGTHS))


def test_entities_that_change_show_beside_the_many_tokens_without():
    right = [{"logits": 5.0 * np.eye(4)[[[0] * 18 + [1, 2]]]}] * 2
    wrong = [right[0], {"logits": 5.0 * np.eye(4)[[[0] * 18 + [1, 0]]]}]

    found = loss("tokens").compare(right, wrong, feeds((20, 20), padding=0))

    assert found.loss == pytest.approx(1 / 40)
    assert found.parts["F1 of entities"] == pytest.approx(0.5)
    outside = [{"logits": 5.0 * np.eye(4)[[[0] * 20]]}] * 2
    assert loss("tokens").compare(outside, outside, feeds((20, 20), padding=0)).parts["F1 of entities"] == 1.0


def test_tokens_that_the_tokenizer_adds_do_not_count():
    task, sign, options = CASES["tokens"]
    fed = [{**one, "input_ids": one["input_ids"] + 2} for one in feeds()]
    for one in fed:
        one["input_ids"][0, 0] = 1
    right = answers(sign, fed)
    wrong = noisy(right, 0.0)
    for one in wrong:
        one["logits"][0, 0] *= -1

    assert loss_of(task, sign, options, specials=[1]).compare(right, wrong, fed).loss == 0.0
    assert loss_of(task, sign, options).compare(right, wrong, fed).loss == pytest.approx(len(LENGTHS) / sum(LENGTHS))


def test_no_span_ends_at_a_token_that_the_tokenizer_adds():
    task, sign, options = CASES["spans"]
    fed = [{**one, "input_ids": np.array([[1, 5, 6, 7, 8, 1]])} for one in feeds((6, 6), padding=0)]
    right = {name: np.eye(6)[[3]] for name in ("start_logits", "end_logits")}
    wrong = {name: array + 9 * np.eye(6)[[5]] for name, array in right.items()}

    assert loss_of(task, sign, options, specials=[1]).compare([right] * 2, [wrong] * 2, fed).loss == 0.0
    assert loss_of(task, sign, options).compare([right] * 2, [wrong] * 2, fed).loss == 1.0


def test_a_span_keeps_to_the_context_and_to_its_length():
    right, wrong = ({name: np.zeros((1, 8)) for name in ("start_logits", "end_logits")} for _ in range(2))
    right["start_logits"][0, 2] = right["end_logits"][0, 4] = 5.0
    wrong["start_logits"][0, [0, 2]] = 9.0, 5.0
    wrong["end_logits"][0, 4] = 5.0
    chosen = loss("spans")

    assert chosen.compare([right] * 2, [wrong] * 2, feeds((6, 6))).loss == 0.0

    wrong["end_logits"][0, 5] = 6.0
    found = chosen.compare([right] * 2, [right, wrong], feeds((6, 6)))

    assert found.loss == 0.5
    assert found.parts["token F1"] == pytest.approx((1 + 6 / 7) / 2)


def test_perplexity_is_that_of_the_next_tokens():
    fed = feeds((5, 5), padding=0)
    right = [{"logits": np.zeros((1, 5, 40))} for _ in fed]
    sure = [{"logits": np.log(np.full((1, 5, 40), 0.5 / 39))} for _ in fed]
    for one, given in zip(sure, fed, strict=True):
        one["logits"][0, np.arange(4), given["input_ids"][0, 1:]] = np.log(0.5)

    found = loss("language").compare(sure, right, fed)

    assert found.parts["reference's perplexity"] == pytest.approx(2.0)
    assert found.parts["perplexity"] == pytest.approx(40.0)
    assert found.loss == pytest.approx(19.0)
    assert found.parts["KL divergence"] > 0.5


def test_single_tokens_have_no_next_one():
    found = loss("language").compare(*[expected("language", feeds((1, 1)))] * 2, feeds((1, 1)))

    assert found.amount == math.inf


def test_a_swapped_pair_is_one_of_all_pairs():
    right = [{"logits": np.array([[score]])} for score in (0.1, 0.2, 3.0, -4.0)]
    wrong = [right[1], right[0], *right[2:]]

    found = loss("ranking").compare(right, wrong, feeds((2, 2, 2, 2)))

    assert found.loss == pytest.approx(1 / 6)


def test_the_worst_output_is_the_relative_error():
    right = [{"y": np.array([3.0, 4.0]), "z": np.array([1.0, 1.0])}] * 3
    wrong = [{"y": np.array([3.0, 4.05]), "z": np.array([1.1, 1.0])}] * 3

    found = loss("relative").compare(right, wrong, feeds((2, 2, 2)))

    assert found.loss == pytest.approx(0.1 / math.sqrt(2))
    assert found.parts == pytest.approx({"y": 0.01, "z": 0.1 / math.sqrt(2)})


def test_what_fills_masked_places_hides_no_error():
    right = [{"y": np.array([[1.0, 2.0, -1e9]])}] * 3
    wrong = [{"y": np.array([[1.0, 3.0, -1e9]])}] * 3

    assert loss("relative").compare(right, wrong, feeds((2, 2, 2))).loss > 0.3


def test_whole_numbers_are_right_or_wrong():
    right = [{"y": np.array([[1, 2, 3, 4]])}] * 2
    wrong = [right[0], {"y": np.array([[1, 2, 3, 5]])}]

    assert loss("relative").compare(right, wrong, feeds((2, 2))).loss == pytest.approx(1 / 8)


def test_a_reference_of_zeros_takes_no_other_answer():
    right = [{"y": np.zeros((1, 3))}] * 3

    assert loss("relative").compare(right, right, feeds((2, 2, 2))).loss == 0.0
    assert loss("relative").compare(right, [{"y": np.full((1, 3), 1e-9)}] * 3, feeds((2, 2, 2))).loss is None


def test_infinities_of_the_reference_must_be_the_same():
    right = [{"y": np.array([[1.0, -np.inf]])}] * 3

    assert loss("relative").compare(right, right, feeds((2, 2, 2))).loss == 0.0
    found = loss("relative").compare(right, [{"y": np.array([[1.0, -6e4]])}] * 3, feeds((2, 2, 2)))
    assert "the reference answers NaN or infinity, the variant something else" in found.message


def test_a_scalar_answer_needs_no_rows():
    right = [{"y": np.array(2.0)}, {"y": np.array(4.0)}]

    assert loss("relative").compare(right, [{"y": np.array(2.0)}, {"y": np.array(4.4)}], feeds((2, 2))).loss > 0.05


def test_lower_types_are_compared_by_their_values():
    right = expected("relative")
    halves = [{name: array.astype(np.float16) for name, array in one.items()} for one in right]

    assert 0 < loss("relative").compare(right, halves, feeds()).loss < 1e-3


def test_labels_make_the_loss_the_accuracy_that_is_lost():
    right = [{"logits": 5.0 * np.eye(5)[[label]]} for label in (0, 1, 2, 3)]
    wrong = [*right[:3], {"logits": 5.0 * np.eye(5)[[4]]}]

    found = loss("labels").compare(right, wrong, feeds((2, 2, 2, 2)), ["a", 1, "2", "c"])

    assert (found.is_labelled, found.reference_metric, found.metric, found.loss) == (True, 0.75, 0.75, 0.0)
    found = loss("labels").compare(right, wrong, feeds((2, 2, 2, 2)), ["a", "b", "c", "d"])
    assert (found.reference_metric, found.metric, found.loss) == (1.0, 0.75, 0.25)
    assert found.interval[0] <= 0.25 <= found.interval[1]
    assert found.parts["loss of labels"] == 0.25
    assert "accuracy" in found.told


@pytest.mark.parametrize("count", [4, 60])
def test_that_no_labelled_sample_makes_a_difference_says_little_of_few(count):
    right = [{"logits": 5.0 * np.eye(5)[[0]]} for _ in range(count)]
    wrong = [*right[1:], {"logits": 5.0 * np.eye(5)[[1]]}]  # of another label, which neither has

    found = loss("labels").compare(right, wrong, feeds((2,) * count), [*"a" * (count - 1), "c"])

    assert found.loss == 0.0
    assert found.interval == pytest.approx((-3.84 / (count + 3.84), 3.84 / (count + 3.84)), rel=1e-3)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (
            ["a", "b", "c", "x"],
            "label 'x': the model has none of that name; expected one of a, b, c, d, e, or a number",
        ),
        (["a", "b", "c", 5], "label 5: the model has none"),
        (["a", "b", "c", True], "label True: the model has none"),
        (["a"], "labels: expected one for each of 4 samples, got 1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    right = [{"logits": 5.0 * np.eye(5)[[label]]} for label in (0, 1, 2, 3)]

    with pytest.raises(UsageError, match=message):
        loss("labels").compare(right, right, feeds((2, 2, 2, 2)), labels)


@pytest.mark.parametrize("kind", ["language", "relative"])
def test_labels_without_use_are_refused(kind):
    with pytest.raises(UsageError, match=f"the measure '{kind}' .* takes none"):
        loss(kind).compare(expected(kind), expected(kind), feeds(), [1] * len(LENGTHS))


def test_entities_are_found_whole_or_not_at_all():
    numbers = [0, 1, 2, 0, 3, 0]
    right = [{"logits": 5.0 * np.eye(4)[[numbers]]}] * 2
    wrong = [right[0], {"logits": 5.0 * np.eye(4)[[[0, 1, 0, 0, 3, 0]]]}]
    labels = [[UNLABELLED, 1, 2, 0, 3, UNLABELLED]] * 2

    found = loss("tokens").compare(right, wrong, feeds((6, 6), padding=0), labels)

    assert (found.reference_metric, found.metric) == (1.0, 0.75)
    assert found.parts["token accuracy lost"] == pytest.approx(1 / 8)


def test_a_new_beginning_is_another_entity():
    one = [{"logits": 5.0 * np.eye(4)[[[1, 1, 0]]]}]
    other = [{"logits": 5.0 * np.eye(4)[[[1, 2, 0]]]}]

    found = loss("tokens").compare(one * 2, other * 2, feeds((3, 3), padding=0), [[1, 1, 0]] * 2)

    assert (found.reference_metric, found.metric) == (1.0, 0.0)


def test_answers_count_where_one_of_the_spans_is_theirs():
    right = {name: np.zeros((1, 6)) for name in ("start_logits", "end_logits")}
    right["start_logits"][0, 2] = right["end_logits"][0, 3] = 5.0
    wrong = {**right, "end_logits": np.eye(6)[[4]] * 5.0}

    found = loss("spans").compare([right] * 2, [right, wrong], feeds((6, 6), padding=0), [[(1, 1), (2, 3)]] * 2)

    assert (found.reference_metric, found.metric, found.loss) == (1.0, 0.5, 0.5)
    assert found.parts["token F1 lost"] == pytest.approx((1 - 0.8) / 2)


def test_pairs_of_texts_are_scored_by_their_cosines():
    fed = feeds((2,) * 12)
    right = answers(CASES["embedding"][1], fed)
    vectors = np.concatenate([one["sentence_embedding"] for one in right])
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    labels = (vectors[0::2] * vectors[1::2]).sum(axis=-1).tolist()

    found = loss("embedding").compare(right, noisy(right, 3.0), fed, labels)

    assert found.reference_metric == pytest.approx(1.0)
    assert found.metric < 0.95
    assert found.samples == 6
    assert found.interval[0] <= found.loss <= found.interval[1]
    with pytest.raises(UsageError, match="expected one for each pair of texts, got 5 for 12 texts"):
        loss("embedding").compare(right, right, fed, labels[:5])


def test_scores_follow_their_labels():
    right = [{"logits": np.array([[score]])} for score in (0.1, 0.2, 3.0, -4.0)]

    found = loss("ranking").compare(right, right[::-1], feeds((2, 2, 2, 2)), [0.0, 1.0, 2.0, -1.0])

    assert found.reference_metric == pytest.approx(1.0)
    assert found.loss == pytest.approx(0.4)


def test_scores_that_rank_nothing_lose_everything():
    right = [{"logits": np.array([[score]])} for score in (0.1, 0.2, 3.0, -4.0)]
    flat = [{"logits": np.array([[1.0]])}] * 4

    found = loss("ranking").compare(right, flat, feeds((2, 2, 2, 2)), [0.0, 1.0, 2.0, -1.0])

    assert (found.loss, found.message) == (None, "the variant has no Spearman correlation.")
    with pytest.raises(UsageError, match=r"the reference has no Spearman correlation\. Check that labels"):
        loss("ranking").compare(right, right, feeds((2, 2, 2, 2)), [1.0] * 4)


def test_labels_that_are_no_numbers_are_refused():
    right = [{"logits": np.array([[score]])} for score in (0.1, 0.2)]

    with pytest.raises(UsageError, match="label 'good': expected a number"):
        loss("ranking").compare(right, right, feeds((2, 2)), ["0.5", "good"])

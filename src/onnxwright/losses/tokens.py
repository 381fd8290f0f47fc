"""Token classification: tokens should keep their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np

from onnxwright.backends import Array
from onnxwright.errors import UsageError
from onnxwright.estimates import Statistic, bootstrap, everything, ratio_of, widest, wilson
from onnxwright.losses import Answers, Estimate, Given, Kind, Purpose
from onnxwright.losses.labels import names_of, number_of
from onnxwright.tasks import LOGITS
from onnxwright.tasks.activations import softmax
from onnxwright.text import Encoding

UNLABELLED: Final = -100
"""What stands in labels where a token has none: special tokens, and all of a word but its first."""
_OUTSIDE: Final = "O"


class Tokens:
    """The share of tokens with another label, without padding and what the tokenizer adds."""

    name = "tokens"
    told = "the share of tokens that get another label than from the reference"
    budget = 0.01
    serves = "token classification"
    labelled = (
        "F1 of entities, or token accuracy where no label is `O`; a label for each of `tokens`, or entities with "
        "`start`, `end` and `label`"
    )
    is_general = False

    def fits(self, purpose: Purpose) -> bool:
        """Whether the task labels tokens."""
        return purpose.task == "token-classification" and LOGITS in purpose.signature.output_names

    def estimate(self, expected: Answers, answered: Answers) -> Estimate:
        """Counts changed labels.

        Tokens of one text depend on each other, so whole texts are drawn for the interval; as none is wide where no
        label changed, it is no narrower than that of as many tokens by themselves.
        """
        samples = zip(expected.places(LOGITS), answered.places(LOGITS), expected.read(), strict=False)
        pairs = [(one[places], other[places]) for one, other, places in samples]
        read = [(one.argmax(axis=-1), other.argmax(axis=-1)) for one, other in pairs]
        changed = np.array([(right != found).sum() for right, found in read])
        tokens = np.array([len(right) for right, _ in read])
        shifts = np.concatenate([np.abs(softmax(one) - softmax(other)).sum(axis=-1) / 2.0 for one, other in pairs])
        share, whole = ratio_of(changed, tokens), everything(len(pairs))
        names = names_of(expected.purpose, pairs[0][0].shape[-1])
        entities = {"F1 of entities": _f1(read, names)(whole)} if _OUTSIDE in names else {}
        return Estimate(
            loss=share(whole),
            interval=widest(bootstrap(share, len(pairs)), wilson(int(changed.sum()), int(tokens.sum()))),
            parts={
                "mean probability shift": float(shifts.mean()),
                "samples changed": float((changed > 0).mean()),
                **entities,
            },
        )

    def aligned(self, given: Given, encoding: Encoding, purpose: Purpose) -> Any:
        """Returns the number of each token's label, `UNLABELLED` where it has none.

        A label is a list: of one label for each word, which its first token gets, or of entities as
        `{"start", "end", "label"}`, by places in the text.
        """
        if not isinstance(given.label, list):
            raise UsageError(f"label {given.label!r}: expected a list, of a label for each word or of entities.")
        names = purpose.options.get("labels", ())
        if given.words:
            return _of_words(given, encoding, names)
        return _of_entities(given.label, encoding, names)

    def scores(self, answers: Answers, labels: Sequence[Any]) -> Mapping[str, Statistic]:
        """Returns the F1 of whole entities and the accuracy of tokens; of models without `O` the accuracy alone.

        The labels of a sample are one number a token, `UNLABELLED` where it has none.
        """
        found = [logits.argmax(axis=-1) for logits in answers.places(LOGITS)]
        wanted = [np.asarray(given) for given in labels]
        if [len(given) for given in wanted] != [len(numbers) for numbers in found]:
            raise UsageError(
                f"labels: expected one for each token of {len(found)} samples, got other numbers of them for "
                f"{len(wanted)}."
            )
        places = [given != UNLABELLED for given in wanted]
        read = [(numbers[at], given[at]) for numbers, given, at in zip(found, wanted, places, strict=True)]
        right = np.array([(numbers == given).sum() for numbers, given in read])
        accuracy = {"token accuracy": ratio_of(right, np.array([at.sum() for at in places]))}
        names = names_of(answers.purpose, next(answers.places(LOGITS)).shape[-1])
        return {"entity F1": _f1(read, names), **accuracy} if _OUTSIDE in names else accuracy


LOSS: Kind = Tokens()


def _of_words(given: Given, encoding: Encoding, names: Sequence[str]) -> list[int]:
    if len(given.label) != len(given.words):
        raise UsageError(f"labels: expected one for each of {len(given.words)} words, got {len(given.label)}.")
    numbers = [UNLABELLED] * len(encoding)
    start = 0
    for word, label in zip(given.words, given.label, strict=True):
        number = number_of(label, names)
        token = next(_inside(encoding, start, start + len(word)), None)
        if token is not None:
            numbers[token] = number
        start += len(word) + 1
    return numbers


def _of_entities(entities: Sequence[Any], encoding: Encoding, names: Sequence[str]) -> list[int]:
    outside = number_of(_OUTSIDE, names)
    numbers = [UNLABELLED if is_special else outside for is_special in encoding.special_tokens_mask]
    for entity in entities:
        start, end, kind = _entity(entity, encoding.texts[0])
        for place, token in enumerate(_inside(encoding, start, end)):
            numbers[token] = number_of(_name(kind, names, is_first=place == 0), names)
    return numbers


def _inside(encoding: Encoding, start: int, end: int) -> Iterator[int]:
    """Yields the tokens of a stretch of the text; a token may begin with the space before it."""
    for token, (first, last) in enumerate(encoding.offsets):
        if not encoding.special_tokens_mask[token] and first < end and last > start:
            yield token


def _entity(entity: Any, text: str) -> tuple[int, int, str]:
    is_whole = isinstance(entity, Mapping) and {"start", "end", "label"} <= entity.keys()
    if not is_whole or not 0 <= entity["start"] < entity["end"] <= len(text):
        raise UsageError(
            f'label {entity!r}: expected an entity as {{"start", "end", "label"}}, by places in its text of '
            f"{len(text)} characters."
        )
    return entity["start"], entity["end"], str(entity["label"])


def _name(kind: str, names: Sequence[str], *, is_first: bool) -> str:
    """Returns the name of a token's label in an entity of that kind: with `B-` or `I-` where the model has such."""
    wanted = (f"B-{kind}", f"I-{kind}") if is_first else (f"I-{kind}", f"B-{kind}")
    return next((name for name in wanted if name in names), kind)


def _f1(read: Sequence[tuple[Array, Array]], names: Sequence[str]) -> Statistic:
    """Returns the F1 of entities: those that are found where they are, with their kind; 1 where there are none."""
    pairs = [tuple(set(_entities([names[number] for number in row])) for row in both) for both in read]
    agreed = np.array([2 * len(found & wanted) for found, wanted in pairs])
    return ratio_of(agreed, np.array([len(found) + len(wanted) for found, wanted in pairs]), empty=1.0)


def _entities(labels: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yields first token, the one after the last, and kind of each entity; `B-` begins another of the same kind."""
    kinds = [label.split("-", 1)[-1] if label.startswith(("B-", "I-")) else label for label in labels]
    begun = np.cumsum([label.startswith("B-") for label in labels])
    for (kind, _), group in groupby(range(len(labels)), key=lambda place: (kinds[place], begun[place])):
        places = list(group)
        if kind != _OUTSIDE:
            yield places[0], places[-1] + 1, kind

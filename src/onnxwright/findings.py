"""Every finding that onnxwright can make, in one table; the documentation page is generated from it."""

from __future__ import annotations

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found: its code, one sentence, where it is, and the repair that mends it."""

    code: str
    message: str
    where: str | None = None
    repair: str | None = None

    def __post_init__(self) -> None:
        if self.code not in KINDS:
            raise ValueError(f"finding '{self.code}' is unknown to this version")  # a manifest may hold a newer one

    @property
    def blocks_proof(self) -> bool:
        """Whether nothing can be called proven while this finding stands."""
        return KINDS[self.code].blocks_proof


class Kind(msgspec.Struct, frozen=True):
    """What a finding code means, and what a person can do about it."""

    title: str
    meaning: str
    remedy: str
    blocks_proof: bool = False


KINDS: dict[str, Kind] = {
    "nondeterministic-forward": Kind(
        "Nondeterministic forward",
        "Two runs of PyTorch on the same inputs from the same state differ, so there is nothing to be equal to.",
        "Remove the noise, or make it an input.",
        blocks_proof=True,
    ),
    "state-between-calls": Kind(
        "State kept between calls",
        "What PyTorch answers depends on the calls before, so the module is not a function of its inputs.",
        "Compute what is kept from the inputs, or make it an input.",
        blocks_proof=True,
    ),
    "value-read-in-python": Kind(
        "Value read in Python",
        "Python reads a value that depends on an input (a branch, `.item()`, `.tolist()`, numpy): a traced graph "
        "keeps what it was for the example.",
        "Use the dynamo or the script route, or write it with tensor operations (`torch.where`, `torch.cond`).",
        blocks_proof=True,
    ),
    "non-finite-output": Kind(
        "NaN or infinity in an output",
        "The reference itself answers NaN or infinity.",
        "Look for a division by zero, a row with nothing to attend to, or an overflow.",
    ),
    "vacuous-output": Kind(
        "Output without evidence",
        "At every point tried the reference answers only NaN or infinity, so agreeing with it shows nothing.",
        "Check the weights and the example inputs.",
        blocks_proof=True,
    ),
    "outputs-differ": Kind(
        "Outputs differ",
        "The candidate answers otherwise than the reference at some sizes or values.",
        "Try another route; look for branches, loops and numbers that depend on a size.",
    ),
    "values-differ": Kind(
        "Some values give other outputs",
        "With some kind of values (large, zero, constant, padded …) the candidate is wrong at every size tried, so no "
        "range of sizes is right.",
        "Look for a branch on a value, or a clamp; try another route.",
        blocks_proof=True,
    ),
    "engine-not-proven": Kind(
        "An engine was not proven",
        "An engine that is available refuses the graph, or answers otherwise than the reference.",
        "Use one of the engines that were proven.",
    ),
    "random-numbers": Kind(
        "Random numbers drawn",
        "The module draws random numbers in evaluation mode, so it is no function of its inputs.",
        "Remove the noise, or make it an input.",
        blocks_proof=True,
    ),
    "state-kept": Kind(
        "Something is kept after each call",
        "Calls change something in the module; what is proven holds for the module as it was at first.",
        "Nothing, if no answer depends on it.",
    ),
    "range-narrowed": Kind(
        "Range narrowed",
        "Only a part of the declared profile was proven; only that part is declared.",
        "Use the range as it is, or mend the code that the other findings point at.",
    ),
    "reference-refuses-size": Kind(
        "PyTorch refuses a size",
        "The module itself raises at these sizes, so they lie outside its range.",
        "Narrow the profile to what the model takes.",
    ),
    "not-tried": Kind(
        "Sizes not tried",
        "The time for the proof was used up before these sizes.",
        "Narrow the profile, or prove with more time.",
    ),
    "ill-conditioned": Kind(
        "Ill-conditioned model",
        "PyTorch in float32 is so far from PyTorch in float64 that a small error can't be told from a wrong graph.",
        "Look for weights without training, sums that cancel, or missing normalization.",
        blocks_proof=True,
    ),
    "unused-weights": Kind(
        "Weights that reach no output",
        "The checkpoint lacks these weights, and no declared output depends on them.",
        "Nothing: they are not part of the graph.",
    ),
    "unread-weights": Kind(
        "Weights left out",
        "The checkpoint holds weights of a head that the task doesn't use.",
        "Nothing, if the task is the one you want.",
    ),
    "skipped-output": Kind(
        "Output that is not a tensor",
        "The module returns something that a graph can't.",
        "Return tensors.",
    ),
}

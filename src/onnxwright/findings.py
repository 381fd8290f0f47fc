"""Every finding that onnxwright can make, in one table; the documentation page is generated from it."""

from __future__ import annotations

from typing import Final

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """One thing that was found: its code, one sentence, where it is, what shows it, and the repair that mends it.

    `where` is `file.py:line` of the user's code, or `node NAME` of a graph; `module` is the path of the submodule that
    was running; `excerpt` holds that line with its neighbours, each led by its number, as they were then.
    """

    code: str
    message: str
    where: str | None = None
    repair: str | None = None
    module: str | None = None
    evidence: str | None = None
    excerpt: tuple[str, ...] = ()

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


KINDS: Final[dict[str, Kind]] = {
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
    "shape-branch-frozen": Kind(
        "Shape branch frozen",
        "Python decides by a size, and the exporter kept what it decided for the sample.",
        "Compute it with tensor operations, or export by the script route, which keeps branches.",
    ),
    "value-branch-frozen": Kind(
        "Value branch frozen",
        "Python decides by a value that depends on an input, and the exporter kept what it decided for the sample.",
        "Write it with `torch.where` or `torch.cond`, or export by the script route, which keeps branches.",
        blocks_proof=True,
    ),
    "loop-unrolled": Kind(
        "Loop unrolled",
        "Python loops as often as a size or a value says, and the exporter kept the rounds of the sample.",
        "Write it with tensor operations, or export by the script route, which keeps loops.",
    ),
    "scalar-from-tensor": Kind(
        "Python number taken from a tensor",
        "`.item()`, `.tolist()`, `int()` or `float()` takes a value that depends on an input out of the graph, which "
        "keeps what it was for the sample.",
        "Keep it a tensor, or export by the dynamo route, which follows such numbers.",
        blocks_proof=True,
    ),
    "size-read-in-python": Kind(
        "Size taken as a Python number",
        "Python makes a number of a size that may vary (`int()`, `len()`, a key, a table), and what it decides with "
        "that number can't be followed, so that no tried size stands for another.",
        "Compare sizes as they are (`x.shape[1] > 8`), or export by the dynamo or the script route.",
        blocks_proof=True,
    ),
    "unwatched": Kind(
        "Module that can't be watched",
        "The module runs, but not while its reads are watched, so that nobody knows which values Python reads.",
        "Export by the dynamo or the script route.",
        blocks_proof=True,
    ),
    "numpy-outside-graph": Kind(
        "Computed outside the graph",
        "Numpy, or another library, computes with a value that depends on an input, and the graph keeps what came "
        "of it for the sample.",
        "Write it with torch, or export by the dynamo route, which follows numpy.",
        blocks_proof=True,
    ),
    "constant-from-sample": Kind(
        "Constant that depends on the sample",
        "Two exports from two samples differ in a constant or in an operator, so it was computed from the sample.",
        "Compute it from the inputs with tensor operations, or export by the dynamo route.",
    ),
    "dynamic-axis-lost": Kind(
        "Dynamic axis lost",
        "An axis that is declared dynamic has the size of the sample in the graph.",
        "Look for `int(x.shape[i])`, `.view` with a number, or a cached table; try another route.",
    ),
    "batch-frozen": Kind(
        "Batch frozen",
        "The graph takes only batches of the sample's size.",
        "Look for `.view(1, …)`, `.squeeze()` or a loop over rows; try another route.",
    ),
    "axes-merged": Kind(
        "Axes merged or renamed",
        "The exporter made one dim of two, or gave a dim another name than the signature does.",
        "Look for operators that need equal sizes (an addition, a concatenation); declare one dim for both.",
    ),
    "guard-dropped": Kind(
        "Assumption dropped by the exporter",
        "`torch.export` assumed something of the inputs that does not hold over the whole profile, and the ONNX graph "
        "does not check it.",
        "Narrow the profile to what is assumed, or mend the line.",
    ),
    "training-mode": Kind(
        "Left in training mode",
        "A submodule is in training mode, or switches itself into it, so that it answers differently from production.",
        "Call `.eval()`; pass `training=self.training` where a functional form is called.",
    ),
    "dtype-narrowed": Kind(
        "Element type narrowed",
        "An output has fewer bits in the candidate than the module answers with.",
        "Cast inside the module, so that both sides say the same.",
    ),
    "output-aliases-input": Kind(
        "Output aliases an input",
        "The module answers with memory of an input, or writes into an input; a graph always answers with a copy.",
        "Clone what is returned, and don't write into inputs.",
    ),
    "fast-path-differs": Kind(
        "PyTorch's fast path answers differently",
        "In evaluation mode PyTorch replaces whole encoder layers by fused kernels, which answer differently from "
        "the layers (zeros at padded positions, say). The graph is held against the layers as they are written.",
        "Nothing, if no padded position is read; else multiply by the mask in the module.",
    ),
    "rows-influence-each-other": Kind(
        "Rows influence each other",
        "A row alone gets another answer than the same row in a batch.",
        "Nothing, if that is meant; else look for statistics over the batch, or scales computed from it.",
    ),
    "unused-input-dropped": Kind(
        "Unused input dropped",
        "No output depends on this input, so the exporter dropped it; the graph takes it and ignores it.",
        "Remove it from the signature, or use it.",
    ),
    "non-finite-output": Kind(
        "NaN or infinity in an output",
        "The reference itself answers NaN or infinity.",
        "Look for a division by zero, a row with nothing to attend to, or an overflow.",
    ),
    "vacuous-output": Kind(
        "Output without evidence",
        "At every point tried the reference answers only NaN, infinity or no element: agreeing with it shows nothing.",
        "Check the weights and the example inputs.",
        blocks_proof=True,
    ),
    "outputs-differ": Kind(
        "Outputs differ",
        "The candidate answers differently from the reference at some sizes or values.",
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
        "An engine that is available refuses the graph, or answers differently from the reference.",
        "Use one of the engines that were proven.",
    ),
    "random-numbers": Kind(
        "Random numbers drawn",
        "The module draws random numbers in evaluation mode, or the graph does, so it is no function of its inputs.",
        "Remove the noise, or make it an input.",
        blocks_proof=True,
    ),
    "state-kept": Kind(
        "Something is kept after each call",
        "Calls change something in the module; what is proven holds for the module as it was at first.",
        "Nothing, if no answer depends on it.",
    ),
    "scattered-failures": Kind(
        "Failures without the shape of a box",
        "Sizes that fail lie between sizes that agree (odd lengths, say), so that no range but a small one is right.",
        "Pad to the sizes that agree, or mend the code that the other findings point at.",
    ),
    "range-narrowed": Kind(
        "Range narrowed",
        "Only a part of the declared profile was proven; only that part is declared.",
        "Use the range as it is, or mend the code that the other findings point at.",
    ),
    "values-held": Kind(
        "Input held at its values",
        "The module refuses other values of this input than the example's, at the same sizes: it describes the other "
        "inputs, as the grid of an image does. The graph is made and shown right for these values alone, and a session "
        "refuses others.",
        "Convert once for each combination of values that is needed.",
    ),
    "bfloat16-widened": Kind(
        "bfloat16 taken in float32",
        "The module computes in bfloat16, for which numpy has no type and engines on a CPU have hardly an operator. "
        "The graph is made of the module in float32, with the numbers of its weights as they are, and held against "
        "that: it computes what the module would without rounding. What is bfloat16 in and out is float32 in the "
        "graph.",
        "Nothing; `--precision bf16` has an engine execute it in bfloat16 where that can.",
    ),
    "observers-off": Kind(
        "Observers turned off",
        "Modules that pretend to quantize (`torch.ao.quantization`) observe what they are given and move their scales "
        "with it, in evaluation mode too. The graph is made of the scales as they are, and held against the module "
        "with its observers off.",
        "Nothing; or turn them off before, with `module.apply(torch.ao.quantization.disable_observer)`.",
    ),
    "quantized-kernels": Kind(
        "Layers in whole numbers",
        "Layers that `torch.ao.quantization.convert` or `quantize_dynamic` made compute in whole numbers, by kernels "
        "of PyTorch's own. Exporters have no form of some, and of others one that rounds some numbers otherwise.",
        "Convert the module as it was before: prepared for quantization, it pretends to quantize, and becomes a graph "
        "with the same scales.",
    ),
    "reference-refuses-size": Kind(
        "PyTorch refuses a size",
        "The module itself raises at these sizes, or answers there with other outputs, types or axes than for the "
        "example, so they lie outside its range.",
        "Narrow the profile to what the model takes.",
    ),
    "ties": Kind(
        "Choice among equal elements",
        "`topk`, `sort` and the like pick among equal elements, and PyTorch does not define which. Where unusual "
        "values (all zero, say) tie, an answer that differs tells nothing. Nor does one among many that agree, where "
        "the elements differ by rounding alone.",
        "Nothing; or break ties in the module, with a small number for each place.",
    ),
    "toss-ups": Kind(
        "Decided by rounding",
        "Something is decided by numbers that are equal but for the last digits of a sum (whether a number is greater "
        "than the mean of many like it, say). A right graph may round these otherwise. A point tells nothing where "
        "PyTorch itself gives the graph's answer once it rounds sums and functions otherwise, by a few last digits. "
        "That is asked of unusual values, and of usual ones where hardly any is wrong.",
        "Nothing; or leave a margin around what decides.",
    ),
    "steep-values": Kind(
        "Values at which rounding is amplified",
        "With unusual values (a constant signal that is divided by its own deviation, say) one rounding of the inputs "
        "moves PyTorch's own answer as far as an error that was seen, so that such a point tells nothing. Where the "
        "answer jumps, as it does at a condition, it is an error.",
        "Nothing; usual values are held to the usual limits.",
    ),
    "invalid-graph": Kind(
        "Graph that breaks the ONNX specification",
        "The ONNX checker refuses the graph, so that it runs only in engines that are more lenient.",
        "Try another route; report it to the exporter.",
    ),
    "branch-left-out": Kind(
        "Branch with one side in the graph",
        "One side of a branch gives None where the other gives a tensor, as a mask that is left out where it hides "
        "nothing; the graph always has the tensor. Samples that take the other side agree.",
        "Nothing; or write the branch so that both sides give a tensor.",
    ),
    "branch-not-taken": Kind(
        "Branch that no input took",
        "The graph holds a branch on values which none of the samples took, so that nothing shows what it computes.",
        "Give inputs that take it with `--samples`, or write the branch with `torch.where`.",
        blocks_proof=True,
    ),
    "not-tried": Kind(
        "Sizes not tried",
        "The time for the proof was used up before these sizes.",
        "Narrow the profile, or prove with more time.",
    ),
    "evidence-skipped": Kind(
        "Kept answers left out",
        "This numpy draws other numbers than the one with which the model was converted, so that some of the answers "
        "that the package carries are for other inputs.",
        "Use the version of numpy that the package's manifest names, or convert again.",
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
    "precision-kept": Kind(
        "Stays in float32",
        "Nothing of the graph could be computed in the precision that was asked for: all of it would overflow or "
        "vanish, so that the package has the graph in float32 alone.",
        "Ask for `bf16`, which reaches as far as float32, or for `auto`.",
    ),
    "built-in-samples": Kind(
        "Judged on built-in samples",
        "Accuracy was judged on texts that come with onnxwright: some 150, of many kinds, most of them in English. "
        "What a variant loses on texts of another language, length or subject may be more.",
        "Give samples of your own with `--samples`.",
    ),
    "drawn-samples": Kind(
        "Judged on random inputs",
        "Accuracy was judged on random inputs. No model was trained for those: values on the way reach other ranges "
        "than in use, and answers are closer to each other or farther apart, so that the loss may be another.",
        "Give samples of your own with `--samples`.",
    ),
    "few-samples": Kind(
        "Few samples",
        "There are so few different samples that a loss they show may be far from the true one, as its interval says.",
        "Give more samples: a few hundred.",
    ),
    "samples-left-out": Kind(
        "Samples left out",
        "A model with large answers, such as a language model with a large vocabulary, is judged by as many samples as "
        "have answers that fit into a gibibyte.",
        "Nothing, where the interval of the loss is narrow enough; else give shorter samples.",
    ),
    "samples-cut": Kind(
        "Samples cut to the range",
        "Some samples are longer than the profile, the tokenizer or the task allows; what lies beyond was cut off.",
        "Nothing, if such inputs are cut in use too; else widen the range.",
    ),
    "foreign-samples": Kind(
        "Samples in another language",
        "The tokenizer doesn't know many pieces of the samples, or takes them apart letter by letter, so that they are "
        "not in a language that the model was made for, and show little of what it loses in use.",
        "Give samples of the kind that the model is used on.",
    ),
    "constant-output": Kind(
        "Same answer to every sample",
        "The reference answers all samples alike, or with zeros only, so that agreeing with it shows little.",
        "Check the samples, the task and the weights.",
    ),
    "weights-dequantized": Kind(
        "Quantized weights made float",
        "The checkpoint's weights come quantized (GPTQ, AWQ, compressed-tensors, bitsandbytes). They are computed in "
        "float32, with the very numbers for which the stored ones stand, and that is what the graph is held against.",
        "Nothing; `--precision` lowers the graph again, as its own measurement allows.",
    ),
    "node-refused": Kind(
        "Node that an engine refuses",
        "The parser of an engine that is built ahead of time refuses a node, in the words that are told.",
        "Convert with `--engine` of that name: graphs are mended until they build, where a rewrite is known.",
    ),
    "graph-refused": Kind(
        "Graph of which no engine is built",
        "The library parses the graph, or parts of it, and builds no engine; its last words are told.",
        "Convert with `--engine` of that name; else look at the build log.",
    ),
    "engine-crashed": Kind(
        "Library that crashed over a graph",
        "The process that parsed or built was ended by a signal, or took longer than allowed.",
        "Report it to the library; allow more time with `--timeout`, or try another route.",
    ),
    "engine-not-executed": Kind(
        "Engine built and not executed",
        "An engine was built on a machine that can't run it, so nothing was shown of what it answers.",
        "On a machine with the GPU: `onnxwright build DIR --engine NAME`, then `onnxwright prove DIR --engine NAME`.",
    ),
    "opset-untried": Kind(
        "Opset with which an engine was not tried",
        "The parser of an engine takes any opset without a word, and may mistake what later ones mean.",
        "Convert with `--opset 18`, or with `--engine` of that name.",
    ),
    "foreign-operator": Kind(
        "Operator of another engine",
        "The graph holds an operator of a domain that the engine doesn't have, as fusions for ONNX Runtime leave it.",
        "Build from the graph as exported, or add a plug-in to the engine.",
    ),
    "operator-misread": Kind(
        "Operator that an engine's parser misreads",
        "The engine's parser builds something else of the operator without a word, so that no engine is built of it.",
        "`convert --engine` writes it in a way that is read right, and proves that (`onnxwright explain fitted`).",
    ),
    "foreign-type": Kind(
        "Element type that an engine lacks",
        "A value is of an element type that the engine doesn't compute with.",
        "Cast it in the graph.",
    ),
    "quantization-unfit": Kind(
        "Quantization that an engine doesn't take",
        "TensorRT takes signed numbers with zero as the zero point, and scales that are constants.",
        "Quantize statically and symmetrically, in int8, for this engine.",
    ),
    "profile-unfit": Kind(
        "Range for a dim that the graph doesn't have",
        "A range is given for a dim that no input has. The library itself ignores such a name without a word.",
        "Name a dim that the graph has.",
    ),
    "skipped-output": Kind(
        "Output that is not a tensor",
        "The module returns something that a graph can't.",
        "Return tensors.",
    ),
}


def page() -> str:
    """Returns the documentation page of all findings, in Markdown."""
    listed = sorted(KINDS.items())
    rows = (f"| [`{code}`](#{code}) | {kind.title} | {'yes' if kind.blocks_proof else ''} |" for code, kind in listed)
    parts = (section(code) for code, _ in listed)
    return "\n".join([_HEAD, *rows, "", "\n".join(parts)])


_HEAD: Final = """# Findings

Whatever onnxwright notices about a model, a graph or a proof has one of these codes. `onnxwright inspect` shows the
findings of a package, and an error of a failed conversion holds them (`error.findings`, or `--json`). While a finding
that blocks a proof stands, nothing is called proven.

This page is written by `make docs` from `src/onnxwright/findings.py`.

| code | in words | blocks a proof |
|---|---|---|"""


def section(code: str) -> str:
    """Returns what the page says of one finding."""
    kind = KINDS[code]
    blocks = "It blocks a proof. " if kind.blocks_proof else ""
    return f"## {code}\n**{kind.title}.** {kind.meaning}\n\n{blocks}What to do: {_as_clause(kind.remedy)}\n"


def _as_clause(remedy: str) -> str:
    return remedy[0].lower() + remedy[1:] if remedy[0].isalpha() else remedy

"""The options that several commands have, and what they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from onnxwright.errors import ProfileError

Triple = tuple[int, int, int]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output; text goes to stderr.")]
Engines = Annotated[
    list[str] | None,
    typer.Option(
        "--engine", metavar="NAME", help="auto, onnxruntime, openvino, tensorrt-rtx …; may be given several times."
    ),
]
Task = Annotated[str, typer.Option(metavar="NAME", help="What the model is for; found from its config unless given.")]
BatchRange = Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `batch`.")]
SequenceRange = Annotated[Triple | None, typer.Option(metavar="MIN OPT MAX", help="Range of the dim `sequence`.")]
DimRanges = Annotated[list[str] | None, typer.Option(metavar="NAME=MIN:OPT:MAX", help="Range of any named dim.")]
Samples = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Your own inputs: texts, one a line, or an .npz file, one array an input."),
]
Precision = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="auto, fp32, bf16, fp16, int8, weights, tables, or one recipe of these, such as int8-dynamic; with auto, "
        "`convert` lowers the precision only where --max-accuracy-loss is given.",
    ),
]
MostLoss = Annotated[
    float | None,
    typer.Option(
        "--max-accuracy-loss",
        metavar="LOSS",
        help="How much accuracy a lower precision may lose on the samples, such as 0.001, as the task measures it.",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The label of each sample, one a line: loss is then in the task's metric."),
]
SearchTime = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Try no further recipe for an engine after this time.")
]
LowerIo = Annotated[
    bool,
    typer.Option("--lower-io/--keep-io", help="Have a graph in float16 take and answer float16; else float32."),
]
Optimizing = Annotated[
    bool,
    typer.Option(
        "--optimize/--no-optimize",
        help="Rewrite the graph for each engine, as optimize does, and what is lowered, too.",
    ),
]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of the samples; the same seed gives the same proof.")]
Proving = Annotated[
    str, typer.Option(metavar="BUDGET", help="How much time the proof may take: quick, normal or thorough.")
]
Repro = Annotated[
    Path | None,
    typer.Option(
        "--save-repro",
        metavar="DIR",
        help="Where outputs differ, write a folder that shows the first node that does.",
    ),
]
BuildTimeout = Annotated[
    float, typer.Option(min=1, metavar="SECONDS", help="Stop parsing or building after this time.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="Where PyTorch runs: cpu or cuda.")]
Fallback = Annotated[
    bool, typer.Option("--allow-fallback", help="Let an engine for GPUs compute on the CPU what it has no kernel for.")
]
SingleFile = Annotated[
    bool, typer.Option("--single-file", help="Keep weights in the graph, up to 2 GiB; else beside it from 256 MiB on.")
]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run Python code from the model folder.")]


def ranges_of(batch: Triple | None, sequence: Triple | None, dims: list[str]) -> dict[str, Triple]:
    """Returns the ranges of dims as they were given, by name.

    Raises:
        ProfileError: for one that is no range, or is given twice.
    """
    ranges = {name: sizes for name, sizes in (("batch", batch), ("sequence", sequence)) if sizes is not None}
    for given in dims:
        name, equals, sizes = given.partition("=")
        parts = sizes.split(":")
        if not name or not equals or len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
            raise ProfileError(f"--dim '{given}': expected NAME=MIN:OPT:MAX, for example height=64:224:512.")
        if name in ranges:
            raise ProfileError(f"--dim '{given}': dim '{name}' has a range already. Give each dim once.")
        least, usual, most = (int(part) for part in parts)
        ranges[name] = (least, usual, most)
    return ranges

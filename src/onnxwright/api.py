"""The functions of the Python API, with the words of the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxwright import environment
from onnxwright.artifact import Package

if TYPE_CHECKING:
    from torch import nn

    from onnxwright.engine import Engine
    from onnxwright.manifest import Proof
    from onnxwright.progress import Progress


def convert(
    source: str | Path | nn.Module,
    out: str | Path,
    *,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    profile: Mapping[str, tuple[int, int, int]] | None = None,
    task: str = "auto",
    route: str = "auto",
    opset: int | None = None,
    device: str = "cpu",
    engine: str | Sequence[str] = "auto",
    precision: str = "auto",
    max_accuracy_loss: float | None = None,
    labels: str | Path | None = None,
    search_seconds: float = 300.0,
    lower_io: bool = False,
    samples: str | Path | None = None,
    seed: int = 0,
    proof: str = "normal",
    measure: bool = True,
    optimize: bool = False,
    single_file: bool = False,
    trust_remote_code: bool = False,
    force: bool = False,
    save_repro: str | Path | None = None,
    replay: str | None = None,
    repair_seconds: float = 300.0,
    allow_fallback: bool = False,
    progress: Progress | None = None,
) -> Package:
    """Converts a model and returns the package, which is proven on the range that it declares.

    `source` is a Hugging Face folder, a hub id, `file.py:factory`, an `.onnx` file, or a module, or what `torch.export`
    has made of one, with `example_inputs` (`{input name: tensor}`) and `dims` (`{input name: {axis: dim name}}`).
    `profile` gives least, usual and most for named dims; the others get their defaults. `proof` is quick, normal or
    thorough. Where outputs differ, the folder `save_repro` gets the first node that answers otherwise, its inputs, and
    a script that shows it. Attempts are made until one is proven on the whole profile, for about `repair_seconds`;
    `replay` makes one of a journal alone (`"trace@18; piecewise=sequence > 8"`). With `optimize`, the graph is
    rewritten for each engine, and so is what is kept in a lower precision. `precision` and what belongs to it are as
    for `quantize`, but that `auto` lowers it only where `max_accuracy_loss` is given. With `allow_fallback`, an engine
    for GPUs may compute on the CPU what it has no kernel for; else it refuses such a graph. Weights of more than 256
    MiB lie beside their graph; with `single_file`, in it, up to 2 GiB.

    Raises:
        UsageError: when an argument, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven. Nothing is written then.
    """
    return _converted(
        source,
        out,
        profile=profile,
        engine=engine,
        samples=samples,
        save_repro=save_repro,
        progress=progress,
        example_inputs=example_inputs,
        dims=dims,
        task=task,
        route=route,
        wanted_opset=opset,
        device=device,
        precision=precision,
        max_loss=max_accuracy_loss,
        labels=labels,
        search_seconds=search_seconds,
        lowers_io=lower_io,
        seed=seed,
        proof=proof,
        is_measured=measure,
        is_optimized=optimize,
        is_single_file=single_file,
        is_code_trusted=trust_remote_code,
        is_forced=force,
        replay=replay,
        repair_seconds=repair_seconds,
        allows_fallback=allow_fallback,
    )


def optimize(
    source: str | Path | nn.Module,
    out: str | Path,
    *,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    profile: Mapping[str, tuple[int, int, int]] | None = None,
    engine: str | Sequence[str] = "auto",
    outputs: Sequence[str] = (),
    samples: str | Path | None = None,
    seed: int = 0,
    proof: str = "normal",
    measure: bool = True,
    single_file: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Package:
    """Rewrites a graph for each engine, and returns a package with what is shown right and measured to be faster.

    `source` is an `.onnx` file, which is the reference itself, or what `convert` takes, which is converted first.
    `outputs` names the outputs of a graph to keep. Without `measure`, a graph is only made simpler. `single_file` is as
    for `convert`.

    Raises:
        UsageError: when an argument, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven. Nothing is written then.
    """
    return _converted(
        source,
        out,
        profile=profile,
        engine=engine,
        samples=samples,
        progress=progress,
        example_inputs=example_inputs,
        dims=dims,
        seed=seed,
        proof=proof,
        is_measured=measure,
        is_optimized=True,
        outputs=tuple(outputs),
        is_single_file=single_file,
        is_forced=force,
    )


def quantize(
    source: str | Path | nn.Module,
    out: str | Path,
    *,
    precision: str = "auto",
    max_accuracy_loss: float | None = None,
    labels: str | Path | None = None,
    search_seconds: float = 300.0,
    lower_io: bool = False,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    profile: Mapping[str, tuple[int, int, int]] | None = None,
    engine: str | Sequence[str] = "auto",
    samples: str | Path | None = None,
    seed: int = 0,
    proof: str = "normal",
    measure: bool = True,
    optimize: bool = False,
    single_file: bool = False,
    trust_remote_code: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Package:
    """Lowers the precision for each engine, and returns a package with the fastest that stays within a budget.

    `source` is an `.onnx` file or a package, whose graph is the reference itself, or what `convert` takes, which is
    converted first. `precision` is `auto`, a family of recipes (`fp16`, `bf16`, `int8`, `weights`) or one recipe.
    `max_accuracy_loss` bounds the loss on `samples`, of which one half calibrates and the other judges; what it is
    depends on the task (`docs/losses.md`), and with `labels` it is the task's own metric. After `search_seconds` no
    more recipe is tried for an engine. With `lower_io`, a graph in float16 takes and answers float16 in its file, too,
    for programs that hand such tensors on; sessions of the package cast. With `optimize`, what is kept is
    rewritten for its engine where that is faster still, and judged once more; so is the graph as it was. `single_file`
    is as for `convert`.

    Raises:
        UsageError: when an argument, a file or the machine is at fault.
        ModelError: when the model can't be run, exported or proven, or nothing of the precision that is named stays
            within the budget. Nothing is written then.
    """
    return _converted(
        source,
        out,
        profile=profile,
        engine=engine,
        samples=samples,
        progress=progress,
        labels=labels,
        example_inputs=example_inputs,
        dims=dims,
        precision=precision,
        max_loss=max_accuracy_loss,
        search_seconds=search_seconds,
        lowers_io=lower_io,
        is_quantized=True,
        seed=seed,
        proof=proof,
        is_measured=measure,
        is_optimized=optimize,
        is_single_file=single_file,
        is_code_trusted=trust_remote_code,
        is_forced=force,
    )


def _converted(
    source: str | Path | nn.Module,
    out: str | Path,
    *,
    profile: Mapping[str, tuple[int, int, int]] | None,
    engine: str | Sequence[str],
    samples: str | Path | None,
    progress: Progress | None,
    save_repro: str | Path | None = None,
    labels: str | Path | None = None,
    **said: Any,
) -> Package:
    """Converts what is asked for; what isn't named here is said as `Request` says it."""
    from onnxwright.stages.convert import convert as run
    from onnxwright.stages.request import Request

    request = Request(
        source=source,
        out=environment.at_home(out),
        ranges=dict(profile or {}),
        engines=(engine,) if isinstance(engine, str) else tuple(engine),
        samples=None if samples is None else environment.at_home(samples),
        repro=None if save_repro is None else environment.at_home(save_repro),
        labels=None if labels is None else environment.at_home(labels),
        **said,
    )
    return run(request, progress)


def prove(
    source: str | Path | nn.Module,
    candidate: str | Path | None = None,
    *,
    example_inputs: Any = None,
    dims: Mapping[str, Mapping[int, str]] | None = None,
    profile: Mapping[str, tuple[int, int, int]] | None = None,
    task: str = "auto",
    device: str = "cpu",
    engine: str | Sequence[str] = "auto",
    proof: str = "normal",
    samples: str | Path | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    save_repro: str | Path | None = None,
    allow_fallback: bool = False,
    progress: Progress | None = None,
) -> dict[str, Proof]:
    """Holds a candidate against a source in each engine, and returns a proof for each.

    `candidate` is an `.onnx` file, or a package, whose graph it then is; `source` and the rest are as for `convert`.
    Without a candidate, `source` is a package, which is proven from the answers that it carries: that needs no
    PyTorch. An engine that refuses the candidate has failed. `save_repro` and `allow_fallback` are as for `convert`.

    Raises:
        UsageError: when an argument, a file or the machine is at fault; SignatureError when names or types differ.
        ModelError: when the source can't be run, or is no function of its inputs.
    """
    from onnxwright.stages.prove import prove as run
    from onnxwright.stages.question import Question

    question = Question(
        source=source,
        candidate=None if candidate is None else environment.at_home(candidate),
        example_inputs=example_inputs,
        dims=dims,
        ranges=dict(profile or {}),
        task=task,
        engines=(engine,) if isinstance(engine, str) else tuple(engine),
        samples=None if samples is None else environment.at_home(samples),
        seed=seed,
        proof=proof,
        is_code_trusted=trust_remote_code,
        repro=None if save_repro is None else environment.at_home(save_repro),
        allows_fallback=allow_fallback,
        device=device,
    )
    return dict(run(question, progress).proofs)


def build(
    source: str | Path,
    out: str | Path | None = None,
    *,
    engine: str,
    variant: str | None = None,
    profile: Mapping[str, tuple[int, int, int]] | None = None,
    targets: Sequence[str] = (),
    buckets: Sequence[int] = (),
    tf32: bool = False,
    workspace_mib: int | None = None,
    force: bool = False,
    seconds: float = 300.0,
) -> Engine:
    """Builds an engine ahead of time, and returns it; its `session()` runs it where there is a GPU.

    `source` is a package, whose engine lies in `engines/NAME` unless `out` is given, or an `.onnx` file. `targets` are
    compute capabilities (`"sm89"`), `buckets` the sequence lengths at which a profile ends. Of a package, sizes beyond
    what was proven are refused. Parsing and building end after `seconds`.

    Raises:
        UsageError: when an argument, a file or the machine is at fault.
        BuildError: when the library builds no engine of the graph. Nothing is written then.
    """
    from onnxwright.stages.build import BuildRequest
    from onnxwright.stages.build import build as run

    request = BuildRequest(
        source=environment.at_home(source),
        engine=engine,
        out=None if out is None else environment.at_home(out),
        variant=variant,
        ranges=dict(profile or {}),
        targets=tuple(targets),
        is_tf32=tf32,
        workspace_mib=workspace_mib,
        buckets=tuple(buckets),
        is_forced=force,
        seconds=seconds,
        is_rebuilt=False,
    )
    return run(request)


def open(folder: str | Path) -> Package:  # noqa: A001 - the word of the contract, used as `onnxwright.open`
    """Opens a package.

    Raises:
        SourceError: when the folder is missing or is not a package.
    """
    return Package.open(folder)


def convert_to_onnx(
    model_pytorch: nn.Module, output_path: str | Path, inputs_pytorch: Mapping[str, Any], opset: int = 12
) -> Proof:
    """Writes one ONNX file by tracing, and proves it at other sizes than the dummy inputs' own.

    Inputs are called as in `inputs_pytorch`, in its order; the first output is called `output`. Axis 0 of every
    input is `batch_size`, axis 1 `sequence`; axis 0 of the output is `batch_size`. The module is traced in
    evaluation mode and handed back in its own.

    Raises:
        SignatureError: when the inputs don't fit `forward`.
        ProofError: when the file is not right away from the dummy inputs' sizes. It is not kept then.
    """
    from onnxwright.stages.convert_to_onnx import convert_to_onnx as run

    return run(model_pytorch, Path(output_path), inputs_pytorch, opset)

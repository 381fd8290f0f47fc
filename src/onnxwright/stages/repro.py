"""A folder that shows a wrong answer to whoever maintains the exporter or the engine: few nodes, inputs, a script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from onnxwright.backends import Array, Session, Tensors
from onnxwright.errors import EngineError, OutputError
from onnxwright.manifest import Divergence, Proof
from onnxwright.progress import Progress
from onnxwright.source import Source
from onnxwright.stages.locate import cases_of
from onnxwright.stages.request import check_empty
from onnxwright.words import in_sizes

if TYPE_CHECKING:
    import onnx_ir as ir

    from onnxwright.watching.divergence import Case, Search

MODEL, INPUTS, EXPECTED, SCRIPT, README = "model.onnx", "inputs.npz", "expected.npz", "show.py", "README.md"

_RUNS: Final = {
    "onnxruntime": """\
import onnxruntime

session = onnxruntime.InferenceSession(here / "model.onnx", providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
answered = dict(zip(names, session.run(names, inputs)))
""",
    "openvino": """\
import openvino

settings = {"INFERENCE_PRECISION_HINT": "f32"}
model = openvino.Core().compile_model(str(here / "model.onnx"), "CPU", settings)
answered = {name: model(inputs)[name] for name in expected}
""",
}
_SCRIPT: Final = """\
from pathlib import Path

import numpy as np

here = Path(__file__).parent
inputs, expected = dict(np.load(here / "inputs.npz")), dict(np.load(here / "expected.npz"))
{run}
for name, want in expected.items():
    got = answered[name]
    print(f"{{name}}: expected {{want.dtype}}{{list(want.shape)}}, got {{got.dtype}}{{list(got.shape)}}")
    if want.shape == got.shape:
        error = np.abs(got.astype("float64") - want.astype("float64"))
        print(f"largest difference {{np.nanmax(error):.3g}} beside values up to {{np.nanmax(np.abs(want)):.3g}}")
"""
_README: Final = """\
{message}

At {sizes}, with {values} values; `{script}` runs {what} and prints the difference. Expected is what PyTorch {version}
computes.
"""


class Repro(NamedTuple):
    """A model, what goes in, and what should come out."""

    model: ir.Model
    inputs: Tensors
    expected: Tensors
    what: str


def save_repro(case: Case, folder: Path, *, seconds: float = 30.0) -> Divergence | None:
    """Writes a folder that shows the first divergence at one point; without one, writes nothing and returns None.

    It holds the diverging node with those of the same line before it, or the whole graph where these alone don't show
    it; the inputs that go into them; what PyTorch computes there; and a script that prints the difference.

    Raises:
        OutputError: when the folder isn't empty, or can't be written.
        ForwardError: when the module raises.
        EngineError: when ONNX Runtime refuses the graph.
    """
    from onnxwright.watching.divergence import examine

    check_empty(folder)
    search, found = examine(case, seconds=seconds)
    if found is None:
        return None
    repro = _smallest(search) or _whole(search)
    engine = case.engine.ran.backend if case.engine is not None and not search.is_graph_wrong else "onnxruntime"
    _write(repro, folder, _RUNS.get(engine, _RUNS["onnxruntime"]), _readme(found, repro))
    return found


def save_repro_of(proof: Proof, engine: Session, source: Source, file: Path, folder: Path) -> Divergence | None:
    """Writes a folder that shows the first divergence behind a failed proof, at the smallest sizes that have one.

    `file` is the graph that the engine runs. Writes nothing and returns None where nothing tells.

    Raises:
        OutputError: when the folder isn't empty, or can't be written.
    """
    check_empty(folder)
    for case in cases_of(proof, engine, source, file):
        try:
            found = save_repro(case, folder)
        except (OutputError, KeyboardInterrupt):
            raise
        except Exception:  # noqa: BLE001, S112 - a module may not bear being watched; another point may
            continue
        if found is not None:
            return found
    return None


def save_first(
    proofs: Mapping[str, Proof], sessions: Mapping[str, Session], source: Source, file: Path, folder: Path
) -> Divergence | None:
    """Writes a folder for the first of some proofs, by engine, that has failures of which anything can be told.

    Raises:
        OutputError: when the folder isn't empty, or can't be written.
    """
    for name, proof in proofs.items():
        found = save_repro_of(proof, sessions[name], source, file, folder) if proof.failures else None
        if found is not None:
            return found
    return None


def tell_repro(found: Divergence | None, folder: Path, progress: Progress) -> None:
    """Says whether a reproduction was written."""
    told = f"in '{folder}': {found.message}" if found is not None else "not written: nothing diverges that can be shown"
    progress.note(f"reproduction {told}")


def _smallest(search: Search) -> Repro | None:
    """Cuts out the nodes of the diverging line up to the first differing value, if they alone show the difference."""
    import onnx_ir as ir

    from onnxwright.graph.cutting import between, cut, operands
    from onnxwright.graph.provenance import provenance_of
    from onnxwright.watching.divergence import run_model

    number = search.number
    value = search.matches[number].value if number is not None else None
    node = value.producer() if value is not None else None
    expected = search.value_of(number) if number is not None else None
    if value is None or node is None or expected is None:
        return None
    line = between(node, [one for one in search.graph.nodes_at(provenance_of(node)) if one.graph is node.graph])
    computed = {output for one in line for output in one.outputs}
    before = dict.fromkeys(given for one in line for given in operands(one) if given not in computed)
    boundary = [given for given in before if ir.convenience.get_const_tensor(given) is None]
    try:
        answered = search.graph.run(search.case.feeds, boundary)
        model = cut(search.graph.model, boundary, [value])
        names = {str(given.name): f"input_{place}" for place, given in enumerate(boundary)}
        inputs = {names[name]: array for name, array in answered.items()}
        _name_boundary(model, names, inputs)
        got = run_model(model, inputs, search.case.threads)["output"]
        _type(model.graph.outputs[0], got)
    except (EngineError, ValueError):
        return None
    has_difference = got.shape != expected.shape or not np.allclose(got, expected, rtol=1e-5, atol=1e-7)
    return Repro(model, inputs, {"output": expected}, "the diverging nodes alone") if has_difference else None


def _whole(search: Search) -> Repro:
    return Repro(search.graph.model, search.case.feeds, search.expected, "the whole graph")


def _name_boundary(model: ir.Model, names: Mapping[str, str], inputs: Tensors) -> None:
    for value in model.graph.inputs:
        value.name = names[str(value.name)]
        _type(value, inputs[value.name])
    model.graph.outputs[0].name = "output"


def _type(value: ir.Value, array: Array) -> None:
    import onnx_ir as ir

    value.dtype, value.shape = ir.DataType.from_numpy(array.dtype), ir.Shape(array.shape)


def _write(repro: Repro, folder: Path, run: str, readme: str) -> None:
    from onnxwright.graph.saving import save_model

    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_model(repro.model, folder / MODEL)
        _write_arrays(folder / INPUTS, repro.inputs)
        _write_arrays(folder / EXPECTED, repro.expected)
        (folder / SCRIPT).write_text(_SCRIPT.format(run=run.rstrip()), encoding="utf-8")
        (folder / README).write_text(readme, encoding="utf-8")
    except OSError as problem:
        raise OutputError(f"folder '{folder}' can't be written: {problem.strerror}.") from problem


def _write_arrays(file: Path, arrays: Mapping[str, Array]) -> None:
    with file.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)


def _readme(found: Divergence, repro: Repro) -> str:
    import torch

    return _README.format(
        message=found.message,
        sizes=in_sizes(found.sizes),
        values=found.values,
        script=SCRIPT,
        what=repro.what,
        version=torch.__version__,
    )

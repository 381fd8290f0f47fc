"""The classic helper: one module, one ONNX file, by tracing."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright import environment
from onnxwright.backends import Options
from onnxwright.backends.onnxruntime import OnnxRuntimeSession
from onnxwright.errors import OutputError, ProofError
from onnxwright.files import data_file
from onnxwright.findings import Finding
from onnxwright.manifest import Proof
from onnxwright.proof.prove import prove
from onnxwright.reference import reference_of
from onnxwright.source import Source
from onnxwright.stages.examine import asked_of, looked_into, plan_of
from onnxwright.stages.explain import with_evidence
from onnxwright.stages.export import export
from onnxwright.stages.stepping import Stepping
from onnxwright.watching.examination import examine

if TYPE_CHECKING:
    from torch import nn

    from onnxwright.routes import Noted

AXES: Final = ("batch_size", "sequence")
OUTPUT: Final = "output"
_PER_CHANNEL_OPSET = 13


def convert_to_onnx(model: nn.Module, file: Path, inputs: Mapping[str, Any], opset: int) -> Proof:
    """Traces, proves and writes; see `onnxwright.convert_to_onnx`."""
    from onnxwright.graph.saving import save_model

    if not file.parent.is_dir():
        raise OutputError(f"output '{file}': its folder doesn't exist. Make it first.")
    if file.is_dir():
        raise OutputError(f"output '{file}': is a folder; expected the name of a file to write.")
    source = _load(model, inputs)
    _refuse(source, examine(source, threads=environment.cores()))
    exported = export(source, route_name="trace", opset=_opset(model, opset))
    _refuse(source, exported.noted.findings)
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}.") as folder:
        draft = Path(folder) / file.name
        save_model(exported.model, draft)
        proof = _prove(source, draft, exported.noted)
        for made, place in ((data_file(draft), data_file(file)), (draft, file)):
            if made.exists():
                os.replace(made, place)  # noqa: PTH105 - the function's name says that it replaces
    return proof


def _refuse(source: Source, findings: Sequence[Finding]) -> None:
    blocking = tuple(found for found in findings if found.blocks_proof)
    if blocking:
        told = " ".join(f"{found.message} ({found.where})" if found.where else found.message for found in blocking)
        raise ProofError(f"'{source.name}' can't be traced right. {told}", findings=blocking)


def _load(model: nn.Module, inputs: Mapping[str, Any]) -> Source:
    from onnxwright.loaders.declaring import called
    from onnxwright.loaders.module import load
    from onnxwright.pytorch.fronts import FirstNamed
    from onnxwright.pytorch.uncompiled import as_module

    module, named = called(as_module(model), inputs)
    dims = {name: dict(enumerate(AXES[: tensor.ndim])) for name, tensor in named.items()}
    return load(FirstNamed(module, OUTPUT), named, dims, ranges=None, name=type(model).__name__)


def _opset(model: nn.Module, opset: int) -> int:
    from onnxwright.pytorch.fake_quantization import has_channels

    return max(opset, _PER_CHANNEL_OPSET) if has_channels(model) else opset


def _prove(source: Source, file: Path, noted: Noted) -> Proof:
    # What the file says, without what an optimizer makes of it.
    load = functools.partial(OnnxRuntimeSession, options=Options(environment.cores()), is_optimized=False)
    session = Stepping(load(file), file, load, file.parent)
    reference = reference_of(source, threads=environment.cores())
    asked = asked_of(source)
    plan = plan_of(source, asked, proof="quick")
    source, seen = looked_into(file, source, plan)
    proof = prove(reference, {source.name: session}, source.sampler, plan)[source.name]
    proof = with_evidence(source, asked, proof, noted.and_found(seen), origin="trace")
    if proof.verdict == "failed" or proof.failures:
        told = " ".join(found.message for found in proof.findings)
        raise ProofError(f"'{source.name}' is not right away from the dummy inputs. {told}", findings=proof.findings)
    return proof

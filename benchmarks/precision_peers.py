"""What other tools make of a model by their defaults, in each engine that may run it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from torch import nn

from engines import TorchSession
from onnxwright import environment
from onnxwright.backends import Array, Options, Ran, Session, Tensors, engine
from onnxwright.backends.openvino import executed_precision
from onnxwright.files import digest
from precision_models import Model

Load = Callable[[], Session]
IN_ENGINES = (("onnxruntime", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))
"""OpenVINO computes what is left in float32 in bfloat16 by its own default."""
Make = Callable[["Given", Path], None]
"""Writes a file."""


@dataclass(frozen=True)
class Given:
    """What each tool is given: the graph in float32, the module, and samples to calibrate by."""

    model: Model
    graph: Path
    module: nn.Module
    calibration: Sequence[Tensors]

    @property
    def tensors(self) -> list[dict[str, torch.Tensor]]:
        """The samples for PyTorch."""
        return [{name: torch.from_numpy(array) for name, array in one.items()} for one in self.calibration]


def peers(given: Given, place: Path) -> Iterator[tuple[str, Load]]:
    """Yields what makes and loads the variants; the graph as it is comes first."""
    for name, precision in IN_ENGINES:
        yield f"{name} {precision}", functools.partial(_prepared, given.graph, name, precision)
    yield "torch dynamic int8", lambda: _torch_dynamic(given)
    for label, make in _ON_THE_GRAPH.items():
        file = place / f"{label.replace(' ', '-')}.onnx"
        for name, precision in IN_ENGINES:
            yield _named(label, name, precision), functools.partial(_made, make, given, file, name, precision)
    for label, make in _BY_TRANSFORMERS.items():
        file = place / f"{label.replace(' ', '-')}.onnx"
        for name, precision in IN_ENGINES:
            load = functools.partial(_made, make, given, file, name, precision)
            yield _named(label, name, precision), functools.partial(_completed, given, load)
    for precision in ("float32", "bfloat16"):
        load = functools.partial(_exported_to_openvino, given, place / "transformers.xml", precision)
        yield _named("transformers NNCFOpenVINO", "openvino", precision), functools.partial(_completed, given, load)


def _named(label: str, name: str, precision: str) -> str:
    return f"{label} in {name}" + ("" if precision == "float32" else f" {precision}")


def _prepared(file: Path, name: str, precision: str) -> Session:
    return engine(name).prepare(file, Options(environment.cores(), precision))


def _made(make: Make, given: Given, file: Path, name: str, precision: str) -> Session:
    if not file.exists():
        make(given, file)
    return _prepared(file, name, precision)


def _torch_dynamic(given: Given) -> Session:
    made = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
        given.module, {nn.Linear}, dtype=torch.qint8
    )
    session = TorchSession("torch dynamic int8", made, tuple(given.model.outputs))
    session.ran = msgspec.structs.replace(session.ran, precision="int8")
    return session


# Tools that take the graph


def _ort_dynamic(given: Given, file: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(given.graph, file)


def _ort_static(given: Given, file: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(given.calibration)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(given.graph, file, Reader())


def _nncf(given: Given, file: Path) -> None:
    import nncf

    samples = nncf.Dataset([dict(one) for one in given.calibration])
    onnx.save(nncf.quantize(onnx.load(given.graph), samples, model_type=nncf.ModelType.TRANSFORMER), file)


def _nncf_weights(given: Given, file: Path) -> None:
    import nncf

    onnx.save(nncf.compress_weights(onnx.load(given.graph)), file)


_ON_THE_GRAPH: Mapping[str, Make] = {
    "ORT quantize_dynamic": _ort_dynamic,
    "ORT quantize_static": _ort_static,
    "NNCF quantize": _nncf,
    "NNCF compress_weights": _nncf_weights,
}


# The exporter of transformers, with its quantizers


def _exported(given: Given, file: Path, quantizer: Callable[[Any], Any]) -> None:
    from transformers.exporters import OnnxConfig
    from transformers.exporters.exporter_onnx import OnnxExporter

    samples = given.tensors
    config = OnnxConfig(dynamic=True, quantizer=quantizer(samples))
    made = OnnxExporter().export(given.module.encoder, _example(samples), config)
    OnnxExporter.save_program(made.program, file)


def _example(samples: Sequence[Mapping[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """One sample twice: a batch of one would be taken for a constant."""
    return {name: tensor.repeat(2, 1) for name, tensor in samples[0].items()}


def _by_ort_static(given: Given, file: Path) -> None:
    from transformers.exporters import OnnxRuntimeQuantizer

    _exported(given, file, lambda samples: OnnxRuntimeQuantizer(calibration_dataset=samples))


def _by_ort_dynamic(given: Given, file: Path) -> None:
    from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer

    _exported(given, file, lambda _: OnnxRuntimeQuantizer(OnnxRuntimeDynamicConfig()))


def _by_nncf(given: Given, file: Path) -> None:
    from transformers.exporters import NNCFOnnxQuantizer

    _exported(given, file, lambda samples: NNCFOnnxQuantizer(calibration_dataset=samples))


def _by_nncf_fx(given: Given, file: Path) -> None:
    from transformers.exporters import NNCFTorchFXQuantizer

    _exported(given, file, lambda samples: NNCFTorchFXQuantizer(calibration_dataset=samples))


def _by_pt2e(given: Given, file: Path) -> None:
    from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86
    from transformers.exporters import PT2EQuantizer

    settings = x86.get_default_x86_inductor_quantization_config()
    how = x86.X86InductorQuantizer().set_global(settings)
    _exported(given, file, lambda samples: PT2EQuantizer(how, calibration_dataset=samples))


_BY_TRANSFORMERS: Mapping[str, Make] = {
    "transformers OnnxRuntime static": _by_ort_static,
    "transformers OnnxRuntime dynamic": _by_ort_dynamic,
    "transformers NNCFOnnx": _by_nncf,
    "transformers NNCFTorchFX": _by_nncf_fx,
    "transformers PT2E": _by_pt2e,
}


def _exported_to_openvino(given: Given, file: Path, precision: str) -> Session:
    from transformers.exporters import NNCFOpenVINOQuantizer
    from transformers.exporters.exporter_openvino import OpenVINOConfig, OpenVINOExporter

    if not file.exists():
        samples = given.tensors
        config = OpenVINOConfig(dynamic=True, quantizer=NNCFOpenVINOQuantizer(calibration_dataset=samples))
        made = OpenVINOExporter().export(given.module.encoder, _example(samples), config)
        OpenVINOExporter.save_program(made.program, file)
    return _OpenVinoFile(file, precision)


class _OpenVinoFile:
    """A graph in OpenVINO's own format, compiled as those in ONNX are."""

    def __init__(self, file: Path, precision: str):
        import openvino

        hints = {"float32": "f32", "bfloat16": "bf16"}
        threads = environment.cores()
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": hints[precision],
        }
        self._compiled = openvino.Core().compile_model(file, "CPU", settings)
        self._request = self._compiled.create_infer_request()
        ran = executed_precision(self._compiled)
        self.ran = Ran("openvino", openvino.__version__, "CPU", ran, threads, digest(file))

    @property
    def inputs(self) -> list[str]:
        """The names of its inputs."""
        return [port.get_any_name() for port in self._compiled.inputs]

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`."""
        answers = self._request.infer(dict(feeds), share_inputs=True, share_outputs=False)
        return {port.get_any_name(): np.asarray(array) for port, array in answers.items()}


class _Completed:
    """A session of a graph of the encoder alone, which answers what the module answers."""

    def __init__(self, session: Session, inputs: Sequence[str], model: Model):
        self._session, self._inputs, self._model = session, inputs, model
        self.ran = session.ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`."""
        answered = self._session.run({name: feeds[name] for name in self._inputs})
        return self._model.completed(feeds, answered)


def _completed(given: Given, load: Load) -> Session:
    session = load()
    inputs = session.inputs if isinstance(session, _OpenVinoFile) else given.model.inputs
    return _Completed(session, inputs, given.model)

"""Parses and builds, in a process of its own: `python -m onnxwright.nvidia.worker ORDER ANSWER`.

Parsers of graphs have crashed, and two models in one process have (TensorRT-RTX 1.7: two with `RoiAlign`), so that
each order gets a new process. It prints nothing; the answer is a file.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from msgspec.structs import replace

from onnxwright import environment
from onnxwright.errors import EngineError
from onnxwright.nvidia.libraries import LIBRARIES, as_told_by
from onnxwright.nvidia.orders import Answer, Order, Refusal, Settings, Tensor

_SERIOUS: Final = ("INTERNAL_ERROR", "ERROR")
_NOISE: Final = "catchCudaError"
"""What the library says besides, wherever there is no driver."""


def carry_out(order: Order) -> Answer:
    """Parses a graph, and builds it where that is asked for.

    Raises:
        EngineError: when the library can't be used here.
    """
    trt = LIBRARIES[order.engine_name].load()
    log = _log(trt)
    try:
        builder = trt.Builder(log)
    except (RuntimeError, TypeError) as refusal:
        raise EngineError(f"{order.engine_name} has no builder here: {refusal} {_last(log)}".strip()) from refusal
    answer = Answer(version=trt.__version__, targets=as_told_by(trt))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    begun = time.monotonic()
    is_parsed = bool(parser.parse_from_file(order.file)) and not parser.num_errors
    answer = replace(answer, is_parsed=is_parsed, parse_seconds=round(time.monotonic() - begun, 3))
    if not is_parsed:
        refused = tuple(_refusal(parser.get_error(one)) for one in range(parser.num_errors))
        lacking = tuple(name for name in order.operators if not parser.supports_operator(name))
        return _with_log(replace(answer, refused=refused, lacking=lacking, problem=_last(log)), log)
    answer = replace(
        answer,
        inputs=tuple(_tensor(network.get_input(one)) for one in range(network.num_inputs)),
        outputs=tuple(_tensor(network.get_output(one)) for one in range(network.num_outputs)),
        layers=network.num_layers,
    )
    if order.engine is None:
        return _with_log(answer, log)
    config = builder.create_builder_config()
    misuse = _configure(trt, config, order.settings) or _refused_profile(builder, config, order.settings)
    if misuse:
        return _with_log(replace(answer, problem=misuse, is_misused=True), log)
    begun = time.monotonic()
    is_built = _build(trt, builder, (network, config), Path(order.engine))
    answer = replace(answer, is_built=is_built, build_seconds=round(time.monotonic() - begun, 3))
    if not is_built:
        answer = replace(answer, problem=_last(log) or "the builder gives no reason.")
    return _with_log(answer, log)


def _build(trt: Any, builder: Any, planned: tuple[Any, Any], file: Path) -> bool:
    """Builds into a file, piece by piece where the library can: an engine is as large as its weights."""
    if not hasattr(builder, "build_serialized_network_to_stream"):
        built = builder.build_serialized_network(*planned)
        if built is not None:
            file.write_bytes(built)
        return built is not None
    with file.open("wb") as stream:
        is_built = bool(builder.build_serialized_network_to_stream(*planned, _writer(trt, stream)))
    if not is_built:
        file.unlink()
    return is_built


def _writer(trt: Any, stream: BinaryIO) -> Any:
    class Writer(trt.IStreamWriter):  # type: ignore[misc]  # a class of the library, which has no types
        def __init__(self) -> None:
            trt.IStreamWriter.__init__(self)

        def write(self, piece: Any) -> int:
            """Writes a piece of the engine, and returns how much of it."""
            return stream.write(piece)

    return Writer()


def _configure(trt: Any, config: Any, settings: Settings) -> str:
    """Sets what was asked for, and says what the library lacks of it."""
    if settings.is_tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    known = as_told_by(trt)
    unknown = [one for one in settings.targets if one not in known]
    if unknown:
        expected = f"one of {', '.join(known)}" if known else "none: it builds for the GPU at hand"
        return f"target '{unknown[0]}' is none that this library builds for; expected {expected}."
    if settings.targets:
        config.num_compute_capabilities = len(settings.targets)
    for place, name in enumerate(settings.targets):
        if not config.set_compute_capability(getattr(trt.ComputeCapability, name.upper()), place):
            return f"target '{name}': this library refuses it."
    return ""


def _refused_profile(builder: Any, config: Any, settings: Settings) -> str:
    for shaped in settings.profiles:
        profile = builder.create_optimization_profile()
        for name, shapes in shaped.items():
            profile.set_shape(name, shapes.least, shapes.usual, shapes.most)
        if config.add_optimization_profile(profile) < 0:
            return f"the profile is invalid: {_spelled(shaped)}. Order each input's shapes as least, usual, most."
    return ""


def _spelled(shaped: Any) -> str:
    return "; ".join(f"{name} {one.least} to {one.most}, usually {one.usual}" for name, one in shaped.items())


def _refusal(error: Any) -> Refusal:
    told = " ".join(error.desc().split()).partition(f" [checkMacros.cpp::{_NOISE}")[0]
    return Refusal(error.node(), error.node_name(), error.node_operator(), told)


def _tensor(tensor: Any) -> Tensor:
    return Tensor(tensor.name, str(tensor.dtype).rpartition(".")[2].lower(), tuple(tensor.shape))


def _log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # a class of the library, which has no types
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, message: str) -> None:
            """Keeps what the library says."""
            self.lines.append((str(severity).rpartition(".")[2], message))

    return Log()


def _last(log: Any) -> str:
    told = [" ".join(text.split()) for severity, text in log.lines if severity in _SERIOUS and _NOISE not in text]
    return told[-1] if told else ""


def _with_log(answer: Answer, log: Any) -> Answer:
    lines = tuple(f"[{severity}] {message}" for severity, message in log.lines if severity != "VERBOSE")
    taken = round(time.process_time(), 3)
    return replace(answer, log=lines, peak_bytes=environment.peak_memory(), processor_seconds=taken)


def main(order: Path, answer: Path) -> None:
    """Carries out the order in a file, and writes the answer to another."""
    try:
        found = carry_out(msgspec.json.decode(order.read_bytes(), type=Order))
    except EngineError as refusal:
        found = Answer(version="", problem=str(refusal))
    partial = answer.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(found))
    partial.replace(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

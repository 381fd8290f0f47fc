"""ONNX Runtime on a GPU, by an execution provider; what it would leave to the CPU is an error unless allowed.

With the CPU's own provider, a session is the twin by which all of this is tested where there is no GPU.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright.backends import Ran, check_names, check_precision
from onnxwright.backends.onnxruntime import answers, telling_refusals, type_of
from onnxwright.dtypes import from_onnx, to_numpy, to_onnx
from onnxwright.errors import EngineError
from onnxwright.files import digest, outline
from onnxwright.nvidia.driver import Driver, missing_driver
from onnxwright.nvidia.placed import Device, Placed, Stream, placed

if TYPE_CHECKING:
    from onnxwright.backends import Array, Options, Session, Tensors

CPU: Final = "CPUExecutionProvider"
_OF_SIZES: Final = frozenset(
    {
        *("Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Slice", "Cast", "Range", "Constant"),
        *("ConstantOfShape", "Reshape", "Where", "Equal", "Less", "Greater", "And", "Or", "Not", "If", "Loop"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Floor", "Ceil", "ReduceProd", "ReduceMax", "Expand"),
        *("MemcpyToHost", "MemcpyFromHost", "Identity", "Tile", "ScatterND", "ScatterElements", "NonZero"),
    }
)
"""What ONNX Runtime computes on the CPU on purpose, since sizes are needed there."""


class ProviderSession:
    """A graph loaded by ONNX Runtime for a GPU.

    Raises:
        EngineError: when ONNX Runtime refuses the graph, or would compute a part of it on the CPU that isn't of sizes.
    """

    def __init__(self, file: Path, provider: str, options: Options):
        self._session = load(file, provider, options)
        found = placed_nodes(self._session)
        wrong = misplaced(found, provider)
        if wrong and not options.allows_fallback:
            told = ", ".join(f"{count} {name}" for name, count in sorted(wrong.items()))
            raise EngineError(
                f"{provider} doesn't compute all of '{file.name}': {told} would run elsewhere. "
                "Allow that with --allow-fallback, or use onnxruntime."
            )
        self._inputs = {one.name: to_numpy(type_of(one)) for one in self._session.get_inputs()}
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._device: Device = "cpu" if provider == CPU else "cuda"
        self._stream = _new_stream() if self._device == "cuda" else None
        self._ran = _described(file, provider, found)

    @property
    def ran(self) -> Ran:
        """What runs: how many nodes on which provider, by what ONNX Runtime says of each."""
        return self._ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`.

        Raises:
            EngineError: when a feed is missing, unknown, or of another type or rank than the graph's input.
        """
        return answers(self._session, self._outputs, feeds)

    def run_on_device(self, feeds: Mapping[str, Any]) -> dict[str, Placed]:
        """Answers with tensors where the provider leaves them; feeds are bound where they lie, what makes them awaited.

        What it answers is valid as long as it is held.

        Raises:
            EngineError: when a feed is missing or unknown, or of another shape than the graph's input.
            SignatureError: when a tensor has another type, lies on another GPU, or isn't contiguous.
        """
        check_names(self._ran.backend, self._inputs, feeds)
        given = {name: placed(name, feeds[name], dtype, self._stream) for name, dtype in self._inputs.items()}
        if self._stream is not None:
            self._stream.wait()  # ONNX Runtime has a stream of its own
        binding = self._session.io_binding()
        for name, one in given.items():
            binding.bind_input(name, one.device, 0, to_onnx(one.dtype.name), one.shape, one.address)
        for name in self._outputs:
            binding.bind_output(name, self._device, 0)
        with telling_refusals():
            self._session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return dict(zip(self._outputs, (self._answered(one) for one in binding.get_outputs()), strict=True))

    def _answered(self, value: Any) -> Placed:
        dtype = to_numpy(from_onnx(value.element_type()))
        return Placed(value.data_ptr(), tuple(value.shape()), dtype, self._device, value)


class ProviderBackend:
    """ONNX Runtime with one of its providers for GPUs first, and the CPU's for sizes."""

    precisions: tuple[str, ...] = ("float32",)

    def __init__(self, name: str, provider: str):
        self.name = name
        self._provider = provider

    def available(self) -> str | None:
        """Returns why the provider can't be used here (package, provider, driver or GPU), or None when it can."""
        if importlib.util.find_spec("onnxruntime") is None:
            return "the package 'onnxruntime-gpu' is not installed; install it with `pip install onnxruntime-gpu`."
        import onnxruntime

        if self._provider not in onnxruntime.get_available_providers():
            return f"this onnxruntime has no {self._provider}; install `onnxruntime-gpu` in the place of `onnxruntime`."
        return missing_driver()

    def prepare(self, file: Path, options: Options) -> Session:
        """Loads an ONNX file.

        Raises:
            EngineError: when ONNX Runtime refuses the graph, or a part of it would run on the CPU.
        """
        check_precision(self, options.precision)
        return ProviderSession(file, self._provider, options)


def _new_stream() -> Stream:
    driver = Driver()
    driver.enter()
    return Stream(driver, driver.new_stream())


def load(file: Path, provider: str, options: Options) -> Any:
    """Loads a graph for a provider, and has ONNX Runtime note which provider gets which node.

    Raises:
        EngineError: when it refuses the graph, or falls back to other providers as a whole.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.log_severity_level = 4
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = list(dict.fromkeys([provider, CPU]))
    try:
        session = onnxruntime.InferenceSession(file, settings, providers=providers)
    except Exception as refusal:  # every failure of the C++ side has a type of its own
        raise EngineError(f"ONNX Runtime refuses '{file.name}': {refusal}") from refusal
    if provider not in session.get_providers():
        raise EngineError(
            f"ONNX Runtime has left {provider} out, and would use {', '.join(session.get_providers())}: the CUDA that "
            "it needs isn't there, or is another version."
        )
    return session


def placed_nodes(session: Any) -> dict[str, Counter[str]]:
    """Returns how many nodes of which operator run on which provider, as ONNX Runtime has noted it."""
    found: dict[str, Counter[str]] = {}
    for part in session.get_provider_graph_assignment_info():
        found.setdefault(part.ep_name, Counter()).update(node.op_type for node in part.get_nodes())
    return found


def misplaced(found: Mapping[str, Counter[str]], provider: str) -> Counter[str]:
    """Returns what runs on another provider and isn't of sizes."""
    others = (nodes for name, nodes in found.items() if name != provider)
    return sum((Counter({op: n for op, n in nodes.items() if op not in _OF_SIZES}) for nodes in others), Counter())


def _described(file: Path, provider: str, found: Mapping[str, Counter[str]]) -> Ran:
    import onnxruntime

    counts = ", ".join(f"{name} {nodes.total()} nodes" for name, nodes in found.items())
    return Ran(
        backend=f"onnxruntime ({provider})",
        version=onnxruntime.__version__,
        provider=counts or provider,
        precision=outline(file).precision or "float32",
        threads=1,
        sha256=digest(file),
    )

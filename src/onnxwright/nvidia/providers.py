"""ONNX Runtime on a GPU, by an execution provider; what it would leave to the CPU is an error unless allowed."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from onnxwright.backends.onnxruntime import answers
from onnxwright.errors import EngineError
from onnxwright.files import digest, outline
from onnxwright.nvidia.driver import missing_driver

if TYPE_CHECKING:
    from onnxwright.backends import Array, Options, Ran, Session, Tensors

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
        found = placed(self._session)
        wrong = misplaced(found, provider)
        if wrong and not options.allows_fallback:
            told = ", ".join(f"{count} {name}" for name, count in sorted(wrong.items()))
            raise EngineError(
                f"{provider} doesn't compute all of '{file.name}': {told} would run elsewhere. "
                "Allow that with --allow-fallback, or use onnxruntime."
            )
        self._outputs = [output.name for output in self._session.get_outputs()]
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
        from onnxwright.backends import check_precision

        check_precision(self, options.precision)
        return ProviderSession(file, self._provider, options)


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


def placed(session: Any) -> dict[str, Counter[str]]:
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

    from onnxwright.backends import Ran

    counts = ", ".join(f"{name} {nodes.total()} nodes" for name, nodes in found.items())
    return Ran(
        backend=f"onnxruntime ({provider})",
        version=onnxruntime.__version__,
        provider=counts or provider,
        precision=outline(file).precision or "float32",
        threads=1,
        sha256=digest(file),
    )

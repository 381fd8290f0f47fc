"""int8 as other libraries make it, judged and measured like our own: NNCF, and ONNX Runtime's static quantization.

Both take files or whole models, and say how far they are on standard output.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxwright.errors import MissingExtraError, RouteError
from onnxwright.recipes import Family, Material
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir

Quantizer = Callable[[Material, Path, Path, list[str]], None]
"""Writes a graph in int8 beside the one that is given, but for nodes by name."""


@dataclass(frozen=True)
class Borrowed:
    """A quantizer of another library."""

    name: str
    told: str
    quantizer: Quantizer
    is_common: bool = False
    executions: tuple[str, ...] = ("float32", "bfloat16")
    precision: str = "int8"
    has_islands: bool = False
    is_calibrated: bool = False

    def refusal(self, engine: str) -> None:
        """None: every engine takes it."""

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Has the library quantize the graph, and checks what comes of it.

        Raises:
            RouteError: when the library fails, or what comes of it isn't valid ONNX.
        """
        import onnx_ir as ir

        from onnxwright.graph.guarding import complaint
        from onnxwright.graph.saving import save_model

        with tempfile.TemporaryDirectory(prefix="onnxwright-") as folder, _quiet():
            given, taken = Path(folder) / "given.onnx", Path(folder) / "taken.onnx"
            save_model(material.prepared, given)
            try:
                self.quantizer(material, given, taken, list(kept))
            except MissingExtraError as missing:
                raise RouteError(str(missing)) from missing
            except Exception as problem:  # libraries raise types of their own
                raise RouteError(f"{self.name} fails: {type(problem).__name__}: {str(problem)[:300]}") from problem
            model = ir.load(taken)
            ir.external_data.load_to_model(model)
        broken = complaint(material.prepared, model)
        if broken:
            raise RouteError(f"what {self.name} makes is not right: {broken}")
        return Lowered(model, kept)

    def witness(self, model: onnx_ir.Model) -> None:
        """None: the engine computes in what is written."""

    def settings(self, material: Material) -> None:
        """None: which scales the library chooses is its own affair."""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _by_nncf(material: Material, given: Path, taken: Path, kept: list[str]) -> None:
    try:
        import nncf
    except ImportError as missing:
        raise MissingExtraError("the package 'nncf' is not installed; install it with `pip install nncf`.") from missing
    import onnx

    made = nncf.quantize(
        onnx.load(given),
        nncf.Dataset([dict(one) for one in material.calibration]),
        model_type=nncf.ModelType.TRANSFORMER,
        ignored_scope=nncf.IgnoredScope(names=kept) if kept else None,
    )
    onnx.save(made, taken)


def _by_onnxruntime(material: Material, given: Path, taken: Path, kept: list[str]) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(material.calibration)

        def get_next(self) -> Any:
            return next(self._left, None)

    quantize_static(
        given, taken, Samples(), quant_format=QuantFormat.QDQ, per_channel=True, nodes_to_exclude=kept or None
    )


FAMILY = Family(
    "borrowed",
    (
        Borrowed("int8-nncf", "int8 as NNCF makes it of transformers, smoothed and with corrected biases", _by_nncf),
        Borrowed("int8-onnxruntime", "int8 as ONNX Runtime's `quantize_static` makes it", _by_onnxruntime),
    ),
)

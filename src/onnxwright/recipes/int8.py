"""int8: products in whole numbers, with scales that are fixed on samples or measured at each call."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from onnxwright.errors import RouteError
from onnxwright.recipes import Family, Material
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir


Array = np.ndarray[Any, np.dtype[Any]]

_NONE: Final = "no product with constant weights in float32, so that nothing would be computed in int8"
_UNSEEN: Final = "no sample that it was calibrated with takes the branch in which it stands"
_PERCENTILE: Final = 99.99
_BINS: Final = 2048
_LEVELS: Final = 128


@dataclass(frozen=True)
class FixedScales:
    """Scales of activations that are fixed on the samples."""

    name: str
    told: str
    is_symmetric: bool = True
    is_balanced: bool = True
    is_by_column: bool = True
    calibrator: str | None = None
    is_common: bool = True
    executions: tuple[str, ...] = ("float32", "bfloat16")
    precision: str = "int8"
    has_islands: bool = False
    is_calibrated: bool = True

    def refusal(self, engine: str) -> str | None:
        """None: every engine takes it."""

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Computes the products in int8."""
        from onnxwright.graph.precision.integers import with_fixed_scales

        settings = material.settings_of(self)
        made = with_fixed_scales(material.prepared, settings, kept=kept, is_by_column=self.is_by_column)
        unseen = {one.name: _UNSEEN for one in material.products if one.activation.name not in settings}
        return Lowered(made, {**unseen, **kept})

    def witness(self, model: onnx_ir.Model) -> None:
        """None: the engine computes in what is written."""

    def settings(self, material: Material) -> Mapping[str, Any]:
        """The scales of what goes into the products."""
        from onnxwright.graph.precision.choosing import ALPHAS, settings

        _refuse_none(material)
        calibrator = _CALIBRATORS[self.calibrator] if self.calibrator is not None else None
        alphas = ALPHAS if self.is_balanced else ()
        wanted = [one for one in material.products if one.activation.name in material.seen]
        return settings(wanted, material.seen, is_symmetric=self.is_symmetric, alphas=alphas, calibrator=calibrator)


@dataclass(frozen=True)
class MeasuredScales:
    """Scales of activations that are measured at each call, one for all rows."""

    name: str
    told: str
    is_common: bool = True
    executions: tuple[str, ...] = ("float32",)
    precision: str = "int8"
    has_islands: bool = False
    is_calibrated: bool = False

    def refusal(self, engine: str) -> str | None:
        """Says why an engine gains nothing from it."""
        return None if engine == "onnxruntime" else "it computes products with measured scales in float32."

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Computes the matrix products in int8."""
        from onnxwright.graph.precision.integers import with_measured_scales

        _refuse_none(material)
        if not self.settings(material):
            raise RouteError("the graph has no product of matrices.")
        return Lowered(with_measured_scales(material.prepared, kept=kept), kept)

    def witness(self, model: onnx_ir.Model) -> None:
        """None: the engine computes in what is written."""

    def settings(self, material: Material) -> Mapping[str, None]:
        """What goes into matrix products; each call measures its scale."""
        from onnxwright.graph.precision.integers import is_measurable

        return {str(one.activation.name): None for one in material.products if is_measurable(one)}


def _refuse_none(material: Material) -> None:
    if not material.products:
        raise RouteError(f"the graph has {_NONE}.")


def min_max(rows: Array) -> tuple[float, float]:
    """The whole range of what was seen."""
    return float(rows.min()), float(rows.max())


def percentile(rows: Array) -> tuple[float, float]:
    """The range without the outermost 0.01 %."""
    low, high = np.percentile(rows, [100 - _PERCENTILE, _PERCENTILE])
    return float(low), float(high)


def entropy(rows: Array) -> tuple[float, float]:
    """The symmetric range with the least Kullback-Leibler divergence, as ONNX Runtime's calibration finds it."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    collector = HistogramCollector("entropy", True, _BINS, _LEVELS, _PERCENTILE, "same")
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every tensor
        collector.collect({"rows": [rows]})
        low, high = collector.compute_collection_result()["rows"][:2]
    return float(np.ravel(low)[0]), float(np.ravel(high)[0])


_CALIBRATORS: Final = {"min-max": min_max, "percentile": percentile, "entropy": entropy}

FAMILY = Family(
    "int8",
    (
        FixedScales(
            "int8-static", "products in int8 with symmetric scales that err least on the samples, channels balanced"
        ),
        FixedScales(
            "int8-asymmetric",
            "products of uint8 and int8 with scales that err least on the samples, channels balanced",
            is_symmetric=False,
        ),
        FixedScales(
            "int8-per-tensor",
            "products in int8 with one symmetric scale for all weights of each, channels balanced",
            is_by_column=False,
            is_common=False,
        ),
        MeasuredScales("int8-dynamic", "matrix products in int8 with scales that each call measures"),
        *(
            FixedScales(
                f"int8-{name}",
                f"products in int8 with symmetric scales of the range that {name} finds, nothing balanced",
                is_balanced=False,
                calibrator=name,
                is_common=False,
            )
            for name in _CALIBRATORS
        ),
    ),
)

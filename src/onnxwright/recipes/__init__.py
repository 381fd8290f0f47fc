"""Ways to lower the precision of a graph: one family a file, each offering `FAMILY`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar, cast

import numpy as np

from onnxwright.backends import Session, Tensors
from onnxwright.discovery import offered
from onnxwright.errors import FutileError, UsageError, accepted
from onnxwright.rewrites import Lowered

if TYPE_CHECKING:
    import onnx_ir

    from onnxwright.graph.precision.activations import Activation
    from onnxwright.graph.precision.integers import Chosen
    from onnxwright.graph.precision.observing import Ranges
    from onnxwright.graph.precision.products import Product

Array = np.ndarray[Any, np.dtype[Any]]
T = TypeVar("T")

AUTO: Final = "auto"
UNCHANGED: Final = "fp32"


class Loader(Protocol):
    """Loads a graph into ONNX Runtime."""

    def __call__(self, model: onnx_ir.Model, *, is_optimized: bool = True) -> Session:
        """Without optimizations, each node is computed as it is written."""


@dataclass(frozen=True)
class Material:
    """What recipes work with: a graph, samples to calibrate by, and a way to run graphs as they are.

    What several recipes need is measured once.
    """

    model: onnx_ir.Model
    load: Loader
    calibration: Sequence[Tensors]
    seed: int = 0
    lowers_io: bool = False
    """Whether inputs and outputs get the type of the graph, where that is float16."""
    _found: dict[tuple[str, str], Any] = field(default_factory=dict)

    def once(self, what: str, recipe: Recipe, find: Callable[[], T]) -> T:
        """Returns what is found of a recipe; it is looked for once, whatever executes it."""
        key = (what, recipe.name)
        if key not in self._found:
            self._found[key] = find()
        return cast(T, self._found[key])

    def settings_of(self, recipe: Recipe) -> Any:
        """What a recipe's `settings` are, found once."""
        return self.once("settings", recipe, lambda: recipe.settings(self))

    def lowered_by(self, recipe: Recipe, kept: Mapping[str, str]) -> Lowered:
        """What a recipe makes of the graph; where nothing is kept, made once."""
        from onnxwright.graph.weights import mapped_meanwhile

        with mapped_meanwhile(self.model):
            return recipe.make(self, kept) if kept else self.once("lowered", recipe, lambda: recipe.make(self, {}))

    def having_seen(self, feeds: Sequence[Tensors]) -> Material:
        """The same with more samples; nothing of what was measured with fewer is kept."""
        return Material(self.model, self.load, [*self.calibration, *feeds], self.seed, self.lowers_io)

    @functools.cached_property
    def prepared(self) -> onnx_ir.Model:
        """The graph, simplified and ready for int8."""
        from onnxwright.graph.optimizing import simplified
        from onnxwright.graph.precision.integers import prepared
        from onnxwright.graph.weights import mapped_meanwhile

        with mapped_meanwhile(self.model):
            return prepared(simplified(self.model))

    @functools.cached_property
    def ranges(self) -> Ranges:
        """How large the numbers on the way are on the samples."""
        from onnxwright.graph.precision.observing import observed, ranges

        return ranges(self.load(observed(self.model)), self.calibration)

    @functools.cached_property
    def decided(self) -> frozenset[str]:
        """The outputs in whole numbers that floats decide, which a lower type may turn out otherwise."""
        from onnxwright.graph.precision.deciding import decided

        return decided(self.model)

    @functools.cached_property
    def products(self) -> list[Product]:
        """The products with constant weights."""
        from onnxwright.graph.precision.products import products

        return products(self.prepared)

    @functools.cached_property
    def seen(self) -> Mapping[str, Activation]:
        """What goes into the products, on the samples."""
        from onnxwright.graph.precision.activations import activations, tapped

        return activations(
            self.load(tapped(self.prepared, self.products)), self.calibration, self.products, seed=self.seed
        )


class Recipe(Protocol):
    """One way to lower a graph's precision."""

    @property
    def name(self) -> str:
        """How a user names it."""

    @property
    def is_common(self) -> bool:
        """Whether it is tried for the word of its family, and for `auto`; others only where they are named."""

    @property
    def told(self) -> str:
        """What it does, in one sentence without a full stop."""

    @property
    def precision(self) -> str:
        """The lowest type in which something is computed or held then."""

    @property
    def has_islands(self) -> bool:
        """Whether nodes that nothing foretells may have to stay in float32, and are found by trial."""

    @property
    def is_calibrated(self) -> bool:
        """Whether what is seen on samples decides how it is made."""

    @property
    def executions(self) -> tuple[str, ...]:
        """The types in which an engine may execute what is left in float32."""

    def refusal(self, engine: str) -> str | None:
        """Says why an engine gains nothing from it, None where it may."""

    def make(self, material: Material, kept: Mapping[str, str]) -> Lowered:
        """Lowers a graph, but for some nodes, by name with the reason.

        Raises:
            RouteError: when it can't be done to this graph.
            UsageError: when the samples don't serve.
        """

    def witness(self, model: onnx_ir.Model) -> onnx_ir.Model | None:
        """Returns a graph that shows on every processor what the type does; None where the engine shows it itself."""

    def settings(self, material: Material) -> Mapping[str, Chosen] | None:
        """What goes into products by name, with its scale, where single products can be left out; else None."""


class Family(NamedTuple):
    """Recipes that lead to the same type, by the word for them all."""

    name: str
    recipes: tuple[Recipe, ...]


def families() -> dict[str, Family]:
    """Returns every family of recipes, by name."""
    return cast(dict[str, Family], offered(__name__, "FAMILY"))


def recipes() -> dict[str, Recipe]:
    """Returns every recipe, by name."""
    return {one.name: one for family in families().values() for one in family.recipes}


def words() -> tuple[str, ...]:
    """Returns what a user may say of a precision: `auto`, `fp32`, families of recipes, and single ones."""
    return tuple(dict.fromkeys((AUTO, UNCHANGED, *families(), *recipes())))


def recipes_for(word: str) -> list[Recipe]:
    """Returns the recipes that a word stands for.

    Raises:
        UsageError: when it is none that is known.
    """
    if word == UNCHANGED:
        return []
    if word == AUTO:
        return [one for one in recipes().values() if one.is_common]
    if word in families():
        return [one for one in families()[word].recipes if one.is_common]
    if word not in recipes():
        raise UsageError(f"precision '{word}' is unknown; expected {accepted(word, words())}.")
    return [recipes()[word]]


def refuse_unchanged(before: onnx_ir.Model, found: Lowered, what: str) -> Lowered:
    """Returns what was lowered.

    Raises:
        FutileError: when no weight is of another type than before, with the reasons why.
    """
    if _types(before) != _types(found.model):
        return found
    raise FutileError(f"{what} could be held in a smaller type: {reasons_of(found) or 'there are none'}.")


def reasons_of(found: Lowered) -> str:
    """Says why nodes stay as they are: the first few reasons, each once."""
    return "; ".join(list(dict.fromkeys(found.kept.values()))[:_TOLD])


def _types(model: onnx_ir.Model) -> dict[str, Any]:
    return {name: value.dtype for name, value in model.graph.initializers.items()}


_TOLD: Final = 3
"""So many reasons are told."""
_ENGINES: Final = ("onnxruntime", "openvino")
_HEAD: Final = """# The recipes of lower precision

`--precision` takes `auto`, which tries all that are common, a family, or one recipe. `docs/precision.md` says how the
fastest that stays within a budget is found. This page is written by `make docs` from `src/onnxwright/recipes/`.

| recipe | family | does | for | common |
|---|---|---|---|---|"""


def page() -> str:
    """Returns the documentation page of all recipes, in Markdown."""
    rows = (
        f"| `{one.name}` | `{family.name}` | {one.told} | "
        f"{', '.join(name for name in _ENGINES if one.refusal(name) is None)} | {'yes' if one.is_common else 'no'} |"
        for family in families().values()
        for one in family.recipes
    )
    return "\n".join([_HEAD, *rows, ""])

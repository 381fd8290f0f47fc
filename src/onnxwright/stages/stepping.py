"""Sessions of graphs that quantize, which tell where on their grids they put numbers, for a reference to follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnxwright.backends import Array, Ran, Session, Tensors
from onnxwright.errors import EngineError

if TYPE_CHECKING:
    import onnx_ir

_NAME: Final = "stepping.onnx"


class Stepping:
    """A session, and the same graph once more with these numbers as answers, loaded when these are first asked for."""

    def __init__(self, session: Session, model: onnx_ir.Model | Path, load: Callable[[Path], Session], folder: Path):
        """Takes the graph, or its file, and where it may be written once more meanwhile."""
        self._session, self._model, self._load, self._folder = session, model, load, folder
        self._names: list[str] | None = None
        self._telling: Session | None = None

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._session.ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers as the session does."""
        return self._session.run(feeds)

    def steps(self, feeds: Tensors) -> list[Array]:
        """Returns the numbers on their grids, one array for each pair of nodes that puts them there, in order.

        Nothing where there are none, or the engine refuses the graph that tells them.

        Raises:
            EngineError: when the engine refuses the feeds.
        """
        if self._names is None:
            self._names = self._prepare()
        answered = {} if self._telling is None else self._telling.run(feeds)
        return [answered[name] for name in self._names if answered]

    def _prepare(self) -> list[str]:
        from onnxwright.graph.passes import cloned
        from onnxwright.graph.reading import read_model
        from onnxwright.graph.saving import saved
        from onnxwright.graph.stepping import with_steps

        model = read_model(self._model) if isinstance(self._model, Path) else cloned(self._model)
        names = with_steps(model)
        with contextlib.suppress(EngineError):
            if names:
                with saved(model, _NAME, self._folder) as file:
                    self._telling = self._load(file)
        return names

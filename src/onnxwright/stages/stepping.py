"""Sessions of graphs that quantize, which tell where on their grids they put numbers, for a reference to follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from onnxwright.backends import Array, Ran, Session, Tensors


class Stepping:
    """A session, and the same graph once more with these numbers as answers, loaded when these are first asked for."""

    def __init__(self, session: Session, file: Path, load: Callable[[Path], Session]):
        self._session, self._file, self._load = session, file, load
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

        Raises:
            EngineError: when the engine refuses the graph that tells them.
        """
        if self._names is None:
            self._names = self._prepare()
        answered = {} if self._telling is None else self._telling.run(feeds)
        return [answered[name] for name in self._names]

    def _prepare(self) -> list[str]:
        from onnxwright.graph.reading import read_model
        from onnxwright.graph.saving import saved
        from onnxwright.graph.stepping import with_steps

        model = read_model(self._file)
        names = with_steps(model)
        if names:
            with saved(model, self._file.name, self._file.parent) as file:
                self._telling = self._load(file)
        return names

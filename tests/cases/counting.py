"""An engine that counts the sessions of it that are alive."""

from __future__ import annotations

import weakref
from pathlib import Path

from onnxwright import backends
from onnxwright.backends import Options, Session


class Counting:
    """ONNX Runtime, with how many sessions are alive, how many were at most, and the files that were loaded."""

    def __init__(self) -> None:
        self._engine = backends.engine("onnxruntime")
        self.name, self.precisions = self._engine.name, self._engine.precisions
        self.alive, self.most, self.files = 0, 0, list[Path]()

    def available(self) -> str | None:
        return self._engine.available()

    def prepare(self, file: Path, options: Options) -> Session:
        session = self._engine.prepare(file, options)
        self.files.append(file)
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(session, self._gone)
        return session

    def _gone(self) -> None:
        self.alive -= 1

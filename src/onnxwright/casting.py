"""Sessions of graphs whose floats in and out are in a lower type than callers have them in."""

from __future__ import annotations

import numpy as np

from onnxwright.backends import Array, Ran, Session, Tensors
from onnxwright.nvidia.casting import as_declared, as_taken
from onnxwright.signature import Signature

FLOAT = "float32"


class CastingSession:
    """A session that takes and answers float32, of a graph that has another type there."""

    def __init__(self, session: Session, signature: Signature, dtype: str):
        self._session = session
        specs = [spec for spec in (*signature.inputs, *signature.outputs) if spec.dtype == FLOAT]
        self._declared = {spec.name: np.dtype(np.float32) for spec in specs}
        self._taken = {spec.name: np.dtype(dtype) for spec in specs}

    @property
    def ran(self) -> Ran:
        """What runs."""
        return self._session.ran

    def run(self, feeds: Tensors) -> dict[str, Array]:
        """Answers `{output name: array}` for `{input name: array}`; what the lower type doesn't hold is infinite in it.

        Raises:
            SignatureError: when what is to be cast has another type.
            EngineError: as the session.
        """
        return as_declared(self._session.run(as_taken(feeds, self._declared, self._taken)), self._declared)


def fitted(session: Session, signature: Signature, dtype: str) -> Session:
    """Returns a session whose floats have the signature's types, of a graph that has `dtype` in place of float32."""
    return session if dtype == FLOAT else CastingSession(session, signature, dtype)

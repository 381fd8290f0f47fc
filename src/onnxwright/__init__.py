"""PyTorch in, proven engine out: converts a model to ONNX, shows that it computes the same, and packages it.

Importing this loads no torch, no transformers and no runtime; each function loads what it needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxwright.api import (
        build,
        convert,
        convert_to_onnx,
        open,  # noqa: A004 - the word of the contract
        optimize,
        prove,
        quantize,
    )
    from onnxwright.artifact import Package, PackageSession
    from onnxwright.engine import Engine
    from onnxwright.errors import (
        BuildError,
        EngineError,
        ModelError,
        OnnxwrightError,
        OutOfRangeError,
        ProofError,
        SignatureError,
        SourceError,
        UsageError,
    )
    from onnxwright.pipelines import Pipeline, pipeline
    from onnxwright.profile import Profile
    from onnxwright.signature import Signature, TensorSpec

_HOMES = {
    "BuildError": "errors",
    "Engine": "engine",
    "EngineError": "errors",
    "ModelError": "errors",
    "OnnxwrightError": "errors",
    "OutOfRangeError": "errors",
    "Package": "artifact",
    "PackageSession": "artifact",
    "Pipeline": "pipelines",
    "Profile": "profile",
    "ProofError": "errors",
    "Signature": "signature",
    "SignatureError": "errors",
    "SourceError": "errors",
    "TensorSpec": "signature",
    "UsageError": "errors",
    "build": "api",
    "convert": "api",
    "convert_to_onnx": "api",
    "open": "api",
    "pipeline": "pipelines",
    "optimize": "api",
    "quantize": "api",
    "prove": "api",
}

__all__ = [
    "BuildError",
    "Engine",
    "EngineError",
    "ModelError",
    "OnnxwrightError",
    "OutOfRangeError",
    "Package",
    "PackageSession",
    "Pipeline",
    "Profile",
    "ProofError",
    "Signature",
    "SignatureError",
    "SourceError",
    "TensorSpec",
    "UsageError",
    "build",
    "convert",
    "convert_to_onnx",
    "open",
    "optimize",
    "pipeline",
    "prove",
    "quantize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxwright' has no attribute '{name}'")
    return getattr(importlib.import_module(f"onnxwright.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__

"""TensorRT, which builds an engine for NVIDIA GPUs."""

from __future__ import annotations

from typing import Final

from onnxwright.nvidia.backend import TensorRt

BACKEND: Final = TensorRt("tensorrt")

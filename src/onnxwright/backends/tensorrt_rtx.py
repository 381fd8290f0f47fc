"""TensorRT for RTX, which builds an engine for NVIDIA GPUs; its builder needs none."""

from __future__ import annotations

from typing import Final

from onnxwright.nvidia.backend import TensorRt

BACKEND: Final = TensorRt("tensorrt-rtx")

"""ONNX Runtime on NVIDIA GPUs, by CUDA."""

from __future__ import annotations

from typing import Final

from onnxwright.nvidia.providers import ProviderBackend

BACKEND: Final = ProviderBackend("onnxruntime-cuda", "CUDAExecutionProvider")

"""ONNX Runtime on NVIDIA GPUs, by TensorRT, which it builds an engine with as it loads a graph."""

from __future__ import annotations

from typing import Final

from onnxwright.nvidia.providers import ProviderBackend

BACKEND: Final = ProviderBackend(
    "onnxruntime-tensorrt", "TensorrtExecutionProvider", library="libonnxruntime_providers_tensorrt.so"
)

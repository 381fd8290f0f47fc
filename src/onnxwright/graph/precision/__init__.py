"""Graphs in lower precision: pure functions on `onnx_ir.Model`."""

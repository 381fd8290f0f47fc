"""Pure functions on `onnx_ir.Model`."""

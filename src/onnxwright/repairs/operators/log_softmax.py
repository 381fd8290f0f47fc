"""`log_softmax` that is told a type: the tracing exporter computes it in that of its input, and casts the answer."""

import torch

from onnxwright.repairs.operators.softmax import twin_of

TWIN = twin_of("log_softmax", torch.log_softmax)

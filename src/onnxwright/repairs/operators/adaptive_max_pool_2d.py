"""`adaptive_max_pool2d` by the twin of adaptive pools."""

from onnxwright.repairs.operators.adaptive_pool import greatest_twin

TWIN = greatest_twin(2, "torch.nn.functional.adaptive_max_pool2d")

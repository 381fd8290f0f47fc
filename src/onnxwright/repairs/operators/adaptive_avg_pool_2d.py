"""`adaptive_avg_pool2d` by the twin of adaptive pools."""

from onnxwright.repairs.operators.adaptive_pool import mean_twin

TWIN = mean_twin(2, "torch.nn.functional.adaptive_avg_pool2d")

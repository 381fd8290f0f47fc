"""`adaptive_avg_pool1d` by the twin of adaptive pools."""

from onnxwright.repairs.operators.adaptive_pool import mean_twin

TWIN = mean_twin(1, "torch.nn.functional.adaptive_avg_pool1d", "torch.adaptive_avg_pool1d")

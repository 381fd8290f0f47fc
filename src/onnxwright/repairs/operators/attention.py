"""`scaled_dot_product_attention` by its definition: exporters lose the rows in which everything is masked."""

from onnxwright.repairs.operators import Twin
from onnxwright.routes.plain_attention import attend

TWIN = Twin("scaled_dot_product_attention", ("torch.nn.functional.scaled_dot_product_attention",), attend)

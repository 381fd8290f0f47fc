"""A max pool over the whole image as a maximum: exporters take the sample's size for the kernel's."""

from onnxwright.repairs.operators.whole_pool import twin_of

TWIN = twin_of(2, "max")

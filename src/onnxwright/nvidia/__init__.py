"""TensorRT, in its two libraries: parsing and building in a process of their own, and running where there is a GPU."""

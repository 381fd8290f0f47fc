"""The verbs of onnxwright, one a file: each is a command and a function."""

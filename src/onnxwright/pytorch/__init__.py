"""PyTorch as the reference: how a module is called, and what can be seen of it while it runs."""

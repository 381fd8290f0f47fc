"""What is found out about a module, or about a graph beside it, by looking on while it runs."""

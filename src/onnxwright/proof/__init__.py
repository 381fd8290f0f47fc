"""How a candidate is held against a reference: which sizes, how far apart, and in which box of sizes it holds."""

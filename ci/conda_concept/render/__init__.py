"""Model to text: each submodule renders for one reader and computes nothing."""

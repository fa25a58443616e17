"""Measurements and proofs: one file a benchmark, run by `ci/bench NAME`."""

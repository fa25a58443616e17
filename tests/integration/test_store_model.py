"""The store against its model, in a few hundred steps; the benchmark takes tens of thousands."""

from benchmarks.store_model import run_model


def test_a_store_does_what_its_model_does() -> None:
    counts = run_model(examples=25, steps=25, derandomize=True)
    # The draws got somewhere: every kind of thing happened.
    wanted = ("built", "published", "rolled back", "pruned", "stopped", "states checked")
    assert all(counts[what] for what in wanted), counts

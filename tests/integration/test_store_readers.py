"""Readers during publishes and rollbacks: real modules, real processes, no failed launch, no mixed state."""

from pathlib import Path

from benchmarks.store_readers import MODULE_SYSTEMS, run_readers


def test_no_reader_ever_sees_a_half(tmp_path: Path) -> None:
    for init in MODULE_SYSTEMS.values():
        assert init.is_file(), f"{init} is missing: install environment-modules and lmod"
    outcome = run_readers(tmp_path, switches=40)
    assert [line for seen in outcome.seen for line in seen.wrong] == []
    assert outcome.switches == 40
    assert len(outcome.seen) == 9
    # Each reader got somewhere, and those that follow a moving name saw it move.
    assert all(seen.rounds >= 2 for seen in outcome.seen), outcome.seen
    quick = [seen for seen in outcome.seen if seen.kind.startswith("quick")]
    assert sum(len(seen.releases) > 1 for seen in quick) >= 3, quick
    assert [len(seen.releases) for seen in outcome.seen if seen.kind == "job"] == [1]

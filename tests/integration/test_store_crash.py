"""Killed by SIGKILL, or failing, at every operation of every command; the benchmark does the same in more ways."""

from pathlib import Path

import pytest

from benchmarks.store_crash import SCENARIOS, Harness, Scenario


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name.replace(" ", "-"))
def test_no_accident_leaves_a_half(tmp_path: Path, scenario: Scenario) -> None:
    tally = Harness(tmp_path / "work", load_every=20).run(scenario)
    assert tally.violations == []
    # The harness itself: it stopped everywhere, and there was something to stop at.
    assert tally.operations >= 9
    assert tally.killed >= tally.operations
    assert tally.failed == tally.operations
    assert tally.loads > 0 or tally.operations < 20

"""Unit tests start no process and open no connection."""

from collections.abc import Iterator

import pytest

from tests.support.guard import no_effects


@pytest.fixture(autouse=True)
def effects() -> Iterator[list[str]]:
    """Forbid effects, and fail the test at its end if one was tried and the failure swallowed."""
    with no_effects() as seen:
        yield seen
    assert not seen, f"tried in a unit test: {seen}"

"""plan: which environments a change touches, and why."""

from conda_concept.matrix import Touched, touched
from conda_concept.repository import Repository


def plan(repository: Repository, base: str, site: str) -> tuple[Touched, ...]:
    """The environments that differ from `base` (its merge base with the checkout), with reasons."""
    return touched(repository.changed_since(base), repository.environments(), site)

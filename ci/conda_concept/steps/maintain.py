"""maintain: what is done to a store every night: remove what nobody needs, read everything again."""

from collections.abc import Mapping
from dataclasses import dataclass

from conda_concept.github import Hub
from conda_concept.progress import Reporter
from conda_concept.settings import Config
from conda_concept.steps.prune import Pruned, prune
from conda_concept.steps.publish import Asked
from conda_concept.steps.verify import Verified, verify
from conda_concept.store import Store


@dataclass(frozen=True, slots=True)
class Maintained:
    """What was removed, and what is not as its record says."""

    pruned: Pruned
    verified: Verified


def maintain(store: Store, hub: Hub, configs: Mapping[str, Config], asked: Asked, reporter: Reporter) -> Maintained:
    """Retire and prune with the pull requests that are closed, then compare every release with its record."""
    with reporter.step("prune"):
        pruned = prune(store, asked, [str(number) for number in hub.closed_pulls()], configs)
    for sentence in pruned.stayed:
        reporter.warn(sentence)
    with reporter.step("verify"):
        return Maintained(pruned, verify(store, (), reporter))

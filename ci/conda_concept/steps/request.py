"""request: the answer that an issue would get, for a terminal, and the one line that it would add."""

import datetime as dt
from dataclasses import replace

from conda_concept.lockfile import loads
from conda_concept.render.request import Told
from conda_concept.repository import Repository
from conda_concept.requesting import Asked, Finding, edited
from conda_concept.steps.diff import compare
from conda_concept.steps.held import held
from conda_concept.steps.lock import replace_file


def tell(repository: Repository, finding: Finding, now: dt.datetime) -> Told:
    """A finding with the diff of its lock and where the package is already."""
    label = repository.spec(finding.environment).label
    told = Told(finding, label, now.date(), held=held(repository, finding.asked, now.date()))
    if finding.part is None or finding.outcome != "solved":
        return told
    asks = edited(finding.asked, *repository.sources(finding.environment))
    before = repository.lock_text(finding.environment)
    diffs = compare(loads(before) if before else None, loads(finding.part.lock), asks.spec, now)
    return replace(told, diffs=diffs, edit=asks.edit)


def write(repository: Repository, wanted: Asked) -> str:
    """Add the request to the checkout's `environment.yml` in one step; returns the file as people know it."""
    environment, config = repository.sources(wanted.environment)
    replace_file(repository.root / environment.file, edited(wanted, environment, config).edit.text)
    return environment.file

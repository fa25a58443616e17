"""The edges that a whole path needs, made once by the command line."""

from dataclasses import dataclass

from conda_concept.assembly import Assembler
from conda_concept.executor.jobs import Jobs
from conda_concept.progress import Reporter
from conda_concept.repository import Repository
from conda_concept.solver import Settings
from conda_concept.store import Store


@dataclass(frozen=True, slots=True)
class Edges:
    """The checkout, the store, what builds, how to solve, whom to tell, and how many CPUs there are.

    `jobs` is where heavy steps run; None: here.
    """

    repository: Repository
    store: Store
    assembler: Assembler
    settings: Settings
    reporter: Reporter
    workers: int
    jobs: Jobs | None = None

"""propose: what a pull request would change, as data: plan and lock, computed where nothing can be written."""

from dataclasses import dataclass

from conda_concept.errors import ConcError, InputError, UnsolvableError
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import dumps, loads
from conda_concept.locking import Wish, solve
from conda_concept.matrix import Touched
from conda_concept.progress import Reporter
from conda_concept.proposal import Outcome, Part, Proposal, Reasons
from conda_concept.repository import Repository
from conda_concept.solver import Settings
from conda_concept.steps.plan import plan


@dataclass(frozen=True, slots=True)
class Question:
    """Against which ref, for which site, and which package may move too (`/refresh`; empty: none)."""

    base: str
    site: str
    package: str = ""


@dataclass(frozen=True, slots=True)
class Proposer:
    """Everything that a proposal is computed from."""

    repository: Repository
    question: Question
    settings: Settings
    reporter: Reporter

    def propose(self) -> Proposal:
        """A part for every environment that the checkout changes; a failure is a part too, never an exception."""
        question, repository = self.question, self.repository
        base = repository.merge_base(question.base)
        touched = plan(repository, question.base, question.site)
        parts = tuple(self._part(item, base) for item in touched)
        return Proposal(schema=1, head=repository.commit("HEAD"), base=base, parts=parts, asked=question.package)

    def _part(self, item: Touched, base: str) -> Part:
        try:
            return self._solved(item, base)
        except ExplainedError as error:
            return Part(
                name=item.environment,
                outcome="unsolvable",
                reasons=item.reasons,
                unsolvable=Reasons.of(error.explanation),
            )
        except UnsolvableError as error:  # pip's, which says why in its own words
            return self._problem(item, "invalid", (error.message,))
        except InputError as error:
            return self._problem(item, "invalid", error.problems or (error.message,))
        except ConcError as error:
            return self._problem(item, "failed", (str(error),))

    def _problem(self, item: Touched, outcome: Outcome, problems: tuple[str, ...]) -> Part:
        for problem in problems:
            self.reporter.warn(f"{item.environment}: {problem}")
        cut = tuple(problem[:1000] for problem in problems[:200])
        return Part(name=item.environment, outcome=outcome, reasons=item.reasons, problems=cut)

    def _solved(self, item: Touched, base: str) -> Part:
        spec = self.repository.spec(item.environment)
        text = self.repository.lock_text_at(item.environment, base)
        previous = loads(text) if text is not None else None
        package = self.question.package
        known = {one.name for one in previous.packages} if previous else set()
        anew = spec.starts_anew(self.repository.locked_version(item.environment, base))
        wish = Wish(refresh=anew, update=(package,) if package in known else ())
        solved = solve(spec, previous, wish, self.settings, self.reporter)
        notes = [note[:1000] for note in solved.notes[:190]]
        if anew:
            notes.append(f"{spec.label} starts anew: everything was free to move.")
        if package:
            said = "was free to move, as asked" if package in known else "is not in the lock"
            notes.append(f"{package} {said}.")
        return Part(
            name=item.environment,
            outcome="solved",
            reasons=item.reasons,
            lock=text if text is not None and solved.unchanged else dumps(solved.lock),
            notes=tuple(notes),
        )

"""Test results as values: what happened, what it means beside expectations and the published release, the verdict.

Pure: no processes, no files. `testing` produces these values, `render.report` shows them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, get_args

from conda_concept.model import Verdict
from conda_concept.settings import Expectation, TestsConfig

#: What a test did. Everything but the first two is a failure.
Outcome = Literal[
    "passed",
    "skipped",
    "raises",  # an exception
    "library",  # a shared library that is missing or comes from where it must not
    "shadow",  # another file than the package's own answers to its name
    "nowhere",  # an entry point that names nothing
    "crash",  # ended by a signal
    "exit",  # ended the interpreter
    "hang",  # passed its time limit
    "memory",  # passed its memory limit
    "output",  # passed its output limit
    "prompt",  # asked a question
    "display",  # wants a screen
    "network",  # tried to leave the machine
    "write",  # tried to change the prefix
    "processes",  # left processes behind
    "fails",  # a command, a test of the environment, or a consistency check said no
    "not run",  # no answer came
]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

#: The title of the run of all of an environment's own tests: its time limit, and a failure of the run as a whole.
OWN = "own tests"

#: What an outcome means for the release. Only `new failure` blocks.
Standing = Literal["new failure", "known failure", "expected failure", "flaky", "fixed", "passed", "skipped"]
STANDINGS: tuple[Standing, ...] = get_args(Standing)


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test. `kind` and `name` are its identity; `seconds` wall time, `cpu` seconds, `memory` peak bytes.

    `message` is one line, `detail` the last lines of what it wrote, `note` what is worth knowing though it passed.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    kind: str
    name: str
    outcome: Outcome
    package: str = ""
    message: str = ""
    detail: str = ""
    note: str = ""
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int = 0
    standing: Standing = "passed"
    reason: str = ""
    issue: str = ""

    @property
    def title(self) -> str:
        """How people name it, in config too: `import numpy`."""
        return f"{self.kind} {self.name}"

    @property
    def failed(self) -> bool:
        """Did it fail, whatever that means for the release?"""
        return self.outcome not in ("passed", "skipped")


@dataclass(frozen=True, slots=True)
class StaleExpectation:
    """An expectation that no longer holds, and why: `passes`, or `matches no test`."""

    expectation: Expectation
    why: Literal["passes", "matches no test"]


@dataclass(frozen=True, slots=True)
class TestReport:
    """All results of one release, judged; `problems` are reasons to refuse it beside single tests.

    `facts` describe the run (interpreter, isolation, workers); `seconds` is its wall time, `cores` how many were
    busy on average.
    """

    __test__ = False

    release: str
    image_sha256: str
    results: tuple[TestResult, ...]
    stale: tuple[StaleExpectation, ...] = ()
    baseline: str = ""
    problems: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    cores: float = 0.0
    complete: bool = True

    @property
    def passed(self) -> bool:
        """May this image be published? An incomplete or empty run may not."""
        return self.complete and bool(self.results) and not self.problems and not self.of("new failure")

    @property
    def counts(self) -> tuple[tuple[str, int], ...]:
        """How many results of each standing, in the order of `STANDINGS`, without zeros."""
        counter = Counter(result.standing for result in self.results)
        return tuple((standing, counter[standing]) for standing in STANDINGS if counter[standing])

    @property
    def verdict(self) -> Verdict:
        """What is kept beside the image."""
        return Verdict(self.image_sha256, self.passed, self.counts, self.baseline)

    def of(self, standing: Standing) -> tuple[TestResult, ...]:
        """The results of one standing, in order of kind and name."""
        return tuple(result for result in self.results if result.standing == standing)


def matches(title: str, pattern: str) -> bool:
    """Does a pattern of config mean this test? `*` and `?` match as in a shell, all else is itself (`test_x[a-b]`)."""
    return fnmatchcase(title, pattern.replace("[", "[[]"))


def matching(expectations: Iterable[Expectation], title: str) -> Expectation | None:
    """The first expectation about a test, by its title."""
    return next((one for one in expectations if matches(title, one.test)), None)


def time_limit(config: TestsConfig, title: str) -> float:
    """Seconds that a test may take: its own limit if config has one, else the environment's."""
    own = next((seconds for pattern, seconds in config.timeouts.items() if matches(title, pattern)), None)
    return float(own if own is not None else config.timeout)


def with_second_run(first: Sequence[TestResult], second: Sequence[TestResult]) -> tuple[TestResult, ...]:
    """The first results, those marked flaky that passed when they were run again, and what only the second run said.

    A run of pytest that ended badly has no result of that name where it ended well: then it passed.
    """
    again = {result.title: result for result in second}
    if OWN not in again and any(result.kind == "own" for result in second):
        again[OWN] = TestResult("own", "tests", "passed")
    merged = []
    for result in first:
        other = again.get(result.title)
        if result.failed and other is not None and other.outcome == "passed":
            merged.append(replace(result, standing="flaky", note="failed, then passed when it was run again"))
        else:
            merged.append(result)
    known = {OWN, *(result.title for result in first)}
    return (*merged, *(result for result in second if result.title not in known))


def judged(
    results: Sequence[TestResult], config: TestsConfig, baseline: Sequence[TestResult] | None
) -> tuple[TestResult, ...]:
    """Give every result its standing, sorted by kind and name. Without a baseline every failure is new."""
    before = {result.title: result for result in baseline or ()}
    return tuple(sorted((_judge(result, config, before) for result in results), key=lambda one: (one.kind, one.name)))


def _judge(result: TestResult, config: TestsConfig, before: Mapping[str, TestResult]) -> TestResult:
    old = before.get(result.title)
    # What came and went in the published release is no excuse for failing twice now.
    failed_before = old is not None and old.failed and old.standing != "flaky"
    unwanted = matching(config.skip, result.title) if result.failed else None
    if unwanted is not None:
        result = skipped(result, unwanted)
    if result.outcome == "skipped":
        return replace(result, standing="skipped")
    if result.standing == "flaky":
        return result
    if not result.failed:
        return replace(result, standing="fixed" if failed_before else "passed")
    expected = matching(config.expect_fail, result.title)
    if expected is not None:
        return replace(result, standing="expected failure", reason=expected.reason, issue=expected.issue)
    if old is not None and failed_before:
        note = result.note or ("" if old.outcome == result.outcome else f"was `{old.outcome}` in the published release")
        return replace(result, standing="known failure", note=note)
    return replace(result, standing="new failure")


def skipped(result: TestResult, unwanted: Expectation) -> TestResult:
    """A test that config does not want: not run, or, where one run makes many results, not counted."""
    reason, issue = unwanted.reason, unwanted.issue
    return replace(result, outcome="skipped", message=reason, detail="", reason=reason, issue=issue)


def stale_expectations(results: Sequence[TestResult], config: TestsConfig) -> tuple[StaleExpectation, ...]:
    """What to take out of the config: its test passes now, or there is no such test any more."""
    stale = []
    for expectation in (*config.skip, *config.expect_fail):
        about = [result for result in results if matches(result.title, expectation.test)]
        if not about:
            stale.append(StaleExpectation(expectation, "matches no test"))
        elif all(result.outcome == "passed" and result.standing != "flaky" for result in about):
            stale.append(StaleExpectation(expectation, "passes"))
    titles = {result.title for result in results} | {OWN for result in results if result.kind == "own"}
    for pattern, seconds in config.timeouts.items():
        if not any(matches(title, pattern) for title in titles):
            limit = Expectation(test=pattern, reason=f"a time limit of {seconds} s")
            stale.append(StaleExpectation(limit, "matches no test"))
    return tuple(stale)

"""Run a plan through the probe and turn every answer into a result; what has no answer has failed."""

import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Skipped, TestCase

from conda_concept.results import Outcome, TestResult
from conda_concept.testing.classify import classify, command_result
from conda_concept.testing.plan import Planned
from conda_concept.testing.probe import Answers, Interpreter, ask


@dataclass(slots=True)
class Session:
    """The tests of one image. `workers` run at once; `request` holds what every run of the probe is told.

    `problems`, `interrupted`, `cpu` and wall `seconds` add up over its runs.
    """

    interpreter: Interpreter
    workers: int
    request: Mapping[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    interrupted: bool = False
    cpu: float = 0.0
    seconds: float = 0.0

    def run(
        self, planned: Sequence[Planned], heard: Callable[[Answers], None] = lambda _: None, *, network: bool = False
    ) -> list[TestResult]:
        """Run everything, at most `workers` at a time; `network` leaves the network as it is.

        An interrupt is remembered, and what had come by then is returned.
        """
        answers = Answers()
        # The longest first, so that the end is not one worker with the slowest test.
        order = sorted(planned, key=lambda one: (one.judge not in ("static", "own"), -float(str(one.task["seconds"]))))
        request = {**self.request, "workers": self.workers, "network": network, "tasks": [one.task for one in order]}
        started = time.monotonic()
        try:
            if planned and not self.interrupted:
                ask(self.interpreter, request, answers, lambda: heard(answers))
        except KeyboardInterrupt:
            self.interrupted = True
        self.seconds += time.monotonic() - started
        self.cpu += answers.cpu
        if planned and not answers.whole and not self.interrupted:
            self.problems.append(answers.trouble or "the probe ended before it was done.")
        return [result for one in planned for result in self._judge(one, answers)]

    def _judge(self, planned: Planned, answers: Answers) -> Iterable[TestResult]:
        raw = answers.facts.get(planned.test.title)
        if raw is None:
            return [_not_run(planned.test, "interrupted" if self.interrupted else "the probe died before its turn")]
        match planned.judge:
            case "import":
                return [classify(planned.test, raw, planned.expected_file)]
            case "command":
                return [command_result(planned.test, raw, planned.present, ran_before=planned.ran_before)]
            case "static":
                return _static_results(planned, raw)
            case "own":
                return _own_results(planned, raw)


def _not_run(test: TestResult, message: str) -> TestResult:
    return TestResult(test.kind, test.name, "not run", package=test.package, message=message)


def _static_results(planned: Planned, raw: Mapping[str, object]) -> list[TestResult]:
    """One result a line of what the checks found; a group that did not end well is a failure of its own."""
    results = []
    for line in str(raw.get("said") or "").splitlines():
        try:
            found: dict[str, Any] = json.loads(line)
            problems = [str(problem) for problem in found["problems"]]
            check, package = str(found["check"]), str(found["package"])
        except (ValueError, KeyError, TypeError):
            continue
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message, detail = (problems[0] + more, "\n".join(problems[:50])) if problems else ("", "")
        outcome: Outcome = "passed" if not problems else "library" if check == "libraries" else "fails"
        results.append(TestResult(check, package, outcome, package=package, message=message, detail=detail))
    whole = command_result(planned.test, raw)
    return [*results, whole] if whole.failed else results


def _own_results(planned: Planned, raw: Mapping[str, object]) -> list[TestResult]:
    """What pytest wrote, test by test; a run without a readable account, or that ended otherwise, is a failure."""
    whole = command_result(planned.test, raw)
    try:
        xml = JUnitXml.fromstring(str(raw["junit"]).encode())
        cases = [case for suite in xml for case in suite]
    except (KeyError, ET.ParseError, JUnitXmlError, ValueError):
        cases = []
    results = [_own_result(case) for case in cases]
    # 0 and 1 are pytest's own "all passed" and "some failed"; anything else is not about single tests.
    fine = raw.get("status") in (0, 1) and not raw.get("ended") and bool(results)
    if fine and any(result.failed for result in results) == (raw.get("status") == 1):
        return results
    if not whole.failed:
        whole = TestResult(
            whole.kind, whole.name, "fails", message="pytest left no account of its tests", detail=whole.detail
        )
    return [*results, whole]


def _own_result(case: TestCase) -> TestResult:
    name = f"{case.classname}::{case.name}" if case.classname else str(case.name)
    name = name.removeprefix("tests.")
    bad = [one for one in case.result if isinstance(one, Failure | Error)]
    seconds = float(case.time or 0)
    if bad:
        message = (bad[0].message or "").splitlines()[:1]
        return TestResult(
            "own", name, "fails", message="".join(message), detail=(bad[0].text or "")[-4000:], seconds=seconds
        )
    if any(isinstance(one, Skipped) for one in case.result):
        return TestResult("own", name, "skipped", message=str(case.result[0].message or ""), seconds=seconds)
    return TestResult("own", name, "passed", seconds=seconds)

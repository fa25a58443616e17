"""A test report as JUnit XML, written so that common viewers show it and read back without loss of what counts."""

import os
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from junitparser import Error, Failure, JUnitXml, JUnitXmlError, Properties, Property, Skipped, TestCase, TestSuite

from conda_concept.errors import GateError
from conda_concept.results import OUTCOMES, STANDINGS, TestReport, TestResult

SUITE = "conda-concept"


def write_junit(report: TestReport, path: Path) -> None:
    """Write beside `path` first and rename, so that nobody ever reads half a file."""
    suite = TestSuite(SUITE)
    facts = [
        ("release", report.release),
        ("image_sha256", report.image_sha256),
        ("baseline", report.baseline),
        ("complete", "true" if report.complete else "false"),
        ("results", str(len(report.results))),
        ("cores", f"{report.cores:.3f}"),
        *(("problem", problem) for problem in report.problems),
        *report.facts,
    ]
    for name, value in facts:
        suite.add_property(name, _clean(value))
    suite.add_testcases([_case(result) for result in report.results])
    xml: Any = JUnitXml(SUITE)
    xml.add_testsuite(suite)
    xml.update_statistics()
    # Wall time; the sum of the tests' own times, which the line above puts here, is longer.
    suite.time = round(report.seconds, 3)
    beside = path.with_name(f"{path.name}.part")
    xml.write(str(beside), pretty=True)
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def _case(result: TestResult) -> Any:
    case: Any = TestCase(_clean(result.name), classname=result.kind, time=round(result.seconds, 3))
    case.append(_properties(result))
    message, detail = _clean(result.message), _clean(result.detail)
    if result.standing in ("expected failure", "flaky"):
        # As pytest does with its own expected failures: viewers must not paint them red.
        case.result = [Skipped(_clean(f"{result.standing}: {result.reason or result.message}"), type_=result.standing)]
        case.system_out = detail
    elif result.outcome == "skipped":
        case.result = [Skipped(_clean(result.reason or result.message), type_="skipped")]
    elif result.outcome == "not run":
        case.result = [_element(Error(message, type_=result.outcome), detail)]
    elif result.failed:
        case.result = [_element(Failure(message, type_=result.outcome), detail)]
    return case


def _properties(result: TestResult) -> Any:
    """What JUnit has no place for; it comes first in the element, where the schemas of some viewers want it."""
    properties: Any = Properties()  # type: ignore[no-untyped-call]  # of junitparser
    for name in ("outcome", "standing", "package", "message", "note", "reason", "issue"):
        if value := getattr(result, name):
            properties.add_property(Property(name, _clean(value)))
    if result.memory:
        properties.add_property(Property("cpu", f"{result.cpu:.3f}"))
        properties.add_property(Property("memory", str(result.memory)))
    return properties


def _clean(text: str) -> str:
    """Without the control characters that XML cannot hold."""
    return "".join(char for char in text if char in "\n\t" or char.isprintable())


def _element(element: Failure | Error, text: str) -> Failure | Error:
    element.text = text
    return element


def read_junit(path: Path) -> TestReport:
    """Read what `write_junit` wrote. A missing, empty, truncated or unfinished file is a `GateError`, never a pass."""
    hint = "Run the tests again; a release without a complete result is not published."
    try:
        xml: Any = JUnitXml.fromfile(str(path))
    except FileNotFoundError as error:
        raise GateError(f"there is no test result at {path}.", hint=hint) from error
    except (ET.ParseError, JUnitXmlError, UnicodeDecodeError) as error:
        raise GateError(f"the test result {path} is damaged: {error}.", hint=hint) from error
    suites: list[Any] = list(xml) if isinstance(xml, JUnitXml) else []
    if len(suites) != 1 or suites[0].name != SUITE:
        raise GateError(f"the test result {path} is not one of ours.", hint=hint)
    pairs = [(str(item.name), str(item.value or "")) for item in suites[0].properties()]
    facts = dict(pairs)
    results = tuple(_result(case, path) for case in suites[0])
    if not results or facts.get("results") != str(len(results)):
        raise GateError(f"the test result {path} has {len(results)} of {facts.get('results', '?')} results.", hint=hint)
    own = ("release", "image_sha256", "baseline", "complete", "results", "cores", "problem")
    return TestReport(
        release=facts.get("release", ""),
        image_sha256=facts.get("image_sha256", ""),
        results=results,
        baseline=facts.get("baseline", ""),
        facts=tuple((name, value) for name, value in pairs if name not in own),
        problems=tuple(value for name, value in pairs if name == "problem"),
        seconds=suites[0].time or 0.0,
        cores=float(facts.get("cores") or 0),
        complete=facts.get("complete") == "true",
    )


def _result(case: Any, path: Path) -> TestResult:
    facts = {item.name: item.value or "" for found in case.iterchildren(Properties) for item in found}
    outcome = next((one for one in OUTCOMES if one == facts.get("outcome")), None)
    standing = next((one for one in STANDINGS if one == facts.get("standing")), None)
    if outcome is None or standing is None or not case.name or not case.classname:
        raise GateError(f"the test result {path} is damaged: a result without outcome ({case.name!r}).")
    texts = [found.text or "" for found in case.result if isinstance(found, Failure | Error)]
    return TestResult(
        kind=case.classname,
        name=case.name,
        outcome=outcome,
        standing=standing,
        package=facts.get("package", ""),
        message=facts.get("message", ""),
        detail=texts[0] if texts else (case.system_out or ""),
        note=facts.get("note", ""),
        reason=facts.get("reason", ""),
        issue=facts.get("issue", ""),
        seconds=case.time or 0.0,
        cpu=float(facts.get("cpu") or 0),
        memory=int(facts.get("memory") or 0),
    )

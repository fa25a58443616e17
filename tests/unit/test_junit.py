"""JUnit XML: written, read back, and refused when it is not whole."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from conda_concept.errors import GateError
from conda_concept.results import OUTCOMES, TestReport, TestResult, judged
from conda_concept.settings import Expectation, TestsConfig
from conda_concept.testing.junit import read_junit, write_junit


@pytest.fixture
def report() -> TestReport:
    results = [
        TestResult("import", f"m{number}", outcome, package="p", message=f"is <{outcome}> & more", seconds=1.5)
        for number, outcome in enumerate(OUTCOMES)
    ]
    results[2] = replace(results[2], detail="line 1\n]]> line \x1b 2 \ufffe", cpu=0.25, memory=1 << 20)
    config = TestsConfig(expect_fail=(Expectation(test="import m3", reason="r", issue="https://example.org/x"),))
    found = list(judged(results, config, [TestResult("import", "m4", "raises"), TestResult("import", "m0", "crash")]))
    found[5] = replace(found[5], standing="flaky", detail="d")
    return TestReport("demo-1/2", "f" * 64, tuple(found), baseline="demo-1/1", facts=(("python", "3.11"),), seconds=9)


def test_what_counts_survives(report: TestReport, tmp_path: Path) -> None:
    write_junit(report, tmp_path / "tests.xml")
    back = read_junit(tmp_path / "tests.xml")
    assert (back.release, back.image_sha256, back.baseline) == ("demo-1/2", "f" * 64, "demo-1/1")
    assert (back.complete, back.facts, back.seconds, back.counts) == (True, report.facts, 9, report.counts)
    for old, new in zip(report.results, back.results, strict=True):
        assert (old.title, old.outcome, old.standing, old.reason, old.issue, old.note) == (
            *(new.title, new.outcome, new.standing, new.reason, new.issue, new.note),
        )
        assert (old.message, old.package, old.seconds, old.memory) == (
            *(new.message, new.package, new.seconds, new.memory),
        )
    assert [path.name for path in tmp_path.iterdir()] == ["tests.xml"]


def test_viewers_see_red_only_where_it_is(report: TestReport, tmp_path: Path) -> None:
    write_junit(report, tmp_path / "tests.xml")
    root = ET.parse(tmp_path / "tests.xml").getroot()  # noqa: S314 - written the line above
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["m0"].find("failure") is None
    assert cases["m3"].find("skipped") is not None, "expected failures are skips, as pytest writes its own"
    failure = cases["m2"].find("failure")
    assert failure is not None
    assert failure.get("type") == "raises"
    assert "]]> line" in (failure.text or "")
    suite = root.find("testsuite")
    assert suite is not None
    assert suite.get("tests") == str(len(OUTCOMES))
    assert suite.get("errors") == "1", "what was not run is an error"


#: What the schemas of the viewers that people use know (Jenkins' xUnit, Surefire): attributes, and children in order.
_KNOWN = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "disabled", "time"}, ["testsuite"]),
    "testsuite": (
        {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname", "id", "package"},
        ["properties", "testcase", "system-out", "system-err"],
    ),
    "testcase": (
        {"name", "classname", "time", "assertions", "status", "file", "line"},
        ["properties", "skipped", "error", "failure", "system-out", "system-err"],
    ),
    "properties": (set(), ["property"]),
    "property": ({"name", "value"}, []),
    **{name: ({"message", "type"}, []) for name in ("skipped", "error", "failure")},
    "system-out": (set(), []),
}


def test_it_is_what_common_viewers_know_and_its_sums_are_right(report: TestReport, tmp_path: Path) -> None:
    write_junit(report, tmp_path / "tests.xml")
    root = ET.parse(tmp_path / "tests.xml").getroot()  # noqa: S314 - written the line above
    for element in root.iter():
        attributes, order = _KNOWN[element.tag]
        assert set(element.keys()) <= attributes, element.tag
        places = [order.index(child.tag) for child in element]
        assert places == sorted(places), element.tag
        assert float(element.get("time", "0")) >= 0
    cases = list(root.iter("testcase"))
    assert all(case.get("name") and case.get("classname") for case in cases)
    for element in (root, *root.iter("testsuite")):
        assert element.get("tests") == str(len(cases))
        for words, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert element.get(words) == str(sum(case.find(tag) is not None for case in cases)), words


def test_a_file_cut_anywhere_is_refused(report: TestReport, tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    write_junit(report, path)
    whole = path.read_bytes()
    for length in range(0, len(whole.rstrip()), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(GateError):
            read_junit(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<testsuites/>",
        "<testsuite name='conda-concept'/>",
        "<testsuites><testsuite name='conda-concept' tests='0'/></testsuites>",
        "<testsuites><testsuite name='pytest'><testcase name='a' classname='b'/></testsuite></testsuites>",
        "<html/>",
    ],
)
def test_nothing_empty_or_foreign_reads_as_a_pass(text: str, tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(text)
    with pytest.raises(GateError):
        read_junit(tmp_path / "tests.xml")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="there is no test result"):
        read_junit(tmp_path / "tests.xml")


def test_results_removed_from_a_file_are_missed(report: TestReport, tmp_path: Path) -> None:
    path = tmp_path / "tests.xml"
    write_junit(report, path)
    tree = ET.parse(path)  # noqa: S314 - written the line above
    suite = tree.getroot().find("testsuite")
    assert suite is not None
    suite.remove(suite.findall("testcase")[-1])
    tree.write(path)
    with pytest.raises(GateError, match="has 17 of 18 results"):
        read_junit(path)


def test_an_unfinished_run_stays_unfinished(report: TestReport, tmp_path: Path) -> None:
    write_junit(replace(report, complete=False, problems=("the probe died\nlast words",)), tmp_path / "tests.xml")
    back = read_junit(tmp_path / "tests.xml")
    assert not back.complete
    assert not back.passed
    assert "the probe died" in back.problems[0]

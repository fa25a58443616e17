"""What results mean beside expectations and the published release."""

from dataclasses import replace

import pytest

from conda_concept.results import (
    Outcome,
    TestReport,
    TestResult,
    judged,
    stale_expectations,
    time_limit,
    with_second_run,
)
from conda_concept.settings import Expectation, TestsConfig


def result(name: str, outcome: Outcome = "passed") -> TestResult:
    return TestResult("import", name, outcome)


def expecting(*tests: str) -> TestsConfig:
    return TestsConfig(expect_fail=tuple(Expectation(test=test, reason="known") for test in tests))


@pytest.mark.parametrize(
    ("now", "before", "standing"),
    [
        ("passed", None, "passed"),
        ("passed", "passed", "passed"),
        ("passed", "raises", "fixed"),
        ("raises", None, "new failure"),
        ("raises", "passed", "new failure"),
        ("raises", "skipped", "new failure"),
        ("raises", "raises", "known failure"),
        ("crash", "raises", "known failure"),
        ("not run", "passed", "new failure"),
        ("skipped", "raises", "skipped"),
    ],
)
def test_standing(now: Outcome, before: Outcome | None, standing: str) -> None:
    baseline = None if before is None else [result("a", before)]
    (one,) = judged([result("a", now)], TestsConfig(), baseline)
    assert one.standing == standing


def test_flaky_in_the_published_release_does_not_excuse_a_failure() -> None:
    (one,) = judged([result("a", "raises")], TestsConfig(), [replace(result("a", "raises"), standing="flaky")])
    assert one.standing == "new failure"


def test_a_known_failure_that_fails_otherwise_says_so() -> None:
    (one,) = judged([result("a", "crash")], TestsConfig(), [result("a", "raises")])
    assert one.note == "was `raises` in the published release"


def test_an_expected_failure_has_its_reason_and_does_not_block() -> None:
    config = TestsConfig(
        expect_fail=(Expectation(test="import a*", reason="needs a GPU", issue="https://example.org/1"),)
    )
    (one,) = judged([result("abc", "raises")], config, None)
    assert (one.standing, one.reason, one.issue) == ("expected failure", "needs a GPU", "https://example.org/1")
    assert TestReport("r", "0", (one,)).passed


def test_an_expectation_is_about_the_whole_title() -> None:
    (one,) = judged([result("abc", "raises")], expecting("import ab"), None)
    assert one.standing == "new failure"


def test_a_failure_that_passes_when_run_again_is_flaky_and_does_not_block() -> None:
    first, second = [result("a", "raises"), result("b", "raises")], [result("a"), result("b", "raises")]
    flaky, bad = judged(with_second_run(first, second), TestsConfig(), None)
    assert (flaky.standing, bad.standing) == ("flaky", "new failure")
    assert flaky.outcome == "raises", "what happened the first time stays on record"


def test_a_second_run_never_makes_things_worse_or_unseen() -> None:
    assert with_second_run([result("a", "raises")], []) == (result("a", "raises"),)
    assert with_second_run([result("a")], [result("a", "raises")]) == (result("a"),)


def own(name: str, outcome: Outcome = "passed") -> TestResult:
    return TestResult("own", name, outcome)


def test_a_run_of_pytest_that_crashed_and_then_did_not_is_flaky_and_what_it_then_found_counts() -> None:
    first = [own("t::one"), own("tests", "crash")]
    second = [own("t::one"), own("t::two"), own("t::three", "fails")]
    standings = {one.name: one.standing for one in judged(with_second_run(first, second), TestsConfig(), None)}
    assert standings == {"t::one": "passed", "tests": "flaky", "t::two": "passed", "t::three": "new failure"}
    crashed = judged(with_second_run(first, [own("t::one"), own("tests", "crash")]), TestsConfig(), None)
    assert [one.name for one in crashed if one.standing == "new failure"] == ["tests"]


def test_brackets_are_themselves() -> None:
    """A parametrized test is named in config as it is in a comment."""
    results = [own("test_o::test_p[a-b]", "fails"), own("test_o::test_p[b]", "fails")]
    for pattern in ("own test_o::test_p[a-b]", "own test_o::test_p[a*]", "own test_?::test_p[a-b]"):
        standings = [one.standing for one in judged(results, expecting(pattern), None)]
        assert standings == ["expected failure", "new failure"]


def test_any_failure_can_be_skipped_and_a_skip_of_what_passes_is_stale() -> None:
    """The checks, and an environment's own tests, come out of runs of many: they are run, and not counted."""
    skip = Expectation(test="libraries x", reason="of the driver", issue="https://example.org/1")
    config = TestsConfig(skip=(skip, Expectation(test="own t::*", reason="later")))
    found = judged([TestResult("libraries", "x", "library", detail="long"), own("t::one")], config, None)
    assert [(one.title, one.standing, one.reason) for one in found] == [
        ("libraries x", "skipped", "of the driver"),
        ("own t::one", "passed", ""),
    ]
    assert [(one.expectation.test, one.why) for one in stale_expectations(found, config)] == [("own t::*", "passes")]


def test_time_limits_that_mean_no_test_are_reported() -> None:
    config = TestsConfig(timeouts={"import a*": 5, "own tests": 900, "import gone": 7})
    (one,) = stale_expectations([result("abc"), own("t::one")], config)
    assert (one.expectation.test, one.expectation.reason, one.why) == (
        "import gone",
        "a time limit of 7 s",
        "matches no test",
    )


def test_expectations_that_no_longer_hold_are_reported() -> None:
    config = expecting("import a", "import gone", "import b")
    stale = stale_expectations([result("a"), result("b", "raises")], config)
    assert [(one.expectation.test, one.why) for one in stale] == [
        ("import a", "passes"),
        ("import gone", "matches no test"),
    ]


def test_a_skip_is_stale_only_when_its_test_is_gone() -> None:
    config = TestsConfig(skip=(Expectation(test="import a", reason="r"), Expectation(test="import b", reason="r")))
    stale = stale_expectations([result("a", "skipped")], config)
    assert [one.expectation.test for one in stale] == ["import b"]


def test_a_report_without_results_or_end_does_not_pass() -> None:
    good = TestReport("r", "0", (result("a"),))
    assert good.passed
    assert not replace(good, results=()).passed
    assert not replace(good, complete=False).passed
    assert not replace(good, problems=("the probe died",)).passed


def test_verdict_is_bound_to_the_image() -> None:
    report = TestReport("r", "abc", judged([result("a"), result("b", "crash")], TestsConfig(), None), baseline="old")
    verdict = report.verdict
    assert (verdict.image_sha256, verdict.passed, verdict.baseline) == ("abc", False, "old")
    assert verdict.counts == (("new failure", 1), ("passed", 1))


def test_time_limits() -> None:
    config = TestsConfig(timeout=10, timeouts={"import tensor*": 300})
    assert time_limit(config, "import tensorflow") == 300
    assert time_limit(config, "import numpy") == 10

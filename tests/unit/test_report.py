"""The test report as people see it."""

import json
from dataclasses import replace

import pytest

from conda_concept.render.quote import markdown
from conda_concept.render.report import BUDGET, as_json, comment, terminal, verdict_line
from conda_concept.results import Outcome, StaleExpectation, TestReport, TestResult, judged
from conda_concept.settings import Expectation, TestsConfig


def failure(name: str, outcome: Outcome = "raises", **more: str) -> TestResult:
    return TestResult(
        "import", name, outcome, package="pkg", message=more.get("message", "boom"), detail=more.get("detail", "")
    )


def report(*results: TestResult, baseline: tuple[TestResult, ...] | None = None, **config: object) -> TestReport:
    checked = TestsConfig.model_validate(config)
    found = judged(results, checked, baseline)
    facts = (("python", "3.11.7"), ("workers", "2"))
    return TestReport("demo-26.11/1a2b3c4d", "f" * 64, found, baseline="demo-26.10/00000000", facts=facts, seconds=61.2)


FINE = TestResult("import", "fine", "passed", seconds=2.0, memory=50 << 20)


def test_a_pass_is_one_line_and_what_may_be_of_interest_folded() -> None:
    text = comment(report(FINE))
    assert text.startswith(f"### ✅ The tests of {markdown('demo-26.11/1a2b3c4d')} pass: 1 test\n")
    assert "<details><summary>Slowest imports and commands</summary>" in text
    assert "| `import fine` | 2.0 | 50 |" in text
    assert "expect_fail" not in text


def test_new_failures_come_first_and_open_with_their_last_lines() -> None:
    known = failure("old")
    text = comment(
        report(FINE, failure("new", "crash", message="SIGSEGV", detail="one\ntwo"), known, baseline=(known,))
    )
    assert text.startswith("### ❌ 1 new failure in ")
    new, folded = text.index("- `import new` **crash**: SIGSEGV (package `pkg`)"), text.index("Known failures")
    assert new < folded
    assert "  ```text\n  one\n  two\n  ```" in text
    assert "<details><summary>Known failures (in the published release too): 1</summary>" in text
    assert "`config.yml`" in text, "what to do next"


def test_expected_failures_have_reason_and_link() -> None:
    text = comment(
        report(
            failure("gpu"),
            expect_fail=[{"test": "import gpu", "reason": "needs | a GPU", "issue": "https://example.org/i/1"}],
        )
    )
    assert "### ✅" in text
    assert "| `import gpu` | raises | needs \\| a GPU ([issue](https://example.org/i/1)) |" in text


def test_a_link_that_is_not_plain_is_not_a_link() -> None:
    bad = "https://example.org/)[x](https://evil.example"
    text = comment(report(failure("gpu"), expect_fail=[{"test": "import gpu", "reason": "r", "issue": bad}]))
    assert "evil" not in text


def test_nothing_that_a_package_says_becomes_markup() -> None:
    nasty = "@everyone <img src=x> [a](https://evil.example) | `x` </details> #1\n# head"
    text = comment(report(failure("x`|y", message=nasty, detail=f"```\n{nasty}\n````"), failure("z", message=nasty)))
    outside = text.split("`````text")[0] + text.split("`````")[-1]
    assert "<img" not in outside
    assert "@everyone" not in outside
    assert "](https://" not in outside
    assert "</details> " not in outside
    assert "`````text" in text, "the fence is longer than any run of backticks inside"


def test_stale_flaky_and_fixed_are_named() -> None:
    base = report(FINE, failure("was"), baseline=(failure("was"),))
    flaky = replace(failure("shaky"), standing="flaky")
    found = judged([TestResult("import", "was", "passed"), flaky], TestsConfig(), (failure("was"),))
    stale = (StaleExpectation(Expectation(test="import gone", reason="r"), "matches no test"),)
    text = comment(replace(base, results=found, stale=stale))
    assert "**Fixed since the published release:** `import was`" in text
    assert "- `import shaky` raises: boom" in text
    assert "- `import gone`: matches no test (it says: r)" in text


def test_notes_are_shown() -> None:
    noted = replace(FINE, note="tried to write /p/x, and copes without")
    text = comment(report(noted, failure("b", "crash"), baseline=(failure("b"),)))
    assert "<summary>Worth knowing: 1</summary>\n\n- `import fine`: tried to write /p/x, and copes without" in text
    assert "boom (was \\`raises\\` in the published release) |" in text


def test_a_run_that_did_not_end_says_so() -> None:
    text = comment(replace(report(FINE), complete=False, problems=("the probe died",)))
    assert "did not come to an end: 1 result" in text
    assert "- the probe died" in text
    assert "run the tests again" in text


@pytest.mark.parametrize("number", [30, 300, 3000, 30_000])
def test_a_comment_always_fits_and_says_at_the_top_that_it_was_cut(number: int) -> None:
    results = [failure(f"module_{n}", message="m" * 200, detail="line\n" * 30 + "x" * 1000) for n in range(number)]
    text = comment(report(*results))
    assert len(text) <= BUDGET
    assert (text.find("Shortened to fit") in range(200)) == (number > 30)
    assert f"{number:,} new failures" in text
    assert text.rstrip().endswith("</sub>"), "the footer is never what is cut"


def test_terminal_text_has_no_control_sequences() -> None:
    text = terminal(report(failure("x", message="\x1b[31mred", detail="\x1b]0;title\x07")))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "new failure" in text


def test_json_is_json_and_leaves_plain_passes_out() -> None:
    value = json.loads(json.dumps(as_json(report(FINE, failure("x")))))
    assert value["passed"] is False
    assert value["counts"] == {"new failure": 1, "passed": 1}
    assert [one["test"] for one in value["results"]] == ["import x"]


def test_verdict_line_counts_what_is_known() -> None:
    assert verdict_line(report(FINE, failure("a"), baseline=(failure("a"),))).endswith(
        "2 tests, 1 failure already known"
    )

"""A test report for its readers: the comment in a pull request, a terminal, a program. Nothing is computed here."""

import re
from collections.abc import Callable, Sequence

from tabulate import tabulate

from conda_concept.render.quote import code, fenced, markdown
from conda_concept.results import TestReport, TestResult

#: A comment may have 65,536 characters on GitHub; the rest is for the other parts and the footer.
BUDGET = 60_000
#: How much is shown at each rung of the ladder: (failures with their last lines, rows of a table, lines of each).
_LADDER = ((25, 400, 20), (10, 100, 12), (3, 25, 8), (0, 10, 0))
_PLAIN_LINK = re.compile(r"https://[A-Za-z0-9][A-Za-z0-9./_#?=&%~-]*")
_DETAIL = 3000
"""Characters of last lines for one failure."""


def comment(report: TestReport, *, budget: int = BUDGET, heading: bool = True) -> str:
    """The part of a comment about the tests: the verdict, new failures with their last lines, the rest folded.

    Without `heading` the verdict is left to whoever puts this into a larger comment. At most `budget` characters; what
    was left out for that is said at the top and is in `tests.xml`.
    """
    text = ""
    for rung, (shown, rows, lines) in enumerate(_LADDER):
        text = _comment(report, (shown, rows, lines), cut=rung > 0, heading=heading)
        if len(text) <= budget:
            return text
    return text[: budget - 2] + "…\n"


def _comment(report: TestReport, rung: tuple[int, int, int], *, cut: bool, heading: bool) -> str:
    shown, rows, lines = rung
    new = report.of("new failure")
    parts = [
        f"### {verdict_line(report, markdown)}" if heading else "",
        "_Shortened to fit; everything is in `tests.xml` of this run._" if cut else "",
        _next_step(report),
        *(f"- {markdown(problem)}" for problem in report.problems),
        *(_open_failure(result, lines) for result in new[:shown]),
        _failures(new[shown:], rows),
        _stale(report),
        _flaky(report),
        _listed("Fixed since the published release", report.of("fixed"), rows),
        _folded("Known failures (in the published release too)", report.of("known failure"), rows, with_reason=False),
        _folded("Expected failures", report.of("expected failure"), rows, with_reason=True),
        _folded("Skipped", report.of("skipped"), rows, with_reason=True),
        _notes(report, rows),
        _cost(report, min(10, rows)),
        _footer(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict_line(report: TestReport, escape: Callable[[str], str] = str) -> str:
    """One line: may it be published, and why not."""
    counts = dict(report.counts)
    total = len(report.results)
    if report.passed:
        known = counts.get("known failure", 0) + counts.get("expected failure", 0)
        rest = f", {_count(known, 'failure')} already known" if known else ""
        return f"✅ The tests of {escape(report.release)} pass: {_count(total, 'test')}{rest}"
    new = counts.get("new failure", 0)
    if not report.complete or not total:
        return f"❌ The tests of {escape(report.release)} did not come to an end: {_count(total, 'result')}"
    return f"❌ {_count(new, 'new failure')} in {escape(report.release)}, of {_count(total, 'test')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _next_step(report: TestReport) -> str:
    if report.passed:
        return ""
    if not report.of("new failure"):
        return "A release without a complete result is not published: run the tests again."
    return (
        "What fails here did not fail in the published release. Change the request, or, if it is known and accepted, "
        "say so under `tests: expect_fail:` in the environment's `config.yml`, with a reason."
    )


def _open_failure(result: TestResult, lines: int) -> str:
    head = f"- {code(result.title)} **{result.outcome}**: {markdown(result.message)}"
    if result.package and result.package != result.name:
        head += f" (package {code(result.package)})"
    tail = "\n".join(result.detail.splitlines()[-lines:])[-_DETAIL:] if lines else ""
    if not tail.strip() or tail.strip() == result.message.strip():
        return head
    return f"{head}\n\n{_indented(fenced(tail))}"


def _indented(block: str) -> str:
    """A block that belongs to the list item above it."""
    return "\n".join(f"  {line}" for line in block.splitlines())


def _failures(results: Sequence[TestResult], rows: int) -> str:
    return _table(("test", "what happened", "message"), results, rows, _failure_row) if results else ""


def _failure_row(result: TestResult) -> tuple[str, ...]:
    note = f" ({markdown(result.note)})" if result.note else ""
    return code(result.title), result.outcome, markdown(_short(result.message)) + note


def _reason_row(result: TestResult) -> tuple[str, ...]:
    link = f" ([issue]({result.issue}))" if _PLAIN_LINK.fullmatch(result.issue) else ""
    return code(result.title), result.outcome, markdown(_short(result.reason or result.message)) + link


def _table(
    head: tuple[str, ...], results: Sequence[TestResult], rows: int, row: Callable[[TestResult], tuple[str, ...]]
) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(row(result)) + " |" for result in results[:rows]]
    more = f"\n\n… and {len(results) - rows:,} more." if len(results) > rows else ""
    return "\n".join(lines) + more


def _folded(title: str, results: Sequence[TestResult], rows: int, *, with_reason: bool) -> str:
    if not results:
        return ""
    last, row = ("why", _reason_row) if with_reason else ("message", _failure_row)
    table = _table(("test", "what happens", last), results, rows, row)
    return f"<details><summary>{title}: {len(results):,}</summary>\n\n{table}\n\n</details>"


def _listed(title: str, results: Sequence[TestResult], rows: int) -> str:
    if not results:
        return ""
    names = ", ".join(code(result.title) for result in results[:rows])
    return f"**{title}:** {names}" + (f" and {len(results) - rows:,} more." if len(results) > rows else "")


def _flaky(report: TestReport) -> str:
    results = report.of("flaky")
    if not results:
        return ""
    lines = [f"- {code(result.title)} {result.outcome}: {markdown(_short(result.message))}" for result in results[:20]]
    return "**Flaky** (failed, then passed when run again; they do not block):\n\n" + "\n".join(lines)


def _stale(report: TestReport) -> str:
    if not report.stale:
        return ""
    lines = [
        f"- {code(one.expectation.test)}: {one.why} (it says: {markdown(one.expectation.reason)})"
        for one in report.stale
    ]
    return "**Expectations to take out of `config.yml`:**\n\n" + "\n".join(lines[:50])


def _notes(report: TestReport, rows: int) -> str:
    """What passed and is worth knowing all the same."""
    lines = [f"- {code(one.title)}: {markdown(_short(one.note))}" for one in report.of("passed") if one.note]
    text = "\n".join(lines[:rows])
    return f"<details><summary>Worth knowing: {len(lines):,}</summary>\n\n{text}\n\n</details>" if lines else ""


def _cost(report: TestReport, rows: int) -> str:
    ran = [result for result in report.results if result.memory]
    slowest = sorted(ran, key=lambda result: -result.seconds)[:rows]
    if not slowest:
        return ""
    head = ("test", "seconds", "MB")
    table = _table(
        head, slowest, rows, lambda one: (code(one.title), f"{one.seconds:.1f}", f"{one.memory / 2**20:,.0f}")
    )
    return f"<details><summary>Slowest imports and commands</summary>\n\n{table}\n\n</details>"


def _footer(report: TestReport) -> str:
    facts = dict(report.facts)
    against = f"compared with {code(report.baseline)}" if report.baseline else "nothing published to compare with"
    parts = [f"{report.seconds:,.0f} s on {facts.get('workers', '?')} workers ({report.cores:.1f} cores busy)", against]
    parts += [f"Python {code(facts['python'])}"] if facts.get("python") else []
    return f"<sub>{' · '.join(parts)} · image {code(report.image_sha256[:12])}</sub>"


def _short(text: str, length: int = 160) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def terminal(report: TestReport) -> str:
    """The report as plain text: the verdict, what failed anew with its last lines, and a table of counts."""
    parts = [verdict_line(report), *report.problems]
    for result in report.of("new failure"):
        detail = "".join(f"\n    {line}" for line in result.detail.splitlines()[-12:])
        parts.append(f"{result.title}: {result.outcome}: {result.message}{detail}")
    parts += [f"flaky: {result.title}: {result.message}" for result in report.of("flaky")]
    parts += [f"no longer needed in config.yml: {one.expectation.test} ({one.why})" for one in report.stale]
    parts.append(tabulate(report.counts, headers=("results", "number"), intfmt=","))
    return "\n\n".join(_printable(part) for part in parts) + "\n"


def _printable(text: str) -> str:
    """What a test wrote must not reach a terminal's control sequences."""
    return "".join(char if char in "\n\t" or char.isprintable() else "�" for char in text)


def as_json(report: TestReport) -> dict[str, object]:
    """The report for programs: the verdict, counts, and every result that is not a plain pass."""
    return {
        "release": report.release,
        "image_sha256": report.image_sha256,
        "passed": report.passed,
        "complete": report.complete,
        "problems": list(report.problems),
        "baseline": report.baseline,
        "counts": dict(report.counts),
        "seconds": round(report.seconds, 1),
        "cores": round(report.cores, 2),
        "facts": dict(report.facts),
        "stale_expectations": [{"test": one.expectation.test, "why": one.why} for one in report.stale],
        "results": [_result_as_json(result) for result in report.results if result.standing != "passed"],
    }


def _result_as_json(result: TestResult) -> dict[str, object]:
    return {
        "test": result.title,
        "package": result.package,
        "outcome": result.outcome,
        "standing": result.standing,
        "message": result.message,
        "note": result.note,
        "reason": result.reason,
        "issue": result.issue,
    }

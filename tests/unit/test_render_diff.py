"""Comments, terminal text and JSON of a diff: what people see first, and what hostile names cannot do."""

import json
from dataclasses import replace

from conda_concept.changes import diff
from conda_concept.explain import Explanation
from conda_concept.model import Diff, Place, Request
from conda_concept.render import unsolvable
from conda_concept.render.diff import BUDGET, Heading, as_json, comment, text
from tests.support.locks import lock, package, spec

HEADING = Heading("demo-23.04", notes=("A note.",), commit="0123456789abcdef", base="main")


def example() -> Diff:
    old = lock(
        package("numpy", "2.1"), package("low", "2.0"), package("gone"), package("lib", "1"), package("tool", "1")
    )
    new = lock(
        package("numpy", "2.2"),
        package("low", "1.0"),
        package("zarr", "3.2", "lib", size=2_500_000),
        package("lib", "1", build="1"),
        package("tool", "1.1", "low"),
    )
    return diff(old, new, spec("numpy", "zarr", "tool"), "linux-64")


def test_the_comment_has_the_verdict_first_then_what_was_asked_then_risks_then_the_rest_folded() -> None:
    shown = comment(HEADING, [example()])
    order = [
        "### demo-23.04: 6 packages change, 2 asked for",
        "A note",
        "1 added, 1 removed, 1 downgraded, 2 upgraded, 1 rebuilt. 5 → **5** packages",
        "**Asked for**",
        "| ➕ | [zarr](https://anaconda.org/conda-forge/zarr) |  | `3.2` | 2\N{NO-BREAK SPACE}MB | asked for |",
        "**Look twice**",
        (
            "| ⬇️ | [low](https://anaconda.org/conda-forge/low) | `2.0` | `1.0` | 1\N{NO-BREAK SPACE}kB"
            " | ⚠️ downgrade; for tool |"
        ),
        "<details><summary>Also in environment.yml, moved along: 2 upgraded</summary>",
        "<details><summary>Only rebuilt: 1 rebuilt</summary>",
        "<sub>commit `0123456789ab` · compared with main</sub>",
    ]
    places = [shown.find(part) for part in order]
    assert -1 not in places, [part for part, place in zip(order, places, strict=True) if place < 0]
    assert places == sorted(places)


def test_nothing_to_do_is_said_in_a_line() -> None:
    same = lock(package("a"))
    assert "no package changes" in comment(Heading("demo-23.04"), [diff(same, same, None, "linux-64")])


def test_a_huge_diff_fits_and_says_at_the_top_that_it_was_cut() -> None:
    for count, says in ((400, ""), (1200, "Shortened"), (4000, "Shortened")):
        requested = [f"r{number}" for number in range(count // 4)]
        old = lock(
            *(package(f"p{number}", "1") for number in range(count)), *(package(name, "1") for name in requested)
        )
        new = lock(
            *(package(f"p{number}", "1.1") for number in range(count)), *(package(name, "2") for name in requested)
        )
        shown = comment(HEADING, [diff(old, new, spec(*requested), "linux-64")])
        assert len(shown) <= BUDGET
        assert says in "\n".join(shown.splitlines()[:4])
        assert shown.rstrip().endswith("</sub>")
        assert "| ⬆️ | " in shown


def test_hostile_names_stay_text() -> None:
    evil = "x|<img src=x onerror=alert(1)>](http://evil)@everyone `code` #1\n## big"
    bad = replace(package("a", "1.0"), name=evil, version=evil, license=evil)
    shown = comment(Heading(evil, notes=(evil,)), [diff(None, lock(bad), None, "linux-64")])
    assert "<img" not in shown.replace("`x\\|<img", "")  # inside a code span nothing is markup
    assert "](http://evil" not in shown.replace("`", "")[: shown.find("|---|")]
    assert "\n## big" not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| ➕")]
    assert len(rows) == 1
    assert rows[0].replace("\\|", "").count("|") == 7


def test_the_terminal_gets_plain_words() -> None:
    shown = text(HEADING, [example()])
    assert "numpy" in shown
    assert "! downgrade; for tool" in shown
    assert "**" not in shown


def test_json_is_complete() -> None:
    data = json.loads(as_json(HEADING, [example()]))
    platform = data["platforms"][0]
    assert {change["name"]: change["kind"] for change in platform["changes"]} == {
        "gone": "removed",
        "lib": "rebuild",
        "low": "downgrade",
        "numpy": "upgrade",
        "tool": "upgrade",
        "zarr": "added",
    }
    low = next(change for change in platform["changes"] if change["name"] == "low")
    assert low["why"] == ["tool", "low"]
    assert low["flags"] == [{"kind": "downgrade", "text": "downgrade"}]
    assert low["old"]["version"] == "2.0"


def test_two_platforms_have_two_parts() -> None:
    one = diff(None, lock(package("a")), None, "linux-64")
    other = replace(one, platform="linux-aarch64")
    shown = comment(Heading("demo-23.04"), [one, other])
    assert shown.index("#### linux-64") < shown.index("#### linux-aarch64")


def test_the_comment_about_no_solution_has_cause_places_ways_out_and_the_solvers_text_folded() -> None:
    request = Request("av", "av", "conda", Place("environments/demo/environment.yml", 7))
    found = Explanation("`av` 15 needs `x <2`.", (request,), ("leave out `av` (e.yml:7)",), "├─ ``` <b>tree</b>")
    shown = unsolvable.comment(HEADING, found)
    assert "cannot be solved" in shown.splitlines()[0]
    assert "`av` in `environments/demo/environment.yml:7`" in shown
    assert "leave out `av`" in shown
    assert "<details><summary>What the solver says</summary>" in shown
    assert json.loads(unsolvable.as_json(HEADING, found))["culprits"][0]["line"] == 7

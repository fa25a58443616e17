"""The changelog: for users, written once a release, whatever happens to be in it already."""

from dataclasses import replace

from conda_concept.changelog import HEADER, Cause, Section, render, with_section
from conda_concept.model import Change, Diff, Package


def package(name: str, version: str) -> Package:
    url = f"https://conda.anaconda.org/c/linux-64/{name}.conda"
    return Package(name, version, "conda", "linux-64", url, None, None)


def change(kind: str, name: str, *, asked: bool = True) -> Change:
    old = package(name, "1") if kind != "added" else None
    new = package(name, "2") if kind != "removed" else None
    return Change(kind, name, "conda", old, new, asked, (name,))  # type: ignore[arg-type] # a kind of the test's table


CHANGES = (change("added", "xarray"), change("removed", "old"), change("upgrade", "numpy"), change("rebuild", "x"))
SECTION = Section(
    "analysis3-23.07",
    "1a2b3c4d",
    "2026-11-22",
    "https://github.com/c/e",
    (Cause(7, "Add *xarray* for @all", "researcher"), Cause(0, "By hand", "someone", "f" * 40)),
    (Diff("linux-64", CHANGES, 3, 3, 0, 0),),
)


def test_a_section_says_what_and_who() -> None:
    text = render(SECTION)
    lines = [
        "## analysis3-23.07, build 1a2b3c4d - 2026-11-22",
        "- Add \\*xarray\\* for @\u200dall ([#7](https://github.com/c/e/pull/7) by researcher)",
        "- By hand (`ffffffffffff` by someone)",
        "### Added",
        "- xarray 2",
        "### Removed",
        "- old 1",
        "### Changed",
        "- numpy 1 → 2",
        "1 package only rebuilt.",
    ]
    places = [text.index(f"{line}\n") for line in lines]
    assert places == sorted(places)


def test_a_request_is_told_where_its_package_is() -> None:
    causes = (Cause(9, "Add xarray >=2 to analysis3", "kim", package="xarray"), *SECTION.causes)
    text = render(replace(SECTION, causes=causes))
    assert "- xarray 2, asked for by kim ([#9](https://github.com/c/e/pull/9))\n" in text
    assert "Add xarray" not in text
    late = render(replace(SECTION, causes=(replace(causes[0], package="gone"),)))
    assert "- Add xarray &gt;=2 to analysis3 ([#9](https://github.com/c/e/pull/9) by kim)\n" in late


def test_versions_can_be_copied() -> None:
    changed = replace(change("upgrade", "a"), old=package("a", "1.0"), new=package("a", "2.0"))
    added = replace(change("added", "b"), new=package("b", "3.0"))
    text = render(replace(SECTION, diffs=(Diff("linux-64", (changed, added), 3, 3, 0, 0),)))
    assert "- a 1.0 → 2.0\n" in text
    assert "- b 3.0\n" in text


def test_the_newest_is_at_the_top_and_nothing_doubles() -> None:
    first = with_section("", SECTION)
    assert first.startswith(HEADER)
    assert with_section(first, SECTION) == first
    assert with_section(first.replace("\n", "\r\n"), SECTION) == first
    later = replace(SECTION, build_id="ffffffff", day="2026-12-01")
    second = with_section(first, later)
    assert second.index("ffffffff -") < second.index("1a2b3c4d -")
    assert second.startswith(HEADER)
    assert with_section(second, SECTION) == second
    assert with_section(second, later) == second


def test_many_that_nobody_asked_for_are_counted() -> None:
    many = tuple(change("upgrade", f"p{n}", asked=False) for n in range(100))
    text = render(replace(SECTION, diffs=(Diff("linux-64", (*CHANGES, *many), 3, 3, 0, 0),)))
    assert "- 100 more that nobody asked for by name" in text
    assert "- numpy" in text
    assert "p50" not in text


def test_what_is_not_released_yet_stays_at_the_top() -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n- by hand\n"
    once = with_section(text, SECTION)
    assert once.startswith(text)
    twice = with_section(once, replace(SECTION, build_id="ffffffff"))
    assert twice.startswith(text)
    assert twice.index("ffffffff -") < twice.index("1a2b3c4d -")

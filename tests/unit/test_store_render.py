"""What the store's commands print: pinned to the letter, since people read it at a glance."""

from conda_concept.model import Event, Finding, Judgement, Listed, Move, Problem, Release, Source
from conda_concept.render.modulerc import modulerc
from conda_concept.render.store import (
    findings_text,
    history_table,
    judgements_table,
    operations_text,
    problems_text,
    releases_table,
    size,
)

NEW, OLD = Release("analysis3", "23.04", "1a2b3c4d"), Release("analysis3", "23.01", "00c0ffee")
SOURCE = Source("0123456789", "12", "researcher")


def test_a_list_of_releases() -> None:
    first = Listed(
        release=Release("a", "23.04", "1a2b3c4d"),
        state="published",
        names=("a-23.04", "a-unstable"),
        finished="2026-04-01T10:20:30+00:00",
        packages=1015,
        image_size=9_600_000_000,
        tests="passed",
        source=Source("0123456789", "12"),
        pinned="paper",
    )
    second = Listed(Release("a", "23.04", "0000dead"), "incomplete", (), trouble="left unfinished")
    third = Listed(
        Release("a", "23.01", "00c0ffee"), "published", ("a-23.01", "a"), "2026-01-01T00:00", 3, 900, "FAILED"
    )
    rows = [first, second, third]
    assert [line.rstrip() for line in releases_table(rows).splitlines()] == [
        "release    build     state       also known as    built       tests      image    packages  from",
        "---------  --------  ----------  ---------------  ----------  -------  -------  ----------  -----------",
        "a-23.04    1a2b3c4d  published   a-unstable       2026-04-01  passed    9.6 GB        1015  #12 0123456",
        "           0000dead  incomplete",
        "a-23.01    00c0ffee  published   a                2026-01-01  FAILED     900 B           3",
        "",
        "a-23.04/1a2b3c4d: kept: paper",
        "a-23.04/0000dead: left unfinished",
    ]
    assert releases_table(rows, 70).splitlines()[0].rstrip() == (
        "release    build     state       also known as    built       tests"
    )
    for width in (80, 90, 100, 120):
        assert max(len(line.rstrip()) for line in releases_table(rows, width).splitlines()) <= width
    assert releases_table([]) == "The store is empty."


def test_the_history() -> None:
    events = [
        Event("2026-05-01T00:00:00+00:00", "me@login1", "prune", OLD, removed=(str(OLD),)),
        Event(
            when="2026-04-01T00:00:00+00:00",
            who="me@login1",
            action="publish",
            release=NEW,
            moves=(Move("analysis3", "analysis3-23.01", "analysis3-23.04"), Move("analysis3-23.04", "", "1a2b3c4d")),
            source=SOURCE,
            forced="urgent",
        ),
    ]
    assert [line.rstrip() for line in history_table(events).splitlines()[2:]] == [
        "2026-05-01 00:00  prune    me@login1  analysis3-23.01/00c0ffee removed",
        "2026-04-01 00:00  publish  me@login1  analysis3 -> analysis3-23.04 (was analysis3-23.01)  FORCED: urgent",
        "                                      analysis3-23.04 -> 1a2b3c4d",
    ]
    assert history_table([]) == "Nothing has happened yet."


def test_findings_the_worst_first() -> None:
    findings = [
        Finding("untidy", "x.new", "was left", "Nobody looks at it.", "Prune.", "remove x.new"),
        Finding("broken", "alias a", "leads nowhere", "`module load` fails.", "`conda-concept rollback a`"),
    ]
    assert findings_text(findings).splitlines() == [
        "BROKEN: something that users type does not work",
        "  alias a: leads nowhere",
        "      `module load` fails.",
        "      -> `conda-concept rollback a`",
        "",
        "UNTIDY: nobody notices but you",
        "  x.new: was left",
        "      Nobody looks at it.",
        "      -> --repair: remove x.new",
        "",
        "1 broken, 0 risk, 1 untidy; `doctor --repair` mends 1 of them.",
    ]
    assert findings_text([]) == "The store is in order."


def test_judgements_problems_operations() -> None:
    judgements = [Judgement(NEW, keep=True, why="published"), Judgement(OLD, keep=False, why="replaced 40 days ago")]
    assert judgements_table(judgements).splitlines()[2:] == [
        "REMOVE  analysis3-23.01/00c0ffee  replaced 40 days ago",
        "keep    analysis3-23.04/1a2b3c4d  published",
    ]
    assert problems_text([], 2) == "2 releases read: every byte is what its record says."
    assert problems_text([Problem(NEW, "image.sqsh", "is missing")], 1).splitlines()[2:] == [
        "analysis3-23.04/1a2b3c4d  image.sqsh  is missing",
        "",
        "1 release read, 1 problem.",
    ]
    assert operations_text(["a", "b"], dry_run=True) == "Would do, in this order:\n  1. a\n  2. b"
    assert operations_text([], dry_run=True) == "Nothing to do: everything is as it should be."


def test_sizes() -> None:
    assert [size(count) for count in (0, 999, 1000, 9_990_000, 10_000_000, 9_600_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "10 MB",
        "10 MB",
        "9.6 GB",
    ]


def test_the_modulerc() -> None:
    first = "#%Module1.0\n# Written by conda-concept at publish and rollback; changes made by hand do not last.\n"
    assert modulerc("conda_concept", "a") == f"{first}module-version conda_concept/a default\n"
    assert modulerc("p", None) == first

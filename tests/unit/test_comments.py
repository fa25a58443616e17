"""Comments on builds and releases: what they say, in which order, and nothing that a stranger typed is markup."""

from dataclasses import replace

from markdown_it import MarkdownIt

from conda_concept.model import FileFact, ImageFact, Release, ReleaseRecord, Source
from conda_concept.render.comments import Trial, build_comment, release_comment, size_table
from conda_concept.render.tried import as_data, text
from conda_concept.results import TestReport, TestResult

RECORD = ReleaseRecord(
    release=Release("demo", "26.11", "1a2b3c4d"),
    prefix="/store/apps/conda_concept/releases/demo-26.11/1a2b3c4d",
    platform="linux-64",
    packages=41,
    lock_digest="f" * 64,
    spec_digest="e" * 64,
    builder="0.1.0",
    built_at="2026-11-22T14:00:00+00:00",
    source=Source("c" * 40, "7", "somebody"),
    image=ImageFact("a" * 64, 187_200_000, 14_744, 573_100_000, "zstd 3 128K"),
    files=(
        FileFact("bin", "directory", 0o755, 0, ""),
        FileFact("bin/python3", "file", 0o755, 9000, "b" * 64),
        FileFact("bin/pip", "file", 0o755, 9000, "b" * 64),
        FileFact("image.sqsh", "file", 0o644, 187_200_000, "a" * 64),
        FileFact("launcher", "file", 0o755, 9000, "b" * 64),
    ),
    commands=("pip", "python3"),
)
EARLIER = replace(
    RECORD,
    release=Release("demo", "26.11", "00000000"),
    packages=43,
    image=replace(RECORD.image, size=200_000_000, files=14_744),
)
GOOD = TestReport("demo-26.11/1a2b3c4d", "a" * 64, (TestResult("import", "numpy", "passed"),))
BAD = replace(
    GOOD,
    results=(
        TestResult(
            "import", "evil", "raises", message="@everyone <b>[x](https://evil.example)", standing="new failure"
        ),
    ),
)
TRIAL = Trial("/store/apps/conda_concept/candidates", "conda_concept/demo-pr7")


def test_a_good_build_says_so_first_then_how_to_try_it_then_the_figures() -> None:
    comment = build_comment(RECORD, EARLIER, GOOD, TRIAL)
    assert comment.startswith("<!-- conda-concept:build:demo -->\n### ✅")
    order = [
        comment.index(words)
        for words in ("✅", "module use /store", "conda_concept/demo-pr7", "| packages", "<sub>build")
    ]
    assert order == sorted(order)
    assert comment.count("\n### ") == 1


def test_a_bad_build_offers_nothing_to_try_and_shows_the_failure_as_text() -> None:
    comment = build_comment(RECORD, None, BAD, None)
    assert comment.startswith("<!-- conda-concept:build:demo -->\n### ❌")
    assert "module use" not in comment
    assert "import evil" in comment
    assert "@everyone" not in comment
    assert "<b>" not in comment
    assert "<a " not in MarkdownIt("gfm-like").render(comment)


def test_a_build_that_serves_another_commit_too_is_about_the_one_that_it_is_said_for() -> None:
    assert "commit `cccccccccccc`" in build_comment(RECORD, None, GOOD, TRIAL)
    assert "commit `dddddddddddd`" in build_comment(RECORD, None, GOOD, TRIAL, commit="d" * 40)


def test_own_tests_of_a_pull_request_are_said_to_run_when_it_is_merged() -> None:
    words = "they run when this is merged, before anything is published"
    assert words in build_comment(RECORD, None, GOOD, TRIAL, waiting=True)
    assert words not in build_comment(RECORD, None, GOOD, TRIAL)


def test_sizes_stand_beside_those_of_the_published_release() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in size_table(RECORD, EARLIER).splitlines()]
    assert rows[0] == ["", "published (demo-26.11)", "this build", "change"]
    assert rows[2] == ["packages", "43", "41", "\N{MINUS SIGN}2"]
    assert rows[3] == ["files inside", "14,744", "14,744", "±0"]
    assert rows[5] == ["image on disk", "200.0 MB", "187.2 MB", "\N{MINUS SIGN}12.8 MB"]
    # bin, image and launcher: the commands are names of the launcher.
    assert rows[6] == ["inodes on disk", "3", "3", "±0"]


def test_a_first_release_is_compared_with_nothing() -> None:
    assert "change" not in size_table(RECORD, None)


def test_a_release_says_what_moved_how_to_load_it_and_how_to_go_back() -> None:
    comment = release_comment(
        RECORD,
        ["demo-26.11", "demo"],
        load=Trial("/store/modules", "conda_concept/demo"),
        contact="a@b",
        previous="00000000",
    )
    assert comment.startswith("<!-- conda-concept:release:demo -->\n### 🚀 `demo-26.11` is published")
    assert "`demo-26.11`, `demo` now mean this release" in comment
    assert "module load conda_concept/demo" in comment
    assert "`conda-concept rollback demo-26.11` (to `00000000`)" in comment
    assert "a@b" not in comment  # no mention, no mail link
    first = release_comment(RECORD, ["demo"], load=TRIAL, contact="", previous="")
    assert "`demo` now means this release" in first
    assert "rollback" not in first


def test_the_table_of_a_whole_path_adds_up() -> None:
    result = as_data(RECORD, [("plan", 0.04), ("squash", 2.0)], ["/c/1-diff.md"], ["module use x"])
    shown = text(result)
    assert "demo-26.11/1a2b3c4d" in shown
    assert "187.2 MB" in shown
    assert ["in", "all", "2.0"] in [line.split() for line in shown.splitlines()]
    assert "  /c/1-diff.md" in shown
    assert "  module use x" in shown

"""New versions as values: the calendar, the form's answers, the lines of config.yml, what comes next, what is said."""

import datetime as dt
from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from conda_concept.conversation import PullFacts, asked_by_us
from conda_concept.errors import InputError
from conda_concept.forms import Filled
from conda_concept.model import Release
from conda_concept.operations import StoreState, candidate_target, release_candidate, release_candidates
from conda_concept.quarter import Progress, Trial, Wanted, configured, due, following, quarter, refuse_older, wanted
from conda_concept.render.diff import Heading
from conda_concept.render.pullrequest import is_published, not_published
from conda_concept.render.quarter import checklist, digest_in, stands, trial_in
from conda_concept.settings import Config

CANBERRA = ZoneInfo("Australia/Sydney")
ASKED = Wanted("tiny", "26.10", refresh=True)
THERE = Progress(ASKED, 7, "maintainer", "https://github.com/climate/environments")
PULL = PullFacts(8, "bot", "a" * 40, "release/tiny-26.10", "up/envs", "main", base_repository="up/envs")
MERGED = replace(PULL, is_open=False, merged="b" * 40)


def filled(**answers: str) -> Filled:
    given = {"environment": "tiny", "version": "26.10", "packages": "Refresh everything", "stable": ""}
    return Filled(given | answers)


# --- the calendar ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        ("2026-01-01", "26.01"),
        ("2026-03-31", "26.01"),
        ("2026-04-01", "26.04"),
        ("2026-12-31", "26.10"),
        ("2100-07-01", "00.07"),
    ],
)
def test_the_version_of_a_quarter_is_its_first_month(moment: str, version: str) -> None:
    assert quarter(dt.datetime.fromisoformat(moment)) == version


def test_a_quarter_begins_at_midnight_where_the_site_is() -> None:
    last = dt.datetime(2026, 9, 30, 13, 59, 59, tzinfo=dt.UTC)
    assert quarter(last.astimezone(CANBERRA)) == "26.07"
    assert quarter((last + dt.timedelta(seconds=1)).astimezone(CANBERRA)) == "26.10"
    assert quarter(last + dt.timedelta(seconds=1)) == "26.07"
    summer = dt.datetime(2026, 12, 31, 13, 0, tzinfo=dt.UTC)  # eleven hours ahead then
    assert quarter(summer.astimezone(CANBERRA)) == "27.01"


def test_only_what_is_released_quarterly_and_is_behind_is_due() -> None:
    configs = {
        "behind": Config(version="26.07", quarterly=True),
        "fixed": Config(version="26.07.2", quarterly=True),
        "there": Config(version="26.10", quarterly=True),
        "ahead": Config(version="26.11", quarterly=True),
        "by_hand": Config(version="25.01"),
    }
    found = due(configs, dt.datetime(2026, 11, 1, tzinfo=CANBERRA))
    assert [(one.label, one.stable, one.refresh) for one in found] == [
        ("behind-26.10", "26.07", True),
        ("fixed-26.10", "26.07.2", True),
    ]


# --- the form -------------------------------------------------------------------------------------------------------


def test_the_answers_become_what_is_wanted() -> None:
    assert wanted(filled()) == ASKED
    assert wanted(filled(stable="26.07.2")).stable == "26.07.2"
    assert wanted(filled(packages="Keep the packages that are there", stable="26.04")) == Wanted(
        "tiny", "26.10", refresh=False, stable="26.04"
    )


@pytest.mark.parametrize("version", ["26.1", "26.00", "26.13", "2026.10", "26.10.1", "26,10", " 26.10", "", "v26.10"])
def test_what_is_no_version_is_said_all_at_once(version: str) -> None:
    with pytest.raises(InputError) as caught:
        wanted(filled(version=version, stable="x"))
    assert len(caught.value.problems) == 2


def test_a_number_is_explained() -> None:
    with pytest.raises(InputError, match=r"26\.1 is the number; write 26\.10 for October, 26\.01 for the month 1"):
        wanted(filled(version="26.1"))


def test_older_versions_and_a_stable_one_from_the_future_are_refused() -> None:
    refuse_older(ASKED, Config(version="26.07.3"))
    with pytest.raises(InputError, match="not newer"):
        refuse_older(ASKED, Config(version="26.10"))
    with pytest.raises(InputError, match="comes after"):
        refuse_older(replace(ASKED, stable="26.11"), Config(version="26.07"))


# --- config.yml -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('version: "26.07"\n', 'version: "26.10"\nstable: "26.07"\nrefresh: "26.10"\n'),
        (
            "# top\nversion: '26.07'   # now\nplatforms: [linux-64]\nstable: \"26.04\"\n",
            '# top\nversion: "26.10"   # now\nrefresh: "26.10"\nplatforms: [linux-64]\nstable: "26.07"\n',
        ),
        (
            'refresh: "26.07"\r\nversion: "26.07"  # now\r\n',
            'refresh: "26.10"\r\nversion: "26.10"  # now\r\nstable: "26.07"\r\n',
        ),
    ],
)
def test_only_the_lines_that_have_to_change_do(before: str, after: str) -> None:
    assert configured(before, ASKED, Config(version="26.07")) == after


def test_a_config_without_such_a_line_is_not_guessed_at() -> None:
    with pytest.raises(InputError, match="no line `version"):
        configured('{version: "26.07"}\n', ASKED, Config(version="26.07"))


# --- what comes next ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "first", "asked_again"),
    [
        (THERE, "begin", "begin"),
        (replace(THERE, pull=PULL), "solve", "solve"),
        (replace(THERE, pull=PULL, building="pending"), "wait", "solve"),
        (replace(THERE, pull=PULL, building="failure"), "wait", "solve"),
        (replace(THERE, pull=PULL, building="error"), "wait", "solve"),
        (replace(THERE, pull=PULL, building="success"), "wait", "wait"),
        (replace(THERE, pull=replace(PULL, is_open=False), building="success"), "wait", "wait"),
        (replace(THERE, pull=MERGED, building="success"), "wait", "release"),
        (replace(THERE, pull=MERGED, release="https://x#1"), "wait", "release"),
        (replace(THERE, pull=MERGED, release="https://x#1", published=True), "wait", "release"),
        (replace(THERE, pull=MERGED, page="https://x"), "close", "close"),
        (replace(THERE, page="https://x", is_open=False), "done", "done"),
    ],
)
def test_what_comes_next_follows_from_what_is_there(there: Progress, first: str, asked_again: str) -> None:
    assert following(there, retry=False) == first
    assert following(there, retry=True) == asked_again
    text = checklist(there, "c" * 64)
    assert digest_in(text) == "c" * 64
    assert text.count("\n- [") == 7
    assert stands(text)


def test_ticks_only_ever_grow() -> None:
    steps = (
        THERE,
        replace(THERE, pull=PULL, building="pending"),
        replace(THERE, pull=PULL, building="success"),
        replace(THERE, pull=MERGED, building="success"),
        replace(THERE, pull=MERGED, building="success", release="https://x#1", published=True),
        replace(THERE, pull=MERGED, building="success", page="https://x"),
    )
    counts = [checklist(one, "").count("- [x]") for one in steps]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 7


def test_a_release_that_failed_is_told_apart_from_one_that_is_on_its_way() -> None:
    there = replace(THERE, pull=MERGED, building="success")
    assert stands(checklist(there, "")) == "📦 tiny-26.10: merged, being published"
    failed = checklist(replace(there, release="https://x#1"), "")
    assert stands(failed) == "⚠️ tiny-26.10: merged, but not published"
    assert "[the release](https://x#1) says what is wrong" in failed
    assert "published, being announced" in stands(checklist(replace(there, release="https://x#1", published=True), ""))
    assert not is_published(not_published("tiny", "why", Heading("tiny-26.10")))
    assert is_published(
        "<!-- conda-concept:release:tiny -->\n### 🚀 `tiny-26.10` is published\n\nmerged, but not published"
    )


def test_what_somebody_is_called_is_shown_as_it_is() -> None:
    text = checklist(replace(THERE, opener="@all|<b>`x`"), "")
    assert "`` @all\\|<b>`x` ``" in text


def test_how_to_try_it_is_read_from_our_own_comment() -> None:
    text = "```sh\nmodule use '/g/data/a b'\nmodule load conda_concept/tiny-26.10-rc1\npython3\n```"
    assert trial_in(text) == Trial("/g/data/a b", "conda_concept/tiny-26.10-rc1")
    assert trial_in("nothing") is None


# --- candidates -----------------------------------------------------------------------------------------------------


def test_candidates_of_a_version_are_counted_and_keep_their_number() -> None:
    one, two = Release("tiny", "26.10", "0" * 8), Release("tiny", "26.10", "1" * 8)
    empty = StoreState()
    assert release_candidate(empty, one) == "tiny-26.10-rc1"
    state = StoreState(candidates={"tiny-26.10-rc9": candidate_target(one), "tiny-26.10-rc10": "x", "tiny-pr3": "y"})
    assert release_candidates(state, "tiny-26.10") == ("tiny-26.10-rc9", "tiny-26.10-rc10")
    assert release_candidate(state, one) == "tiny-26.10-rc9"
    assert release_candidate(state, two) == "tiny-26.10-rc11"


def test_only_our_own_branch_is_built_unasked() -> None:
    assert asked_by_us(PULL, "bot")
    assert not asked_by_us(replace(PULL, author="somebody"), "bot")
    assert not asked_by_us(replace(PULL, head_repository="fork/envs"), "bot")
    assert not asked_by_us(replace(PULL, head_branch="request/hello"), "bot")

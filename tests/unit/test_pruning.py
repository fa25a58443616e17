"""What prune keeps and removes, case by case."""

import datetime as dt
from dataclasses import replace

import pytest

from conda_concept.model import Alias, Event, Move, Release
from conda_concept.operations import (
    DropCandidate,
    RemoveRelease,
    RemoveTemporary,
    Standing,
    StoreState,
    candidate_target,
)
from conda_concept.pruning import Pruning, removals
from conda_concept.settings import Retention

NOW = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
LIVE, FORMER, OLDER, TRIAL = (Release("a", "23.04", f"{number:08x}") for number in range(4))


def days_ago(days: float) -> dt.datetime:
    return NOW - dt.timedelta(days=days)


def moved(days: float, before: str, after: str) -> Event:
    return Event(days_ago(days).isoformat(), "me", "publish", None, (Move("a-23.04", before, after),))


def standing(release: Release, days: float = 100, *, complete: bool = True) -> Standing:
    return Standing(release, complete=complete, finished=days_ago(days) if complete else None)


STATE = StoreState(
    releases=(standing(LIVE), standing(FORMER), standing(OLDER), standing(TRIAL, 10)),
    aliases=(Alias("a-23.04", LIVE.build_id), Alias("a", "a-23.04")),
    history=(
        moved(300, "", OLDER.build_id),
        moved(200, OLDER.build_id, FORMER.build_id),
        moved(40, FORMER.build_id, LIVE.build_id),
    ),
)


def verdicts(
    state: StoreState = STATE,
    *,
    retention: Retention | None = None,
    in_use: dict[Release, str] | None = None,
    closed: frozenset[Release] = frozenset(),
) -> dict[Release, tuple[bool, str]]:
    pruning = Pruning(state, retention or Retention(keep_builds=0, grace_days=30), NOW, in_use or {}, closed)
    return {one.release: (one.keep, one.why) for one in pruning.judgements()}


def test_published_stays_and_former_goes_after_its_grace() -> None:
    found = verdicts()
    assert found[LIVE] == (True, "published as a-23.04, a")
    assert found[FORMER] == (False, "replaced 40 days ago")
    assert found[OLDER] == (False, "replaced 200 days ago")
    assert found[TRIAL] == (True, "candidate, 10.0 days old; stays 30 days")


def test_grace_counts_from_when_it_was_left() -> None:
    found = verdicts(retention=Retention(keep_builds=0, grace_days=41))
    assert found[FORMER] == (True, "was published until 40.0 days ago; stays 41 days")
    assert not found[OLDER][0]


def test_grace_begins_now_where_nobody_wrote_down_that_a_name_moved() -> None:
    moved_by_nobody = replace(STATE, aliases=(Alias("a-23.04", FORMER.build_id), Alias("a", "a-23.04")))
    why = "was published until 0.0 days ago; stays 30 days"
    assert verdicts(moved_by_nobody)[LIVE] == (True, why)
    assert verdicts(replace(STATE, aliases=()))[LIVE] == (True, why)


def test_the_last_builds_stay_to_roll_back_to() -> None:
    found = verdicts(retention=Retention(keep_builds=1, grace_days=0))
    assert found[FORMER] == (True, "one of the last 1 of a-23.04")
    assert not found[OLDER][0]


@pytest.mark.parametrize("release", [FORMER, OLDER, TRIAL])
def test_pinned_and_used_releases_stay(release: Release) -> None:
    nothing = Retention(keep_builds=0, grace_days=0, candidate_days=0)
    pinned = replace(
        STATE,
        releases=tuple(replace(one, pinned="paper" if one.release == release else None) for one in STATE.releases),
    )
    assert verdicts(pinned, retention=nothing)[release] == (True, "pinned: paper")
    assert verdicts(retention=nothing, in_use={release: "process 7"})[release] == (True, "in use: process 7")
    assert not verdicts(retention=nothing)[release][0]


def test_a_closed_pull_request_ends_its_candidate_but_no_published_release() -> None:
    found = verdicts(closed=frozenset({TRIAL, LIVE}))
    assert found[TRIAL] == (False, "candidate of a closed pull request")
    assert found[LIVE][0]


def test_unfinished_releases_go_unless_somebody_builds_them() -> None:
    left = replace(STATE, releases=(standing(TRIAL, complete=False),))
    assert verdicts(left)[TRIAL] == (False, "left unfinished by a run that ended early")
    built = replace(STATE, releases=(replace(standing(TRIAL, complete=False), builder="process 7"),))
    assert verdicts(built)[TRIAL] == (True, "being built by process 7")


def test_the_operations_hide_a_candidate_before_it_goes() -> None:
    state = replace(STATE, candidates={"a-pr3": candidate_target(TRIAL)}, temporaries=("apps/x",))
    judgements = Pruning(state, Retention(), NOW, {}, frozenset({TRIAL})).judgements()
    event = Event(NOW.isoformat(), "me", "prune", None)
    told = replace(event, release=TRIAL, removed=(str(TRIAL),))
    assert removals(judgements, state, event) == (
        RemoveTemporary("apps/x"),
        DropCandidate("a-pr3", candidate_target(TRIAL)),
        RemoveRelease(TRIAL, "candidate of a closed pull request", told),
    )

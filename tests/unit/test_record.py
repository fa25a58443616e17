"""Release record, verdict and history as text: nothing is lost, and nothing changed goes unnoticed."""

import json
from dataclasses import replace

import pytest

from conda_concept.errors import InputError, IntegrityError
from conda_concept.model import Event, FileFact, ImageFact, Move, Release, ReleaseRecord, Source, Verdict
from conda_concept.record import (
    event_to_line,
    history_from_text,
    jsonable,
    parse_release,
    readable_lines,
    release_from_text,
    release_to_text,
    verdict_from_text,
    verdict_to_text,
)

RELEASE = Release("analysis3", "23.04", "1a2b3c4d")
RECORD = ReleaseRecord(
    release=RELEASE,
    prefix="/apps/é",
    platform="linux-64",
    packages=2,
    lock_digest="a" * 64,
    spec_digest="b" * 64,
    builder="0.1.0",
    built_at="2026-01-01T00:00:00+00:00",
    source=Source("c" * 40, "12", "someone"),
    image=ImageFact("d" * 64, 10, 3, 30, "zstd 3"),
    files=(FileFact("bin", "directory", 0o755, 0, ""), FileFact("bin/x", "file", 0o755, 3, "e" * 64)),
    commands=("x",),
)
VERDICT = Verdict("d" * 64, passed=True, counts=(("passed", 3),), baseline="analysis3-23.01/00000001")
EVENT = Event("2026-01-01T00:00:00+00:00", "me@here", "publish", RELEASE, (Move("analysis3", "", "analysis3-23.04"),))


def test_a_record_survives_its_text() -> None:
    assert release_from_text(release_to_text(RECORD), where="r") == RECORD
    assert verdict_from_text(verdict_to_text(VERDICT), where="v") == VERDICT
    assert history_from_text(event_to_line(EVENT) * 2, where="h") == ((EVENT, EVENT), ())
    other = replace(EVENT, release=None, removed=(str(RELEASE),), forced="a reason\nof two lines")
    assert history_from_text(event_to_line(other), where="h")[0] == (other,)


def test_every_changed_byte_of_a_verdict_is_noticed() -> None:
    text = verdict_to_text(VERDICT).encode()
    for index, byte in enumerate(text):
        for changed in {byte ^ 1, byte ^ 0x20, ord("9")} - {byte}:
            damaged = text[:index] + bytes([changed]) + text[index + 1 :]
            try:
                found = verdict_from_text(damaged.decode(errors="replace"), where="v")
            except IntegrityError:
                continue
            # White space between two values says nothing; anything else has to be noticed.
            assert found == VERDICT
            assert json.loads(damaged) == json.loads(text)


def test_half_a_record_is_not_one() -> None:
    text = release_to_text(RECORD)
    for length in range(0, len(text) - 2, 7):
        with pytest.raises(IntegrityError):
            release_from_text(text[:length], where="r")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "has schema 2; this version reads schema 1"),
        ({"packages": "2"}, "not valid at `packages`"),
        ({"more": 1}, "keys that nobody wrote: more"),
        ({"prefix": "/elsewhere"}, "changed after it was written"),
        ({"digest": None}, "changed after it was written"),
    ],
)
def test_a_record_that_nobody_wrote_is_refused(change: dict[str, object], words: str) -> None:
    document = {**json.loads(release_to_text(RECORD)), **change}
    with pytest.raises(IntegrityError, match=words):
        release_from_text(json.dumps(document), where="release.json")


def test_a_damaged_line_hides_no_other() -> None:
    text = event_to_line(EVENT) + '{"schema": 1, "when"\n' + event_to_line(EVENT) + "torn"
    events, problems = history_from_text(text, where="history.jsonl")
    assert events == (EVENT, EVENT)
    assert [problem.split(" ")[0] for problem in problems] == ["history.jsonl:2", "history.jsonl:4"]
    assert readable_lines(text) == (event_to_line(EVENT) * 2, '{"schema": 1, "when"\ntorn\n')


def test_bytes_that_are_no_text_cost_one_line() -> None:
    bad = event_to_line(EVENT).replace("me@here", "me\udcff")
    assert history_from_text(bad + event_to_line(EVENT), where="h")[0] == (EVENT,)
    assert readable_lines(bad + event_to_line(EVENT)) == (event_to_line(EVENT), bad)


def test_a_release_by_its_text() -> None:
    assert parse_release("analysis3-23.04/1a2b3c4d") == RELEASE
    for text in ("analysis3-23.04", "../x-23.04/1a2b3c4d", "a-23.04/1A2B3C4D", "a-23.04/1a2b3c4d\n"):
        with pytest.raises(InputError, match="is not a release"):
            parse_release(text)


def test_values_for_programs() -> None:
    assert jsonable({"a": (RELEASE, frozenset({2, 1}))}) == {"a": ["analysis3-23.04/1a2b3c4d", [1, 2]]}
    assert jsonable(EVENT.moves[0]) == {"alias": "analysis3", "before": "", "after": "analysis3-23.04"}

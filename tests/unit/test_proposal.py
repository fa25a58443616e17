"""What crosses the trust boundary is held to its form, to the last string."""

import json
from typing import Any

import pytest

from conda_concept.errors import InputError
from conda_concept.explain import Explanation
from conda_concept.model import Place, Request
from conda_concept.proposal import MAX_BYTES, Part, Proposal, Reasons, dumps, loads

SHA = "a" * 40
EXPLANATION = Explanation(
    "no `x`", (Request("x >1", "x", "conda", Place("environments/a/environment.yml", 5)),), ("leave out `x`",), "text"
)
PROPOSAL = Proposal(
    schema=1,
    head=SHA,
    base="b" * 40,
    parts=(
        Part(name="a", outcome="unsolvable", unsolvable=Reasons.of(EXPLANATION)),
        Part(name="b", outcome="solved", lock="version: 1\n", notes=("note",)),
        Part(name="c", outcome="failed", problems=("network",)),
    ),
)


def test_nothing_is_lost_on_the_way() -> None:
    again = loads(dumps(PROPOSAL))
    assert again == PROPOSAL
    part = again.part("a")
    assert part is not None
    assert part.unsolvable is not None
    assert part.unsolvable.explanation == EXPLANATION
    assert again.part("z") is None


def changed(**values: Any) -> str:
    return json.dumps(json.loads(dumps(PROPOSAL)) | values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "nonsense",
        "[" * 100_000,
        changed(schema=2),
        changed(head="main"),
        changed(head="A" * 40),
        changed(head=SHA + "\n"),
        changed(extra=1),
        changed(asked="x" * 1001),
        changed(parts=[{"name": "../etc", "outcome": "failed"}]),
        changed(parts=[{"name": "a", "outcome": "solved"}]),
        changed(parts=[{"name": "a", "outcome": "failed", "lock": "x"}]),
        changed(parts=[{"name": "a", "outcome": "unsolvable"}]),
        changed(parts=[{"name": "a", "outcome": "published"}]),
        changed(parts=[{"name": "a", "outcome": "failed", "problems": ["x" * 1001]}]),
        changed(parts=[{"name": "a", "outcome": "failed"}] * 2),
        changed(parts=[{"name": f"a{n}", "outcome": "failed"} for n in range(51)]),
        changed(parts="x"),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="proposal"):
        loads(text)


def test_too_long_is_refused_unread() -> None:
    with pytest.raises(InputError, match="is the limit"):
        loads(" " * (MAX_BYTES + 1))


def test_a_long_explanation_is_cut_to_what_is_taken() -> None:
    long = Explanation("c" * 20_000, EXPLANATION.culprits * 300, ("r" * 2000,) * 30, "s" * 200_000)
    part = Part(name="a", outcome="unsolvable", unsolvable=Reasons.of(long))
    loads(dumps(Proposal(schema=1, head=SHA, base=SHA, parts=(part,))))

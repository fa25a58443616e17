"""Explanations, with a solver that is a few lines of rules, and rattler's texts as they really are."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import pytest

from conda_concept.errors import SolveTimeoutError
from conda_concept.explain import ExplainedError, Tries, explain, find_core
from conda_concept.model import Request, Spec
from conda_concept.settings import ExcludeNewer
from conda_concept.solvertext import chains
from tests.support.locks import spec

CUDA = """\
Cannot solve the request because of: av * cannot be installed because there are no viable options:
└─ av 14.2.0 | 15.1.0 would require
   └─ python >=3.11,<3.12.0a0, for which no candidates were found.
The following packages are incompatible
├─ __cuda * can be installed with any of the following options:
│  └─ __cuda 12
└─ av * cannot be installed because there are no viable options:
   └─ av 15.1.0 would require
      └─ ffmpeg >=7.1.1,<8.0a0, which cannot be installed because there are no viable options:
         └─ ffmpeg 7.1.1 would constrain
            └─ __cuda >=12.4, which conflicts with any installable versions previously reported
"""
SHARED = """\
Cannot solve the request because of: The following packages are incompatible
├─ iris 3.14.* can be installed with any of the following options:
│  └─ iris 3.14.1 would require
│     └─ dask-core >=2025.1.0,!=2025.10.0, which can be installed with any of the following options:
│        └─ dask-core 2026.1.2
└─ dask 2025.* cannot be installed because there are no viable options:
   └─ dask 2025.10.0 would require
      └─ dask-core >=2025.10.0,<2025.10.1.0a0, which cannot be installed because there are no viable options:
         └─ dask-core 2025.10.0, which conflicts with the versions reported above.
"""

Rule = Callable[[Mapping[str, str], Mapping[str, str]], str | None]


class Rules:
    """A session whose solver is a rule: (requests by name, virtual packages) -> the solver's text, or None."""

    def __init__(self, asked: Spec, rule: Rule, channel: Mapping[str, Sequence[str]] | None = None) -> None:
        self.spec = asked
        self.platform = "linux-64"
        self.virtual = {"__cuda": "12"}
        self.tries = 0
        self.young: dict[str, list[str]] = {}
        self._rule = rule
        self._channel = channel or {request.name: ["1.0"] for request in asked.requests}

    def attempt(
        self, requests: Iterable[Request], *, virtual: Mapping[str, str] | None = None, time_limit: float | None = None
    ) -> str | None:
        del time_limit
        self.tries += 1
        found = {request.name: request.text for request in requests}
        return self._rule(found, self.virtual if virtual is None else virtual)

    def satisfiable(self, requests: Sequence[Request]) -> set[str]:
        return {request.name for request in requests if request.name in self._channel and "==9" not in request.text}

    def names(self) -> list[str]:
        return sorted(self._channel)

    def delayed(self, request: Request) -> list[str]:
        return self.young.get(request.name, [])

    def versions(self, name: str) -> list[tuple[str, str, str]]:
        return [(version, "0", "conda-forge") for version in self._channel.get(name, ())]


def test_chains_of_a_real_text() -> None:
    found = [chain for chain in chains(CUDA) if chain.failed]
    assert [(chain.root, chain.end) for chain in found] == [("av", "python >=3.11,<3.12.0a0"), ("av", "__cuda >=12.4")]
    assert [(link.name, link.versions, link.verb, link.spec) for link in found[1].links] == [
        ("av", "15.1.0", "require", "ffmpeg >=7.1.1,<8.0a0"),
        ("ffmpeg", "7.1.1", "constrain", "__cuda >=12.4"),
    ]


def test_text_of_another_shape_gives_no_chain_and_no_error() -> None:
    assert chains("something else entirely\n  └── with other drawings") == []
    assert chains("") == []


def test_the_machine_is_blamed_and_what_it_would_need_is_tried() -> None:
    def rule(requests: Mapping[str, str], virtual: Mapping[str, str]) -> str | None:
        old = tuple(int(part) for part in virtual["__cuda"].split(".")) < (12, 4)
        return CUDA if old and {"av", "python"} <= requests.keys() else None

    found = explain(Rules(spec("python 3.12.*", "numpy", "av"), rule), CUDA)
    assert found.cause == (
        "`av` 15.1.0 needs `ffmpeg >=7.1.1,<8.0a0`, of which 7.1.1 wants `__cuda >=12.4`; config.yml says `__cuda 12`."
    )
    assert [request.name for request in found.culprits] == ["python", "av"]
    assert found.remedies[0] == 'set `__cuda: "12.4"` in config.yml, if the machines really have it'
    assert found.solver_text == CUDA


def test_two_requests_that_meet_in_a_third_package() -> None:
    def rule(requests: Mapping[str, str], virtual: Mapping[str, str]) -> str | None:
        del virtual
        return SHARED if requests.get("dask") == "dask 2025.*" and "iris" in requests else None

    found = explain(Rules(spec("dask 2025.*", "iris 3.14.*", "numpy"), rule), SHARED)
    assert found.cause == (
        "`dask` 2025.10.0 needs `dask-core >=2025.10.0,<2025.10.1.0a0`; "
        "but `iris` 3.14.1 needs `dask-core >=2025.1.0,!=2025.10.0`."
    )
    assert found.remedies == ("ask for `dask` instead of `dask 2025.*` (environment.yml:10)",)


def test_an_unknown_name_gets_the_three_nearest() -> None:
    channel = {"numpy": ["2.0"], "numba": ["1"], "scipy": ["1"], "zarr": ["1"]}
    session = Rules(spec("nunpy", "scipy"), lambda requests, _: "x" if "nunpy" in requests else None, channel)
    found = explain(session, "x")
    assert "`nunpy`" in found.cause
    assert "`numpy`, `scipy` and `numba`" in found.cause
    assert found.remedies == ("write `numpy` for `nunpy` (environment.yml:10)",)


def test_a_version_that_nobody_has_is_named_with_what_there_is() -> None:
    channel = {"scipy": ["1.1", "1.2"], "zarr": ["1"]}
    session = Rules(spec("scipy ==9", "zarr"), lambda requests, _: "x" if "==9" in requests["scipy"] else None, channel)
    found = explain(session, "x")
    assert found.cause == (
        "no channel has a `scipy` that fits: `scipy ==9` (environment.yml:10), there is 1.1 and 1.2."
    )
    assert found.remedies == ("ask for `scipy` instead of `scipy ==9` (environment.yml:10)",)


def test_an_upload_that_is_too_young_is_not_called_missing() -> None:
    asked = spec("scipy ==9", "zarr", exclude_newer=ExcludeNewer(days=7))
    session = Rules(
        asked, lambda requests, _: "x" if "==9" in requests["scipy"] else None, {"scipy": ["1"], "zarr": ["1"]}
    )
    session.young = {"scipy": ["9"]}
    found = explain(session, "x")
    assert found.cause == (
        "`scipy ==9` (environment.yml:10) is met only by 9, which came less than 7 days ago, "
        "the delay of `exclude_newer`."
    )
    assert found.remedies == ("wait, or add `scipy` to `except_packages` in config.yml (environment.yml:10)",)


def test_the_core_is_smallest_and_found_in_few_tries_also_without_a_hint() -> None:
    asked = spec(*(f"p{number}" for number in range(300)))
    culprits = {"p17", "p133", "p299"}
    session = Rules(asked, lambda requests, _: "no" if culprits <= requests.keys() else None)
    core = find_core(Tries(session, lambda: 0.0, 1.0), asked.requests, "a text that names nothing")
    assert {request.name for request in core} == culprits
    assert session.tries < 60


def test_when_the_time_is_over_it_says_so() -> None:
    ticks = iter(range(10_000))
    session = Rules(spec("a", "b", "c"), lambda requests, _: "a b c" if len(requests) == 3 else None)
    found = explain(session, "a b c", budget=2.0, clock=lambda: float(next(ticks)))
    assert not found.complete
    assert "The time for trying changes was over" in str(ExplainedError("demo", found))


def test_a_try_that_runs_out_of_time_ends_the_trying_and_not_the_explanation() -> None:
    def rule(requests: Mapping[str, str], virtual: Mapping[str, str]) -> str | None:
        del virtual
        if len(requests) < 3:
            raise SolveTimeoutError("too long")
        return "a b"

    found = explain(Rules(spec("a", "b", "c"), rule), "a b")
    assert not found.complete
    assert found.remedies == ()


@pytest.mark.parametrize("single", [True, False])
def test_the_message_has_places_and_ways_out(single: bool) -> None:
    asked = spec("a >1", "b")
    session = Rules(asked, lambda requests, _: "a b" if not (single and requests.get("a") == "a") else None)
    text = str(ExplainedError("demo", explain(session, "a b")))
    assert text.startswith("demo cannot be solved: ")
    assert ("ask for `a` instead of `a >1`" in text) == single
    assert ("No single change" in text) != single

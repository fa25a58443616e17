"""The build id changes with everything that determines a release, and with nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from conda_concept.document import SourceText
from conda_concept.identity import build_id, spec_digest
from conda_concept.model import Spec
from conda_concept.settings import PbsExecutor, Resources, Site, Squash
from conda_concept.spec import read_spec
from conda_concept.steps.build import template_bytes

ENVIRONMENT = "name: demo\nchannels: [conda-forge]\ndependencies:\n- numpy >=2\n- scipy\nvariables: {A: b}\n"
CONFIG = 'version: "26.11"\n'
SITE = Site(name="here", root="/r", scratch="/s", cache="/c")


def spec(environment: str = ENVIRONMENT, config: str = CONFIG) -> Spec:
    return read_spec("demo", SourceText("e", environment), SourceText("c", config))


def identity(**changes: Any) -> str:
    given: dict[str, Any] = {
        "lock_digest": "d",
        "spec": spec(),
        "site": SITE,
        "templates": {"launcher.sh": b"x"},
        "builder": "1",
    }
    return build_id(**(given | changes))


def test_it_is_eight_hex_digits_and_always_the_same() -> None:
    assert identity() == identity()
    assert len(identity()) == 8
    assert int(identity(), 16) >= 0


@pytest.mark.parametrize(
    "change",
    [
        lambda: {"lock_digest": "e"},
        lambda: {"builder": "2"},
        lambda: {"templates": {"launcher.sh": b"y"}},
        lambda: {"templates": {"launcher.sh": b"x", "modulefile.tcl": b""}},
        lambda: {"site": SITE.model_copy(update={"root": "/other"})},
        lambda: {"site": SITE.model_copy(update={"runtime": "namespace"})},
        lambda: {"site": SITE.model_copy(update={"squash": Squash(level=4)})},
        lambda: {"spec": spec(config='version: "26.12"\n')},
        lambda: {"spec": spec(ENVIRONMENT.replace("{A: b}", "{A: c}"))},
        lambda: {"spec": spec(ENVIRONMENT.replace(">=2", ">=2.1"))},
    ],
)
def test_everything_that_determines_a_release_changes_it(change: Callable[[], dict[str, Any]]) -> None:
    assert identity(**change()) != identity()


JOBS = PbsExecutor(kind="pbs", build=Resources(cpus=1, memory="1GB", walltime="00:10:00"))


@pytest.mark.parametrize("update", [{"name": "there"}, {"scratch": "/x"}, {"cache": "/y"}, {"executor": JOBS}])
def test_where_it_was_built_does_not(update: dict[str, object]) -> None:
    assert identity(site=SITE.model_copy(update=update)) == identity()


def test_comments_and_order_do_not_count_as_a_change_of_the_spec() -> None:
    other = (
        "# why\nname: demo\nchannels: [conda-forge]\ndependencies:\n- scipy\n- numpy >=2  # here\nvariables: {A: b}\n"
    )
    assert spec_digest(spec(other)) == spec_digest(spec())
    assert spec_digest(replace(spec(), channels=("other",))) != spec_digest(spec())


def test_what_is_no_part_of_a_release_is_no_part_of_its_id() -> None:
    assert "launcher.sh" in template_bytes()
    assert "job" not in template_bytes()

"""What users type, in Environment Modules and in Lmod, for every way to name a release."""

import subprocess
from pathlib import Path

import pytest

from benchmarks.store_readers import MODULE_SYSTEMS
from benchmarks.storekit import ASKED, make_store, ready, release, silent
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import RealDoor, Store

OLD, NEW, NEWER, OTHER = (
    release("23.01", 1),
    release("23.04", 2),
    release("23.04", 3),
    release("23.02", 4, environment="demo"),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = make_store(tmp_path / "root", door=RealDoor())
    publish_release(made, ready(made, OLD), "23.01", ASKED, silent())
    publish_release(made, ready(made, NEW), "23.01", ASKED, silent())
    return made


def loads(store: Store, system: str, lines: str) -> list[str]:
    """The words that a shell prints, run by a user who has nothing set."""
    script = f'. "$1"; module use "$2"; {lines}'
    done = subprocess.run(
        ["/bin/bash", "-c", script, "user", str(MODULE_SYSTEMS[system]), str(store.layout.module_path)],
        env={"PATH": "/usr/bin:/bin", "HOME": str(store.layout.root), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("conda_concept/analysis3-23.01", OLD),
        ("conda_concept/analysis3-23.04", NEW),
        ("conda_concept/analysis3", OLD),
        ("conda_concept/analysis3-unstable", NEW),
        ("conda_concept", OLD),
    ],
)
def test_every_name_loads_its_release(store: Store, system: str, typed: str, wanted: object) -> None:
    said = loads(store, system, f'module load {typed}; echo "$CONDA_CONCEPT_RELEASE $LOADEDMODULES"; tool0')
    # What was typed is what `module list` shows, and what unload and switch take.
    assert said[:2] == [str(wanted), typed if "/" in typed else f"{typed}/analysis3"]
    assert said[2:] == [f"launcher={wanted}", f"image={wanted}", f"module={wanted}"]


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
def test_every_name_is_listed_once_with_the_default(store: Store, system: str) -> None:
    listed = loads(store, system, "module avail -t conda_concept 2>&1")
    names = ["analysis3", "analysis3-23.01", "analysis3-23.04", "analysis3-unstable"]
    assert sorted(word.partition("(")[0] for word in listed if "/analysis3" in word) == [
        f"conda_concept/{name}" for name in names
    ]
    if system == "Environment Modules":
        assert "conda_concept/analysis3(default)" in listed


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
def test_a_rollback_shows_in_the_next_load(store: Store, system: str) -> None:
    show = 'module load conda_concept/analysis3-unstable; echo "$CONDA_CONCEPT_RELEASE"'
    publish_release(store, ready(store, NEWER), "23.01", ASKED, silent())
    assert loads(store, system, show) == [str(NEWER)]
    roll_back(store, NEW.label, "", ASKED, silent())
    assert loads(store, system, show) == [str(NEW)]


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
def test_a_second_environment_takes_the_default_only_where_the_site_says_so(store: Store, system: str) -> None:
    publish_release(store, ready(store, OTHER), "23.02", ASKED, silent())
    show = 'module load conda_concept/demo conda_concept/demo; echo "$CONDA_CONCEPT_RELEASE"'
    assert loads(store, system, show) == [str(OTHER)]
    assert "default" not in store.layout.modulerc.read_text()


@pytest.mark.parametrize("system", MODULE_SYSTEMS)
def test_a_candidate_is_tried_beside_the_others_and_not_listed(store: Store, system: str) -> None:
    tree = store.expose(ready(store, NEWER), "analysis3-pr12")
    listed = loads(store, system, "module avail -t conda_concept 2>&1")
    assert "conda_concept/analysis3-23.01" in " ".join(listed)
    assert "pr12" not in " ".join(listed)
    said = loads(store, system, f"module use {tree}; module load conda_concept/analysis3-pr12; tool0")
    assert said[0] == f"launcher={NEWER}"
    assert store.hide(["analysis3-pr12", "analysis3-pr13"]) == ("analysis3-pr12",)
    assert not store.layout.candidate_module("analysis3-pr12").is_symlink()

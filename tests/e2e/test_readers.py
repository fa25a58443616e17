"""Users who load and run, without pause, while what they load is published and rolled back: through real launchers."""

import subprocess
from pathlib import Path

import pytest

from tests.support.tiny import ENVIRONMENT, Tiny
from tests.support.user import OrdinaryUser

#: Loads, runs, unloads, until there is a file `stop`; says what it saw, once each, and how often it looked.
READER = """\
. "$1"; module use "$2"; looked=0
while [ ! -e "$3" ]; do
    module load conda_concept/tiny || echo "LOAD FAILED"
    said=$(hello 2>&1) || echo "LAUNCH FAILED: $said"
    echo "$CONDA_PREFIX: $said"
    module unload conda_concept
    looked=$((looked + 1))
done | sort -u
"""
#: A job that loaded once.
JOB = """\
. "$1"; module use "$2"; module load conda_concept/tiny
while [ ! -e "$3" ]; do hello; done | sort | uniq -c
"""


@pytest.fixture
def tiny(open_dir: Path, capsys: pytest.CaptureFixture[str]) -> Tiny:
    """Two published builds of one label: hello 1.0, then hello 2.0."""
    tiny = Tiny.make(open_dir, capsys)
    for version in ("1.0", "2.0"):
        tiny.write({"environment.yml": ENVIRONMENT.replace("- hello", f"- hello =={version}")})
        for command in (["lock", "tiny"], ["build", "tiny"], ["publish", "tiny-26.11", "--force", "for the readers"]):
            said = tiny.concept(*command)
            assert said.code == 0, said.err
    return tiny


def test_nobody_ever_sees_a_failure_or_a_mixture(
    tiny: Tiny, ordinary_user: OrdinaryUser, envmodules_init: Path, lmod_init: Path
) -> None:
    stop = tiny.root / "stop"
    modules = tiny.store / "modules"
    readers = [
        (READER, envmodules_init, "namespace"),
        (READER, lmod_init, "namespace"),
        (READER, envmodules_init, "singularity"),
        (JOB, lmod_init, "namespace"),
    ]
    running = [
        subprocess.Popen(
            ordinary_user.command(
                ["bash", "-c", script, "reader", init, modules, stop], {"CONDA_CONCEPT_RUNTIME": runtime}
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for script, init, runtime in readers
    ]
    builds = [row["release"] for row in tiny.concept("list", "--json").data]
    assert len(builds) == 2
    for number in range(40):
        said = tiny.concept(
            "rollback", "tiny-26.11", "--to", builds[number % 2]["build_id"], "--force", "for the readers"
        )
        assert said.code == 0, said.err
    stop.touch()
    said_by = [process.communicate(timeout=60)[0] for process in running]
    seen = set()
    for said in said_by[:3]:
        for line in said.splitlines():
            prefix, _, rest = line.partition(": ")
            assert rest in {f"hello {version} in {prefix}" for version in ("1.0", "2.0")}, said
            seen.add(rest)
    # One image is one version, whoever looked and however: as many sayings as releases.
    assert len(seen) == 2, seen
    # The job saw one release from its beginning to its end, and looked more than once.
    (only,) = said_by[3].splitlines()
    assert int(only.split()[0]) > 1

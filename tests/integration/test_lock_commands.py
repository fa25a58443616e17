"""`conda-concept lock`, `diff`, `why`, `why-not` and `import` as whole processes: output and exit status."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from realdata import RealData

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def alias(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The real channels."""
    return RealData.unpack(tmp_path_factory.mktemp("real") / "analysis3").alias


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with analysis3 that a test may change."""
    shutil.copytree(ROOT / "environments" / "analysis3", tmp_path / "environments" / "analysis3")
    shutil.copytree(ROOT / "ci" / "sites", tmp_path / "ci" / "sites")
    return tmp_path


def run(checkout: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command, told where the checkout is."""
    known = {"PATH": os.environ["PATH"], "HOME": str(checkout), "CONDA_CONCEPT_CACHE": str(checkout / "cache")}
    command = [
        sys.executable,
        "-m",
        "conda_concept",
        str(words[0]),
        "--repository",
        str(checkout),
        *map(str, words[1:]),
    ]
    return subprocess.run(
        command,
        env={**known, "PYTHONPATH": str(ROOT / "ci"), **environment},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_whole_story_of_a_pull_request(checkout: Path, alias: str) -> None:
    folder = checkout / "environments" / "analysis3"
    before = (folder / "conda-lock.yml").read_text()
    done = run(checkout, "lock", "analysis3", CONDA_CHANNEL_ALIAS=alias)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr
    assert (folder / "conda-lock.yml").read_text() == before

    spec = folder / "environment.yml"
    spec.write_text(spec.read_text().replace("- numpy >2.0\n", "- numpy >2.0,<2.4.5\n") + "- zstandard\n")
    comment = checkout / "comment.md"
    done = run(
        checkout, "lock", "analysis3", "--out", "new.yml", "--comment", comment, "--json", "--channel-alias", alias
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert [change["name"] for change in facts["diff"]["platforms"][0]["changes"]] == ["numpy"]
    assert comment.read_text().startswith("### analysis3-26.06: 1 package changes, 1 asked for")
    assert (folder / "conda-lock.yml").read_text() == before

    done = run(checkout, "diff", folder, "new.yml", "--for", "analysis3", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert "⚠️ downgrade" in done.stdout
    assert "**Asked for**" in done.stdout


def test_no_solution_is_status_3_with_a_comment_and_no_lock(checkout: Path, alias: str) -> None:
    spec = checkout / "environments" / "analysis3" / "environment.yml"
    spec.write_text(spec.read_text().replace("- xgcm\n", "- xgmc\n"))
    done = run(checkout, "lock", "analysis3", "--out", "new.yml", "--comment", "why.md", "--channel-alias", alias)
    assert done.returncode == 3
    assert "no package is called `xgmc`" in done.stderr
    assert "`xgcm`" in (checkout / "why.md").read_text()
    assert not (checkout / "new.yml").exists()
    assert sorted(path.name for path in checkout.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("lock", "analysis3", "--update", "nunpy"), 2, "not in the lock"),
        (("lock", "analysis4"), 11, "no environment `analysis4`"),
        (("lock", "analysis3", "--from", "nowhere.yml"), 11, "no lock nowhere.yml"),
        (("lock", "analysis3", "--channel-alias", "http://127.0.0.1:9"), 4, "could not be reached"),
        (("lock", "analysis3", "--channel-alias", "file:///nowhere"), 2, "does not exist where this run looks"),
        (("lock", "analysis3", "--time-limit", "0"), 2, "seconds between"),
        (("diff", "nowhere.yml", "environments/analysis3"), 11, "no lock nowhere.yml"),
        (("diff", "ci/sites/local.yml", "environments/analysis3"), 2, "not a conda-lock file"),
        (("why", "analysis3", "nothing"), 11, "`nothing` is not in the lock"),
        (("why-not", "analysis3", "a b c d e"), 2, "not a package request"),
        (("import", "ci", "copy", "--version", "26.06"), 11, "neither a conda environment"),
        (("import", "environments/analysis3/conda-lock.yml", "analysis3", "--version", "26.06"), 12, "already"),
    ],
)
def test_failures_have_their_status_and_one_message(
    checkout: Path, alias: str, words: tuple[str, ...], status: int, says: str
) -> None:
    done = run(checkout, *words, **({} if "--channel-alias" in words else {"CONDA_CHANNEL_ALIAS": alias}))
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_why_speaks_of_requests_and_chains(checkout: Path) -> None:
    done = run(checkout, "why", "analysis3", "numcodecs")
    assert done.returncode == 0
    assert "zarr needs `numcodecs >=0.14`" in done.stdout
    assert "pulled in: icclim → numcodecs" in done.stdout
    asked = json.loads(run(checkout, "why", "analysis3", "zarr", "--json").stdout)
    assert asked[0]["requested"] is True


def test_a_reader_that_goes_away_is_no_failure(checkout: Path) -> None:
    command = f"{sys.executable} -m conda_concept diff - environments/analysis3 | head -n 1; exit ${{PIPESTATUS[1]}}"
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(ROOT / "ci")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_the_status_is_right_every_time(checkout: Path, alias: str) -> None:
    statuses = {run(checkout, "lock", "analysis3", "--channel-alias", alias).returncode for _ in range(3)}
    lock = "environments/analysis3/conda-lock.yml"
    statuses |= {run(checkout, "diff", lock, lock).returncode for _ in range(5)}
    assert statuses == {0}

"""Heavy steps as jobs of a real scheduler: Slurm behind its PBS-style commands, and everybody an ordinary user."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conda_concept.localchannel import PackageSpec, index, write_package
from tests.conftest import MODULE_INITS
from tests.support import forge
from tests.support.scheduled import Machine, scheduled, until
from tests.support.user import OrdinaryUser


@pytest.fixture(scope="module")
def machine(
    ordinary_user: OrdinaryUser, bwrap: Path, apptainer: Path, squashfuse: Path, mksquashfs: Path
) -> Iterator[Machine]:
    del bwrap, apptainer, squashfuse, mksquashfs
    with scheduled(ordinary_user, channel) as made:
        yield made


def channel(folder: Path) -> None:
    """The workflows' channel, and packages whose activation scripts take long, never end, or fail: builds run those."""
    forge.make_channel(folder)
    greedy = "/usr/bin/python3 -c 'import time; x = b\"x\" * 900_000_000; time.sleep(20)'"
    scripts = (("slow", "sleep 5"), ("endless", "sleep 250"), ("failing", "exit 3"), ("greedy", greedy))
    for name, script in scripts:
        files = {f"etc/conda/activate.d/{name}.sh": script + "\n"}
        write_package(folder / "conda-forge", PackageSpec(name, "1", subdir="linux-64", files=files, license="MIT"))
    index(folder / "conda-forge")


@pytest.fixture(scope="module")
def endless(machine: Machine) -> Iterator[subprocess.Popen[str]]:
    """A build that will run into its walltime, which takes a minute and more: it starts first and is looked at last."""
    machine.environment("endless", "hello", "endless")
    machine.site("short", walltime="00:00:30")
    process = machine.start("build", "endless", site="short")
    yield process
    process.kill()
    process.communicate()


@pytest.mark.usefixtures("endless")
def test_a_release_is_built_and_tested_in_jobs_and_published(machine: Machine) -> None:
    until(machine.slurm.live, "the endless job")
    before = set(machine.slurm.jobs())
    machine.environment("tiny", "python", "hello")
    machine.site("far", download="queue")
    done = machine.concept("try", "tiny", "--publish", "--json", site="far")
    assert done.returncode == 0, done.stderr
    submitted = {number: state for number, state in machine.slurm.jobs().items() if number not in before}
    assert list(submitted.values()) == ["COMPLETED"] * 3, done.stderr
    assert "download 2 packages in a job" in done.stderr
    assert "│ install into a clean prefix" in done.stderr
    lines = json.loads(done.stdout)["lines"]
    for init in MODULE_INITS.values():
        for runtime in ("namespace", "singularity"):
            script = f". {init}; " + "; ".join([*lines[:-1], "hello", "python3 -c 'import sys; print(sys.prefix)'"])
            said = machine.user.bash(script, env={"CONDA_CONCEPT_RUNTIME": runtime}).stdout.split()
            assert said[:3] == ["hello", "2.0", "in"]
            assert said[3] == said[4]
    tests = next(machine.root.glob("store/apps/conda_concept/releases/tiny-26.11/*/tests.xml"))
    assert 'name="workers" value="2"' in tests.read_text()  # the CPUs of its job; the build had one
    again = machine.concept("build", "tiny")
    assert "nothing to build" in again.stderr
    assert len(machine.slurm.jobs()) == len(before) + 3


@pytest.fixture(scope="module")
def slow(machine: Machine) -> str:
    machine.environment("slow", "hello", "slow")
    return "slow"


def test_site_check_goes_the_whole_way_in_jobs(machine: Machine) -> None:
    """A trivial job, then download, build and test with the resources that the site file has for them."""
    machine.site("checked", download="queue")
    before = set(machine.slurm.jobs())
    done = machine.concept("site", "check", "--json", site="checked")
    found = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    said = {name: stage["found"][0]["text"] for name, stage in found.items()}
    assert done.returncode == 0, done.stderr
    assert "a job in normal ran on " in said["executor"]
    assert said["build"].endswith(", in a job")
    assert said["tests"].endswith("none bad, in a job")
    submitted = {number: state for number, state in machine.slurm.jobs().items() if number not in before}
    assert list(submitted.values()) == ["COMPLETED"] * 4
    assert "download 3 packages in a job" in done.stderr
    assert not list(machine.jobs.glob("site-check-*"))
    assert not list((machine.root / "store").glob(".check-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_command_leaves_no_job(machine: Machine, slow: str, number: signal.Signals) -> None:
    process, job = machine.running(slow)
    process.send_signal(number)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)  # GitHub's runner becomes impatient
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"deleted job {job}" in said
    until(lambda: machine.slurm.jobs()[job] == "CANCELLED", "Slurm's own word")
    assert job not in machine.slurm.live()
    assert not [path for path in machine.left() if "/build-slow" in path]


def test_a_job_that_somebody_deletes_is_nobodys_fault_and_made_anew(machine: Machine, slow: str) -> None:
    process, job = machine.running(slow)
    for path in machine.jobs.glob("build-slow-*/cc-*/*"):
        assert b"never in a job" not in path.read_bytes(), path
    machine.slurm.command("scancel", job)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 15, said
    assert f"job {job} (build slow-26.11/" in said
    assert "was deleted (slurmstepd-node: error: *** JOB" in said
    assert "Nothing is wrong with what was asked for." in said
    assert list(machine.root.glob("store/apps/conda_concept/releases/slow-26.11/*")) == []


def test_a_job_that_runs_out_of_memory_is_ours(machine: Machine) -> None:
    machine.environment("greedy", "hello", "greedy")
    machine.site("small", memory="500MB")
    done = machine.concept("build", "greedy", site="small")
    assert done.returncode == 15, done.stderr
    assert "needed more than its 500MB of memory" in done.stderr
    assert "Ask for more `memory`" in done.stderr


def test_a_killed_process_is_followed_by_one_that_picks_its_job_up(machine: Machine, slow: str) -> None:
    process, job = machine.running(slow)
    process.kill()
    process.communicate()
    before = set(machine.slurm.jobs())
    done = machine.concept("build", slow, "--json")
    assert done.returncode == 0, done.stderr
    assert f"picked up job {job}" in done.stderr
    assert "│ run activation scripts" in done.stderr  # the log, from its beginning
    assert set(machine.slurm.jobs()) == before
    assert Path(json.loads(done.stdout)["record"]["prefix"], "image.sqsh").exists()


def test_a_process_that_dies_before_it_knows_its_jobs_number_finds_it_by_name(machine: Machine) -> None:
    machine.environment("slow", "hello", "slow", about="once more")
    (machine.root / "die").touch()
    before = set(machine.slurm.jobs())
    died = machine.concept("build", "slow")
    assert died.returncode == -signal.SIGKILL
    done = machine.concept("build", "slow")
    assert done.returncode == 0, done.stderr
    (job,) = set(machine.slurm.jobs()) - before
    assert f"picked up job {job}" in done.stderr


def test_a_failing_step_ends_as_it_would_have_in_place(machine: Machine) -> None:
    machine.environment("failing", "hello", "failing")
    there, here = machine.concept("build", "failing"), machine.concept("build", "failing", "--in-place")
    assert there.returncode == here.returncode == 9
    message = here.stderr[here.stderr.index("conda-concept build: ") :]
    assert there.stderr.endswith(message), there.stderr


def test_a_queue_that_says_no_or_never_begins(machine: Machine) -> None:
    machine.environment("waiting", "hello")
    machine.site("refused", queue="nowhere")
    refused = machine.concept("build", "waiting", site="refused")
    assert refused.returncode == 15
    assert "invalid partition specified: nowhere" in refused.stderr
    assert "Look at `queue` there" in refused.stderr
    machine.site("closed", queue="closed", hours="0.0005")
    closed = machine.concept("build", "waiting", site="closed")
    assert closed.returncode == 15
    assert "did not begin within 0.0005 hours, so it was deleted" in closed.stderr
    assert not [path for path in machine.left() if "/build-waiting" in path]


def test_a_job_that_runs_into_its_walltime_is_ours(machine: Machine, endless: subprocess.Popen[str]) -> None:
    _, said = endless.communicate(timeout=200)
    assert endless.returncode == 15, said
    assert "ran into its walltime of 00:00:30 (slurmstepd-node: error: *** JOB" in said
    assert "Nothing is wrong with what was asked for." in said
    until(lambda: not machine.slurm.live(), "no job is left")
    assert machine.left() == []

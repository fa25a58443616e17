"""One job for one task, against an imitation of PBS Pro: every end that a job can have, and every moment to die in."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conda_concept.errors import BuildError, BusyError, ConcError, RefusedError, SchedulerError, ToolError
from conda_concept.executor import tool
from conda_concept.executor.jobs import Jobs
from conda_concept.executor.note import Home, Note
from conda_concept.executor.request import script as job_script
from conda_concept.executor.scheduler import Scheduler
from conda_concept.executor.task import Attempt, Task
from conda_concept.executor.trial import trial
from conda_concept.progress import Reporter
from conda_concept.settings import PbsExecutor, Resources
from conda_concept.store.door import RealDoor
from conda_concept.store.lease import Identity, Taker
from tests.support.fakepbs import FakePbs

ASKED = Resources(queue="normal", cpus=4, memory="8GB", walltime="01:00:00", jobfs="10GB")


@pytest.fixture
def pbs(tmp_path: Path) -> Iterator[FakePbs]:
    made = FakePbs.make(tmp_path / "pbs")
    yield made
    made.end()


@pytest.fixture
def jobs(pbs: FakePbs, tmp_path: Path) -> Jobs:
    return make_jobs(pbs, tmp_path / "jobs")


def make_jobs(pbs: FakePbs, folder: Path, **settings: object) -> Jobs:
    values: dict[str, object] = {
        "kind": "pbs",
        "bin": pbs.bin,
        "project": "hh5",
        "storage": ["gdata/hh5", "scratch/hh5"],
        "build": ASKED,
        "poll_seconds": 0.2,
        "settle_seconds": 1.0,
    }
    taker = Taker(RealDoor(), Identity.of_this_process(), 1.0, lambda _text: None, lambda: "now")
    environment = {"PATH": "/usr/bin:/bin", "GREETING": "it's $HOME"}
    scheduler = Scheduler(PbsExecutor.model_validate(values | settings))
    reporter = Reporter(io.StringIO())
    return Jobs(scheduler, folder, taker, reporter, environment=environment, passed=("PBS_JOBFS",))


def task(script: str, **more: Any) -> Task:
    return Task("build-x-1", "build x/1", ("/bin/sh", "-c", script), ASKED, **more)


def said(jobs: Jobs) -> str:
    assert isinstance(jobs.reporter.stream, io.StringIO)
    return jobs.reporter.stream.getvalue()


def until(there: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def meanwhile(act: Callable[[], object], when: Callable[[], Any]) -> threading.Thread:
    """Do something as soon as something holds, while the test waits."""

    def both() -> None:
        until(when)
        act()

    thread = threading.Thread(target=both)
    thread.start()
    return thread


def running(pbs: FakePbs) -> bool:
    return any("pid" in job for job in pbs.jobs())


def test_a_job_gets_what_it_asks_for_and_its_result_comes_back(jobs: Jobs, pbs: FakePbs) -> None:
    script = 'echo "working" >&2; echo "$GREETING|$PBS_JOBFS|$TMPDIR|$OMP_NUM_THREADS|$PBS_NCPUS"; env >&2'
    outcome = jobs.run(task(script))
    (job,) = pbs.jobs()
    assert outcome.out == f"it's $HOME|{job['jobfs']}|{job['jobfs']}|4|4\n"
    assert "GITHUB" not in said(jobs)  # the node has such a variable; a job of ours does not get it
    assert job["words"][:-3] == [
        *("-N", job["attributes"]["Job_Name"], "-q", "normal", "-P", "hh5", "-S", "/bin/sh", "-r", "n", "-j", "oe"),
        *("-l", "ncpus=4", "-l", "mem=8GB", "-l", "walltime=01:00:00", "-l", "jobfs=10GB"),
        *("-l", "storage=gdata/hh5+scratch/hh5"),
    ]
    lines = said(jobs).splitlines()
    assert lines[0] == "submitted job 1.gadi-pbs in queue normal: build x/1"
    assert "│ working" in lines
    assert list((jobs.folder / "build-x-1").iterdir()) == []


def test_a_trivial_job_tries_a_sites_settings(jobs: Jobs, pbs: FakePbs, tmp_path: Path) -> None:
    told = trial(replace(jobs, command=("/bin/echo", "conda-concept")), str(tmp_path))
    assert told.startswith(f"a job in normal ran on {os.uname().nodename} in ")
    assert told.endswith(" s: conda-concept --version")
    assert "ncpus=1" in pbs.jobs()[0]["words"]
    assert list(jobs.folder.iterdir()) == []
    with pytest.raises(ToolError, match="does not see /no/such/root"):
        trial(jobs, "/no/such/root")


def test_the_log_is_shown_while_the_job_runs_and_cannot_command_the_runner(jobs: Jobs) -> None:
    script = r"printf 'first\n::error::not ours\n##[command]x \033[2J' >&2; "
    script += "while [ ! -e {folder}/seen ]; do sleep 0.05; done"
    thread = meanwhile(
        lambda: next(jobs.folder.glob("*/cc-*")).joinpath("seen").touch(), lambda: "│ ::error::" in said(jobs)
    )
    jobs.run(task(script))
    thread.join()
    assert "│ first\n│ ::error::not ours\n" in said(jobs)
    assert "│ ## [command]x �[2J\n" in said(jobs)


@pytest.mark.parametrize(
    ("status", "words", "reason"),
    [
        (-29, "=>> PBS: job killed: walltime 3605 exceeded limit 3600", "ran into its walltime of 01:00:00"),
        (-27, "=>> PBS: job killed: mem 9437184kb exceeded limit 8388608kb", "needed more than its 8GB of memory"),
        (-25, "=>> PBS: job killed: ncpus 9.1 exceeded limit 4 (sum)", "used more than its 4 CPUs"),
        (271, "Job 1 has exceeded memory allocation on node gadi-cpu-clx-2232", "needed more than its 8GB of memory"),
        (-1, "", "could not be started by the scheduler"),
        (-11, "", "was lost with its node"),
        (271, "", "was deleted"),
        (137, "Cgroup mem limit exceeded: oom-kill", "needed more than its 8GB of memory"),
    ],
)
def test_a_job_that_the_machine_ends_is_never_the_researchers_fault(
    jobs: Jobs, pbs: FakePbs, status: int, words: str, reason: str
) -> None:
    thread = meanwhile(lambda: pbs.kill("1.gadi-pbs", f"{words}\n", Exit_status=status), lambda: running(pbs))
    with pytest.raises(SchedulerError) as caught:
        jobs.run(task("sleep 60"))
    thread.join()
    assert f"job 1.gadi-pbs (build x/1) {reason}" in caught.value.message
    assert "Nothing is wrong with what was asked for." in caught.value.message
    assert caught.value.exit_code == 15
    assert Home(jobs.folder / "build-x-1").read() is None
    assert words in said(jobs)


def test_what_a_dying_job_says_of_itself_is_not_believed(jobs: Jobs, pbs: FakePbs) -> None:
    error = json.dumps({"error": {"kind": "build", "message": "mksquashfs ended", "hint": "", "exit_code": 9}})
    pbs.order(late=0.3)
    thread = meanwhile(
        lambda: pbs.change("1.gadi-pbs", "=>> PBS: job killed: walltime 5 exceeded limit 4\n", Exit_status=-29),
        lambda: running(pbs),
    )
    with pytest.raises(SchedulerError, match="ran into its walltime"):
        jobs.run(task(f"sleep 0.5; echo '{error}'; exit 9"))
    thread.join()


def test_a_step_whose_tool_the_machine_killed_is_not_believed_either(jobs: Jobs, pbs: FakePbs) -> None:
    """The step ends by itself, and before the scheduler's own words are to be seen."""
    pbs.order(late=0.3)
    words = "Job 1 has exceeded memory allocation on node gadi-cpu-clx-2232.gadi.nci.org.au"
    thread = meanwhile(lambda: pbs.change("1.gadi-pbs", f"{words}\n", Exit_status=9), lambda: running(pbs))
    with pytest.raises(SchedulerError, match="needed more than its 8GB of memory") as caught:
        jobs.run(task("sleep 0.5; echo '{}'; exit 9"))
    thread.join()
    assert words in caught.value.message


def test_a_step_that_fails_by_itself_is_the_error_that_it_would_be_here(jobs: Jobs) -> None:
    error = {"kind": "build", "message": "the activation scripts failed", "hint": "look", "exit_code": 9}
    with pytest.raises(BuildError) as caught:
        jobs.run(task(f"echo '{json.dumps({'error': error})}'; exit 9"))
    assert (caught.value.message, caught.value.hint) == ("the activation scripts failed", "look")
    for code, expected in ((1, 1), (137, 15), (127, 15)):
        with pytest.raises(ConcError) as other:
            jobs.run(task(f"exit {code}"))
        assert other.value.exit_code == expected
    assert jobs.run(task("echo no; exit 10", answers=frozenset({0, 10}))).code == 10


def test_a_refusal_is_told_with_the_schedulers_words(jobs: Jobs, pbs: FakePbs) -> None:
    words = "qsub: would exceed queue normal's per-user limit of jobs in 'Q' state"
    pbs.order(qsub=[{"says": words, "code": 70}, {"says": "qsub: Unknown queue", "code": 170}])
    with pytest.raises(SchedulerError, match="would exceed queue normal's per-user limit") as caught:
        jobs.run(task("true"))
    assert "Ask for less there" in caught.value.hint
    with pytest.raises(SchedulerError, match="Unknown queue") as caught:
        jobs.run(task("true"))
    assert "`queue`" in caught.value.hint
    assert pbs.jobs() == []


def test_a_server_that_takes_a_job_and_loses_its_answer_gets_no_second_one(jobs: Jobs, pbs: FakePbs) -> None:
    away = "Connection refused\nqsub: cannot connect to server gadi-pbs (errno=111)"
    pbs.order(qsub=[{"says": away, "code": 111}, {"says": away, "code": 111, "all the same": True}])
    assert jobs.run(task("sleep 2; echo done")).out == "done\n"
    assert len(pbs.jobs()) == 1


def test_a_scheduler_that_answers_badly_or_not_at_all_is_waited_for(jobs: Jobs, pbs: FakePbs) -> None:
    pbs.order(bad_json=True)

    def later() -> None:
        pbs.order(down=["qstat"])
        until(lambda: "does not answer" in said(jobs))
        pbs.order(no_history=True)

    thread = meanwhile(later, lambda: "runs on gadi-cpu-clx-0001" in said(jobs))
    with pytest.raises(ConcError):
        jobs.run(task("sleep 2; exit 1"))
    thread.join()
    assert "the scheduler does not answer; job 1.gadi-pbs is left as it is: Connection refused" in said(jobs)


def test_a_held_job_says_why_and_goes_on(jobs: Jobs, pbs: FakePbs) -> None:
    pbs.order(start=False)

    def hold() -> None:
        pbs.change("1.gadi-pbs", job_state="H", comment="Not Running: project hh5 has no allocation left")
        until(lambda: "is held: Not Running: project hh5" in said(jobs))
        pbs.order(start=True)

    thread = meanwhile(hold, lambda: "waits in its queue: Not Running: Insufficient amount of" in said(jobs))
    jobs.run(task("true"))
    thread.join()
    assert "is held: Not Running: project hh5 has no allocation left" in said(jobs)


def test_a_job_that_never_begins_is_given_up(pbs: FakePbs, tmp_path: Path) -> None:
    pbs.order(start=False)
    jobs = make_jobs(pbs, tmp_path / "jobs", queue_hours=0.0003)
    with pytest.raises(SchedulerError, match="did not begin within 0.0003 hours.*waits in its queue: Not Running"):
        jobs.run(task("true"))
    assert pbs.live() == []


def test_a_job_that_comes_late_does_nothing(jobs: Jobs, tmp_path: Path) -> None:
    """Killed between the note and the scheduler's taking the job, which it does long after."""
    home = Home(jobs.folder / "build-x-1")
    late = Attempt("cc-0123456789ab")
    home.folder(late).mkdir(parents=True)
    (home.folder(late) / "go").touch()
    home.write(Note(late))
    assert jobs.run(task("echo new")).out == "new\n"
    marker = tmp_path / "ran twice"
    script = home.folder(late) / "script"
    script.write_text(job_script(task(f"touch '{marker}'"), home.folder(late), {}, (), 0o022))
    done = subprocess.run(["/bin/sh", script], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "no longer wants this job" in done.stdout
    assert not marker.exists()


def test_a_job_that_began_before_its_number_was_known_is_found_by_its_own_word(jobs: Jobs, pbs: FakePbs) -> None:
    """Killed after `qsub` had answered, and the server does not know names any more: the job has written its number."""
    process = waiter(pbs, jobs.folder, "sleep 1; echo once")
    until(lambda: list(jobs.folder.glob("*/cc-*/number")))
    process.kill()
    process.communicate()
    home = Home(jobs.folder / "build-x-1")
    note = home.read()
    assert note is not None
    home.write(Note(replace(note.attempt, number="")))
    pbs.order(down=["qselect"])
    assert jobs.run(task("echo twice")).out == "once\n"
    assert "picked up job 1.gadi-pbs" in said(jobs)
    assert len(pbs.jobs()) == 1


def test_a_job_that_ended_while_nobody_looked(jobs: Jobs, pbs: FakePbs) -> None:
    for script, expected, count in (("echo first", "first\n", 1), ("exit 3", "second\n", 3)):
        process = waiter(pbs, jobs.folder, f"sleep 0.5; {script}")
        until(lambda: list(jobs.folder.glob("*/cc-*/begun")))
        process.kill()
        process.communicate()
        until(lambda: not pbs.live())
        assert jobs.run(task("echo second")).out == expected
        assert len(pbs.jobs()) == count
    assert "ended meanwhile without a result: it is submitted anew" in said(jobs)


def waiter(pbs: FakePbs, folder: Path, script: str) -> subprocess.Popen[str]:
    """A process that waits for the task, as `conda-concept` does: a signal is an interrupt."""
    code = (
        "import signal, sys; from pathlib import Path; from conda_concept import cli\n"
        "from tests.integration.test_jobs import FakePbs, make_jobs, task\n"
        "signal.signal(signal.SIGTERM, cli._interrupted)\n"
        "make_jobs(FakePbs(Path(sys.argv[1])), Path(sys.argv[2])).run(task(sys.argv[3]))\n"
    )
    top = Path(__file__).resolve().parents[2]
    environ = {**os.environ, "PYTHONPATH": f"{top}:{top / 'ci'}"}
    argv = [sys.executable, "-c", code, str(pbs.root), str(folder), script]
    return subprocess.Popen(argv, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_slow_qdel_finishes_though_the_waiting_process_is_killed(jobs: Jobs, pbs: FakePbs) -> None:
    process = waiter(pbs, jobs.folder, "sleep 60")
    until(lambda: running(pbs))
    pbs.order(qdel_takes=2)
    process.send_signal(signal.SIGINT)
    until(lambda: (note := Home(jobs.folder / "build-x-1").read()) is not None and note.given_up)
    time.sleep(0.5)
    for one in [*descendants(process.pid), process.pid]:  # the runner has waited long enough, and kills the whole tree
        os.kill(one, signal.SIGKILL)
    process.communicate()
    until(lambda: not pbs.live())


def descendants(pid: int) -> list[int]:
    """A process's children, and theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                child = int(path.parent.name)
                found += [child, *descendants(child)]
    return found


def test_a_qdel_that_fails_is_made_up_for_by_whoever_comes_next(jobs: Jobs, pbs: FakePbs) -> None:
    process = waiter(pbs, jobs.folder, "sleep 60")
    until(lambda: running(pbs))
    pbs.order(down=["qdel"])
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert pbs.live() == ["1.gadi-pbs"]
    pbs.order()
    other = replace(task("echo other"), key="test-y-2")
    assert jobs.run(other).out == "other\n"
    until(lambda: not pbs.live())
    assert Home(jobs.folder / "build-x-1").read() is None


def test_an_interrupt_while_the_job_is_being_submitted(jobs: Jobs, pbs: FakePbs) -> None:
    process = waiter(pbs, jobs.folder, "sleep 60")
    until(lambda: list(jobs.folder.glob("*/job.json")))
    process.send_signal(signal.SIGINT)
    process.communicate()
    until(lambda: not pbs.live())
    assert Home(jobs.folder / "build-x-1").read() is None


def test_two_processes_do_not_look_after_one_task(jobs: Jobs, pbs: FakePbs, monkeypatch: pytest.MonkeyPatch) -> None:
    process = waiter(pbs, jobs.folder, "sleep 60")
    until(lambda: running(pbs))
    impatient = Taker.held
    monkeypatch.setattr(Taker, "held", lambda self, path, why, wait=0.0: impatient(self, path, why, wait=wait and 0.2))
    with pytest.raises(BusyError, match=f"held by process {process.pid} on .*waiting for build x/1"):
        jobs.run(task("true"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert len(pbs.jobs()) == 1


def test_a_folder_that_others_own_is_refused(pbs: FakePbs, open_dir: Path) -> None:
    if os.geteuid() != 0:
        pytest.fail("only root can give a folder away; CI runs this as root", pytrace=False)
    folder = open_dir / "jobs"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    with pytest.raises(RefusedError, match="belongs to somebody else"):
        make_jobs(pbs, folder).run(task("true"))


def test_the_copy_that_jobs_run_is_made_once_for_each_state_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "module.py"
    source.write_text("one")
    monkeypatch.setattr(tool, "_files", lambda: iter([("conda_concept/module.py", source), ("other.so", source)]))
    first = tool.tool(tmp_path / "tools")
    made = Path(first.python_path)
    assert (made / "conda_concept" / "module.py").read_text() == "one"
    source.write_text("two")
    second = tool.tool(tmp_path / "tools")
    assert second != first
    assert (made / "conda_concept" / "module.py").read_text() == "one"  # a job may still run it
    long_ago = time.time() - 61 * 86400
    os.utime(made, (long_ago, long_ago))
    assert tool.tool(tmp_path / "tools") == second
    assert [str(path) for path in (tmp_path / "tools").iterdir()] == [second.python_path]


def test_the_copy_has_all_that_the_program_needs() -> None:
    names = {name for name, _ in tool._files()}
    assert {"conda_concept/cli.py", "conda_concept/templates/job", "rattler/__init__.py", "pydantic/main.py"} <= names
    assert any(name.startswith("conda_concept-") and name.endswith("/METADATA") for name in names)
    assert not any(name.startswith(("pytest/", "mypy/", "..")) or name.endswith(".pyc") for name in names)
